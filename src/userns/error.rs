//! Why a user namespace could not be had as asked.

use std::path::PathBuf;

use rustix::io::Errno;

use super::{HelpersMissing, Refusal};
use crate::diagnose::{Diagnose, Hint};

/// Why a user namespace could not be had as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A range was asked for and there is none.
    #[error("no range of ids for {user}: {missing}")]
    NoRange {
        /// The user.
        user: String,
        /// What is missing.
        missing: HelpersMissing,
    },
    /// A map of more ids than there are.
    #[error("cannot map the {what} {line}: the caller has {own} of them, itself first")]
    Unmappable {
        /// User or group ids.
        what: &'static str,
        /// The line.
        line: String,
        /// How many ids the caller has.
        own: u64,
    },
    /// A map of more ids than the one there is.
    #[error(
        "cannot map the {what} {line}: without a range of ids for {user} there is one only, its own ({missing})"
    )]
    OneIdOnly {
        /// User or group ids.
        what: &'static str,
        /// The line.
        line: String,
        /// The user.
        user: String,
        /// What is missing.
        missing: HelpersMissing,
    },
    /// A map that leaves out who calls.
    #[error(
        "the id map leaves the caller itself out: the container's files lie in its store, which it alone may enter"
    )]
    WithoutOwn,
    /// An id in two places.
    #[error("cannot map the {what} {line}: another line has some of these ids")]
    MappedTwice {
        /// User or group ids.
        what: &'static str,
        /// The line.
        line: String,
    },
    /// A helper failed.
    #[error("{} refused the id map: {message}", helper.display())]
    Helper {
        /// Which.
        helper: PathBuf,
        /// What it said.
        message: String,
    },
    /// The kernel refused a map.
    #[error("cannot write the {what} of the container: {source}")]
    Map {
        /// Which map.
        what: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// The kernel refused a namespace.
    #[error("{0}")]
    Refused(Refusal),
    /// A pipe or a process could not be made.
    #[error("cannot enter a user namespace: {0}")]
    Call(Errno),
}

impl Diagnose for Error {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::OneIdOnly { .. } => Some(Hint::new(
                "map that one (--uidmap ID:0:1), or use --userns single, which has all ids, emulated",
            )),
            Self::NoRange { user, missing } => Some(Hint::new(match missing {
                HelpersMissing::NotFound(_) => {
                    "an administrator can install it: package uidmap (Debian) or shadow-utils (Fedora)"
                        .to_owned()
                }
                HelpersMissing::Powerless(path) => {
                    format!("an administrator can mend it: chmod u+s {}", path.display())
                }
                HelpersMissing::Nosuid(_) | HelpersMissing::NoNewPrivileges => {
                    "use --userns single, which needs no helper".to_owned()
                }
                HelpersMissing::NoRange { .. } => format!(
                    "an administrator can grant one: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
                ),
                HelpersMissing::Nested => "use --userns single".to_owned(),
            })),
            Self::Helper { .. } => Some(Hint::new("--userns single needs no helper")),
            Self::Refused(refusal) => refusal.remedy().map(Hint::new),
            Self::WithoutOwn => Some(Hint::new(
                "add a line for it, as any id: --uidmap ID:0:1 (and --gidmap ID:0:1)",
            )),
            Self::Unmappable { .. }
            | Self::MappedTwice { .. }
            | Self::Map { .. }
            | Self::Call(_) => None,
        }
    }
}
