//! What an image is made of, and its blobs as they are read.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::engine::pull::inflated;
use crate::oci::{Digest, Hashed, media_type};
use crate::registry::Compression;
use crate::store::{Image, Layer, Shipped, Store};

use super::Error;
use super::sink::Sink;

/// An image's documents and blobs.
pub(in crate::engine) struct Content {
    pub(super) config: Vec<u8>,
    /// As shipped; made anew only where the store has a layer in another compression.
    pub(in crate::engine) manifest: Vec<u8>,
    pub(super) media_type: String,
    /// The lowest first.
    pub(super) layers: Vec<Shipped>,
    /// Layers that were packed anew, and lie elsewhere than in the store.
    pub(in crate::engine) files: HashMap<Digest, PathBuf>,
}

impl Content {
    pub(in crate::engine) fn of(store: &Store, image: &Image) -> Result<Self, Error> {
        let layers = image.layers.iter().map(|layer| shipped(store, image, layer));
        let layers: Vec<Shipped> = layers.collect::<Result<_, _>>()?;
        let mut manifest = store.document(&image.manifest)?;
        let damaged = |error: serde_json::Error| crate::store::Error::Damaged {
            path: store.blob_path(&image.manifest),
            why: error.to_string(),
        };
        let mut value: Value = serde_json::from_slice(&manifest).map_err(damaged)?;
        if layers.iter().zip(&image.layers).any(|(here, layer)| here.digest != layer.digest) {
            substitute(&mut value, &layers);
            manifest = serde_json::to_vec(&value).map_err(damaged)?;
        }
        let media_type = value["mediaType"].as_str().unwrap_or(media_type::OCI_MANIFEST).to_owned();
        let (config, files) = (store.document(&image.id)?, HashMap::new());
        Ok(Self { config, manifest, media_type, layers, files })
    }
}

fn shipped(store: &Store, image: &Image, layer: &Layer) -> Result<Shipped, Error> {
    let missing = || Error::NoBlob { image: image.id.clone(), layer: layer.digest.clone() };
    store.shipped(layer)?.ok_or_else(missing)
}

/// Names the blobs that are here in the manifest's list of layers.
fn substitute(manifest: &mut Value, layers: &[Shipped]) {
    let described = layers.iter().map(descriptor);
    manifest["layers"] = described.collect();
}

/// A descriptor (image-spec, descriptor.md).
pub(super) fn descriptor(blob: &Shipped) -> Value {
    serde_json::json!({"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size})
}

/// Writes a blob as it was shipped, and checks it.
pub(super) fn write_blob(
    store: &Store,
    content: &Content,
    image: &Image,
    blob: &Shipped,
    name: &str,
    sink: &mut dyn Sink,
) -> Result<(), Error> {
    if sink.has(name) {
        return Ok(());
    }
    let file = match content.files.get(&blob.digest) {
        Some(path) => open_file(path)?,
        None => open(store, &blob.digest)?,
    };
    let mut checked = Checked::new(file, &blob.digest);
    sink.file(name, blob.size, &mut checked)?;
    checked.check(&image.id)
}

/// Writes a layer's tar archive, and checks it against its `DiffId`.
pub(super) fn write_archive(
    store: &Store,
    image: &Image,
    layer: &Layer,
    name: &str,
    sink: &mut dyn Sink,
) -> Result<(), Error> {
    if sink.has(name) {
        return Ok(());
    }
    let blob = shipped(store, image, layer)?;
    let io = |source| Error::Io {
        action: "read",
        what: format!("the kept blob {}", blob.digest),
        source,
    };
    let archive = || -> Result<_, Error> {
        let mut file = BufReader::with_capacity(128 << 10, open(store, &blob.digest)?);
        let format = Compression::of(io::BufRead::fill_buf(&mut file).map_err(io)?);
        inflated(format, file).map_err(io)
    };
    let size = match store.archive_size(layer)? {
        Some(size) => size,
        None => io::copy(&mut archive()?, &mut io::sink()).map_err(io)?,
    };
    let mut checked = Checked::new(archive()?, &layer.diff_id.0);
    sink.file(name, size, &mut checked)?;
    checked.check(&image.id)
}

pub(super) fn open(store: &Store, digest: &Digest) -> Result<File, Error> {
    open_file(&store.blob_path(digest))
}

fn open_file(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|source| Error::Io {
        action: "open",
        what: path.display().to_string(),
        source,
    })
}

/// Hashes what is read, and holds it against what it should be.
pub(super) struct Checked<R> {
    hashed: Hashed<R>,
    want: Digest,
}

impl<R: Read> Checked<R> {
    pub(super) fn new(inner: R, want: &Digest) -> Self {
        Self { hashed: Hashed::by(want.algorithm(), inner), want: want.clone() }
    }

    pub(super) fn check(self, image: &Digest) -> Result<(), Error> {
        let (want, (_, got, _)) = (self.want, self.hashed.finish());
        if want == got { Ok(()) } else { Err(Error::Damaged { image: image.clone(), want, got }) }
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.hashed.read(buffer)
    }
}
