//! Containers that live on, each in the care of a process of its own: its monitor.
//!
//! ```text
//! run -d, start ── fork ── setsid, fork ──► monitor: launch ── told ──► the command ends
//!                                             │ record.json: running, kept by me
//!   attach, start -a ── containers/ID/attach ─┤ serve: streams ─► log, who is attached
//!   stop ── `stop`, a signal ─────────────────┤ health checks in children
//!                                             │ the end: record, `exit`, who is attached
//!                                             └ restart policy: launch again, or go
//! ```
//!
//! The monitor is the parent of the container's first process, which dies with it. It holds the
//! directory's lock for as long as it lives, and gives back what memory it needs no more. Nothing
//! that it has written down is believed once it is gone.

mod create;
mod health;
mod logs;
mod monitor;
mod server;
mod size;
mod socket;
mod start;
mod stop;
mod top;
mod unit;
mod wait;

pub use health::{HealthRequest, InvalidHealth};
pub use logs::{LogRequest, Logs};
pub(super) use start::request;
pub use start::{Attend, Begun};
pub use top::Process as ProcessLine;
pub use wait::Condition;

use super::Error;

/// Tells the user of a failure, in the process in which it happened; gives its exit code.
pub type Tell<'a> = &'a dyn Fn(&Error) -> u8;
