//! overlayfs: an empty directory to write to, on top of the layers.

use std::fs::{DirBuilder, File};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, Stat, Uid, fchmod, fchown};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};

use crate::layer::copy_xattrs;
use crate::layer::stack::{Directory, is_opaque};

use super::{At, Error};

/// What a union has: its lower directories, the topmost first, the upper one and its scratch space.
type Union = (Vec<PathBuf>, PathBuf, PathBuf);

pub(super) fn prepare(layers: &[PathBuf], container: &Path) -> Result<Union, Error> {
    let (upper, work) = (container.join("upper"), container.join("work"));
    for path in [&upper, &work] {
        match make(path) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::AlreadyExists => {} // the spare's
            other => other?,
        }
    }
    let mut lowers = lowers(layers)?;
    if lowers.is_empty() {
        let empty = container.join("empty"); // overlayfs wants a lower one
        make(&empty)?;
        lowers.push(empty);
    }
    // What the container sees as the attributes of / are those of the uppermost directory.
    let root = Directory::root(layers).at("open the layers of", container)?;
    let opened = File::open(&upper).at("open", &upper)?;
    match root.top().at("look at the layers of", container)? {
        Some((top, stat)) => resemble(&opened, top, &stat).at("set the attributes of", &upper)?,
        None => fchmod(&opened, Mode::from_raw_mode(0o755)).at("set the mode of", &upper)?,
    }
    Ok((lowers, upper, work))
}

/// What is laid over a directory of the host for changes that are thrown away: an upper directory and
/// its scratch space, made below `place`.
pub fn throw_away(lower: &Path, place: &Path) -> Result<(PathBuf, PathBuf), Error> {
    make(place)?;
    let (upper, work) = (place.join("upper"), place.join("work"));
    for path in [&upper, &work] {
        make(path)?;
    }
    let (model, opened) = (File::open(lower).at("open", lower)?, File::open(&upper));
    let opened = opened.at("open", &upper)?;
    let stat = rustix::fs::fstat(&model).at("look at", lower)?;
    match resemble(&opened, &model, &stat) {
        // It belongs to nobody in here, and shows so all the same.
        Err(Errno::PERM | Errno::INVAL) => {
            fchmod(&opened, Mode::from_raw_mode(stat.st_mode & 0o7777))
        }
        other => other,
    }
    .at("set the attributes of", &upper)?;
    Ok((upper, work))
}

/// The layers that count, the topmost first.
pub(super) fn lowers(layers: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let mut lowers = Vec::new();
    for layer in layers.iter().rev() {
        lowers.push(layer.clone());
        // overlayfs does not look at the roots of its layers: theirs is obeyed here.
        if is_opaque(layer).at("look at", layer)? {
            break;
        }
    }
    Ok(lowers)
}

/// Owner, attributes and mode of another directory.
pub(super) fn resemble(directory: &File, model: impl AsFd, stat: &Stat) -> rustix::io::Result<()> {
    if (stat.st_uid, stat.st_gid) != (geteuid().as_raw(), getegid().as_raw()) {
        fchown(directory, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    }
    copy_xattrs(model, directory)?;
    fchmod(directory, Mode::from_raw_mode(stat.st_mode & 0o7777))
}

fn make(path: &Path) -> Result<(), Error> {
    DirBuilder::new().mode(0o700).create(path).at("make", path)
}
