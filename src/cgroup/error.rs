//! Why a limit cannot be kept.

use std::fmt;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::diagnose::{Diagnose, Hint};

/// A limit, and why it cannot be kept here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The limit, as docker's flag or the specification calls it.
    pub limit: String,
    /// Why: what was looked for, and what was found.
    pub why: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.limit, self.why)
    }
}

/// Why a group was not made, or did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value that makes no sense, in docker's words.
    #[error("{0}")]
    Invalid(String),
    /// Limits that nothing here can keep.
    #[error("cannot limit {}", list(refusals))]
    Refused {
        /// Which, and why.
        refusals: Vec<Refusal>,
        /// What would help, where that is known.
        hint: Option<String>,
    },
    /// A path that a group cannot be made at.
    #[error("cannot make the control group {}: {why}", path.display())]
    NoPlace {
        /// The path as given.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// A device of a limit that is none.
    #[error("{}: {why}", path.display())]
    Device {
        /// The path as given.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The group is there and has processes in it.
    #[error("the control group {} is in use by other processes", path.display())]
    InUse {
        /// The group.
        path: PathBuf,
    },
    /// The kernel refused a value.
    #[error("cannot limit {limit}: writing {value:?} to {}: {errno}", path.display())]
    Write {
        /// The limit.
        limit: String,
        /// The file.
        path: PathBuf,
        /// What was written.
        value: String,
        /// Why not.
        errno: Errno,
    },
    /// A step on a group failed.
    #[error("cannot {action} the control group {}: {errno}", path.display())]
    Group {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        errno: Errno,
    },
    /// A group that cannot do what it is asked.
    #[error("cannot {action} the container: {why}")]
    Cannot {
        /// What was asked.
        action: &'static str,
        /// Why not.
        why: String,
    },
    /// systemd made no scope.
    #[error("systemd made no scope: {0}")]
    Systemd(String),
    /// The processors could not be chosen.
    #[error("cannot run on the processors {processors}: {errno}")]
    Affinity {
        /// As asked for.
        processors: String,
        /// Why not.
        errno: Errno,
    },
}

fn list(refusals: &[Refusal]) -> String {
    refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Diagnose for Error {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Refused { hint, .. } => hint.clone().map(Hint::new),
            Self::Write { errno: Errno::BUSY, limit, .. } if limit == "memory" => {
                Some(Hint::new("the container uses more than that already"))
            }
            Self::Invalid(_)
            | Self::NoPlace { .. }
            | Self::Device { .. }
            | Self::InUse { .. }
            | Self::Write { .. }
            | Self::Group { .. }
            | Self::Cannot { .. }
            | Self::Systemd(_)
            | Self::Affinity { .. } => None,
        }
    }
}
