//! Containers in one static binary: no root, no daemon, no helper program.
//!
//! The modules stand in the order in which an image becomes a process:
//! reference → registry → store → layer → snapshot → bundle → runtime.
//! ARCHITECTURE.md is the map; `tests/architecture.rs` holds the arrows.

pub mod diagnose;
pub mod mount;
pub mod oci;
pub mod owners;
pub mod sys;

pub mod layer;
pub mod reference;
pub mod registry;
pub mod snapshot;
pub mod store;
pub mod trust;

pub mod bundle;
pub mod cgroup;
pub mod container;
pub mod network;
pub mod runtime;
pub mod supervisor;
pub mod union;
pub mod userns;
pub mod volume;

pub mod cli;
pub mod engine;
