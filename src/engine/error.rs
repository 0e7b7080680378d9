//! Whatever went wrong, as the part that it went wrong in tells it.

use std::path::PathBuf;

use super::{images, pull};
use crate::diagnose::{Diagnose, Hint};
use crate::oci::Platform;
use crate::{bundle, cgroup, container, runtime, snapshot, store, userns};

/// Why the engine could not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image could not be pulled.
    #[error(transparent)]
    Pull(#[from] pull::Error),
    /// A pull in a child failed, and has said why.
    #[error("the image could not be pulled")]
    PullReported {
        /// The child's exit status.
        code: u8,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The root file system.
    #[error(transparent)]
    Snapshot(#[from] snapshot::Error),
    /// The specification.
    #[error(transparent)]
    Bundle(#[from] bundle::Error),
    /// The launch.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// The limits.
    #[error(transparent)]
    Limits(#[from] cgroup::Error),
    /// The launch of an image for another machine.
    #[error("{error}: the image is {image}, this machine is {host}")]
    Foreign {
        /// What the kernel said.
        error: runtime::Error,
        /// What the image is for.
        image: Platform,
        /// What this machine is.
        host: Platform,
    },
    /// The records.
    #[error(transparent)]
    Container(#[from] container::Error),
    /// The ids.
    #[error(transparent)]
    Ids(#[from] userns::Error),
    /// The profile that was named cannot be used.
    #[error(transparent)]
    Seccomp(#[from] runtime::seccomp::Error),
    /// `--cidfile` names a file that is there.
    #[error("container ID file found, make sure the other container isn't running or delete {}",
        path.display())]
    CidFileExists {
        /// The file.
        path: PathBuf,
    },
    /// A bind source that is not there.
    #[error("bind source path does not exist: {}", path.display())]
    NoBindSource {
        /// The path.
        path: PathBuf,
    },
    /// An image that cannot be removed or described.
    #[error(transparent)]
    Image(#[from] images::Error),
    /// A child that was to do a part of the work failed.
    #[error("cannot {what}: {why}")]
    Child {
        /// What it was to do.
        what: String,
        /// Why not.
        why: String,
    },
    /// A container that should run does not.
    #[error("container {name} is not running")]
    NotRunning {
        /// Its name.
        name: String,
    },
    /// A container that is paused can do nothing.
    #[error("container {name} is paused")]
    Paused {
        /// Its name.
        name: String,
    },
    /// Two containers to join live in two user namespaces.
    #[error("cannot join both {one} and {other}: each has a user namespace of its own")]
    TwoOwners {
        /// The first.
        one: String,
        /// The second.
        other: String,
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
            Self::Pull(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Snapshot(error) => error.hint(),
            Self::Bundle(error) => error.hint(),
            Self::Runtime(error) => error.hint(),
            Self::Limits(error) => error.hint(),
            Self::Foreign { image, .. } => Some(Hint::new(format!(
                "pull the image for this machine, or have an administrator install qemu-user-static for {}",
                image.architecture
            ))),
            Self::Container(error) => error.hint(),
            Self::Ids(error) => error.hint(),
            Self::Seccomp(error) => error.hint(),
            Self::NoBindSource { .. } => {
                Some(Hint::new("make it first, or use --volume, which makes it"))
            }
            Self::TwoOwners { one, .. } => {
                Some(Hint::new(format!("start the second one with --userns container:{one}")))
            }
            Self::Image(error) => error.hint(),
            Self::PullReported { .. }
            | Self::CidFileExists { .. }
            | Self::Child { .. }
            | Self::NotRunning { .. }
            | Self::Paused { .. }
            | Self::Io { .. } => None,
        }
    }
}
