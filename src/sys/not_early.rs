//! In the place of `early`, for processors that it is not written for: nothing is begun early.

use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicI32;

use rustix::thread::UnshareFlags;

pub use super::likely::{Beginning, Likely};
pub use words::{Words, begins_with, is_same};

#[path = "early/words.rs"]
#[allow(unsafe_code)]
mod words;

/// None are made.
pub const MOST: usize = usize::MAX;

/// Never there.
#[derive(Debug)]
pub enum Early {}

/// None is begun.
pub fn take(_: UnshareFlags) -> Option<Early> {
    None
}

/// None is begun.
pub fn leave() {}

/// Nobody asks.
pub fn is_slave() -> bool {
    false
}

/// None are made.
pub fn made() -> Vec<(&'static Likely, OwnedFd)> {
    Vec::new()
}

impl Early {
    /// Never called.
    pub fn program(&self) -> std::io::Result<OwnedFd> {
        match *self {}
    }

    /// Never called.
    pub fn lend(&self, _: &AtomicI32, _: &mut dyn FnMut() -> u8) {}
}
