//! A stack of layers as one directory, of which no data is copied. Directories, links and pipes are made
//! anew; a file is one of two things:
//!
//! - *Described*: its attributes and its size. overlayfs finds the data in a data-only layer, in which the
//!   layers lie. A user may mount that from Linux 6.16 on, and nobody but overlayfs can read it.
//! - *A further name* of the layer's own file, for any kernel, where an overlay takes no more layers. That
//!   is safe: nothing writes to a layer, and a file's owner, mode and attributes are the file's, not a
//!   name's. But it is seen, on every driver: `st_nlink` counts the names, and overlayfs takes a file with
//!   several for hard links, whose number it changes when it copies one up. So it is done only where it
//!   has to be.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::copy::Files;
use super::{At, Error, copy};

/// As many lower directories as every kernel takes: before Linux 6.13 their names share one page, and
/// 500 are the most for any (`OVL_MAX_STACK`).
pub const MOST_LOWERS: usize = 128;

/// As many lower directories as are not worth a tree of metadata.
pub const FEW_LOWERS: usize = 32;

/// Merges `layers`, the lowest first, in the new directory `place`: `fs`, and `owners` as a layer has
/// it.
pub fn flatten(layers: &[PathBuf], place: &Path) -> Result<(), Error> {
    make(layers, place, Files::Shared)
}

/// The same as a tree of metadata: a file has its attributes and its size, and overlayfs looks for its
/// data when it is first opened, below the data-only layer `data`, in which the layers lie. What a layer
/// elsewhere has is copied.
pub fn describe(layers: &[PathBuf], data: &Path, place: &Path) -> Result<(), Error> {
    let place_of =
        |layer: &PathBuf| layer.strip_prefix(data).ok().map(|it| Path::new("/").join(it));
    make(layers, place, Files::Described(&layers.iter().map(place_of).collect::<Vec<_>>()))
}

fn make(layers: &[PathBuf], place: &Path, files: Files) -> Result<(), Error> {
    DirBuilder::new().mode(0o700).create(place).at("make", place)?;
    let owners = copy::merge(layers, &place.join("fs"), files)?;
    if owners.is_empty() {
        return Ok(());
    }
    let path = place.join("owners");
    std::fs::write(&path, &owners).at("write", &path)
}
