//! A tree that others may change meanwhile, to a tar stream: `cp` out of a container, or into one.
//!
//! Each directory is opened in the one above, by a name that is no link, and read through that
//! descriptor: whatever is moved or swapped meanwhile, nothing outside of the tree is read.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, fstat, fstatfs, openat, readlinkat, statat,
};
use rustix::io::Errno;

use crate::owners::Owners;

use super::encode::Encoder;
use super::entry::{Entry, Kind};
use super::error::{At, Error};
use super::name::Name;
use super::source::{Source, xattrs};

/// statfs(2): proc, sysfs, cgroup, cgroup2: what is in them are no files.
const PSEUDO: [i64; 4] = [0x9fa0, 0x6265_6572, 0x0027_e0eb, 0x6367_7270];

/// Writes what is at `last` in `parent`, under the name `name`, which is the root's for what is in a
/// directory without itself. `owners` says how its files carry their owners. Gives the bytes in its
/// files.
pub fn write_tree(
    parent: impl AsFd,
    last: &CStr,
    name: &Name,
    owners: Owners,
    to: impl Write,
) -> Result<u64, Error> {
    let source = Source::of_live(owners);
    let encoder = Encoder::new(to);
    let mut live = Live { source, encoder, seen: HashMap::new(), bytes: 0 };
    live.one(&parent, last, name, None)?;
    live.encoder.finish().map_err(Error::Write)?;
    Ok(live.bytes)
}

struct Live<W> {
    source: Source,
    encoder: Encoder<W>,
    /// The first names of files that have several, by device and inode.
    seen: HashMap<(u64, u64), Name>,
    bytes: u64,
}

impl<W: Write> Live<W> {
    fn one(
        &mut self,
        parent: &impl AsFd,
        last: &CStr,
        name: &Name,
        device: Option<u64>,
    ) -> Result<(), Error> {
        let stat = match statat(parent, last, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) if device.is_some() => return Ok(()), // gone meanwhile
            stat => stat.at("look at", name)?,
        };
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => return self.directory(parent, last, name, device),
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let file = File::from(openat(parent, last, flags, Mode::empty()).at("open", name)?);
                let stat = fstat(&file).at("look at", name)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                    return Ok(()); // swapped meanwhile
                }
                let thing = self.source.file(file, &stat, name.clone(), 0, true);
                let mut thing = thing.at("read", name)?;
                if let Kind::File { size, .. } = thing.entry.kind {
                    self.bytes += size;
                }
                let identity = (stat.st_dev, stat.st_ino);
                if stat.st_nlink > 1 {
                    if let Some(first) = self.seen.get(&identity) {
                        thing.entry.kind = Kind::HardLink(first.clone());
                        thing.data = None;
                    } else {
                        self.seen.insert(identity, name.clone());
                    }
                }
                return self.encoder.put(&thing.entry, thing.data.as_ref()).map_err(Error::Write);
            }
            FileType::Symlink => {
                Kind::Symlink(readlinkat(parent, last, Vec::new()).at("read", name)?.into_bytes())
            }
            FileType::Fifo => Kind::Fifo,
            node @ (FileType::CharacterDevice | FileType::BlockDevice) => Kind::Device {
                block: node == FileType::BlockDevice,
                major: libc::major(stat.st_rdev),
                minor: libc::minor(stat.st_rdev),
            },
            _ => return Ok(()), // a socket
        };
        let attributes = self.source.attributes(&stat, None, Vec::new(), false);
        let entry = Entry { name: name.clone(), kind, attributes };
        self.encoder.put(&entry, None).map_err(Error::Write)
    }

    fn directory(
        &mut self,
        parent: &impl AsFd,
        last: &CStr,
        name: &Name,
        device: Option<u64>,
    ) -> Result<(), Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = openat(parent, last, flags, Mode::empty()).at("open", name)?;
        let stat = fstat(&directory).at("look at", name)?;
        let record = Source::record(&directory, None).at("look at", name)?;
        let xattrs = xattrs(&directory, None).at("look at", name)?;
        let attributes = self.source.attributes(&stat, record, xattrs, true);
        let entry = Entry { name: name.clone(), kind: Kind::Directory, attributes };
        self.encoder.put(&entry, None).map_err(Error::Write)?;
        if device.is_some_and(|device| device != stat.st_dev) && is_pseudo(&directory) {
            return Ok(());
        }
        for last in names(&directory).at("read", name)? {
            self.one(&directory, &last, &name.join(last.to_bytes()), Some(stat.st_dev))?;
        }
        Ok(())
    }
}

/// Whether a file or directory is none, but words of the kernel.
pub fn is_pseudo(directory: &OwnedFd) -> bool {
    fstatfs(directory).is_ok_and(|it| PSEUDO.contains(&it.f_type))
}

fn names(directory: &OwnedFd) -> rustix::io::Result<Vec<CString>> {
    let mut buffer = [MaybeUninit::uninit(); 8 << 10];
    let mut entries = RawDir::new(directory, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}
