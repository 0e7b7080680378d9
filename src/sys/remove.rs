//! Removal of whole trees, whatever their modes and depth.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RawDir, SeekFrom, chmodat, fchmod, fstat, openat,
    renameat, statat, unlinkat,
};
use rustix::io::Errno;

/// Descriptors held at most; what lies deeper is first moved up.
const DEEPEST: usize = 64;

/// Removes whatever is at `path`; nothing there is fine.
///
/// It needs no free space, and copes with directories that forbid it: those of mode 0555 that
/// images have, and overlayfs's `work/work` of mode 000.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    remove_tree_at(CWD, path.as_os_str())
}

/// Removes whatever is at `name` in `directory`; nothing there is fine. Links are not followed.
pub fn remove_tree_at(directory: impl AsFd, name: &OsStr) -> io::Result<()> {
    let name = CString::new(name.as_bytes())?;
    let directory = directory.as_fd();
    match unlinkat(directory, &name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // Linux answers EISDIR, some file systems EPERM.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno.into()),
    }
    remove_directory(&name, directory, directory, 0, &mut 0, |flags| {
        unlinkat(directory, &name, flags)
    })?;
    Ok(())
}

/// Opens a directory, taking back a mode that forbids it.
fn open(directory: BorrowedFd, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(directory, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            // chmod follows links; a link has no mode to be refused by, so this is none.
            let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                return Err(Errno::NOTDIR);
            }
            chmodat(directory, name, Mode::RWXU, AtFlags::empty())?;
            openat(directory, name, flags, Mode::empty())
        }
        opened => opened,
    }
}

/// Removes the directory `name` of `parent` with all that is in it, `top` being where too deep
/// ones go, by `unlink`.
///
/// Entries that appear or move while it is read may be missed: as long as the kernel says that it is
/// not empty, it is read once more.
fn remove_directory(
    name: &CStr,
    parent: BorrowedFd,
    top: BorrowedFd,
    depth: usize,
    moved: &mut u64,
    unlink: impl Fn(AtFlags) -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    let mut opened: Option<OwnedFd> = None;
    loop {
        // Many directories are empty, and one that was read will be.
        match unlink(AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            done => return done,
        }
        if let Some(tree) = &opened {
            rustix::fs::seek(tree, SeekFrom::Start(0))?;
        }
        let tree = match &opened {
            Some(tree) => tree,
            None => opened.insert(open_in(parent, name)?),
        };
        if depth > DEEPEST {
            return move_up(top, parent, name, tree, moved);
        }
        let top = if depth == 0 { tree.as_fd() } else { top };
        let mut buffer = vec![MaybeUninit::uninit(); 8 << 10];
        let mut entries = RawDir::new(tree, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            if !matches!(name.to_bytes(), b"." | b"..") {
                remove_entry(top, tree.as_fd(), name, entry.file_type(), depth, moved)?;
            }
        }
    }
}

/// Opens a directory of one that may forbid it.
fn open_in(parent: BorrowedFd, name: &CStr) -> rustix::io::Result<OwnedFd> {
    match open(parent, name) {
        Err(Errno::ACCESS) => {
            fchmod(parent, Mode::RWXU)?;
            open(parent, name)
        }
        opened => opened,
    }
}

fn remove_entry(
    top: BorrowedFd,
    tree: BorrowedFd,
    name: &CStr,
    kind: FileType,
    depth: usize,
    moved: &mut u64,
) -> rustix::io::Result<()> {
    let unlink = |flags| match unlinkat(tree, name, flags) {
        Err(Errno::ACCESS) => {
            fchmod(tree, Mode::RWXU)?;
            unlinkat(tree, name, flags)
        }
        done => done,
    };
    if kind != FileType::Directory {
        match unlink(AtFlags::empty()) {
            // What it is was not told.
            Err(Errno::ISDIR | Errno::PERM) => {}
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
    remove_directory(name, tree, top, depth + 1, moved, unlink)
}

fn move_up(
    top: BorrowedFd,
    tree: BorrowedFd,
    name: &CStr,
    child: &OwnedFd,
    moved: &mut u64,
) -> rustix::io::Result<()> {
    // Moving a directory rewrites its `..`, which needs the right to write it.
    fchmod(child, Mode::RWXU)?;
    let inode = fstat(child)?.st_ino;
    *moved += 1;
    let unused = CString::new(format!(".removed-{inode}-{moved}")).unwrap_or_default();
    renameat(tree, name, top, &unused)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn home() -> tempfile::TempDir {
        tempfile::tempdir().expect("a directory")
    }

    #[test]
    fn modes_do_not_protect_a_tree() {
        let home = home();
        let tree = home.path().join("tree");
        fs::create_dir_all(tree.join("work/work/incompat/volatile")).expect("directories");
        fs::write(tree.join("work/work/incompat/file"), "x").expect("a file");
        for directory in ["work/work/incompat/volatile", "work/work/incompat", "work/work"] {
            fs::set_permissions(tree.join(directory), fs::Permissions::from_mode(0o000))
                .expect("a mode");
        }
        fs::create_dir(tree.join("unsearchable")).expect("a directory");
        fs::write(tree.join("unsearchable/file"), "x").expect("a file");
        fs::set_permissions(tree.join("unsearchable"), fs::Permissions::from_mode(0o644))
            .expect("a mode");
        fs::set_permissions(&tree, fs::Permissions::from_mode(0o555)).expect("a mode");
        remove_tree(&tree).expect("removal");
        assert!(!tree.exists());
        remove_tree(&tree).expect("nothing to remove is fine");
    }

    #[test]
    fn depth_does_not_protect_a_tree() {
        let home = home();
        let mut directory = openat(CWD, home.path(), OFlags::DIRECTORY, Mode::empty()).expect("it");
        for _ in 0..3000 {
            rustix::fs::mkdirat(&directory, c"deeper", Mode::RWXU).expect("a directory");
            directory =
                openat(&directory, c"deeper", OFlags::DIRECTORY, Mode::empty()).expect("it");
        }
        remove_tree(&home.path().join("deeper")).expect("removal");
        assert!(!home.path().join("deeper").exists());
    }

    #[test]
    fn links_are_removed_and_not_followed() {
        let home = home();
        fs::create_dir(home.path().join("kept")).expect("a directory");
        fs::write(home.path().join("kept/file"), "x").expect("a file");
        fs::create_dir(home.path().join("tree")).expect("a directory");
        std::os::unix::fs::symlink("../kept", home.path().join("tree/link")).expect("a link");
        remove_tree(&home.path().join("tree")).expect("removal");
        assert!(home.path().join("kept/file").exists());
    }
}
