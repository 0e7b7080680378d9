//! A file of the union as the kernel knows it: a number, and where it lies.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::held::{Slot, lock};
use super::list::Names;

/// The layer that is written to; the others count from 1, the topmost first.
pub(super) const UPPER: usize = 0;

/// Who a file is on disk: device and inode number.
pub(super) type Key = (u64, u64);

/// The identity that a file has on disk.
pub(super) fn key_of(stat: &Stat) -> Key {
    (stat.st_dev, stat.st_ino)
}

/// One file or directory.
#[derive(Debug)]
pub(super) struct Node {
    /// Its number, for the kernel and for `st_ino` alike.
    pub(super) id: u64,
    /// What it is; that never changes.
    pub(super) kind: FileType,
    state: Mutex<State>,
    /// Held while it is copied up, so that it is done once.
    pub(super) copying: Mutex<()>,
    /// Its data, open: for writing too once it lies in the upper layer.
    pub(super) data: Arc<Slot>,
    /// Whether it had the set-user-ID or set-group-ID bit when that was last told.
    pub(super) set_id: AtomicBool,
    /// Why what was written late could not be kept (an errno, 0 for nothing): for who writes next.
    pub(super) failed: AtomicI32,
    /// The names in it, as they were last read.
    pub(super) listing: Mutex<Names>,
}

/// Where a node lies.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Its names, of which all lead to the same file. None: the root, or removed.
    pub(super) links: Vec<Link>,
    /// The directories that are merged in it, the topmost first. A removed one has none.
    pub(super) places: Vec<Place>,
    /// A removed file or directory that may be in use.
    pub(super) pinned: Option<Arc<OwnedFd>>,
    /// Whether a file lies in the upper layer; for a directory its places tell.
    pub(super) upper: bool,
    /// How many of a lower file's names are removed.
    pub(super) hidden: u32,
}

/// One name of a node.
#[derive(Clone, Debug)]
pub(super) struct Link {
    /// The directory that it lies in.
    pub(super) parent: Arc<Node>,
    /// Its name there.
    pub(super) name: CString,
    /// In which layer.
    pub(super) layer: usize,
}

/// One directory of those that are merged.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// In which layer.
    pub(super) layer: usize,
    /// Whether files with an attribute may be whiteouts here.
    pub(super) by_xattr: bool,
    /// The directory, open.
    pub(super) slot: Arc<Slot>,
}

impl Node {
    pub(super) fn new(id: u64, kind: FileType, state: State) -> Self {
        Self {
            id,
            kind,
            state: Mutex::new(state),
            copying: Mutex::default(),
            data: Arc::default(),
            set_id: AtomicBool::new(true), // until it is looked at
            failed: AtomicI32::new(0),
            listing: Mutex::default(),
        }
    }

    /// Where it lies; for a moment only, and not while another node's is held.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The directories that are merged here.
    pub(super) fn places(&self) -> Vec<Place> {
        self.state().places.clone()
    }

    /// Whether it can be written to where it lies.
    pub(super) fn is_upper(&self) -> bool {
        let state = self.state();
        match self.kind {
            FileType::Directory => state.places.first().is_some_and(|place| place.layer == UPPER),
            _ => state.upper,
        }
    }

    /// Notes how writing ended; whether that is news for who writes next.
    pub(super) fn note_failure(&self, errno: Option<Errno>) -> bool {
        let errno = errno.map_or(0, Errno::raw_os_error);
        self.failed.load(Ordering::Relaxed) != errno
            && self.failed.swap(errno, Ordering::Relaxed) == 0
    }

    /// The failure that was noted last, once.
    pub(super) fn tell_failure(&self) -> Result<(), Errno> {
        match self.failed.swap(0, Ordering::Relaxed) {
            0 => Ok(()),
            errno => Err(Errno::from_raw_os_error(errno)),
        }
    }

    /// Says that who starts to read its names must read them anew.
    pub(super) fn changed(&self) {
        lock(&self.listing).changed();
    }
}

impl State {
    /// Whether a name is one of its own.
    pub(super) fn find(&self, parent: &Arc<Node>, name: &std::ffi::CStr) -> Option<usize> {
        self.links
            .iter()
            .position(|link| Arc::ptr_eq(&link.parent, parent) && link.name.as_c_str() == name)
    }
}
