use std::io;
use std::path::{Path, PathBuf};

use crate::diagnose::{Diagnose, Hint};
use crate::oci::{ChainId, Digest};

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No image of that name or ID.
    #[error("No such image: {query}")]
    NoSuchImage {
        /// What was asked for.
        query: String,
    },
    /// An ID prefix of several images.
    #[error("{query} is the beginning of more than one image ID")]
    Ambiguous {
        /// What was asked for.
        query: String,
    },
    /// The directory holds other things.
    #[error("cannot use {} as the store: it is not empty and holds none", path.display())]
    NotAStore {
        /// The directory.
        path: PathBuf,
    },
    /// A later coracle wrote the store.
    #[error("cannot use the store {}: its format is {found}, and this coracle knows {known}",
        path.display())]
    Newer {
        /// The store.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// A file of the store is not what was written.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A layer of an image is not unpacked (for this kind of owners).
    #[error("layer {chain} of image {image} is not in the store")]
    MissingLayer {
        /// The image ID.
        image: Digest,
        /// The layer.
        chain: ChainId,
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
}

impl Diagnose for Error {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::NotAStore { .. } => {
                Some(Hint::new("name an empty or a new directory with --root"))
            }
            Self::Newer { .. } => {
                Some(Hint::new("use the newer coracle, or another store with --root"))
            }
            Self::Damaged { .. } | Self::MissingLayer { .. } => {
                Some(Hint::new("pull the image again: it replaces what is damaged"))
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some(Hint::new("free some space there, or keep the store elsewhere with --root"))
            }
            Self::Io { action: "make", source, .. } if nobody_may_write(source.kind()) => Some(
                Hint::new("keep the store where you may write, with --root or in CORACLE_ROOT"),
            ),
            Self::NoSuchImage { .. } | Self::Ambiguous { .. } | Self::Io { .. } => None,
        }
    }
}

/// A home that is not the user's, is mounted for reading, or is not there at all.
fn nobody_may_write(why: io::ErrorKind) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem};
    matches!(why, NotADirectory | NotFound | PermissionDenied | ReadOnlyFilesystem)
}

/// Says what was tried on which path.
pub(super) trait At<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::Io { action, path: path.to_owned(), source: source.into() })
    }
}
