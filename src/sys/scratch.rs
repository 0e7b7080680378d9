//! Directories in the making, which a sweep does not take for rubbish.

use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

/// A directory of one's own, locked (flock(2)) while this lives; removed when dropped, unless it was renamed.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    directory: File,
}

impl Scratch {
    /// A new empty directory below `tmp`.
    pub fn new(tmp: &Path) -> io::Result<Self> {
        loop {
            let path = tmp.join(unused_name());
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                made => made?,
            }
            // A sweep may come between the two calls and take it for rubbish.
            let directory = match File::open(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                opened => opened?,
            };
            match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_at(&directory, &path) => return Ok(Self { path, directory }),
                Ok(()) | Err(Errno::WOULDBLOCK) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory itself, open since before anything was in it.
    pub fn directory(&self) -> &File {
        &self.directory
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now, a later sweep tries again.
        let _ = super::remove_tree(&self.path);
    }
}

/// Whether a name still leads to what is open; links are not followed.
pub fn is_at(open: impl AsFd, path: &Path) -> bool {
    let (Ok(open), Ok(named)) = (rustix::fs::fstat(open), rustix::fs::lstat(path)) else {
        return false;
    };
    (open.st_dev, open.st_ino) == (named.st_dev, named.st_ino)
}

/// A name that nobody else has for something in the making.
pub fn unused_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let clock = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    format!("{}-{:x}-{count}", std::process::id(), clock.as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_held_and_goes_with_its_holder() {
        let tmp = tempfile::tempdir().expect("a directory");
        let scratch = Scratch::new(tmp.path()).expect("made");
        let (path, another) = (scratch.path().to_owned(), File::open(scratch.path()).expect("it"));
        let lock = || rustix::fs::flock(&another, FlockOperation::NonBlockingLockExclusive);
        assert_eq!(lock(), Err(Errno::WOULDBLOCK));
        assert!(is_at(scratch.directory(), &path));
        std::fs::write(path.join("file"), "x").expect("a file");
        drop(scratch);
        assert!(!path.exists() && !is_at(&another, &path));
        assert_eq!(lock(), Ok(()));
    }

    #[test]
    fn where_none_can_be_made_it_is_told() {
        let failed = Scratch::new(Path::new("/no/such/directory")).map(drop);
        assert_eq!(failed.map_err(|error| error.kind()), Err(ErrorKind::NotFound));
    }
}
