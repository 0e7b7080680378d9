//! No more lower directories than are quick to look through, nor than an overlay takes: the layers of an
//! image of many are one, made at the pull or, where it has to be, before the first run.

use std::path::{Path, PathBuf};

use super::containers::as_owner;
use super::driver::Found;
use super::{Engine, Error};
use crate::oci::ChainId;
use crate::owners::Owners;
use crate::snapshot::{self, Driver};
use crate::store::{FinishedFlat, Form, Image, Store};
use crate::userns::{IdMaps, Mode};

/// What an overlay is made of.
pub(super) struct Lowers {
    /// The topmost first.
    pub(super) lowers: Vec<PathBuf>,
    /// A data-only layer, where the one above is a tree of metadata.
    pub(super) data: Option<PathBuf>,
}

impl Engine {
    /// An overlay's lower directories.
    pub(super) fn few_lowers(
        &self,
        image: &Image,
        ids: &IdMaps,
        layers: &[PathBuf],
    ) -> Result<Lowers, Error> {
        let owners = self.owners_of(ids);
        let flat = match image.layers.last() {
            Some(top) if layers.len() > snapshot::FEW_LOWERS => self.flat(owners, &top.chain),
            _ => None,
        };
        let flat = match (flat, image.layers.last()) {
            (None, Some(top)) if layers.len() > snapshot::MOST_LOWERS => {
                let flat = Flat { owners, chain: &top.chain, layers };
                match ids.mode {
                    // Files of other ids get further names only from who is root over them.
                    Mode::Range { .. } => as_owner(ids, "make one of the image's layers", || {
                        self.make_flat(&flat).map_err(|error| error.to_string())
                    })?,
                    _ => self.make_flat(&flat)?,
                }
                self.flat(owners, &top.chain)
            }
            (flat, _) => flat,
        };
        Ok(match flat {
            // The skeleton is in it already: overlayfs finds data only for what has no layer beneath.
            Some((Form::Metadata, flat)) => {
                Lowers { lowers: vec![flat], data: Some(self.store.layers_path(owners)) }
            }
            Some((Form::Links, flat)) => Lowers { lowers: self.lowers(&[flat])?, data: None },
            None => Lowers { lowers: self.lowers(layers)?, data: None },
        })
    }

    /// Makes one of the layers of an image that has just come and has many, by who is root over its
    /// files. Where it cannot be made now, an image of too many layers has another try at its first run,
    /// which says why; to all others it is no loss but of time.
    pub(super) fn flatten_new(&self, image: &Image, owners: Owners) {
        let count = image.layers.len();
        let Some(top) = image.layers.last().filter(|_| count > snapshot::FEW_LOWERS) else {
            return;
        };
        let (Ok(_hold), Ok(layers)) = (self.store.hold(), self.store.layers(image, owners)) else {
            return;
        };
        let made = self.flat(owners, &top.chain).is_some();
        if !made && (count > snapshot::MOST_LOWERS || self.may_describe()) {
            let _ = self.make_flat(&Flat { owners, chain: &top.chain, layers: &layers });
        }
    }

    /// The layers as one, in the form that may be mounted here; further names may be everywhere.
    fn flat(&self, owners: Owners, chain: &ChainId) -> Option<(Form, PathBuf)> {
        let found = |form| self.store.flat(form, owners, chain).map(|path| (form, path));
        let described = found(Form::Metadata).filter(|_| self.may_describe());
        described.or_else(|| found(Form::Links))
    }

    fn may_describe(&self) -> bool {
        self.driver() == Driver::Overlay && self.drivers().metadata == Found::Works
    }

    fn make_flat(&self, flat: &Flat<'_>) -> Result<(), Error> {
        let &Flat { owners, chain, layers } = flat;
        let scratch = self.store.scratch()?;
        let path = scratch.path().join("flat");
        let form = if self.may_describe() { Form::Metadata } else { Form::Links };
        merge(&self.store, form, owners, layers, &path)?;
        self.store
            .publish_flat(&FinishedFlat { path, form, owners, chain: chain.clone() }, &scratch)?;
        Ok(())
    }
}

/// Makes one of `layers`, the lowest first, in the new directory `place`.
pub(super) fn merge(
    store: &Store,
    form: Form,
    owners: Owners,
    layers: &[PathBuf],
    place: &Path,
) -> Result<(), snapshot::Error> {
    match form {
        Form::Links => snapshot::flatten(layers, place),
        Form::Metadata => {
            let skeleton = snapshot::skeleton(store.root())?;
            let layers: Vec<_> = std::iter::once(skeleton).chain(layers.to_vec()).collect();
            snapshot::describe(&layers, &store.layers_path(owners), place)
        }
    }
}

/// Layers to be one directory.
struct Flat<'a> {
    owners: Owners,
    chain: &'a ChainId,
    layers: &'a [PathBuf],
}
