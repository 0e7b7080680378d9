//! What is said of a file: mode, owner, size, times, extended attributes.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, Stat, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chmodat,
    chownat, ftruncate, getxattr, listxattr, removexattr, setxattr, utimensat,
};
use rustix::io::Errno;

use super::Result;
use super::copy_up::whole;
use super::node::Node;
use super::tree::Union;

/// Attributes that are overlayfs's, and ours.
pub(super) const OURS: &[u8] = b"user.overlay.";
/// What the container calls by the same name is stored by this one, as overlayfs does (Linux 6.7):
/// so a union can lie on a union.
const THEIRS: &[u8] = b"user.overlay.overlay.";

/// What is to be changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) mode: Option<u32>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    /// Whether it is given to whom it belongs: all that chown(2) does besides is done.
    pub(super) keeps_owner: bool,
    pub(super) size: Option<u64>,
    pub(super) accessed: Option<Timespec>,
    pub(super) modified: Option<Timespec>,
}

const OMIT: Timespec = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };

impl Union {
    /// Changes attributes and tells what they are now.
    pub(super) fn change(&self, node: &Arc<Node>, changes: &Changes) -> Result<Stat> {
        let is_dead = node.kind == FileType::Directory && node.state().places.is_empty();
        if !is_dead {
            self.copy_up(node, changes.size.unwrap_or(u64::MAX))?;
        }
        let _stay = self.stay();
        let spot = self.spot(node)?;
        if changes.uid.is_some() || changes.gid.is_some() || changes.keeps_owner {
            let (uid, gid) = (changes.uid.map(Uid::from_raw), changes.gid.map(Gid::from_raw));
            chownat(&spot.directory, &spot.name, uid, gid, spot.flags)?;
        }
        if let Some(mode) = changes.mode {
            // A link has none; the kernel does not ask for one.
            let _not_late = (mode & 0o6000 != 0).then(|| self.not_late());
            node.set_id.fetch_or(mode & 0o6000 != 0, Ordering::Relaxed);
            let mode = Mode::from_raw_mode(mode & 0o7777);
            chmodat(&spot.directory, &spot.name, mode, AtFlags::empty())?;
        }
        if let Some(size) = changes.size {
            ftruncate(&self.data_here(node)?, size)?;
        }
        if changes.accessed.is_some() || changes.modified.is_some() {
            let times = Timestamps {
                last_access: changes.accessed.unwrap_or(OMIT),
                last_modification: changes.modified.unwrap_or(OMIT),
            };
            utimensat(&spot.directory, &spot.name, &times, spot.flags)?;
        }
        let mut stat = spot.stat()?;
        Self::adjust(node, &mut stat);
        Ok(stat)
    }

    /// The value of an attribute.
    pub(super) fn attribute(&self, node: &Arc<Node>, name: &OsStr) -> Result<Vec<u8>> {
        let name = stored(name)?;
        self.through(node, |path| whole(|buffer| getxattr(path, &name, buffer)))
    }

    /// The names of all attributes, each with a NUL behind it.
    pub(super) fn attributes(&self, node: &Arc<Node>) -> Result<Vec<u8>> {
        let names = self.through(node, |path| whole(|buffer| listxattr(path, buffer)))?;
        Ok(shown(&names))
    }

    /// Sets an attribute.
    pub(super) fn set_attribute(
        &self,
        node: &Arc<Node>,
        name: &OsStr,
        value: &[u8],
        flags: XattrFlags,
    ) -> Result<()> {
        let name = stored(name)?;
        self.copy_up(node, u64::MAX)?;
        self.through(node, |path| setxattr(path, &name, value, flags))
    }

    /// Removes an attribute.
    pub(super) fn remove_attribute(&self, node: &Arc<Node>, name: &OsStr) -> Result<()> {
        let name = stored(name)?;
        // What is not there must not be copied up to be missed.
        self.through(node, |path| getxattr(path, &name, &mut [0_u8; 0][..]).map(drop))?;
        self.copy_up(node, u64::MAX)?;
        self.through(node, |path| removexattr(path, &name))
    }

    /// Does something by a path, which is all that these calls take: the one of a descriptor.
    fn through<T>(&self, node: &Arc<Node>, work: impl FnOnce(&str) -> Result<T>) -> Result<T> {
        let by = |file: &OwnedFd| work(&format!("/proc/self/fd/{}", file.as_raw_fd()));
        let _stay = self.stay();
        match node.data.get() {
            Some(file) => by(&file),
            None => by(&self.spot(node)?.handle()?),
        }
    }
}

/// An attribute's name on disk.
fn stored(name: &OsStr) -> Result<CString> {
    let name = name.as_bytes();
    let stored = match name.strip_prefix(OURS) {
        Some(rest) => [THEIRS, rest].concat(),
        None => name.to_owned(),
    };
    CString::new(stored).map_err(|_| Errno::INVAL)
}

/// Names as the container gave them, without ours.
fn shown(names: &[u8]) -> Vec<u8> {
    let mut shown = Vec::with_capacity(names.len());
    for name in names.split_inclusive(|byte| *byte == 0) {
        if let Some(rest) = name.strip_prefix(THEIRS) {
            shown.extend_from_slice(OURS);
            shown.extend_from_slice(rest);
        } else if !name.starts_with(OURS) {
            shown.extend_from_slice(name);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_attributes_are_hidden_and_theirs_are_kept_apart() {
        let stored = stored(OsStr::new("user.overlay.opaque")).expect("a name");
        assert_eq!(stored.to_bytes(), b"user.overlay.overlay.opaque");
        let names = b"user.overlay.opaque\0user.a\0user.overlay.overlay.opaque\0";
        assert_eq!(shown(names), b"user.a\0user.overlay.opaque\0");
    }
}
