//! Names made and removed.

use std::cell::Cell;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Stat, Uid, XattrFlags, chmodat, chownat,
    fgetxattr, fsetxattr, fstat, linkat, mkdirat, mknodat, openat, renameat, renameat_with, statat,
    symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::Result;
use super::copy_up::whole;
use super::list;
use super::look::{Found, OPAQUE, Opened, XWHITEOUT, has, is_whiteout, look, open_directory};
use super::node::{Link, Node, UPPER, key_of};
use super::tree::Union;

const DEFAULT_ACL: &CStr = c"system.posix_acl_default";

/// What is made.
#[derive(Clone, Copy, Debug)]
pub(super) enum What<'a> {
    File { mode: u32 },
    Node { kind: FileType, mode: u32, device: u64 },
    Directory { mode: u32 },
    Symlink { target: &'a CStr },
}

/// Who makes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Maker {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) umask: u32,
}

impl Union {
    /// Makes something new and tells the kernel of it.
    pub(super) fn make(
        &self,
        parent: &Arc<Node>,
        name: &CStr,
        what: What<'_>,
        maker: Maker,
    ) -> Result<(Arc<Node>, Stat)> {
        self.copy_up(parent, 0)?;
        let _alone = self.alone();
        let directory = self.directory(parent, UPPER)?;
        set_umask(maker.umask)?;
        let file = match what.create(&directory, name) {
            Err(Errno::EXIST) if self.is_hidden(parent, name)? => {
                self.make_over_whiteout(&directory, name, what, maker)?;
                None
            }
            Err(errno) => return Err(errno),
            Ok(file) => {
                if let Err(errno) = self.give(&directory, &directory, name, what, maker) {
                    let _ = unlinkat(&directory, name, what.removal());
                    return Err(errno);
                }
                file
            }
        };
        parent.changed();
        let found = look(&self.opened(parent)?[..1], name)?.ok_or(Errno::IO)?;
        let stat = *found.stat();
        let node = self.tell(parent, name, found);
        if let Some(file) = file {
            self.pool.hold(&node.data, file); // it is about to be written to
        }
        Ok((node, stat))
    }

