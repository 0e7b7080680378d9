//! The merged tree, copied: reflinks where the file system has them, holes kept, hard links
//! within the image kept.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, OsStr};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags,
    chmodat, chownat, copy_file_range, fsetxattr, ftruncate, futimens, ioctl_ficlone, linkat,
    mkdirat, mknodat, openat, readlinkat, seek, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};

use crate::layer::stack::{Directory, Found, Other, open};
use crate::layer::{METACOPY, REDIRECT, copy_xattrs, read_lines};
use crate::mount::RootMount;
use crate::owners::Line;

use super::overlay::resemble;
use super::read::find_directory;
use super::{At, Error};

pub(super) fn prepare(
    layers: &[PathBuf],
    container: &Path,
    read_only: bool,
) -> Result<RootMount, Error> {
    let path = container.join("rootfs");
    let files = if read_only { Files::Shared } else { Files::Copied };
    let lines = merge(layers, &path, files)?;
    let (owners, mark) = (container.join("owners"), container.join(COPIED));
    if !lines.is_empty() {
        std::fs::write(&owners, &lines).at("write", &owners)?;
    }
    std::fs::write(&mark, b"").at("write", &mark)?;
    Ok(RootMount::Directory(path))
}

/// What the files of a merged tree are.
#[derive(Clone, Copy)]
pub(super) enum Files<'a> {
    /// Their own.
    Copied,
    /// Those of the layers, by further names: they must not be written to.
    Shared,
    /// Attributes and size, and where below a data-only layer each layer lies.
    Described(&'a [Option<PathBuf>]),
}

/// Makes the directory `path`, with all that `layers` show; what is recorded beside them of the files
/// that it has.
pub(super) fn merge(layers: &[PathBuf], path: &Path, files: Files) -> Result<Vec<u8>, Error> {
    DirBuilder::new().mode(0o700).create(path).at("make", path)?;
    let root = File::open(path).at("open", path)?;
    let from = Directory::root(layers).at("open the layers for", path)?;
    let lines = layers.iter().map(|layer| read_lines(layer).at("read the owners of", layer));
    let mut copier = Copier {
        base: path,
        root: &root,
        files,
        seen: HashMap::new(),
        lines: lines.collect::<Result<_, _>>()?,
        owners: Vec::new(),
    };
    match copier.directory(&from, &root, Path::new("")) {
        Ok(()) => Ok(copier.owners),
        Err(error) => {
            // The first error counts; what cannot be removed now goes with the container.
            let _ = crate::sys::remove_tree(path);
            Err(error)
        }
    }
}

/// An empty file beside a copy, made when it was finished: what the container does comes later.
pub(super) const COPIED: &str = "copied";

/// Copies the directory at `path` in a stack of `layers` into the empty directory `to`, with its own
/// attributes; `false` where there is none. Links on the way lead nowhere outside of the stack, and
/// those below it are copied as they are (CVE-2022-23648).
///
/// With `share`, the files are those of the layers: they must not be written to.
pub fn copy_directory(
    layers: &[PathBuf],
    path: &Path,
    to: &Path,
    share: bool,
) -> Result<bool, Error> {
    let Some(from) = find_directory(layers, path)? else { return Ok(false) };
    let root = File::open(to).at("open", to)?;
    let lines = vec![BTreeMap::new(); layers.len()]; // a volume has no such file beside it
    let files = if share { Files::Shared } else { Files::Copied };
    Copier { base: to, root: &root, files, seen: HashMap::new(), lines, owners: Vec::new() }
        .directory(&from, &root, Path::new(""))
        .map(|()| true)
}

/// Whether there is a directory at `path` in a stack of `layers`.
pub fn has_directory(layers: &[PathBuf], path: &Path) -> Result<bool, Error> {
    find_directory(layers, path).map(|found| found.is_some())
}

struct Copier<'a> {
    base: &'a Path,
    root: &'a File,
    files: Files<'a>,
    /// Where files with several names were put first, by device and inode.
    seen: HashMap<(u64, u64), PathBuf>,
    /// What is recorded beside each layer.
    lines: Vec<BTreeMap<Vec<u8>, Line>>,
    /// The lines of what was copied.
    owners: Vec<u8>,
}

