//! A copied root whose files are given to other ids: for containers whose ids are not those that the
//! layers were unpacked with.

use std::collections::HashSet;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, XattrFlags, chownat, fchmod, fgetxattr,
    fsetxattr, openat, statat,
};
use rustix::io::Errno;

use super::{At, Error};

/// Which id a file's id becomes; one that has no place in the container stays.
pub struct Shift<'a> {
    /// User ids.
    pub user: &'a dyn Fn(u32) -> Option<u32>,
    /// Group ids.
    pub group: &'a dyn Fn(u32) -> Option<u32>,
}

/// `security.capability` of the second revision, with the root that it counts for behind it
/// (linux/capability.h, `struct vfs_ns_cap_data`).
const REVISION_2: usize = 20;
const CAPABILITY: &CStr = c"security.capability";

/// Gives every file below `root` to its new ids. The caller is root over all of them, and nobody else
/// knows the tree yet: no link leads out while it is walked.
pub fn shift(root: &Path, shift: &Shift<'_>) -> Result<(), Error> {
    let top = File::open(root).at("open", root)?;
    let mut seen = HashSet::new();
    below(top.as_fd(), shift, &mut seen)
        .and_then(|()| {
            let stat = rustix::fs::fstat(&top)?;
            give(top.as_fd(), c".", &stat, shift)
        })
        .at("give files of", root)
}

fn below(directory: BorrowedFd<'_>, shift: &Shift<'_>, seen: &mut HashSet<u64>) -> io::Result<()> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        // A second name of a file that has its new owner already.
        if kind != FileType::Directory && stat.st_nlink > 1 && !seen.insert(stat.st_ino) {
            continue;
        }
        if kind == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let child = openat(directory, name, flags, Mode::empty())?;
            below(child.as_fd(), shift, seen)?;
        }
        give(directory, name, &stat, shift)?;
    }
    Ok(())
}

fn give(parent: BorrowedFd<'_>, name: &CStr, stat: &Stat, shift: &Shift<'_>) -> io::Result<()> {
    let user = (shift.user)(stat.st_uid).filter(|id| *id != stat.st_uid).map(Uid::from_raw);
    let group = (shift.group)(stat.st_gid).filter(|id| *id != stat.st_gid).map(Gid::from_raw);
    if user.is_none() && group.is_none() {
        return Ok(());
    }
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    let file = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            Some(openat(parent, name, flags, Mode::empty())?)
        }
        _ => None,
    };
    let mut capability = [0; REVISION_2 + 4];
    let held = match &file {
        None => 0,
        Some(file) => match fgetxattr(file, CAPABILITY, &mut capability[..]) {
            Ok(length) => length,
            Err(Errno::NODATA | Errno::OPNOTSUPP) => 0,
            Err(errno) => return Err(errno.into()),
        },
    };
    // A change of the owner takes set-id bits and capabilities away.
    chownat(parent, name, user, group, AtFlags::SYMLINK_NOFOLLOW)?;
    let Some(file) = file else { return Ok(()) };
    if mode.intersects(Mode::SUID | Mode::SGID) {
        fchmod(&file, mode)?;
    }
    if held == REVISION_2 {
        // They count for programs below the root that they are stored with: the container's.
        let root = (shift.user)(0).unwrap_or(0);
        capability[3] = 3;
        capability[REVISION_2..].copy_from_slice(&root.to_le_bytes());
        fsetxattr(&file, CAPABILITY, &capability, XattrFlags::empty())?;
    }
    Ok(())
}
