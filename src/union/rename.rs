//! Renames. A directory that lies in a lower layer is not renamed (`EXDEV`, as overlayfs answers
//! with `userxattr`): mv(1) and its kin then copy.

use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, RenameFlags, renameat, renameat_with, statat, unlinkat};
use rustix::io::Errno;

use super::Result;
use super::change::set_opaque;
use super::list;
use super::look::{Found, Opened, has, is_whiteout, look};
use super::node::{Link, Node, UPPER};
use super::tree::Union;

/// One end of a rename: a name in a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct End<'a> {
    pub(super) parent: &'a Arc<Node>,
    pub(super) name: &'a CStr,
}

/// What is at an end, while everything stays in its place.
struct There {
    places: Vec<Opened>,
    found: Option<Found>,
    /// Whether a lower layer has the name.
    below: bool,
}

impl There {
    fn upper(&self) -> &OwnedFd {
        &self.places[0].directory
    }
}

impl Union {
    /// Renames, or exchanges.
    pub(super) fn rename(&self, from: End<'_>, to: End<'_>, flags: RenameFlags) -> Result<()> {
        let known = RenameFlags::NOREPLACE | RenameFlags::EXCHANGE;
        if !known.contains(flags) {
            return Err(Errno::INVAL);
        }
        let exchange = flags.contains(RenameFlags::EXCHANGE);
        self.make_movable(from)?;
        if exchange {
            self.make_movable(to)?;
        }
        self.copy_up(from.parent, 0)?;
        self.copy_up(to.parent, 0)?;
        let _alone = self.alone();
        let (source, target) = (self.there(from)?, self.there(to)?);
        let moved = source.found.as_ref().ok_or(Errno::NOENT)?;
        let covered = target.found.as_ref();
        if exchange {
            let covered = covered.ok_or(Errno::NOENT)?;
            hide(moved, target.below)?;
            hide(covered, source.below)?;
            renameat_with(
                source.upper(),
                from.name,
                target.upper(),
                to.name,
                RenameFlags::EXCHANGE,
            )?;
            self.lead_to(moved, from, to);
            self.lead_to(covered, to, from);
        } else {
            if covered.is_some() && flags.contains(RenameFlags::NOREPLACE) {
                return Err(Errno::EXIST);
            }
            self.replace(from, to, &source, &target)?;
            self.lead_to(moved, from, to);
        }
        from.parent.changed();
        to.parent.changed();
        Ok(())
    }

    /// Brings a file into the upper layer; a directory must lie there and nowhere else.
    fn make_movable(&self, end: End<'_>) -> Result<()> {
        let node = {
            let _stay = self.stay();
            let found = self.find(end.parent, end.name)?.ok_or(Errno::NOENT)?;
            if let Found::Directory { places, .. } = &found {
                let is_upper = matches!(&places[..], [place] if place.layer == UPPER);
                return if is_upper { Ok(()) } else { Err(Errno::XDEV) };
            }
            self.meet(end.parent, end.name, found)
        };
        self.copy_up(&node, u64::MAX)
    }

    fn there(&self, end: End<'_>) -> Result<There> {
        let places = self.opened(end.parent)?;
        if places.first().is_none_or(|place| place.layer != UPPER) {
            return Err(Errno::NOENT); // removed meanwhile
        }
        let (found, below) = (look(&places, end.name)?, has(&places[1..], end.name)?);
        Ok(There { places, found, below })
    }

    fn replace(&self, from: End<'_>, to: End<'_>, source: &There, target: &There) -> Result<()> {
        let (old, new) = (source.upper(), target.upper());
        let Some(moved) = &source.found else { return Err(Errno::NOENT) };
        let Found::Directory { .. } = moved else {
            let gone = match &target.found {
                Some(Found::Directory { .. }) => return Err(Errno::ISDIR),
                Some(Found::File { layer, stat }) => {
                    let new = &target.places[0].directory;
                    Some(self.leave(new, to.parent, to.name, &target.places, *layer, stat)?)
                }
                None => None,
            };
            self.move_file(from, to, old, new, source.below)?;
            if let Some(gone) = gone {
                gone.settle(self);
            }
            return Ok(());
        };
        match &target.found {
            Some(Found::File { .. }) => return Err(Errno::NOTDIR),
            Some(Found::Directory { places, .. }) if !list::read(places)?.is_empty() => {
                return Err(Errno::NOTEMPTY);
            }
            _ => {}
        }
        hide(moved, target.below)?;
        self.move_directory(from, to, source, target)?;
        if let Some(found) = &target.found {
            self.dead(found);
        }
        Ok(())
    }

    fn move_file(
        &self,
        from: End<'_>,
        to: End<'_>,
        old: &OwnedFd,
        new: &OwnedFd,
        leave_whiteout: bool,
    ) -> Result<()> {
        if !leave_whiteout {
            return renameat(old, from.name, new, to.name);
        }
        match renameat_with(old, from.name, new, to.name, RenameFlags::WHITEOUT) {
            Err(Errno::PERM | Errno::INVAL | Errno::NOSYS) => {}
            other => return other,
        }
        // A whiteout takes its place first: at no moment is there what lies below.
        let made = self.unused_name();
        self.make_whiteout(from.parent, &self.work, &made)?;
        renameat_with(&self.work, &made, old, from.name, RenameFlags::EXCHANGE)?;
        renameat(&self.work, &made, new, to.name)
    }

    fn move_directory(
        &self,
        from: End<'_>,
        to: End<'_>,
        source: &There,
        target: &There,
    ) -> Result<()> {
        let (old, new) = (source.upper(), target.upper());
        let leave_whiteout = source.below;
        let there = match statat(new, to.name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => None,
            stat => Some(stat?),
        };
        let Some(there) = there else {
            return self.move_file(from, to, old, new, leave_whiteout);
        };
        renameat_with(old, from.name, new, to.name, RenameFlags::EXCHANGE)?;
        // What was there now has the old name.
        let is_directory = FileType::from_raw_mode(there.st_mode) == FileType::Directory;
        match (is_directory, leave_whiteout) {
            (false, true) if is_whiteout(&source.places[0], from.name, &there) => Ok(()),
            (_, true) => self.replace_by_whiteout(from.parent, old, from.name),
            (true, false) => self.throw_away(old, from.name),
            (false, false) => unlinkat(old, from.name, AtFlags::empty()),
        }
    }

    /// What was found at one end lies at the other now.
    fn lead_to(&self, found: &Found, from: End<'_>, to: End<'_>) {
        let Some(node) = self.table.by_key(found.key()) else { return };
        let link = Link { parent: Arc::clone(to.parent), name: to.name.to_owned(), layer: UPPER };
        let mut state = node.state();
        match state.find(from.parent, from.name) {
            Some(index) => state.links[index] = link,
            None => state.links.push(link),
        }
    }
}

/// A directory that comes to lie over another hides it.
fn hide(found: &Found, below: bool) -> Result<()> {
    match found {
        Found::Directory { places, .. } if below => set_opaque(&places[0].directory),
        _ => Ok(()),
    }
}
