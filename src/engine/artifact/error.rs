use std::io;

use crate::diagnose::{Diagnose, Hint};
use crate::engine::{pull, push};
use crate::{registry, store};

/// Why an artifact could not be made, fetched, sent or written out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A registry.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// A registry that it is sent to.
    #[error(transparent)]
    Push(#[from] push::Error),
    /// A blob on its way.
    #[error(transparent)]
    Pull(#[from] pull::Error),
    /// None of that name or digest.
    #[error("{query}: artifact does not exist")]
    NoSuchArtifact {
        /// What was asked for.
        query: String,
    },
    /// A digest's beginning that several have.
    #[error("{query} is the beginning of more than one artifact's digest")]
    Ambiguous {
        /// What was asked for.
        query: String,
    },
    /// There is one.
    #[error("{name}: artifact already exists")]
    Exists {
        /// The name.
        name: String,
    },
    /// A second file of one name.
    #[error("{name} has a file {title:?} already")]
    Twice {
        /// The artifact.
        name: String,
        /// The file.
        title: String,
    },
    /// Something that is not a file with a name.
    #[error("cannot add {path}: {why}")]
    NoFile {
        /// What was to be added.
        path: String,
        /// What it is.
        why: &'static str,
    },
    /// A document that is none of an artifact's.
    #[error("cannot use {name} as an artifact: {why}")]
    Document {
        /// The artifact.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// No file of that title or digest.
    #[error("{name} has no file {wanted:?}")]
    NoSuchFile {
        /// The artifact.
        name: String,
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: Vec<String>,
    },
    /// Several files and one place.
    #[error("cannot write {name} to {path}: it has {count} files, and that is no directory")]
    Several {
        /// The artifact.
        name: String,
        /// The place.
        path: String,
        /// How many.
        count: usize,
    },
    /// A title that is no name of a file in a directory.
    #[error("{name} has a file that calls itself {title:?}: {why}")]
    Title {
        /// The artifact.
        name: String,
        /// The title.
        title: String,
        /// What is wrong with it.
        why: &'static str,
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
            Self::Store(store::Error::Damaged { .. }) => {
                Some(Hint::new("coracle system check --repair fetches what is damaged again"))
            }
            Self::Store(error) => error.hint(),
            Self::Registry(error) => error.hint(),
            Self::Push(error) => error.hint(),
            Self::Pull(error) => error.hint(),
            Self::Exists { name } => {
                Some(Hint::new(format!("coracle artifact add --append {name}, or artifact rm")))
            }
            Self::NoSuchFile { known, .. } if !known.is_empty() => {
                Some(Hint::new(format!("it has {}", known.join(", "))))
            }
            Self::Several { .. } => {
                Some(Hint::new("name a directory, or one file by --title or --digest"))
            }
            Self::Title { .. } => {
                Some(Hint::new("take it by --digest, and name the file it is to be"))
            }
            Self::NoSuchArtifact { .. }
            | Self::Ambiguous { .. }
            | Self::Twice { .. }
            | Self::NoFile { .. }
            | Self::Document { .. }
            | Self::NoSuchFile { .. }
            | Self::Io { .. } => None,
        }
    }
}
