//! The union: nodes to files in layers and back.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use fuser::{INodeNo, Notifier};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, openat, statat};
use rustix::io::Errno;

use super::Result;
use super::held::{Pool, Slot};
use super::look::{Found, Opened, look, open_directory, open_root};
use super::node::{Link, Node, Place, State, UPPER};
use super::siblings::Siblings;
use super::table::{ROOT, Table};

/// Layers merged into one tree, of which the uppermost is written to.
#[derive(Debug)]
pub(super) struct Union {
    /// Where files are made before they come into view.
    pub(super) work: OwnedFd,
    /// `/proc/self/fd`
    pub(super) proc: Arc<OwnedFd>,
    pub(super) table: Table,
    pub(super) pool: Pool,
    /// Who we are to the container: what is made belongs to these.
    pub(super) identity: (u32, u32),
    /// Whether nothing need survive a crash of the machine.
    pub(super) volatile: bool,
    /// Which lower files have several names; found out when it first matters.
    pub(super) siblings: Mutex<Option<Arc<Siblings>>>,
    /// Where everything is. Held while a node's place on disk is used, and alone to change places.
    places: RwLock<()>,
    /// The device that each layer lies on.
    devices: Vec<u64>,
    serial: AtomicU64,
    /// Held while something is written back late, and alone while a file gets a set-id bit.
    bits: RwLock<()>,
    /// Tells the kernel what it would not find out by itself; there once it listens.
    notifier: OnceLock<Notifier>,
}

/// How to name a file to system calls that take a directory and a name.
#[derive(Debug)]
pub(super) struct Spot {
    pub(super) directory: Arc<OwnedFd>,
    pub(super) name: CString,
    /// `SYMLINK_NOFOLLOW`, but for a removed file, which is a link of /proc.
    pub(super) flags: AtFlags,
    /// Held while that link is used.
    _pinned: Option<Arc<OwnedFd>>,
}

impl Union {
    /// A union of `layers`, of which the first is written to, then the topmost; all and `work` on
    /// one file system.
    pub(super) fn new(
        layers: &[OwnedFd],
        work: OwnedFd,
        proc: OwnedFd,
        limit: usize,
        volatile: bool,
    ) -> Result<(Self, Arc<Node>)> {
        let mut places = Vec::new();
        let mut devices = Vec::new();
        let mut lowest = (0, 0);
        for (layer, path) in layers.iter().enumerate() {
            let (opened, stat) = open_root(layer, path)?;
            devices.push(stat.st_dev);
            lowest = (stat.st_dev, stat.st_ino);
            let Some(directory) = Arc::into_inner(opened.directory) else { continue };
            let slot = Slot::fixed(directory);
            places.push(Place { layer, by_xattr: opened.by_xattr, slot });
        }
        let table = Table::default();
        let state = State { places, ..State::default() };
        let root = table.enter_root(lowest, Node::new(ROOT, FileType::Directory, state));
        let ids = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let union = Self {
            work,
            proc: Arc::new(proc),
            table,
            pool: Pool::new(limit),
            identity: ids,
            volatile,
            siblings: Mutex::default(),
            places: RwLock::default(),
            devices,
            serial: AtomicU64::new(0),
            bits: RwLock::default(),
            notifier: OnceLock::new(),
        };
        Ok((union, root))
    }

    /// From now on the kernel can be told.
    pub(super) fn set_notifier(&self, notifier: Notifier) {
        let _ = self.notifier.set(notifier);
    }

    /// Tells the kernel that what it knows of a file holds no more.
    pub(super) fn tell_changed(&self, id: u64) {
        if let Some(notifier) = self.notifier.get() {
            // Below no byte: its attributes, and nothing that it has read.
            let _ = notifier.inval_inode(INodeNo(id), -1, 0);
        }
    }

    /// Nothing changes its place meanwhile.
    pub(super) fn stay(&self) -> RwLockReadGuard<'_, ()> {
        self.places.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody looks meanwhile.
    pub(super) fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.places.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// No file gets a set-id bit meanwhile.
    pub(super) fn late(&self) -> RwLockReadGuard<'_, ()> {
        self.bits.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing is written back late meanwhile.
    pub(super) fn not_late(&self) -> RwLockWriteGuard<'_, ()> {
        self.bits.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node of a number.
    pub(super) fn node(&self, id: u64) -> Result<Arc<Node>> {
        self.table.get(id).ok_or(Errno::STALE)
    }

