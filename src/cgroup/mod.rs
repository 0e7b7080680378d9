//! Control groups: what a container may use, and who keeps it to that.
//!
//! ```text
//! flags, linux.resources ─► Resources ─┐
//! /proc, /sys/fs/cgroup ─► detect ─► Host ─► plan (pure) ─► Plan: steps, stand-ins, warnings
//!                                                            │
//!       a scope of systemd's, if that is the way ◄─ prepare ─┘─► Group: add, freeze, kill,
//!                                                                stats, update, remove
//!
//! v2   OWN/coracle-ID                   a leaf; controllers are enabled in OWN, which must be empty
//!      OWN/coracle                      where coracle itself goes then
//! v1   HIERARCHY/OWN/coracle-ID         in each hierarchy that is of use
//! ```
//!
//! A limit is kept, or refused with the reason, or, best effort, warned about; never dropped.

mod error;
mod flags;
mod group;
mod host;
mod in_force;
mod place;
mod plan;
mod processors;
mod resources;
mod setting;
mod stats;
mod systemd;
#[cfg(test)]
mod tests;

pub use error::{Error, Refusal};
pub use flags::{Flags, Machine};
pub use group::{Entrances, Group, Part};
pub use host::{Hierarchy, Host, Node, Version, detect, is_worth_a_look};
pub use in_force::InForce;
pub use plan::{Kept, Mode, Plan, Step, Wish, plan, prepare};
pub use processors::Processors;
pub use resources::{Cpu, Device, Io, Memory, Resources, Throttle, ThrottleKind};
pub use stats::{CpuStats, IoStats, MemoryStats, PidsStats, Stats};
