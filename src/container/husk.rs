//! Husks: the directories of a container that is gone and had changed nothing.
//!
//! To remove an empty directory takes as long as to make three, on some disks a tenth of a millisecond,
//! and overlayfs has four of its own. They hold nothing, and can wait until somebody has time: whoever
//! has started the next container, while its program runs; or any sweep. One becomes the spare: a directory
//! for the container after that, with an `upper/` and a `work/` in which nobody has been.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RawDir, RenameFlags, openat, renameat_with, statat,
    unlinkat,
};
use rustix::io::Errno;

use super::directory::lock;
use super::wait::EXIT;
use super::{Containers, Directory, is_id};
use crate::sys::scratch::is_at;

/// So many are removed at one start: more than come to be.
const AT_ONCE: usize = 2;
/// In `tmp/`, where a sweep may remove it.
const SPARE: &str = "spare";

/// Removes all but empty directories of a removed container. False, and nothing is removed, where there
/// is more: something was written to its root, or somebody waits for it.
///
/// The files of a container (its record, with variables, its /etc) are never left for later.
pub fn hollow_out(path: &Path) -> bool {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(directory) = openat(CWD, path, flags, Mode::empty()) else { return false };
    let Ok(entries) = entries(&directory) else { return false };
    let is_hollow = |(name, kind): &(CString, FileType)| match (name.as_bytes(), kind) {
        (b"upper", FileType::Directory) => openat(&directory, name, flags, Mode::empty())
            .is_ok_and(|upper| self::entries(&upper).is_ok_and(|entries| entries.is_empty())),
        // Somebody waits to be told.
        (name, _) if name == EXIT.as_bytes() => false,
        // overlayfs's own, of which nothing is seen inside the container; and a file of ours.
        (b"work", FileType::Directory) | (_, FileType::RegularFile) => true,
        _ => false,
    };
    if !entries.iter().all(is_hollow) || !entries.iter().any(|(name, _)| **name == *c"upper") {
        return false;
    }
    // The record last: who finds one knows that something is left to tell.
    let (records, files): (Vec<_>, Vec<_>) = entries
        .iter()
        .filter(|(_, kind)| *kind == FileType::RegularFile)
        .partition(|(name, _)| **name == *c"record.json");
    files.into_iter().chain(records).all(|(name, _)| {
        matches!(unlinkat(&directory, name, AtFlags::empty()), Ok(()) | Err(Errno::NOENT))
    })
}

impl Containers {
    /// Removes husks that earlier containers left, a few, and keeps a spare; what is none of them is left to
    /// sweeps.
    pub fn clear_husks(&self) {
        let Ok(entries) = std::fs::read_dir(&self.tmp) else { return };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let paths = names.filter(|name| is_id(name)).map(|name| self.tmp.join(name));
        for path in paths.take(AT_ONCE) {
            // Held by who is leaving it, or by another that clears.
            if let Ok(Some(lock)) = lock(&path)
                && is_at(&lock, &path)
                && is_husk(&lock)
            {
                // A sweep tries again.
                let _ = self.make_spare(&path).or_else(|_| crate::sys::remove_tree(&path));
            }
        }
    }

    /// Makes the spare of a husk; an error where there is one.
    fn make_spare(&self, husk: &Path) -> std::io::Result<()> {
        let spare = self.tmp.join(SPARE);
        if spare.symlink_metadata().is_ok() {
            return Err(Errno::EXIST.into());
        }
        crate::sys::remove_tree(&husk.join("work"))?;
        for name in ["upper", "work"] {
            rustix::fs::mkdir(husk.join(name), Mode::from_raw_mode(0o700))?;
        }
        Ok(renameat_with(CWD, husk, CWD, &spare, RenameFlags::NOREPLACE)?)
    }

    /// Makes the spare a container's directory, if there is one, and holds it.
    pub(super) fn take_spare(&self, path: &Path) -> Option<OwnedFd> {
        let spare = self.tmp.join(SPARE);
        let lock = lock(&spare).ok().flatten()?;
        // Held by now: no sweep is at it.
        let is_it = is_at(&lock, &spare);
        let moved = || renameat_with(CWD, &spare, CWD, path, RenameFlags::NOREPLACE);
        (is_it && moved().is_ok()).then_some(lock)
    }
}

impl Directory {
    /// Takes out what the spare has ready for a union, where the root is none.
    pub fn clear_ready(&self) {
        for name in ["upper", "work"] {
            let _ = std::fs::remove_dir(self.path.join(name));
        }
    }
}

