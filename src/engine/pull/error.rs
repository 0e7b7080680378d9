use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::diagnose::{Diagnose, Hint};
use crate::oci::{Digest, InvalidConfig, Platform};
use crate::{layer, registry, store};

/// Which layer of which image an error is about: `layer 3 of 5 of redis:7`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Which {
    /// From 1, the lowest first.
    pub number: usize,
    /// Number of layers.
    pub total: usize,
    /// The image, as the user said it.
    pub image: String,
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "layer {} of {} of {}", self.number, self.total, self.image)
    }
}

/// Why an image was not pulled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The policy forbids to ask for what is not here.
    #[error("No such image: {image} (and --pull never)")]
    NotHere {
        /// The image.
        image: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The source failed.
    #[error(transparent)]
    Source(#[from] registry::Error),
    /// The configuration cannot be read.
    #[error("cannot use {image}: {source}")]
    Config {
        /// The image.
        image: String,
        /// Why not.
        source: InvalidConfig,
    },
    /// Manifest and configuration do not belong together.
    #[error("cannot use {image}: its manifest has {layers} layers, its configuration {diff_ids}")]
    LayerCount {
        /// The image.
        image: String,
        /// Layers in the manifest.
        layers: usize,
        /// `DiffId`s in the configuration.
        diff_ids: usize,
    },
    /// The image is for another machine than was asked for.
    #[error("{image} is for {found}, not for {wanted}")]
    WrongPlatform {
        /// The image.
        image: String,
        /// What it is for.
        found: Box<Platform>,
        /// What was asked for.
        wanted: Box<Platform>,
    },
    /// A document or layer is not the one that was named.
    #[error("{what}: want {want}, got {got}")]
    Digest {
        /// Which.
        what: String,
        /// What was named.
        want: Digest,
        /// What came.
        got: Digest,
    },
    /// A layer's tar archive is not the one that the configuration names.
    #[error("{which}: want the unpacked {want}, got {got}")]
    DiffId {
        /// Which.
        which: Which,
        /// What the configuration says.
        want: Digest,
        /// What was unpacked.
        got: Digest,
    },
    /// The connection broke too often.
    #[error("{which}: cannot read it after {done} of {size} bytes: {source}")]
    Download {
        /// Which.
        which: Which,
        /// What is here; it is kept for the next try.
        done: u64,
        /// What should be.
        size: u64,
        /// The last failure.
        source: io::Error,
    },
    /// The compressed stream is broken.
    #[error("{which}: invalid {format} stream: {source}")]
    Inflate {
        /// Which.
        which: Which,
        /// The compression.
        format: &'static str,
        /// What is wrong.
        source: io::Error,
    },
    /// The layer cannot be unpacked.
    #[error("{which}: {source}")]
    Unpack {
        /// Which.
        which: Which,
        /// Why not.
        source: layer::Error,
    },
    /// More bytes than the layers may unpack to.
    #[error("{image} unpacks to more than {limit} bytes, which is more than it may")]
    TooLarge {
        /// The image.
        image: String,
        /// The limit, in bytes.
        limit: u64,
    },
    /// It will not fit.
    #[error("{image} needs at least {needed} bytes in {}, where {free} are free", path.display())]
    NoSpace {
        /// The image.
        image: String,
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        free: u64,
        /// The store.
        path: PathBuf,
    },
    /// A system call failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another layer of the image failed; its error is the one that counts.
    #[error("stopped")]
    Stopped,
}

impl Diagnose for Error {
    fn hint(&self) -> Option<Hint> {
        let space = "free some space there, or keep the store elsewhere with --root";
        match self {
            Self::Store(error) => error.hint(),
            Self::Source(error) => error.hint(),
            Self::Unpack { source, .. } => source.hint(),
            Self::Download { .. } => {
                Some(Hint::new("pull again: what was fetched is kept, and the rest will follow"))
            }
            Self::TooLarge { .. } => Some(Hint::new(
                "an image may unpack to 4 GiB, or to 256 times what is shipped; --max-unpacked-size allows more",
            )),
            Self::NoSpace { .. } => Some(Hint::new(space)),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some(Hint::new(space))
            }
            Self::NotHere { .. }
            | Self::Config { .. }
            | Self::LayerCount { .. }
            | Self::WrongPlatform { .. }
            | Self::Digest { .. }
            | Self::DiffId { .. }
            | Self::Inflate { .. }
            | Self::Io { .. }
            | Self::Stopped => None,
        }
    }
}