    /// A name that nothing in `work` has.
    pub(super) fn unused_name(&self) -> CString {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        CString::new(serial.to_string()).unwrap_or_default()
    }

    /// The number of a file of a layer by its inode number there.
    pub(super) fn number(&self, layer: usize, inode: u64) -> u64 {
        let device = self.devices.get(layer).copied().unwrap_or_default();
        self.table.number((device, inode))
    }

    /// A directory of one layer.
    pub(super) fn directory(&self, node: &Arc<Node>, layer: usize) -> Result<Arc<OwnedFd>> {
        let (slot, link) = {
            let state = node.state();
            let place = state.places.iter().find(|place| place.layer == layer);
            (Arc::clone(&place.ok_or(Errno::NOENT)?.slot), state.links.first().cloned())
        };
        if let Some(held) = slot.get() {
            return Ok(held);
        }
        let link = link.ok_or(Errno::STALE)?;
        let parent = self.directory(&link.parent, layer)?;
        Ok(self.pool.hold(&slot, open_directory(&parent, &link.name)?))
    }

    /// All directories that are merged in a node; none where it was removed.
    pub(super) fn opened(&self, node: &Arc<Node>) -> Result<Vec<Opened>> {
        let places = node.places();
        let open = |place: &Place| {
            let directory = match place.slot.get() {
                Some(held) => held,
                None => self.directory(node, place.layer)?,
            };
            Ok(Opened { layer: place.layer, by_xattr: place.by_xattr, directory })
        };
        places.iter().map(open).collect()
    }

    /// What a name is in a directory.
    pub(super) fn find(&self, parent: &Arc<Node>, name: &CStr) -> Result<Option<Found>> {
        look(&self.opened(parent)?, name)
    }

    /// Where a file is to be found.
    pub(super) fn spot(&self, node: &Arc<Node>) -> Result<Spot> {
        let (pinned, link) = {
            let state = node.state();
            (state.pinned.clone(), state.links.first().cloned())
        };
        if node.kind == FileType::Directory {
            let top = node.state().places.first().map(|place| place.layer);
            let directory = match (pinned, top) {
                (Some(pinned), _) => pinned,
                (None, Some(top)) => self.directory(node, top)?,
                (None, None) => return Err(Errno::STALE),
            };
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            return Ok(Spot { directory, name: c".".to_owned(), flags, _pinned: None });
        }
        if let Some(link) = link {
            let directory = self.directory(&link.parent, link.layer)?;
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            return Ok(Spot { directory, name: link.name, flags, _pinned: None });
        }
        let pinned = pinned.ok_or(Errno::STALE)?;
        let name = CString::new(pinned.as_raw_fd().to_string()).map_err(|_| Errno::INVAL)?;
        let directory = Arc::clone(&self.proc);
        Ok(Spot { directory, name, flags: AtFlags::empty(), _pinned: Some(pinned) })
    }

    /// What a file is, as the container sees it.
    pub(super) fn stat(&self, node: &Arc<Node>) -> Result<Stat> {
        let mut stat = self.spot(node)?.stat()?;
        Self::adjust(node, &mut stat);
        Ok(stat)
    }

    /// Counts names as the container does.
    pub(super) fn adjust(node: &Arc<Node>, stat: &mut Stat) {
        let state = node.state();
        if node.kind == FileType::Directory {
            // overlayfs too: nobody has counted the directories in it.
            if state.places.len() > 1 {
                stat.st_nlink = 1;
            }
        } else if !state.upper {
            let left = stat.st_nlink.saturating_sub(state.hidden.into());
            stat.st_nlink = left.max(u64::from(!state.links.is_empty()));
        }
    }

    /// A name looked up for the kernel, which is told of it once more.
    pub(super) fn lookup(
        &self,
        parent: &Arc<Node>,
        name: &CStr,
    ) -> Result<Option<(Arc<Node>, Stat)>> {
        let Some(found) = self.find(parent, name)? else { return Ok(None) };
        let mut stat = *found.stat();
        let node = self.tell(parent, name, found);
        Self::adjust(&node, &mut stat);
        Ok(Some((node, stat)))
    }

