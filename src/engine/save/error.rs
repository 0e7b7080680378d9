//! Why an image was not saved.

use std::io;

use crate::diagnose::{Diagnose, Hint};
use crate::oci::Digest;
use crate::store;

/// Why an image was not saved.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// No blob of a layer is here.
    #[error("cannot save {image}: the blob of its layer {layer} is not in the store")]
    NoBlob {
        /// The image ID.
        image: Digest,
        /// The layer's digest.
        layer: Digest,
    },
    /// A blob is not what it was.
    #[error("cannot save {image}: want {want}, and the store has {got}")]
    Damaged {
        /// The image ID.
        image: Digest,
        /// What it should be.
        want: Digest,
        /// What it is.
        got: Digest,
    },
    /// Something that docker's manifest has no word for.
    #[error("cannot save {image} in docker's form: it has no {kind}")]
    NotDocker {
        /// The image ID.
        image: Digest,
        /// The media type.
        kind: String,
    },
    /// A directory that holds one image cannot hold more.
    #[error("cannot save {asked} images: docker-dir holds one")]
    OneOnly {
        /// How many were asked for.
        asked: usize,
    },
    /// The directory holds other things.
    #[error("cannot save to {path}: the directory is not empty")]
    NotEmpty {
        /// The directory.
        path: String,
    },
    /// Reading or writing failed.
    #[error("cannot {action} {what}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        what: String,
        /// Why not.
        source: io::Error,
    },
}

impl Diagnose for Error {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Store(error) => error.hint(),
            Self::NoBlob { .. } => Some(Hint::new("pull or load the image again")),
            Self::Damaged { .. } => {
                Some(Hint::new("coracle system check --repair fetches what is damaged again"))
            }
            Self::NotDocker { .. } => {
                Some(Hint::new("an OCI form has it: --format oci-archive or oci-dir"))
            }
            Self::OneOnly { .. } => {
                Some(Hint::new("oci-dir, oci-archive and docker-archive hold several"))
            }
            Self::NotEmpty { .. } => Some(Hint::new("name an empty or a new directory")),
            Self::Io { .. } => None,
        }
    }
}
