//! System calls that no safe crate offers; the only `unsafe` in the project.
//!
//! What rustix and nix cover is called there; here stands the rest, in owned and borrowed
//! descriptors. Errors carry the call's name.

pub mod arguments;
pub mod begin;
pub mod compare;
#[cfg_attr(not(target_arch = "x86_64"), path = "not_early.rs")]
pub mod early;
pub mod exec;
pub mod fork;
pub mod heap;
pub mod landlock;
pub mod likely;
pub mod mount;
pub mod network;
pub mod notify;
pub mod process;
pub mod processor;
mod remove;
pub mod scratch;
pub mod seccomp;
mod size;
pub mod socket;
pub mod thread;
pub mod trim;
pub mod tuning;
mod writing;

use std::fmt;

use rustix::io::Errno;

pub use remove::{remove_tree, remove_tree_at};
pub use size::tree_size;
pub use writing::begin_writing;

/// A failed system call: its name and errno.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallError {
    /// The call, as its man page names it.
    pub call: &'static str,
    /// Why.
    pub errno: Errno,
}

impl CallError {
    /// The error that the last call of this thread left.
    pub(crate) fn last(call: &'static str) -> Self {
        let raw = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
        Self { call, errno: Errno::from_raw_os_error(raw) }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, self.errno)
    }
}

impl std::error::Error for CallError {}
