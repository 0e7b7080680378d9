//! Specification to process.
//!
//! ```text
//! ContainerSpec ── Plan::new (pure) ──► Plan: C strings, targets, filter
//!                                         │
//! start ── clone3 in the new namespaces (spawn: joined ones) ──┐
//!   │  parent: id maps where a helper must write them         │ child: init::become_program
//!   │  (the caller goes on: writes its record)                │ maps, root, mounts, pivot, limits,
//! finish ◄── Failure or the pipe's end ───────────────────────┘ filter, ids, capabilities, exec
//!   │
//! supervise: bytes, signals, the end
//!   or, in a monitor, Running::keep; who is attached to one does attach::attend over wire::
//! ```

pub mod capabilities;
pub mod seccomp;
pub mod wire;

mod agent;
mod ahead;
mod attach;
mod copy_up;
mod describe;
mod detach;
mod device;
mod emulate;
mod errand;
mod error;
mod hooks;
mod init;
mod kept;
mod label;
mod launch;
mod plan;
mod program;
mod ready;
mod reaper;
mod relay;
mod rootfs;
mod socket;
mod spawn;
mod stage;
mod supervise;
mod target;
mod terminal;
mod tuning;

pub use crate::sys::process::is_open;
pub use ahead::Ahead;
pub use attach::{Attached, Leaving, attend};
pub use detach::{DetachKeys, InvalidDetachKeys};
pub use device::make_device;
pub use errand::{errand_before, errand_in};
pub use error::{Error, ExecRefusal};
pub use hooks::{HookState, run_all as run_hooks, run_each as run_each_hook};
pub use kept::Kept;
pub use launch::{
    Attachment, Join, Launch, Running, Starting, join, namespace_of, open_gate, start, start_ahead,
};
pub use relay::{Source, Tap};
pub(crate) use rootfs::{mount_at, mount_overlay};
pub use spawn::{borrow_mount, has_ended};
pub use stage::{Failure, Stage};
pub use supervise::{Attendance, Exit, Parting, Signals, Unattended, is_default, supervise};
