//! A stack of layers as one directory, for images of more layers than an overlay takes: the directories
//! are made anew, all else are further names of the layers' own files, so that no data is copied.
//!
//! Other names are safe: nothing writes to a layer, and a file's owner, mode and attributes are the
//! file's, not a name's. But they are seen, on every driver: `st_nlink` counts them, and overlayfs takes
//! a file with several names for hard links, whose number it changes when it copies one up. So images
//! of fewer layers are left as they are, although reading directories takes longer with each layer
//! (`find` twice as long in five, three times in twenty; Linux 6.18).

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::{At, Error, copy};

/// As many lower directories as every kernel takes: before Linux 6.13 their names share one page, and
/// 500 are the most for any (`OVL_MAX_STACK`).
pub const MOST_LOWERS: usize = 128;

/// Merges `layers`, the lowest first, in the new directory `place`: `fs`, and `owners` as a layer has
/// it.
pub fn flatten(layers: &[PathBuf], place: &Path) -> Result<(), Error> {
    DirBuilder::new().mode(0o700).create(place).at("make", place)?;
    let owners = copy::merge(layers, &place.join("fs"), true)?;
    if owners.is_empty() {
        return Ok(());
    }
    let path = place.join("owners");
    std::fs::write(&path, &owners).at("write", &path)
}