/// Whether there is no record, and an empty directory in the place of the root's changes. That takes it
/// away, so that what is no husk for certain is looked at no further: it may be long.
fn is_husk(directory: &OwnedFd) -> bool {
    matches!(statat(directory, c"record.json", AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT))
        && unlinkat(directory, c"upper", AtFlags::REMOVEDIR).is_ok()
}

fn entries(directory: impl AsFd) -> rustix::io::Result<Vec<(CString, FileType)>> {
    let mut found = Vec::new();
    let mut buffer = [MaybeUninit::uninit(); 2 << 10];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            found.push((name.to_owned(), entry.file_type()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    fn removed(root: &Path) -> (Containers, std::path::PathBuf) {
        fs::create_dir(root.join("tmp")).expect("tmp");
        removed_beside(root)
    }

    fn removed_beside(root: &Path) -> (Containers, std::path::PathBuf) {
        let containers = Containers::new(root);
        let path = root.join("tmp").join(super::super::new_id().expect("an ID"));
        for directory in ["upper", "work/work/incompat/volatile"] {
            fs::create_dir_all(path.join(directory)).expect("a directory");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("a mode");
        for file in ["record.json", "hosts", "work/work/incompat/volatile/dirty"] {
            fs::write(path.join(file), "x").expect("a file");
        }
        (containers, path)
    }

    #[test]
    fn of_an_untouched_container_no_file_stays_and_its_directories_go_later() {
        let root = tempfile::tempdir().expect("a directory");
        let (containers, path) = removed(root.path());
        assert!(hollow_out(&path));
        assert!(!path.join("record.json").exists() && !path.join("hosts").exists());
        assert!(path.join("upper").exists());
        let held = lock(&path).expect("locked").expect("free");
        containers.clear_husks();
        assert!(path.join("upper").exists(), "it was somebody's");
        drop(held);
        containers.clear_husks();
        assert!(!path.exists());
    }

    #[test]
    fn one_becomes_the_directory_of_the_next_container_with_nothing_of_the_last_in_it() {
        let root = tempfile::tempdir().expect("a directory");
        let (containers, path) = removed(root.path());
        fs::set_permissions(path.join("upper"), fs::Permissions::from_mode(0o777)).expect("a mode");
        assert!(hollow_out(&path));
        containers.clear_husks();
        let made = containers.create(None).expect("a container");
        assert_eq!(made.path.metadata().expect("it").mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&made.path).expect("it").count(), 2);
        for name in ["upper", "work"] {
            let directory = made.path.join(name);
            assert_eq!(fs::read_dir(&directory).expect(name).count(), 0);
            assert_eq!(directory.metadata().expect(name).mode() & 0o777, 0o700, "{name}");
        }
        made.clear_ready();
        assert_eq!(fs::read_dir(&made.path).expect("it").count(), 0);
        let next = containers.create(None).expect("a container, with no spare");
        assert_eq!(fs::read_dir(&next.path).expect("it").count(), 0);
    }

    #[test]
    fn the_spare_is_one_container_s_and_not_taken_from_a_sweep() {
        let root = tempfile::tempdir().expect("a directory");
        let (containers, path) = removed(root.path());
        assert!(hollow_out(&path));
        containers.clear_husks();
        let sweep = lock(&root.path().join("tmp/spare")).expect("locked").expect("free");
        let made = containers.create(None).expect("a container");
        assert_eq!(fs::read_dir(&made.path).expect("it").count(), 0);
        drop(sweep);
        let (_, more) = removed_beside(root.path());
        assert!(hollow_out(&more));
        containers.clear_husks();
        assert!(!more.exists() && root.path().join("tmp/spare/upper").exists());
    }

    #[test]
    fn what_was_written_to_is_none() {
        for more in ["upper/file", "overlays/1/upper", "rootfs/bin"] {
            let root = tempfile::tempdir().expect("a directory");
            let (containers, path) = removed(root.path());
            fs::create_dir_all(path.join(more)).expect("something more");
            assert!(!hollow_out(&path), "{more}");
            assert!(path.join("record.json").exists() && path.join("hosts").exists());
            containers.clear_husks();
            assert!(path.join(more).exists() && path.join("record.json").exists());
        }
    }

    #[test]
    fn the_rest_of_a_killed_removal_is_none() {
        for rest in ["upper/file", "rootfs/file"] {
            let root = tempfile::tempdir().expect("a directory");
            let (containers, path) = removed(root.path());
            fs::remove_file(path.join("record.json")).expect("killed here");
            fs::remove_dir(path.join("upper")).expect("there is none with a copy");
            fs::create_dir_all(path.join(rest)).expect("what is left");
            containers.clear_husks();
            assert!(path.join(rest).exists(), "a sweep's work, which may be long");
        }
    }
}
