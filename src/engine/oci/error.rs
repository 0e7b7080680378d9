//! Why a bundle's container could not be made, or found.

use std::path::PathBuf;

use crate::bundle::ConfigError;
use crate::diagnose::{Diagnose, Hint};
use crate::{cgroup, runtime, userns};

/// Why the OCI runtime could not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bundle's configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The launch.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// The ids.
    #[error(transparent)]
    Ids(#[from] userns::Error),
    /// The filter of system calls.
    #[error(transparent)]
    Seccomp(#[from] runtime::seccomp::Error),
    /// The control group.
    #[error(transparent)]
    Group(#[from] cgroup::Error),
    /// Not the form of a path for systemd.
    #[error(
        "config.json: linux.cgroupsPath {}: want SLICE:PREFIX:NAME with --systemd-cgroup",
        .0.display()
    )]
    CgroupsPath(PathBuf),
    /// Groups that the kernel lets nobody have.
    #[error(
        "process.user.additionalGids cannot be honoured: with one id that is mapped nobody has more groups \
         (setgroups(2))"
    )]
    NoGroups,
    /// A terminal that nobody would hold. runc's rule.
    #[error(
        "process.terminal takes --console-socket here: the container outlives this command, and somebody has to \
         hold its terminal"
    )]
    NoConsole,
    /// A socket that nothing would be sent to. runc's rule.
    #[error("--console-socket {}: {why}", path.display())]
    IdleConsole {
        /// The socket.
        path: PathBuf,
        /// Why nothing would be sent.
        why: &'static str,
    },
    /// There is no control group to do it with.
    #[error("cannot {action} {id}: it has no control group")]
    NoGroup {
        /// What was tried.
        action: &'static str,
        /// On which.
        id: String,
    },
    /// An ID that cannot be a directory's name.
    #[error("invalid container ID {0:?}: want letters, digits and _ + - .")]
    InvalidId(String),
    /// The ID is taken.
    #[error("container with id exists: {0}")]
    Exists(String),
    /// There is no such container.
    #[error("container does not exist: {0}")]
    Missing(String),
    /// The container is not in a state in which this can be done.
    #[error("cannot {action} {id}: it is {status}")]
    Status {
        /// What was tried.
        action: &'static str,
        /// On which.
        id: String,
        /// What it is.
        status: super::Status,
    },
    /// A field that cannot be honoured on this host.
    #[error("config.json: {field} cannot be honoured: {why}")]
    Refused {
        /// Which.
        field: String,
        /// Why not.
        why: String,
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
    /// A record that cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
}

impl Diagnose for Error {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Config(error) => error.hint(),
            Self::Runtime(error) => error.hint(),
            Self::Ids(error) => error.hint(),
            Self::Seccomp(error) => error.hint(),
            Self::Group(error) => error.hint(),
            Self::NoGroup { .. } => {
                Some(Hint::new("coracle doctor tells what a control group takes on this host"))
            }
            Self::NoConsole => Some(Hint::new("or \"terminal\": false in the process")),
            Self::Exists(id) => Some(Hint::new(format!("coracle runtime delete {id}"))),
            Self::InvalidId(_)
            | Self::NoGroups
            | Self::CgroupsPath(_)
            | Self::IdleConsole { .. }
            | Self::Missing(_)
            | Self::Status { .. }
            | Self::Refused { .. }
            | Self::Io { .. }
            | Self::Damaged { .. } => None,
        }
    }
}

/// Says what was tried on which path.
pub(super) trait Tried<T> {
    fn tried(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T, Error>;
}

impl<T, E: Into<std::io::Error>> Tried<T> for Result<T, E> {
    fn tried(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T, Error> {
        self.map_err(|source| Error::Io { action, path: path.into(), source: source.into() })
    }
}
