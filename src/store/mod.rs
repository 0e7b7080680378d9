//! What is kept: blobs, unpacked layers, images, tags.

mod image;

use std::path::{Path, PathBuf};

use crate::oci::{ChainId, Digest, ImageConfig};
use crate::owners::Owners;

pub use image::{Image, Layer, Names};

/// The store below one root directory. Opening it sweeps nothing and costs two opens.
pub struct Store {
    root: PathBuf,
}

/// Keeps the garbage collector off what was resolved, until dropped.
pub struct Hold;

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No image of that name or ID.
    #[error("No such image: {query}")]
    NoSuchImage {
        /// What was asked for.
        query: String,
    },
}

impl Store {
    /// Opens the store at `root`, making it where there is none.
    pub fn open(_root: &Path) -> Result<Self, Error> {
        todo!()
    }

    /// Where the store lies.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The image a tag, digest reference, ID or ID prefix names.
    pub fn resolve(&self, _query: &str) -> Result<Image, Error> {
        todo!()
    }

    /// The image's configuration blob.
    pub fn config(&self, _image: &Image) -> Result<ImageConfig, Error> {
        todo!()
    }

    /// The trees of the image's layers, the lowest first; an error names one that is missing.
    pub fn layers(&self, _image: &Image, _owners: Owners) -> Result<Vec<PathBuf>, Error> {
        todo!()
    }

    /// All images, in no order.
    pub fn images(&self) -> Result<Vec<Image>, Error> {
        todo!()
    }

    /// The names of an image.
    pub fn names(&self, _id: &Digest) -> Result<Names, Error> {
        todo!()
    }

    /// Keeps every layer in place while the caller writes down which ones it uses.
    pub fn hold(&self) -> Result<Hold, Error> {
        todo!()
    }

    /// Removes layers and blobs that neither an image nor `in_use` needs. Returns the bytes freed.
    pub fn collect(&self, _in_use: &[ChainId]) -> Result<u64, Error> {
        todo!()
    }

    /// Removes what dead commands left in `tmp/`.
    pub fn sweep(&self) -> Result<(), Error> {
        todo!()
    }
}
