//! Names in merged directories, without nodes: which layer has what.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fgetxattr, fstat, openat, statat};
use rustix::io::Errno;

use super::Result;
use super::node::{Key, key_of};

/// overlayfs: `y` hides what lies below a directory, `x` says that it holds [`XWHITEOUT`]s.
pub(super) const OPAQUE: &CStr = c"user.overlay.opaque";
/// overlayfs: an empty file with this attribute is a whiteout.
pub(super) const XWHITEOUT: &CStr = c"user.overlay.whiteout";

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A directory in one layer, open.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) layer: usize,
    pub(super) by_xattr: bool,
    pub(super) directory: Arc<OwnedFd>,
}

/// What a name is.
#[derive(Debug)]
pub(super) enum Found {
    /// Anything but a directory.
    File { layer: usize, stat: Stat },
    /// A directory: its places, the topmost first, what the topmost is, and who the lowest is,
    /// which stays so when it is copied up.
    Directory { places: Vec<Opened>, stat: Stat, lowest: Key },
}

impl Found {
    /// What it is on top.
    pub(super) fn stat(&self) -> &Stat {
        match self {
            Self::File { stat, .. } | Self::Directory { stat, .. } => stat,
        }
    }

    /// Who it is.
    pub(super) fn key(&self) -> Key {
        match self {
            Self::File { stat, .. } => key_of(stat),
            Self::Directory { lowest, .. } => *lowest,
        }
    }
}

/// What `name` is in merged directories; `None` where none has it, or one hides it.
pub(super) fn look(places: &[Opened], name: &CStr) -> Result<Option<Found>> {
    let mut merged: Option<(Vec<Opened>, Stat, Key)> = None;
    for place in places {
        let stat = match statat(&place.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(errno),
        };
        if is_whiteout(place, name, &stat) {
            break;
        }
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            if merged.is_none() {
                return Ok(Some(Found::File { layer: place.layer, stat }));
            }
            break; // a directory above hides it
        }
        let opened = openat(&place.directory, name, DIRECTORY, Mode::empty())?;
        let mark = mark(&opened);
        let (places, _, lowest) = merged.get_or_insert_with(|| (Vec::new(), stat, key_of(&stat)));
        *lowest = key_of(&stat);
        places.push(Opened {
            layer: place.layer,
            by_xattr: mark == b'x',
            directory: Arc::new(opened),
        });
        if mark == b'y' {
            break;
        }
    }
    Ok(merged.map(|(places, stat, lowest)| Found::Directory { places, stat, lowest }))
}

/// Whether a name is there at all in these places, and not hidden.
pub(super) fn has(places: &[Opened], name: &CStr) -> Result<bool> {
    for place in places {
        match statat(&place.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => return Ok(!is_whiteout(place, name, &stat)),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(false)
}

/// The root of a layer.
pub(super) fn open_root(layer: usize, path: impl AsFd) -> Result<(Opened, Stat)> {
    let directory = openat(path, c".", DIRECTORY, Mode::empty())?;
    let stat = fstat(&directory)?;
    let by_xattr = mark(&directory) == b'x';
    Ok((Opened { layer, by_xattr, directory: Arc::new(directory) }, stat))
}

/// Opens a directory in another.
pub(super) fn open_directory(parent: impl AsFd, name: &CStr) -> Result<OwnedFd> {
    openat(parent, name, DIRECTORY, Mode::empty())
}

/// Whether what stands for a name says that there is none.
pub(super) fn is_whiteout(place: &Opened, name: &CStr, stat: &Stat) -> bool {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice => stat.st_rdev == 0,
        FileType::RegularFile if place.by_xattr && stat.st_size == 0 => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = openat(&place.directory, name, flags, Mode::empty());
            file.is_ok_and(|file| fgetxattr(&file, XWHITEOUT, &mut [0; 1][..]).is_ok())
        }
        _ => false,
    }
}

/// What overlayfs's attribute says of a directory: `y`, `x` or nothing.
fn mark(directory: &OwnedFd) -> u8 {
    let mut value = [0; 1];
    match fgetxattr(directory, OPAQUE, &mut value[..]) {
        Ok(1) => value[0],
        _ => 0,
    }
}
