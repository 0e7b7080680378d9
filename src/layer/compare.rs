//! Whether two unpacked layers are the same: the one in the store, and one made anew of its blob.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RawDir, Stat, fchmod, fgetxattr, openat, readlinkat,
    statat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::dress;
use super::name::Name;
use super::stack::open;

/// The first place where two trees differ, and in what; `None` where they are the same.
///
/// Kind, owner, mode, size, content, link text and attributes are compared, and the times of links
/// and of files that are not empty.
pub fn difference(one: &Path, other: &Path) -> io::Result<Option<(Name, &'static str)>> {
    let root = |path: &Path| -> io::Result<(OwnedFd, Stat)> {
        let path = CString::new(path.as_os_str().as_encoded_bytes())?;
        let stat = statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok((open(CWD, &path, OFlags::DIRECTORY)?, stat))
    };
    let ((one, one_stat), (other, other_stat)) = (root(one)?, root(other)?);
    if let Some(what) = of_stat(&one_stat, &other_stat) {
        return Ok(Some((Name::default(), what)));
    }
    directories(&Entered::of(one, &one_stat)?, &Entered::of(other, &other_stat)?, &Name::default())
}

/// A directory that may be read for a moment, though its mode forbids that.
struct Entered {
    directory: OwnedFd,
    closed: Option<Mode>,
}

impl Entered {
    fn of(directory: OwnedFd, stat: &Stat) -> io::Result<Self> {
        let bits = stat.st_mode & 0o7777;
        let is_closed = bits & 0o500 != 0o500 && !geteuid().is_root();
        let closed = is_closed.then(|| Mode::from_raw_mode(bits));
        if let Some(mode) = closed {
            fchmod(&directory, mode | Mode::RUSR | Mode::XUSR)?;
        }
        Ok(Self { directory, closed })
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some(mode) = self.closed {
            let _ = fchmod(&self.directory, mode);
        }
    }
}

fn directories(
    one: &Entered,
    other: &Entered,
    at: &Name,
) -> io::Result<Option<(Name, &'static str)>> {
    if attributes(&one.directory)? != attributes(&other.directory)? {
        return Ok(Some((at.clone(), "its attributes")));
    }
    let (names, others) = (names(&one.directory)?, names(&other.directory)?);
    if let Some(extra) = names.iter().find(|name| others.binary_search(name).is_err()) {
        return Ok(Some((at.join(extra.to_bytes()), "it belongs to no entry")));
    }
    for name in &others {
        let here = at.join(name.to_bytes());
        if names.binary_search(name).is_err() {
            return Ok(Some((here, "it is missing")));
        }
        let look = |directory: &Entered| {
            statat(&directory.directory, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW)
        };
        let (stat, wanted) = (look(one)?, look(other)?);
        if let Some(what) = of_stat(&stat, &wanted) {
            return Ok(Some((here, what)));
        }
        let found = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let enter = |from: &Entered, stat| {
                    Entered::of(open(&from.directory, name, OFlags::DIRECTORY)?, stat)
                };
                directories(&enter(one, &stat)?, &enter(other, &wanted)?, &here)?
            }
            FileType::RegularFile => files(one, other, name)?.map(|what| (here, what)),
            FileType::Symlink => {
                let read =
                    |from: &Entered| readlinkat(&from.directory, name.as_c_str(), Vec::new());
                (read(one)? != read(other)?).then_some((here, "the text of the link"))
            }
            _ => None,
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn of_stat(one: &Stat, other: &Stat) -> Option<&'static str> {
    let kind = FileType::from_raw_mode(one.st_mode);
    match () {
        () if kind != FileType::from_raw_mode(other.st_mode) => Some("its kind"),
        () if one.st_mode != other.st_mode => Some("its mode"),
        () if (one.st_uid, one.st_gid) != (other.st_uid, other.st_gid) => Some("its owner"),
        () if one.st_rdev != other.st_rdev => Some("its device"),
        // A whiteout has the time at which it was made: a device, or an empty file.
        () if matches!(kind, FileType::Directory | FileType::CharacterDevice) => None,
        () if one.st_size != other.st_size => Some("its size"),
        () if one.st_size > 0 && one.st_mtime != other.st_mtime => Some("its time"),
        () => None,
    }
}

