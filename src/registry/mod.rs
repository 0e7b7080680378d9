//! Reference to manifest and blob streams.

mod source;

pub use source::{BlobStream, Compression, Descriptor, ImageSource, LayerDescriptor, Resolved};

use crate::diagnose::{Diagnose, Hint};

/// Why a source did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A read failed.
    #[error("cannot read {what}: {source}")]
    Io {
        /// What was read.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
}

impl Diagnose for Error {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Io { .. } => None,
        }
    }
}