impl Copier<'_> {
    /// Copies what is in a directory, then its attributes: its mode may forbid the rest.
    fn directory(&mut self, from: &Directory, to: &File, path: &Path) -> Result<(), Error> {
        let base = self.base;
        for name in from.names().at("read the layers for", &base.join(path))? {
            let path = path.join(OsStr::from_bytes(name.to_bytes()));
            let full = || base.join(&path);
            match from.find(&name).at("read the layers for", &full())? {
                Some(Found::Directory(child)) => {
                    mkdirat(to, &name, Mode::RWXU).at("make", &full())?;
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                    let made = openat(to, &name, flags, Mode::empty()).at("open", &full())?;
                    self.directory(&child, &made.into(), &path)?;
                }
                Some(Found::Other(other)) => {
                    self.other(from, &other, &name, to, &path).at("copy a file to", &full())?;
                }
                None => {}
            }
        }
        let top = from.top().at("read the layers for", &base.join(path))?;
        let Some((top, stat)) = top else { return Ok(()) };
        let layer = from.top_layer().unwrap_or_default();
        if let Some(line) = self.lines[layer].get(path.as_os_str().as_bytes()) {
            let written = line.write(&mut self.owners).map_err(io::Error::from);
            written.at("write down the owner of", &base.join(path))?;
        }
        let finish = || {
            resemble(to, top, &stat)?;
            futimens(to, &times(&stat))
        };
        finish().at("set the attributes of", &base.join(path))
    }

    fn other(
        &mut self,
        from: &Directory,
        other: &Other,
        name: &CStr,
        to: &File,
        path: &Path,
    ) -> io::Result<()> {
        let (source, stat) = (from.place(other.place), &other.stat);
        if let Some(line) = self.lines[from.layer(other.place)].get(path.as_os_str().as_bytes()) {
            line.write(&mut self.owners)?;
        }
        if matches!(self.files, Files::Shared) && share(source, name, to)? {
            return Ok(());
        }
        if stat.st_nlink > 1 {
            let identity = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.seen.get(&identity) {
                // Below the root all is new and ours: no link of the image is on the way.
                return Ok(linkat(self.root, first, to, name, AtFlags::empty())?);
            }
            self.seen.insert(identity, path.to_owned());
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let layer = from.layer(other.place);
                let described = match self.files {
                    Files::Described(places) if stat.st_size > 0 => places[layer].as_ref(),
                    _ => None,
                };
                match described.map(|place| describe(source, stat, name, to, &place.join(path))) {
                    None | Some(Ok(false)) => copy_file(source, stat, name, to),
                    Some(done) => done.map(drop),
                }
            }
            FileType::Symlink => {
                let text = readlinkat(source, name, Vec::new())?;
                symlinkat(&text, to, name)?;
                own(stat, name, to)?;
                Ok(utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?)
            }
            FileType::Fifo => {
                mknodat(to, name, FileType::Fifo, Mode::RWXU, 0)?;
                own(stat, name, to)?;
                chmodat(to, name, mode(stat), AtFlags::empty())?;
                Ok(utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?)
            }
            _ => Ok(()), // layers hold nothing else
        }
    }
}

