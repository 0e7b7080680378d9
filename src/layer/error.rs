use std::io;

use rustix::io::Errno;

use crate::diagnose::{Diagnose, Hint};

use super::name::Name;

/// Why a layer could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stream broke off.
    #[error("cannot read the layer: {0}")]
    Read(#[source] io::Error),
    /// The bytes are no tar archive, or one that two readers would read differently.
    #[error("invalid tar archive: {what}, at byte {at}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
        /// Where in the unpacked stream.
        at: u64,
    },
    /// An entry that no layer may hold.
    #[error("refused the entry {name}: {why}")]
    Refused {
        /// The entry.
        name: Name,
        /// Why.
        why: &'static str,
    },
    /// An owner the user namespace has no id for.
    #[error("cannot give {name} to {uid}:{gid}: the user namespace has no such id")]
    UnmappedOwner {
        /// The entry.
        name: Name,
        /// The user id the image names.
        uid: u32,
        /// The group id the image names.
        gid: u32,
    },
    /// A hard link to nothing.
    #[error("cannot link {name} to {target}: neither this layer nor those below hold it")]
    NoLinkTarget {
        /// The entry.
        name: Name,
        /// What it should be linked to.
        target: Name,
    },
    /// More bytes than a layer may unpack to.
    #[error("the layer unpacks to more than {limit} bytes, far beyond what was shipped")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// More entries than a layer may hold.
    #[error("the layer holds more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// Nobody takes what is written.
    #[error("cannot write the layer: {0}")]
    Write(#[source] io::Error),
    /// A name that would mean something else in a layer.
    #[error("no layer can hold {name}: names that begin with .wh. stand for what is deleted")]
    Unnameable {
        /// The file.
        name: Name,
    },
    /// A system call failed.
    #[error("cannot {action} {name}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which entry.
        name: Name,
        /// Why not.
        source: io::Error,
    },
}

impl Diagnose for Error {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::UnmappedOwner { .. } => {
                Some(Hint::new("grant more subordinate ids, or use a single one: --userns single"))
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some(Hint::new("free some space there, or keep the store elsewhere with --root"))
            }
            Self::Write(source) if source.kind() == io::ErrorKind::StorageFull => {
                Some(Hint::new("free some space there"))
            }
            Self::Unnameable { .. } => Some(Hint::new("rename or remove it in the container")),
            Self::Read(_)
            | Self::Write(_)
            | Self::Malformed { .. }
            | Self::Refused { .. }
            | Self::NoLinkTarget { .. }
            | Self::TooLarge { .. }
            | Self::TooMany { .. }
            | Self::Io { .. } => None,
        }
    }
}

/// Says what was tried on which entry.
pub(super) trait At<T> {
    fn at(self, action: &'static str, name: &Name) -> Result<T, Error>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, action: &'static str, name: &Name) -> Result<T, Error> {
        self.map_err(|errno| Error::Io { action, name: name.clone(), source: errno.into() })
    }
}

impl<T> At<T> for io::Result<T> {
    fn at(self, action: &'static str, name: &Name) -> Result<T, Error> {
        self.map_err(|source| Error::Io { action, name: name.clone(), source })
    }
}