fn files(one: &Entered, other: &Entered, name: &CStr) -> io::Result<Option<&'static str>> {
    let file = |from: &Entered| open(&from.directory, name, OFlags::empty());
    let (one, other) = (file(one)?, file(other)?);
    if attributes(&one)? != attributes(&other)? {
        return Ok(Some("its attributes"));
    }
    let (mut left, mut right) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut at = 0;
    loop {
        let count = read_at(&one, &mut left, at)?;
        if count != read_at(&other, &mut right, at)? || left[..count] != right[..count] {
            return Ok(Some("its content"));
        }
        if count == 0 {
            return Ok(None);
        }
        at += count as u64;
    }
}

/// Fills the buffer, but at the end of the file.
fn read_at(file: &OwnedFd, buffer: &mut [u8], at: u64) -> rustix::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::io::pread(file, &mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(filled)
}

/// What coracle sets itself; a host's own labels are no part of a layer.
fn attributes(file: &impl AsFd) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut found = Vec::new();
    for name in dress::names(file)? {
        if !name.starts_with(b"user.") && name != b"security.capability" {
            continue;
        }
        let mut value = vec![0; 64 << 10]; // XATTR_SIZE_MAX
        let length = match fgetxattr(file, &name[..], &mut value[..]) {
            Err(Errno::ACCESS) => 0, // a mode that forbids it, compared already
            length => length?,
        };
        value.truncate(length);
        found.push((name, value));
    }
    found.sort_unstable();
    Ok(found)
}

fn names(directory: &OwnedFd) -> io::Result<Vec<CString>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let reader = openat(directory, c".", flags, Mode::empty())?;
    let mut buffer = [MaybeUninit::uninit(); 8 << 10];
    let mut entries = RawDir::new(reader, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    type Harm = fn(&Path) -> io::Result<()>;

    #[test]
    fn every_kind_of_damage_is_found() {
        let home = tempfile::tempdir().expect("a directory");
        let make = |name: &str| {
            let tree = home.path().join(name);
            fs::create_dir_all(tree.join("d/e")).expect("directories");
            fs::write(tree.join("d/f"), "content").expect("a file");
            fs::write(tree.join("closed"), "x").expect("a file");
            symlink("target", tree.join("l")).expect("a link");
            for file in ["d/f", "closed"] {
                let file = fs::File::options().write(true).open(tree.join(file)).expect("it");
                file.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("a time");
            }
            let time = rustix::fs::Timespec { tv_sec: 0, tv_nsec: 0 };
            let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
            rustix::fs::utimensat(CWD, tree.join("l"), &times, AtFlags::SYMLINK_NOFOLLOW)
                .expect("a time");
            fs::set_permissions(tree.join("closed"), fs::Permissions::from_mode(0o000))
                .expect("a mode");
            tree
        };
        let good = make("good");
        let what = |tree: &Path| {
            let found = difference(tree, &good).expect("a comparison");
            found.map(|(name, what)| format!("{name}: {what}"))
        };
        assert_eq!(what(&make("same")), None);
        let harms: [(&str, Harm); 6] = [
            ("d/f: its size", |tree| fs::write(tree.join("d/f"), "")),
            ("d/f: it is missing", |tree| fs::remove_file(tree.join("d/f"))),
            ("d/e: its kind", |tree| {
                fs::remove_dir(tree.join("d/e"))?;
                fs::write(tree.join("d/e"), "")
            }),
            ("d/g: it belongs to no entry", |tree| fs::write(tree.join("d/g"), "")),
            ("d: its mode", |tree| {
                fs::set_permissions(tree.join("d"), fs::Permissions::from_mode(0o700))
            }),
            ("d/f: its content", |tree| {
                let file = fs::File::options().write(true).open(tree.join("d/f"))?;
                std::os::unix::fs::FileExt::write_all_at(&file, b"C", 0)?;
                file.set_modified(std::time::SystemTime::UNIX_EPOCH)
            }),
        ];
        for (place, (want, harm)) in harms.into_iter().enumerate() {
            let tree = make(&place.to_string());
            harm(&tree).expect("some harm");
            assert_eq!(what(&tree).as_deref(), Some(want));
        }
    }
}
