//! In the place of `early.rs`, for processors that it is not written for: nothing is begun early.

use std::sync::atomic::AtomicI32;

use rustix::thread::UnshareFlags;

/// Never there.
#[derive(Debug)]
pub enum Early {}

/// None is begun.
pub fn take(_: UnshareFlags) -> Option<Early> {
    None
}

/// None is begun.
pub fn leave() {}

impl Early {
    /// Never called.
    pub fn lend(&self, _: &AtomicI32, _: &mut dyn FnMut() -> u8) {}
}
