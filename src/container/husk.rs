//! Husks: the directories of a container that is gone and had changed nothing.
//!
//! To remove an empty directory takes as long as to make three, on some disks a tenth of a millisecond,
//! and overlayfs has four of its own. They hold nothing, and can wait until somebody has time: whoever
//! starts the next container, while the kernel sets that up; or any sweep.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, openat, statat, unlinkat};
use rustix::io::Errno;

use super::directory::{is_at, lock};
use super::wait::EXIT;
use super::{Containers, is_id};

/// So many are removed at one start: more than come to be.
const AT_ONCE: usize = 2;

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
    /// Removes husks that earlier containers left, a few; what is none of them is left to sweeps.
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
                let _ = crate::sys::remove_tree(&path); // a sweep tries again
            }
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

    fn removed(root: &Path) -> (Containers, std::path::PathBuf) {
        fs::create_dir(root.join("tmp")).expect("tmp");
        let containers = Containers::new(root);
        let path = root.join("tmp").join(super::super::new_id().expect("an ID"));
        for directory in ["upper", "work/work/incompat/volatile"] {
            fs::create_dir_all(path.join(directory)).expect("a directory");
        }
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
