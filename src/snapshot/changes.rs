//! What a container wrote, wherever its storage driver has put it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::layer::{Comparison, Differences, Source, Translation, compare};
use crate::owners::Owners;

use super::copy::COPIED;
use super::{At, Driver, Error, skeleton};

/// A container's files, and those of its image.
#[derive(Debug)]
pub struct Written {
    /// All that the container sees, but for what is mounted.
    pub now: Source,
    before: Source,
    comparison: Comparison,
}

/// Opens the files of `container`, whose image has `layers`, the lowest first. Of `comparison` only what
/// the container's record says is given.
pub fn written(
    driver: Driver,
    layers: &[PathBuf],
    container: &Path,
    owners: Owners,
    mut comparison: Comparison,
) -> Result<Written, Error> {
    let (trees, copied) = match driver {
        Driver::Overlay | Driver::Fuse => {
            let trees = layers.iter().cloned().chain([container.join("upper")]).collect();
            (trees, None)
        }
        Driver::Copy => {
            let mark = container.join(COPIED).metadata();
            let time = mark.map(|mark| (mark.ctime(), mark.ctime_nsec())).ok();
            (vec![container.join("rootfs")], time)
        }
    };
    let open = |trees: &[PathBuf]| Source::open(trees, owners).at("open the files of", container);
    comparison.whole = !driver.has_upper();
    comparison.copied = copied;
    Ok(Written { now: open(&trees)?, before: open(layers)?, comparison })
}

impl Written {
    /// Says whose files are that the container has made and nothing is recorded of.
    #[must_use]
    pub fn with_newcomers(mut self, uid: u32, gid: u32) -> Self {
        self.now = self.now.with_newcomers(uid, gid);
        self
    }

    /// Says whose files are to the container.
    #[must_use]
    pub fn with_translation(mut self, translation: Option<Translation>) -> Self {
        self.now = self.now.with_translation(translation);
        self
    }

    /// What the container has changed.
    pub fn differences(&self) -> Result<Differences, crate::layer::Error> {
        compare(&self.now, &self.before, &self.comparison)
    }
}

/// What an image's uppermost layer changes.
pub fn differences_of_image(
    layers: &[PathBuf],
    owners: Owners,
) -> Result<Result<Differences, crate::layer::Error>, Error> {
    let below = layers.split_last().map_or(&[][..], |(_, below)| below);
    let open = |trees: &[PathBuf]| {
        Source::open(trees, owners).at("open the layers in", Path::new("layers"))
    };
    let (now, before) = (open(layers)?, open(below)?);
    Ok(compare(&now, &before, &Comparison::default()))
}

/// All of a container's root, with the places that are mounted on in every container.
pub fn whole_root(
    driver: Driver,
    layers: &[PathBuf],
    container: &Path,
    store: &Path,
    owners: Owners,
) -> Result<Source, Error> {
    let own = match driver {
        Driver::Overlay | Driver::Fuse => {
            layers.iter().cloned().chain([container.join("upper")]).collect()
        }
        Driver::Copy => vec![container.join("rootfs")],
    };
    let trees: Vec<PathBuf> = std::iter::once(skeleton(store)?).chain(own).collect();
    Source::open(&trees, owners).at("open the files of", container)
}
