//! Locks: flock(2) on files of the store, freed by the kernel when their holder dies.
//!
//! They are taken in one order, so no two commands wait for each other: `gc` first; then `pinned`,
//! by who changes a list or an artifact; then the chain IDs of an image from the lowest layer up;
//! then blobs by digest. A chain ID stands for a layer with all below it: images share a beginning of
//! their chains or nothing, so "from the lowest up" is one order for all. Who waits for a blob may
//! hold chains, who waits for a chain holds no blob. `names` is the last of all.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::{At, Error};
use crate::sys::scratch::is_at;

/// A lock that is held until dropped.
#[derive(Debug)]
#[must_use]
pub struct Lock(#[allow(dead_code)] File);

/// How a lock is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Shared,
    Exclusive,
    /// Exclusive, or not at all.
    Try,
}

/// Locks the file at `path`, making it if need be; `None` if it is held and `how` is `Try`.
pub(super) fn lock(path: &Path, how: How) -> Result<Option<Lock>, Error> {
    Ok(lock_file(path, how)?.map(Lock))
}

/// As [`lock`]; gives the locked file.
pub(super) fn lock_file(path: &Path, how: How) -> Result<Option<File>, Error> {
    loop {
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .at("open", path)?;
        if !flock_file(&file, how).at("lock", path)? {
            return Ok(None);
        }
        if is_at(&file, path) {
            return Ok(Some(file));
        }
        // Who held it moved or removed it: the name is another file's by now, or nobody's.
    }
}

/// Locks an open file or directory.
pub(super) fn flock_file(file: &File, how: How) -> std::io::Result<bool> {
    let operation = match how {
        How::Shared => FlockOperation::LockShared,
        How::Exclusive => FlockOperation::LockExclusive,
        How::Try => FlockOperation::NonBlockingLockExclusive,
    };
    loop {
        match flock(file, operation) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) if how == How::Try => return Ok(false),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
