//! How a pull becomes visible: all of it on disk first, then renames.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::oci::{ChainId, DiffId, Digest};
use crate::owners::Owners;
use crate::sys;

use super::blob::Partial;
use super::error::{At, Error};
use super::image::{Image, Layer};
use super::lock::{How, Lock, lock};
use super::names::read_json;
use super::scratch::{Draft, Scratch};
use super::{Store, sync_directory};

/// `layers/OWNERS/CHAIN/layer.json`: what was found while unpacking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// The digest of its tar archive.
    pub diff_id: DiffId,
    /// The bytes its files hold.
    pub unpacked: u64,
    /// Number of entries.
    pub entries: u64,
    /// The bytes of its tar archive; 0 where an earlier coracle did not note them.
    #[serde(default)]
    pub archive: u64,
    /// The blob it was unpacked from, which is kept as long as the layer is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<Shipped>,
}

/// A blob as it was shipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shipped {
    /// Its digest.
    pub digest: Digest,
    /// What it is.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
}

/// A layer that lies unpacked in a [`Scratch`].
#[derive(Debug)]
pub struct FinishedLayer {
    /// Where: the directory with `fs` in it.
    pub path: PathBuf,
    /// Its place in the store.
    pub owners: Owners,
    /// Its name there.
    pub chain: ChainId,
    /// What is noted of it.
    pub record: LayerRecord,
}

/// What the files of a stack of layers as one directory are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Further names of the layers' own.
    Links,
    /// What says where the data lies among the layers, for an overlay.
    Metadata,
}

impl Form {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Links, Self::Metadata];

    /// The directory of the store that has these.
    pub(super) fn directory(self) -> &'static str {
        match self {
            Self::Links => "flat",
            Self::Metadata => "metadata",
        }
    }
}

/// The layers of an image as one directory, which lies in a [`Scratch`].
#[derive(Debug)]
pub struct FinishedFlat {
    /// Where: the directory with `fs` in it.
    pub path: PathBuf,
    /// What its files are.
    pub form: Form,
    /// Its place in the store.
    pub owners: Owners,
    /// Its name there: that of the whole stack.
    pub chain: ChainId,
}

/// What a pull brings.
#[derive(Debug)]
pub struct Publication<'a> {
    /// Where it was made, from the first byte on.
    pub scratch: &'a Scratch,
    /// Fetched and checked blobs.
    pub blobs: Vec<Partial>,
    /// Unpacked layers.
    pub layers: Vec<FinishedLayer>,
    /// The image.
    pub image: &'a Image,
    /// Its names in full form.
    pub names: Vec<String>,
}

impl Store {
    /// An own directory for unfinished work.
    pub fn scratch(&self) -> Result<Scratch, Error> {
        Scratch::new(&self.path("tmp"))
    }

    /// Where a layer lies.
    pub fn layer_path(&self, owners: Owners, chain: &ChainId) -> PathBuf {
        self.layers_path(owners).join(chain.0.hex())
    }

    /// Where all layers of these owners lie.
    pub fn layers_path(&self, owners: Owners) -> PathBuf {
        self.path("layers").join(owners.to_string())
    }

    /// What was found while unpacking a layer; `None` if it is not here, or not whole.
    pub fn layer(&self, owners: Owners, chain: &ChainId) -> Result<Option<LayerRecord>, Error> {
        let path = self.layer_path(owners, chain);
        if !path.join("fs").is_dir() {
            return Ok(None);
        }
        match read_json(&path.join("layer.json")) {
            Err(Error::Damaged { .. }) => Ok(None),
            record => record,
        }
    }

    /// The blob that a layer of an image can be had from: the one that its manifest names, or
    /// the one that the layer was unpacked from when another image brought it first, in another
    /// compression. `None` where neither is here.
    pub fn shipped(&self, layer: &Layer) -> Result<Option<Shipped>, Error> {
        let own = Shipped {
            digest: layer.digest.clone(),
            media_type: layer.media_type.clone(),
            size: layer.shipped,
        };
        if self.has_blob(&own.digest, own.size) {
            return Ok(Some(own));
        }
        for directory in self.layer_directories()? {
            let path = directory.join(layer.chain.0.hex()).join("layer.json");
            let Ok(record) = read_json::<LayerRecord>(&path) else { continue };
            let blob = record.and_then(|record| record.blob);
            if let Some(blob) = blob.filter(|blob| self.has_blob(&blob.digest, blob.size)) {
                return Ok(Some(blob));
            }
        }
        Ok(None)
    }

    /// The bytes of a layer's tar archive, where they were noted.
    pub fn archive_size(&self, layer: &Layer) -> Result<Option<u64>, Error> {
        for directory in self.layer_directories()? {
            let path = directory.join(layer.chain.0.hex()).join("layer.json");
            if let Ok(Some(record)) = read_json::<LayerRecord>(&path)
                && record.archive > 0
            {
                return Ok(Some(record.archive));
            }
        }
        Ok(None)
    }

    /// `layers/OWNERS`, each.
    pub(super) fn layer_directories(&self) -> Result<Vec<PathBuf>, Error> {
        let directory = self.path("layers");
        let entries = fs::read_dir(&directory).at("read", &directory)?;
        entries.map(|entry| Ok(entry.at("read", &directory)?.path())).collect()
    }

    /// The trees of the image's layers, the lowest first; an error names one that is missing.
    pub fn layers(&self, image: &Image, owners: Owners) -> Result<Vec<PathBuf>, Error> {
        let tree = |chain: &ChainId| {
            let path = self.layer_path(owners, chain).join("fs");
            let missing = || Error::MissingLayer { image: image.id.clone(), chain: chain.clone() };
            if path.is_dir() { Ok(path) } else { Err(missing()) }
        };
        image.layers.iter().map(|layer| tree(&layer.chain)).collect()
    }