/// `false` where the file system refuses another name for the file.
fn share(source: BorrowedFd, name: &CStr, to: &File) -> io::Result<bool> {
    match linkat(source, name, to, name, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::MLINK | Errno::XDEV | Errno::PERM) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// A file without its data, which is at `data` in a data-only layer (overlayfs.rst, "Data-only lower
/// layers"). `false` where the file system has no room for so long a path beside the attributes.
fn describe(
    source: BorrowedFd,
    stat: &Stat,
    name: &CStr,
    to: &File,
    data: &Path,
) -> io::Result<bool> {
    const PATH_MAX: usize = 4096; // the kernel looks it up as it would a path of a program's
    let data = data.as_os_str().as_bytes();
    if data.len() >= PATH_MAX {
        return Ok(false);
    }
    let (from, made) = (File::from(open(source, name, OFlags::empty())?), create(name, to)?);
    let make = || {
        ftruncate(&made, stat.st_size.cast_unsigned())?;
        fsetxattr(&made, METACOPY, b"", XattrFlags::empty())?;
        fsetxattr(&made, REDIRECT, data, XattrFlags::empty())?;
        dress(&from, stat, &made)
    };
    match make() {
        // ext4 has a block for all attributes of a file, and says this too of a disk that is full.
        Err(Errno::NOSPC | Errno::TOOBIG | Errno::RANGE) => {
            unlinkat(to, name, AtFlags::empty())?;
            Ok(false)
        }
        done => Ok(done.map(|()| true)?),
    }
}

fn create(name: &CStr, directory: &File) -> rustix::io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    Ok(File::from(openat(directory, name, flags, Mode::RUSR | Mode::WUSR)?))
}

fn copy_file(source: BorrowedFd, stat: &Stat, name: &CStr, to: &File) -> io::Result<()> {
    let (from, made) = (File::from(open(source, name, OFlags::empty())?), create(name, to)?);
    if ioctl_ficlone(&made, &from).is_err() {
        copy_data(&from, &made, stat.st_size.cast_unsigned())?;
    }
    Ok(dress(&from, stat, &made)?)
}

fn dress(from: &File, stat: &Stat, made: &File) -> rustix::io::Result<()> {
    // The owner first: its change takes setuid and capabilities away.
    if is_foreign(stat) {
        let (user, group) = owner(stat);
        rustix::fs::fchown(made, Some(user), Some(group))?;
    }
    copy_xattrs(from, made)?;
    rustix::fs::fchmod(made, mode(stat))?;
    futimens(made, &times(stat))
}

/// Copies the data of a file and leaves its holes out.
fn copy_data(from: &File, to: &File, size: u64) -> io::Result<()> {
    ftruncate(to, size)?;
    let mut at = 0;
    while at < size {
        let data = match seek(from, SeekFrom::Data(at)) {
            Err(Errno::NXIO) => return Ok(()), // nothing but a hole is left
            Err(Errno::INVAL) => at,           // a file system that knows no holes
            data => data?,
        };
        let end = seek(from, SeekFrom::Hole(data)).unwrap_or(size);
        copy_run(from, to, data, end)?;
        at = end.max(data + 1);
    }
    Ok(())
}

fn copy_run(from: &File, to: &File, mut at: u64, end: u64) -> io::Result<()> {
    let mut by_kernel = true;
    while at < end {
        let length = usize::try_from(end - at).unwrap_or(usize::MAX).min(64 << 20);
        if by_kernel {
            let (mut off_in, mut off_out) = (at, at);
            match copy_file_range(from, Some(&mut off_in), to, Some(&mut off_out), length) {
                Ok(0) => return Ok(()), // it was cut meanwhile
                Ok(count) => at += count as u64,
                Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                    by_kernel = false;
                }
                Err(errno) => return Err(errno.into()),
            }
        } else {
            let mut buffer = vec![0; length.min(128 << 10)];
            let count = from.read_at(&mut buffer, at)?;
            if count == 0 {
                return Ok(());
            }
            to.write_all_at(&buffer[..count], at)?;
            at += count as u64;
        }
    }
    Ok(())
}

fn own(stat: &Stat, name: &CStr, to: &File) -> io::Result<()> {
    if is_foreign(stat) {
        let (user, group) = owner(stat);
        chownat(to, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

fn is_foreign(stat: &Stat) -> bool {
    (stat.st_uid, stat.st_gid) != (geteuid().as_raw(), getegid().as_raw())
}

fn owner(stat: &Stat) -> (Uid, Gid) {
    (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid))
}

fn mode(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode & 0o7777)
}

fn times(stat: &Stat) -> Timestamps {
    let time = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec.cast_signed() };
    Timestamps { last_access: time, last_modification: time }
}
