//! A tmpfs that begins with a copy of what it covers (runc's `tmpcopyup`), for /run and its kin.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RawDir, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// Copies all that lies in the directory `from` into the directory `to`, which gets the other's mode, owner and
/// times but where it has been `given` its own.
pub(super) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, given: bool) -> Result<(), Errno> {
    let from = rustix::fs::openat(from, c".", READ | OFlags::DIRECTORY, Mode::empty())?;
    let to = rustix::fs::openat(to, c".", READ | OFlags::DIRECTORY, Mode::empty())?;
    copy_directory(&from, &to)?;
    if given { Ok(()) } else { dress(&to, &rustix::fs::fstat(&from)?) }
}

fn copy_directory(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    let mut buffer = vec![MaybeUninit::uninit(); 16 << 10];
    let mut entries = RawDir::new(from, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            copy_entry(from, to, entry.file_name())?;
        }
    }
    Ok(())
}

fn copy_entry(from: &OwnedFd, to: &OwnedFd, name: &CStr) -> Result<(), Errno> {
    let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let private = Mode::from_raw_mode(0o600);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            rustix::fs::mkdirat(to, name, Mode::from_raw_mode(0o700))?;
            let flags = READ | OFlags::DIRECTORY;
            let inner = rustix::fs::openat(from, name, flags, Mode::empty())?;
            let made = rustix::fs::openat(to, name, flags, Mode::empty())?;
            copy_directory(&inner, &made)?;
            dress(&made, &stat)
        }
        FileType::RegularFile => {
            let source = rustix::fs::openat(from, name, READ, Mode::empty())?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let made = rustix::fs::openat(to, name, flags, private)?;
            copy_bytes(&source, &made)?;
            dress(&made, &stat)
        }
        FileType::Symlink => {
            let points_at = rustix::fs::readlinkat(from, name, Vec::new())?;
            rustix::fs::symlinkat(&points_at, to, name)?;
            own(to.as_fd(), name, &stat)
        }
        // Sockets and pipes are their makers', devices cannot be made.
        _ => Ok(()),
    }
}

fn copy_bytes(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = rustix::io::read(from, &mut buffer[..])?;
        let mut rest = &buffer[..length];
        if rest.is_empty() {
            return Ok(());
        }
        while !rest.is_empty() {
            rest = &rest[rustix::io::write(to, rest)?..];
        }
    }
}

/// Owner, mode and times of the file that was copied; a change of owner clears set-uid bits, so the
/// mode comes after it.
fn dress(to: &OwnedFd, stat: &Stat) -> Result<(), Errno> {
    own(to.as_fd(), c"", stat)?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    let time = |tv_sec, nsec| Timespec { tv_sec, tv_nsec: i64::try_from(nsec).unwrap_or(0) };
    rustix::fs::futimens(
        to,
        &Timestamps {
            last_access: time(stat.st_atime, stat.st_atime_nsec),
            last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
        },
    )
}

fn own(directory: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    match rustix::fs::chownat(directory, name, Some(uid), Some(gid), flags) {
        // An owner that this namespace does not map cannot be given.
        Err(Errno::INVAL) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_tree_is_copied_with_modes_and_links() {
        let (from, to) = (tempfile::tempdir().expect("from"), tempfile::tempdir().expect("to"));
        let (from, to) = (from.path(), to.path());
        std::fs::create_dir(from.join("deep")).expect("a directory");
        std::fs::write(from.join("deep/file"), b"text").expect("a file");
        let closed = std::fs::Permissions::from_mode(0o4640);
        std::fs::set_permissions(from.join("deep/file"), closed).expect("a mode");
        std::os::unix::fs::symlink("deep/file", from.join("link")).expect("a link");
        let open = |path| std::fs::File::open(path).expect("open");
        let mode = |path: &std::path::Path| {
            std::fs::metadata(path).expect("metadata").permissions().mode() & 0o7777
        };
        for (directory, mode) in [(from, 0o751), (to, 0o700)] {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(directory, mode).expect("a mode");
        }
        copy(open(from).as_fd(), open(to).as_fd(), true).expect("copied");
        assert_eq!(mode(to), 0o700, "as it was made");
        std::fs::remove_dir_all(to.join("deep")).expect("empty again");
        std::fs::remove_file(to.join("link")).expect("empty again");
        copy(open(from).as_fd(), open(to).as_fd(), false).expect("copied");
        assert_eq!(mode(to), 0o751);
        assert_eq!(std::fs::read(to.join("link")).expect("read"), b"text");
        assert_eq!(mode(&to.join("deep/file")), 0o4640);
    }
}
