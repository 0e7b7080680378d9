use std::path::PathBuf;

use crate::diagnose::{Diagnose, Hint};
use crate::oci::Digest;
use crate::{registry, store};

/// Why an image was not pushed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The image as it is here.
    #[error(transparent)]
    Save(#[from] super::save::Error),
    /// No image of that name; an ID will not do.
    #[error("An image does not exist locally with the tag: {name}")]
    NoSuchTag {
        /// What was asked for.
        name: String,
    },
    /// A layer or configuration as shipped is not kept.
    #[error("cannot push {image}: its blob {digest} is not in the store")]
    MissingBlob {
        /// The image.
        image: String,
        /// The blob.
        digest: Digest,
    },
    /// A blob that is not what its name says.
    #[error("cannot push {image}: {} is not {digest} any more", path.display())]
    DamagedBlob {
        /// The image.
        image: String,
        /// The blob.
        digest: Digest,
        /// The file.
        path: PathBuf,
    },
}

impl Diagnose for Error {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Registry(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Save(error) => error.hint(),
            Self::NoSuchTag { name } => Some(Hint::new(format!("coracle tag IMAGE {name}"))),
            // A layer that is unpacked already is not fetched in a second form.
            Self::MissingBlob { .. } | Self::DamagedBlob { .. } => Some(Hint::new(
                "remove the image, and others with this layer; then pull or load it again",
            )),
        }
    }
}
