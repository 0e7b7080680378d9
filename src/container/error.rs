//! What can go wrong with records.

use std::path::PathBuf;

use crate::diagnose::{Diagnose, Hint};

/// Why a container's record could not be made, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No container of that name or ID.
    #[error("No such container: {query}")]
    NoSuchContainer {
        /// What was asked for.
        query: String,
    },
    /// More than one ID begins so.
    #[error("multiple IDs found with provided prefix: {query}")]
    Ambiguous {
        /// What was asked for.
        query: String,
    },
    /// The name is another's.
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{id}\". \
         You have to remove (or rename) that container to be able to reuse that name."
    )]
    NameTaken {
        /// The name.
        name: String,
        /// Who has it.
        id: String,
    },
    /// It runs.
    #[error(
        "cannot remove container \"/{name}\": container is running: \
         stop the container before removing or force remove"
    )]
    Running {
        /// Its name.
        name: String,
    },
    /// Another command is at work on it.
    #[error("container {name} is busy: another coracle is at work on it")]
    Busy {
        /// Its name or ID.
        name: String,
    },
    /// It was made by a coracle that did not write down what it takes to start it again.
    #[error("container {name} cannot be started again: an older coracle made it")]
    NotKept {
        /// Its name.
        name: String,
    },
    /// A record that a newer coracle wrote.
    #[error("container {id} was made by a newer coracle (record version {version})")]
    Newer {
        /// The container.
        id: String,
        /// Its record's version.
        version: u32,
    },
    /// A record that cannot be read.
    #[error("the record {} is damaged: {source}", path.display())]
    Damaged {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl Diagnose for Error {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::NameTaken { name, .. } => Some(Hint::new(format!("coracle rm {name}"))),
            Self::Running { name } => Some(Hint::new(format!("coracle rm -f {name}"))),
            Self::Damaged { path, .. } => {
                let id = path.parent().and_then(|it| it.file_name()).unwrap_or(path.as_os_str());
                let short: String = id.to_string_lossy().chars().take(12).collect();
                Some(Hint::new(format!("the container cannot be used: coracle rm --force {short}")))
            }
            Self::NotKept { name } => {
                Some(Hint::new(format!("coracle rm {name}, then run it once more")))
            }
            Self::NoSuchContainer { .. }
            | Self::Ambiguous { .. }
            | Self::Busy { .. }
            | Self::Newer { .. }
            | Self::Io { .. } => None,
        }
    }
}

/// Puts a failed file operation in words.
pub(super) trait Tried<T> {
    /// `action` was tried on `path`.
    fn tried(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T, Error>;
}

impl<T, E: Into<std::io::Error>> Tried<T> for Result<T, E> {
    fn tried(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T, Error> {
        self.map_err(|error| Error::Io { action, path: path.into(), source: error.into() })
    }
}