    /// The node of what was found, of which the kernel is told.
    pub(super) fn tell(&self, parent: &Arc<Node>, name: &CStr, found: Found) -> Arc<Node> {
        let (key, link) = (found.key(), link(parent, name, &found));
        let node = self.table.enter(key, |id| self.made(id, &link, found));
        Self::lead(&node, link);
        node
    }

    /// The same, without the kernel.
    pub(super) fn meet(&self, parent: &Arc<Node>, name: &CStr, found: Found) -> Arc<Node> {
        let (key, link) = (found.key(), link(parent, name, &found));
        let node = self.table.meet(key, |id| self.made(id, &link, found));
        Self::lead(&node, link);
        node
    }

    fn made(&self, id: u64, link: &Link, found: Found) -> Node {
        let kind = FileType::from_raw_mode(found.stat().st_mode);
        let links = vec![link.clone()];
        let state = match found {
            Found::File { layer, .. } => State { links, upper: layer == UPPER, ..State::default() },
            Found::Directory { places, .. } => {
                let hold = |opened: Opened| {
                    let slot = Arc::new(Slot::default());
                    if let Some(directory) = Arc::into_inner(opened.directory) {
                        self.pool.hold(&slot, directory);
                    }
                    Place { layer: opened.layer, by_xattr: opened.by_xattr, slot }
                };
                let places = places.into_iter().map(hold).collect();
                State { links, places, ..State::default() }
            }
        };
        Node::new(id, kind, state)
    }

    /// Another name of a file that is known by others.
    fn lead(node: &Arc<Node>, link: Link) {
        let mut state = node.state();
        let is_new = state.find(&link.parent, &link.name).is_none();
        let is_same_layer = state.upper == (link.layer == UPPER);
        if is_new && is_same_layer && node.kind != FileType::Directory {
            state.links.push(link);
            state.pinned = None;
        }
    }

    /// A file's data, open; for writing only once it lies in the upper layer.
    pub(super) fn data(&self, node: &Arc<Node>) -> Result<Arc<OwnedFd>> {
        if let Some(held) = node.data.get() {
            return Ok(held);
        }
        let _stay = self.stay();
        self.data_here(node)
    }

    /// The same for who holds everything in its place.
    pub(super) fn data_here(&self, node: &Arc<Node>) -> Result<Arc<OwnedFd>> {
        if let Some(held) = node.data.get() {
            return Ok(held);
        }
        let access = if node.is_upper() { OFlags::RDWR } else { OFlags::RDONLY };
        let file = self.spot(node)?.open(access)?;
        Ok(self.pool.hold(&node.data, file))
    }
}

impl Spot {
    pub(super) fn stat(&self) -> Result<Stat> {
        statat(&self.directory, &self.name, self.flags)
    }

    /// Opens the file; reading leaves no trace in a layer that others share.
    pub(super) fn open(&self, access: OFlags) -> Result<OwnedFd> {
        let mut flags = access | OFlags::CLOEXEC | OFlags::NOATIME | OFlags::NONBLOCK;
        if self.flags.contains(AtFlags::SYMLINK_NOFOLLOW) {
            flags |= OFlags::NOFOLLOW;
        }
        match openat(&self.directory, &self.name, flags, Mode::empty()) {
            Err(Errno::PERM) => {
                openat(&self.directory, &self.name, flags - OFlags::NOATIME, Mode::empty())
            }
            other => other,
        }
    }

    /// Opens a handle of whatever it is.
    pub(super) fn handle(&self) -> Result<OwnedFd> {
        let mut flags = OFlags::PATH | OFlags::CLOEXEC;
        if self.flags.contains(AtFlags::SYMLINK_NOFOLLOW) {
            flags |= OFlags::NOFOLLOW;
        }
        openat(&self.directory, &self.name, flags, Mode::empty())
    }
}

fn link(parent: &Arc<Node>, name: &CStr, found: &Found) -> Link {
    let layer = match found {
        Found::File { layer, .. } => *layer,
        Found::Directory { places, .. } => places.first().map_or(UPPER, |place| place.layer),
    };
    Link { parent: Arc::clone(parent), name: name.to_owned(), layer }
}
