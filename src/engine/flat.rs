//! No more lower directories than an overlay takes: more layers are one, made at the pull or, where it
//! has to be, before the first run.

use std::path::PathBuf;

use super::containers::as_owner;
use super::{Engine, Error};
use crate::snapshot;
use crate::store::{FinishedFlat, Image};
use crate::userns::{IdMaps, Mode};

impl Engine {
    /// An overlay's lower directories, the topmost first.
    pub(super) fn few_lowers(
        &self,
        image: &Image,
        ids: &IdMaps,
        layers: &[PathBuf],
    ) -> Result<Vec<PathBuf>, Error> {
        match self.flat(image, ids, layers)? {
            Some(flat) => self.lowers(&[flat]),
            None => self.lowers(layers),
        }
    }

    fn flat(
        &self,
        image: &Image,
        ids: &IdMaps,
        layers: &[PathBuf],
    ) -> Result<Option<PathBuf>, Error> {
        let Some(top) = image.layers.last() else { return Ok(None) };
        let (owners, chain) = (self.owners_of(ids), &top.chain);
        let made = self.store.flat(owners, chain);
        if made.is_some() || layers.len() <= snapshot::MOST_LOWERS {
            return Ok(made);
        }
        let scratch = self.store.scratch()?;
        let path = scratch.path().join("flat");
        match ids.mode {
            // Files of other ids get further names only from who is root over them.
            Mode::Range { .. } => as_owner(ids, "make one of the image's layers", || {
                snapshot::flatten(layers, &path).map_err(|error| error.to_string())
            })?,
            _ => snapshot::flatten(layers, &path)?,
        }
        self.store.publish_flat(&FinishedFlat { path, owners, chain: chain.clone() }, &scratch)?;
        Ok(self.store.flat(owners, chain))
    }
}
