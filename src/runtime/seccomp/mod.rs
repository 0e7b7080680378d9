//! The filter of system calls (seccomp(2)).
//!
//! ```text
//! Profile (docker's default, or docker's JSON) ── compile(capabilities) ──► Program ── load
//! ```
//!
//! The compiler is our own: the crate `seccompiler` (0.5) knows one action for all matches of a
//! filter, no notification, and kills what runs under a foreign architecture, so that a 32-bit
//! program could not run at all. The numbers of the calls come from the crate `syscalls`.

mod compile;
mod default;
mod json;
mod profile;

#[cfg(test)]
mod interpret;

pub use compile::Program;
pub use profile::{Action, Agent, Comparison, Condition, Profile, Rule, Rules};

use std::os::fd::OwnedFd;

use rustix::io::Errno;

use crate::diagnose::{Diagnose, Hint};
use crate::sys;

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not JSON, or not of docker's form.
    #[error("invalid seccomp profile: {0}")]
    Json(#[from] serde_json::Error),
    /// A word that means nothing here.
    #[error("invalid seccomp profile: unknown {what} {text:?}")]
    Unknown {
        /// What kind of word.
        what: &'static str,
        /// The word.
        text: String,
    },
    /// A value out of its range.
    #[error("invalid seccomp profile: {what} {value} is out of range")]
    Range {
        /// Which value.
        what: &'static str,
        /// What it was.
        value: u64,
    },
    /// A listener that could not be made or handed on.
    #[error("invalid seccomp profile: SCMP_ACT_NOTIFY cannot be used {0}")]
    Notify(String),
    /// More instructions than the kernel takes.
    #[error("the seccomp profile makes {0} instructions, the kernel takes 4096 (BPF_MAXINSNS)")]
    TooLong(usize),
}

impl Diagnose for Error {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Json(_)
            | Self::Unknown { .. }
            | Self::Range { .. }
            | Self::Notify(_)
            | Self::TooLong(_) => None,
        }
    }
}

/// Loads a program into this process, for good.
pub(super) fn load(program: &Program) -> Result<(), Errno> {
    sys::seccomp::load(program.instructions(), program.flags())
}

/// The same, and gives the listener at which the calls arrive that it notifies.
pub(super) fn load_with_listener(program: &Program) -> Result<OwnedFd, Errno> {
    sys::notify::listen(program.instructions(), program.flags())
}