    /// Gives something new in `at` to its maker, as if it had been made in `directory`.
    fn give(
        &self,
        directory: &OwnedFd,
        at: &OwnedFd,
        name: &CStr,
        what: What<'_>,
        maker: Maker,
    ) -> Result<()> {
        let is_elsewhere = !std::ptr::eq(directory, at);
        if (maker.uid, maker.gid) == self.identity && !is_elsewhere {
            return Ok(());
        }
        let above = fstat(directory)?;
        // A directory may hand its group on (inode(7), "The set-group-ID bit").
        let inherits = above.st_mode & 0o2000 != 0;
        let gid = if inherits { above.st_gid } else { maker.gid };
        let made = statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if (made.st_uid, made.st_gid) != (maker.uid, gid) {
            let (uid, gid) = (Uid::from_raw(maker.uid), Gid::from_raw(gid));
            chownat(at, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        let mut mode = made.st_mode & 0o7777;
        if inherits && matches!(what, What::Directory { .. }) {
            mode |= 0o2000;
        }
        // chown(2) has taken these bits away.
        if mode & 0o6000 != 0 && !matches!(what, What::Symlink { .. }) {
            chmodat(at, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
        }
        Ok(())
    }

    /// Makes something where a whiteout is, so that what that hides is never seen.
    fn make_over_whiteout(
        &self,
        directory: &OwnedFd,
        name: &CStr,
        what: What<'_>,
        maker: Maker,
    ) -> Result<()> {
        // What a new file inherits it has from the directory that it is made in.
        let acl = whole(|buffer| fgetxattr(directory, DEFAULT_ACL, buffer)).ok();
        let nest = self.unused_name();
        mkdirat(&self.work, &nest, Mode::RWXU)?;
        let make = || {
            let at = open_directory(&self.work, &nest)?;
            if let Some(acl) = &acl {
                fsetxattr(&at, DEFAULT_ACL, acl, XattrFlags::empty())?;
            }
            let made = self.unused_name();
            what.create(&at, &made)?;
            let place = || {
                self.give(directory, &at, &made, what, maker)?;
                if matches!(what, What::Directory { .. }) {
                    set_opaque(&open_directory(&at, &made)?)?;
                    renameat_with(&at, &made, directory, name, RenameFlags::EXCHANGE)?;
                    return unlinkat(&at, &made, AtFlags::empty());
                }
                renameat(&at, &made, directory, name)
            };
            let placed = place();
            if placed.is_err() {
                let _ = unlinkat(&at, &made, what.removal());
            }
            placed
        };
        let made = make();
        let _ = unlinkat(&self.work, &nest, AtFlags::REMOVEDIR);
        made
    }

    /// Whether the upper layer says that there is no such name.
    fn is_hidden(&self, parent: &Arc<Node>, name: &CStr) -> Result<bool> {
        let opened = self.opened(parent)?;
        let upper = opened.first().ok_or(Errno::NOENT)?;
        let stat = statat(&upper.directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(is_whiteout(upper, name, &stat))
    }

    /// Another name for a file.
    pub(super) fn link(&self, node: &Arc<Node>, parent: &Arc<Node>, name: &CStr) -> Result<Stat> {
        self.copy_up(parent, 0)?;
        self.copy_up(node, u64::MAX)?;
        let _alone = self.alone();
        let (spot, directory) = (self.spot(node)?, self.directory(parent, UPPER)?);
        let flags = match spot.flags.contains(AtFlags::SYMLINK_NOFOLLOW) {
            true => AtFlags::empty(),
            false => AtFlags::SYMLINK_FOLLOW,
        };
        match linkat(&spot.directory, &spot.name, &directory, name, flags) {
            Err(Errno::EXIST) if self.is_hidden(parent, name)? => {
                let made = self.unused_name();
                linkat(&spot.directory, &spot.name, &self.work, &made, flags)?;
                if let Err(errno) = renameat(&self.work, &made, &directory, name) {
                    let _ = unlinkat(&self.work, &made, AtFlags::empty());
                    return Err(errno);
                }
            }
            other => other?,
        }
        parent.changed();
        let link = Link { parent: Arc::clone(parent), name: name.to_owned(), layer: UPPER };
        node.state().links.push(link);
        self.table.again(node);
        self.spot(node)?.stat()
    }

    /// Removes a file's name.
    pub(super) fn unlink(&self, parent: &Arc<Node>, name: &CStr) -> Result<()> {
        self.copy_up(parent, 0)?;
        let _alone = self.alone();
        let places = self.opened(parent)?;
        let (layer, stat) = match look(&places, name)? {
            Some(Found::File { layer, stat }) => (layer, stat),
            Some(Found::Directory { .. }) => return Err(Errno::ISDIR),
            None => return Err(Errno::NOENT),
        };
        let directory = Arc::clone(&places[0].directory);
        let gone = self.leave(&directory, parent, name, &places, layer, &stat)?;
        if layer != UPPER {
            self.make_whiteout(parent, &directory, name)?;
        } else if has(&places[1..], name)? {
            self.replace_by_whiteout(parent, &directory, name)?;
        } else {
            unlinkat(&directory, name, AtFlags::empty())?;
        }
        gone.settle(self);
        parent.changed();
        Ok(())
    }

    /// Removes an empty directory.
    pub(super) fn remove_directory(&self, parent: &Arc<Node>, name: &CStr) -> Result<()> {
        let found = {
            let _stay = self.stay();
            self.find(parent, name)?.ok_or(Errno::NOENT)?
        };
        let Found::Directory { places: inside, .. } = &found else { return Err(Errno::NOTDIR) };
        if !list::read(inside)?.is_empty() {
            return Err(Errno::NOTEMPTY);
        }
        self.copy_up(parent, 0)?;
        let _alone = self.alone();
        let places = self.opened(parent)?;
        let directory = Arc::clone(&places[0].directory);
        let is_upper = inside.first().is_some_and(|place| place.layer == UPPER);
        match (is_upper, has(&places[1..], name)?) {
            (false, _) => self.make_whiteout(parent, &directory, name)?,
            (true, true) => self.replace_by_whiteout(parent, &directory, name)?,
            (true, false) => match unlinkat(&directory, name, AtFlags::REMOVEDIR) {
                Err(Errno::NOTEMPTY | Errno::EXIST) => self.throw_away(&directory, name)?,
                other => other?,
            },
        }
        self.dead(&found);
        parent.changed();
        Ok(())
    }

    /// A directory is no more; who is in it sees it empty.
    pub(super) fn dead(&self, found: &Found) {
        let Found::Directory { places, lowest, .. } = found else { return };
        if let Some(node) = self.table.by_key(*lowest) {
            let mut state = node.state();
            state.links.clear();
            state.places.clear();
            state.pinned = places.first().map(|place| Arc::clone(&place.directory));
            drop(state);
            node.changed();
        }
        if let Some(upper) = places.first().filter(|place| place.layer == UPPER)
            && let Ok(stat) = fstat(&upper.directory)
        {
            self.table.removed(key_of(&stat));
        }
    }

    /// What removing a file's name means for its node: settled when the name is gone.
    pub(super) fn leave(
        &self,
        directory: &Arc<OwnedFd>,
        parent: &Arc<Node>,
        name: &CStr,
        places: &[Opened],
        layer: usize,
        stat: &Stat,
    ) -> Result<Gone> {
        let key = key_of(stat);
        let last = layer == UPPER && stat.st_nlink <= 1;
        let Some(node) = self.table.by_key(key) else {
            return Ok(Gone { node: None, link: None, pinned: None, key: last.then_some(key) });
        };
        let (link, names) = {
            let state = node.state();
            (state.find(parent, name), state.links.len())
        };
        let mut pinned = None;
        if names <= 1 {
            // Whoever has it open goes on with it.
            let place = places.iter().find(|place| place.layer == layer);
            let at = place.map_or(directory, |place| &place.directory);
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            pinned = Some(Arc::new(openat(at, name, flags, Mode::empty())?));
        }
        Ok(Gone { node: Some(node), link, pinned, key: last.then_some(key) })
    }

    /// Says in the upper layer that there is no such name, where nothing is.
    pub(super) fn make_whiteout(
        &self,
        parent: &Arc<Node>,
        directory: &OwnedFd,
        name: &CStr,
    ) -> Result<()> {
        match mknodat(directory, name, FileType::CharacterDevice, Mode::empty(), 0) {
            // Kernels before 5.8, and sandboxes that filter mknod.
            Err(Errno::PERM | Errno::ACCESS) => {}
            other => return other,
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(directory, name, flags, Mode::RUSR)?;
        fsetxattr(&file, XWHITEOUT, b"y", XattrFlags::empty())?;
        let upper = self.directory(parent, UPPER)?;
        fsetxattr(&upper, OPAQUE, b"x", XattrFlags::empty())?;
        if let Some(place) = parent.state().places.first_mut() {
            place.by_xattr = true;
        }
        Ok(())
    }

    /// The same in the place of something, which is thrown away.
    pub(super) fn replace_by_whiteout(
        &self,
        parent: &Arc<Node>,
        directory: &OwnedFd,
        name: &CStr,
    ) -> Result<()> {
        let made = self.unused_name();
        self.make_whiteout(parent, &self.work, &made)?;
        match renameat(&self.work, &made, directory, name) {
            Err(Errno::ISDIR | Errno::EXIST | Errno::NOTEMPTY) => {}
            other => return other,
        }
        renameat_with(&self.work, &made, directory, name, RenameFlags::EXCHANGE)?;
        self.clear(&made)
    }

    /// Removes a directory that holds whiteouts and nothing else.
    pub(super) fn throw_away(&self, directory: &OwnedFd, name: &CStr) -> Result<()> {
        let made = self.unused_name();
        renameat(directory, name, &self.work, &made)?;
        self.clear(&made)
    }

    fn clear(&self, made: &CString) -> Result<()> {
        crate::sys::remove_tree_at(&self.work, OsStr::from_bytes(made.to_bytes()))
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }
}

/// A name that is about to be removed.
#[derive(Debug)]
pub(super) struct Gone {
    node: Option<Arc<Node>>,
    link: Option<usize>,
    pinned: Option<Arc<OwnedFd>>,
    /// Who is no more on disk.
    key: Option<super::node::Key>,
}

impl Gone {
    /// The name is gone.
    pub(super) fn settle(self, union: &Union) {
        if let Some(node) = &self.node {
            let mut state = node.state();
            if let Some(link) = self.link.filter(|link| *link < state.links.len()) {
                state.links.remove(link);
            }
            if state.links.is_empty() {
                state.pinned = self.pinned;
            }
            if !state.upper {
                state.hidden += 1;
            }
        }
        if let Some(key) = self.key {
            union.table.removed(key);
        }
    }
}

impl What<'_> {
    /// Makes it; a file stays open.
    fn create(self, directory: &OwnedFd, name: &CStr) -> Result<Option<OwnedFd>> {
        let mode = |mode: u32| Mode::from_raw_mode(mode & 0o7777);
        match self {
            Self::File { mode: bits } => {
                let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                openat(directory, name, flags, mode(bits)).map(Some)
            }
            Self::Node { kind, mode: bits, device } => {
                mknodat(directory, name, kind, mode(bits), device).map(|()| None)
            }
            Self::Directory { mode: bits } => mkdirat(directory, name, mode(bits)).map(|()| None),
            Self::Symlink { target } => symlinkat(target, directory, name).map(|()| None),
        }
    }

    fn removal(self) -> AtFlags {
        match self {
            Self::Directory { .. } => AtFlags::REMOVEDIR,
            _ => AtFlags::empty(),
        }
    }
}

/// Hides what lies below a directory.
pub(super) fn set_opaque(directory: &OwnedFd) -> Result<()> {
    fsetxattr(directory, OPAQUE, b"y", XattrFlags::empty())
}

/// Sets the umask of this thread alone: the file system takes it where no default ACL says otherwise.
fn set_umask(umask: u32) -> Result<()> {
    thread_local!(static APART: Cell<bool> = const { Cell::new(false) });
    if !APART.get() {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS)
            .map_err(|errno| Errno::from_raw_os_error(errno as i32))?;
        APART.set(true);
    }
    rustix::process::umask(Mode::from_raw_mode(umask & 0o777));
    Ok(())
}
