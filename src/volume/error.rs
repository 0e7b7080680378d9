//! What can go wrong with volumes.

use std::path::PathBuf;

use super::InvalidOptions;
use crate::diagnose::{Diagnose, Hint};

/// Why a volume could not be made, found, filled or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No volume of that name.
    #[error("no such volume: {name}")]
    NoSuchVolume {
        /// What was asked for.
        name: String,
    },
    /// Containers use it.
    #[error("remove {name}: volume is in use - [{}]", containers.join(", "))]
    InUse {
        /// Its name.
        name: String,
        /// The IDs of the containers.
        containers: Vec<String>,
    },
    /// Options that the driver does not take.
    #[error(transparent)]
    Options(#[from] InvalidOptions),
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
            Self::InUse { containers, .. } => {
                let short: Vec<&str> =
                    containers.iter().map(|id| id.get(..12).unwrap_or(id)).collect();
                Some(Hint::new(format!("coracle rm {}", short.join(" "))))
            }
            Self::Damaged { path, .. } => {
                let files = path.with_file_name("_data");
                Some(Hint::new(format!("the volume's files are in {}", files.display())))
            }
            Self::NoSuchVolume { .. } | Self::Options(_) | Self::Io { .. } => None,
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
