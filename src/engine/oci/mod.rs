//! The OCI runtime: bundles to containers, for podman, containerd and whoever else brings one
//! (runtime-spec, runtime.md).
//!
//! ```text
//! ROOT/ID/            0700
//!     lock            locked while a command works on the container
//!     state.json      bundle, pid, start time, replaced by rename
//!     gate            the socket behind which the program waits: there until `start` connected
//! ```
//!
//! What the container is at a moment is found out, not remembered: no process, it is stopped; a gate,
//! it is created; else it runs.

mod create;
mod error;
mod exec;
mod group;
mod groups;
mod idmapped;
mod ids;
mod processes;
mod state;

use std::path::PathBuf;

pub use create::{Create, Terminal, unknown_capabilities};
pub use error::Error;
pub use exec::Exec;
pub use state::{State, Status};

/// The containers below one root.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// `--root`
    pub root: PathBuf,
    /// Where newuidmap is looked for: the PATH variable.
    pub path: std::ffi::OsString,
    /// `--systemd-cgroup`: `cgroupsPath` is SLICE:PREFIX:NAME.
    pub systemd: bool,
}
