//! `U`: all files of a tree given to one user, in truth or on record.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, RawDir, Stat, Uid, XattrFlags, chownat,
    fremovexattr, fsetxattr, fstat, openat, statat,
};
use rustix::io::Errno;

use crate::owners::{Kind, LENGTH, OVERRIDE, Record};

const FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// Gives what is at `path`, and all below it, to a user and group. No link below it is followed.
///
/// With `recorded`, where there is one id only, the owner is written beside each file and directory;
/// links and pipes cannot carry that, and are root's.
pub(super) fn give(path: &Path, (uid, gid): (u32, u32), recorded: bool) -> io::Result<()> {
    let giver = Giver { uid, gid, recorded };
    // The path itself is the user's word: a link there is followed, as it is when it is mounted.
    let path = path.canonicalize()?;
    let name = std::ffi::CString::new(path.as_os_str().as_encoded_bytes())?;
    Ok(giver.entry(CWD, &name)?)
}

struct Giver {
    uid: u32,
    gid: u32,
    recorded: bool,
}

impl Giver {
    fn entry(&self, directory: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
        let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()), // gone meanwhile
            other => other?,
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let opened = openat(directory, name, FLAGS | OFlags::DIRECTORY, Mode::empty())?;
                self.below(&opened)?;
                self.opened(&opened)
            }
            FileType::RegularFile if self.recorded => {
                self.opened(&openat(directory, name, FLAGS, Mode::empty())?)
            }
            _ if self.recorded => Ok(()),
            _ => self.own(directory, name, &stat),
        }
    }

    fn below(&self, directory: &OwnedFd) -> Result<(), Errno> {
        let mut buffer = vec![MaybeUninit::uninit(); 8 << 10];
        let mut entries = RawDir::new(directory, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                self.entry(directory.as_fd(), entry.file_name())?;
            }
        }
        Ok(())
    }

    /// A file or directory that is open: it is what it was looked at as, or a link put in its place
    /// was refused.
    fn opened(&self, file: &OwnedFd) -> Result<(), Errno> {
        let stat = fstat(file)?;
        if !self.recorded {
            return self.own(file.as_fd(), c"", &stat);
        }
        let kind = Kind::of_mode(stat.st_mode);
        let record = Record { uid: self.uid, gid: self.gid, mode: stat.st_mode & 0o7777, kind };
        if record.is_roots() {
            return match fremovexattr(file, OVERRIDE) {
                Err(Errno::NODATA | Errno::NOTSUP) => Ok(()),
                other => other,
            };
        }
        fsetxattr(file, OVERRIDE, record.format(&mut [0; LENGTH]), XattrFlags::empty())
    }

    fn own(&self, directory: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<(), Errno> {
        if (stat.st_uid, stat.st_gid) == (self.uid, self.gid) {
            return Ok(());
        }
        let (uid, gid) = (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)));
        chownat(directory, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_recorded_and_links_are_not_followed() {
        let home = tempfile::tempdir().expect("a directory");
        let (tree, outside) = (home.path().join("tree"), home.path().join("outside"));
        std::fs::create_dir_all(tree.join("deep")).expect("directories");
        std::fs::write(tree.join("deep/file"), "x").expect("a file");
        std::fs::write(&outside, "x").expect("a file");
        std::os::unix::fs::symlink("../outside", tree.join("link")).expect("a link");
        give(&tree, (33, 44), true).expect("given");
        let recorded = |path: &Path| {
            let mut value = [0; LENGTH];
            let length = rustix::fs::getxattr(path, OVERRIDE, &mut value[..]).ok()?;
            Record::parse(&value[..length]).map(|record| (record.uid, record.gid))
        };
        assert_eq!(recorded(&tree.join("deep/file")), Some((33, 44)));
        assert_eq!(recorded(&tree), Some((33, 44)));
        assert_eq!(recorded(&outside), None);
        give(&tree, (0, 0), true).expect("taken back");
        assert_eq!(recorded(&tree.join("deep/file")), None);
    }
}
