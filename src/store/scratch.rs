//! Unfinished work in `tmp/`, locked while its maker lives.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::syncfs;

use crate::sys;
use crate::sys::scratch::{is_at, unused_name};

use super::error::{At, Error};
use super::lock::{How, flock_file};

/// A directory of one's own below `tmp/`; removed when dropped.
#[derive(Debug)]
pub struct Scratch(sys::scratch::Scratch);

impl Scratch {
    /// A new empty directory.
    pub(super) fn new(tmp: &Path) -> Result<Self, Error> {
        sys::scratch::Scratch::new(tmp).map(Self).at("make a directory in", tmp)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Waits until all that was written to the store's file system is on disk. The descriptor is one
    /// that was open before it was written: of what the disk refuses the kernel tells each descriptor
    /// that was there then, and of later ones only the first that asks.
    pub fn write_out(&self) -> Result<(), Error> {
        syncfs(self.0.directory()).at("write out", self.path())
    }
}

/// A finished small file that has no name yet.
#[derive(Debug)]
pub(super) struct Draft {
    path: PathBuf,
    file: File,
}

impl Draft {
    /// Writes `bytes` below `tmp/`, not yet synced.
    pub(super) fn new(tmp: &Path, bytes: &[u8]) -> Result<Self, Error> {
        loop {
            let path = tmp.join(unused_name());
            let mut options = OpenOptions::new();
            let mut file = match options.write(true).create_new(true).mode(0o600).open(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                made => made.at("make", &path)?,
            };
            if !(flock_file(&file, How::Try).at("lock", &path)? && is_at(&file, &path)) {
                continue; // swept between the two calls
            }
            let written = file.write_all(bytes).at("write", &path);
            let draft = Self { path, file };
            return written.map(|()| draft);
        }
    }

    /// Waits until it is on disk.
    pub(super) fn sync(&self) -> Result<(), Error> {
        self.file.sync_all().at("write", &self.path)
    }

    /// Gives it its name, in place of what has it.
    pub(super) fn publish(self, path: &Path) -> Result<(), Error> {
        fs::rename(&self.path, path).at("write", path)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if is_at(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes what dead commands left.
pub(super) fn sweep(tmp: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(tmp).at("read", tmp)? {
        let path = entry.at("read", tmp)?.path();
        // Nothing but files and directories is ever made here; a pipe is not waited for.
        let mut options = OpenOptions::new();
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW;
        let file = options.read(true).custom_flags(flags.bits().cast_signed()).open(&path);
        let held = match &file {
            Ok(file) => !flock_file(file, How::Try).at("lock", &path)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(_) => false, // a mode of its own: it was being removed
        };
        if held {
            continue;
        }
        match sys::remove_tree(&path) {
            // Files of another user namespace: a command that enters it will sweep them.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {}
            removed => removed.at("remove", &path)?,
        }
    }
    Ok(())
}
