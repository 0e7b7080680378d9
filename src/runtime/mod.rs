//! Specification to process.
//!
//! ```text
//! ContainerSpec ── Plan::new (pure) ──► Plan: C strings, targets, filter
//!                                         │
//! start ── clone3: user, mnt, pid, ipc, uts, cgroup [, net] ──┐
//!   │  parent: id maps where a helper must write them         │ child: init::become_program
//!   │  (the caller goes on: writes its record)                │ maps, root, mounts, pivot, limits,
//! finish ◄── Failure or the pipe's end ───────────────────────┘ filter, ids, capabilities, exec
//!   │
//! supervise: bytes, signals, the end
//! ```

pub mod capabilities;
pub mod seccomp;

mod describe;
mod error;
mod init;
mod label;
mod launch;
mod plan;
mod reaper;
mod relay;
mod rootfs;
mod socket;
mod stage;
mod supervise;
mod target;
mod terminal;

pub use error::{Error, ExecRefusal};
pub use launch::{Launch, Running, Starting, start};
pub(crate) use rootfs::mount_overlay;
pub use stage::{Failure, Stage};
pub use supervise::{Exit, Signals, supervise};