    /// The layers of a stack as one directory; `None` where that was not made.
    pub fn flat(&self, form: Form, owners: Owners, chain: &ChainId) -> Option<PathBuf> {
        let path = self.flat_path(form, owners, chain).join("fs");
        path.is_dir().then_some(path)
    }

    pub(super) fn flat_path(&self, form: Form, owners: Owners, chain: &ChainId) -> PathBuf {
        self.path(form.directory()).join(owners.to_string()).join(chain.0.hex())
    }

    /// Gives the layers of a stack as one directory a name, once all of it is on disk.
    pub fn publish_flat(&self, flat: &FinishedFlat, scratch: &Scratch) -> Result<(), Error> {
        scratch.write_out()?;
        let place = self.flat_path(flat.form, flat.owners, &flat.chain);
        make_directory(place.parent().unwrap_or(&place))?;
        match fs::rename(&flat.path, &place) {
            Err(_) if place.is_dir() => Ok(()), // another command was faster
            done => done.at("store", &place),
        }
    }

    /// Takes the right to unpack a layer; `waits` is called if another command has it.
    /// The layers of an image must be taken from the lowest up.
    pub fn lock_layer(&self, chain: &ChainId, waits: impl FnOnce()) -> Result<Lock, Error> {
        let path = self.path("locks").join(chain.0.hex());
        if let Some(lock) = lock(&path, How::Try)? {
            return Ok(lock);
        }
        waits();
        match lock(&path, How::Exclusive)? {
            Some(lock) => Ok(lock),
            None => unreachable!("an exclusive lock waits"),
        }
    }

    /// Makes a pull visible: everything is written to disk, then gets its name, the image and
    /// its names last. The caller holds the locks of all it publishes.
    pub fn publish(&self, publication: Publication) -> Result<(), Error> {
        let Publication { scratch, blobs, layers, image, names } = publication;
        for layer in &layers {
            let path = layer.path.join("layer.json");
            let bytes = serde_json::to_vec(&layer.record).map_err(std::io::Error::from);
            bytes.and_then(|bytes| fs::write(&path, bytes)).at("write", &path)?;
        }
        let record = self.draft(&self.image_path(&image.id), image)?;
        let tags: Result<Vec<(PathBuf, Draft)>, Error> = names
            .iter()
            .map(|name| Ok((self.tag_path(name), self.draft_tag(name, &image.id)?)))
            .collect();
        let tags = tags?;
        // One barrier for all files: an fsync each would take longer than the pull.
        scratch.write_out()?;
        self.name_blobs(&blobs)?;
        // After the blobs: a layer that is there is not fetched again, and its blob is to be kept.
        for layer in &layers {
            self.place_layer(layer)?;
        }
        self.sync_parents(&layers, &blobs)?;
        // A removal of the same image is before all of this or after it.
        let _names = self.hold_names()?;
        record.publish(&self.image_path(&image.id))?;
        for (path, tag) in tags {
            tag.publish(&path)?;
        }
        sync_directory(&self.path("images"))?;
        sync_directory(&self.path("tags"))
    }

    /// Makes a fetched and checked blob visible, and nothing else. Whoever does that holds the store
    /// until something needs it.
    pub fn keep_partial(&self, blob: Partial) -> Result<(), Error> {
        blob.file().sync_all().at("write out", blob.path())?;
        self.name_blobs(std::slice::from_ref(&blob))?;
        self.sync_parents(&[], &[blob])
    }

    /// Keeps a small document that was made here, likewise; gives its digest.
    pub fn keep_document(&self, bytes: &[u8]) -> Result<Digest, Error> {
        let digest = Digest::of(bytes);
        if self.has_blob(&digest, bytes.len() as u64) {
            return Ok(digest);
        }
        let partial = self.partial(&digest, || ())?;
        if self.has_blob(&digest, bytes.len() as u64) {
            partial.discard();
        } else {
            partial.replace(bytes)?;
            self.keep_partial(partial)?;
        }
        Ok(digest)
    }

    fn name_blobs(&self, blobs: &[Partial]) -> Result<(), Error> {
        for blob in blobs {
            let path = self.blob_path(blob.digest());
            make_directory(path.parent().unwrap_or(&path))?;
            fs::rename(blob.path(), &path).at("store", &path)?;
        }
        Ok(())
    }

    fn place_layer(&self, layer: &FinishedLayer) -> Result<(), Error> {
        let place = self.layer_path(layer.owners, &layer.chain);
        make_directory(place.parent().unwrap_or(&place))?;
        match fs::rename(&layer.path, &place) {
            // A damaged one was there: its lock is ours.
            Err(_) if place.symlink_metadata().is_ok() => {
                sys::remove_tree(&place).at("replace", &place)?;
                fs::rename(&layer.path, &place).at("store", &place)
            }
            done => done.at("store", &place),
        }
    }

    fn sync_parents(&self, layers: &[FinishedLayer], blobs: &[Partial]) -> Result<(), Error> {
        let layers = layers.iter().map(|layer| self.layer_path(layer.owners, &layer.chain));
        let blobs = blobs.iter().map(|blob| self.blob_path(blob.digest()));
        let mut parents: Vec<PathBuf> =
            layers.chain(blobs).filter_map(|path| path.parent().map(Path::to_owned)).collect();
        parents.sort_unstable();
        parents.dedup();
        parents.iter().try_for_each(|parent| sync_directory(parent))
    }
}

/// Makes a directory that may be there, and its name durable.
fn make_directory(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return Ok(());
    }
    super::make_private(path).at("make", path)?;
    path.parent().map_or(Ok(()), sync_directory)
}
