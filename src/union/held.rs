//! Descriptors that are kept open while there is room, and opened again when they are wanted.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Locks; a panic ends the whole process, so that nobody sees what it left.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place for one descriptor.
#[derive(Debug, Default)]
pub(super) struct Slot {
    held: Mutex<Option<Arc<OwnedFd>>>,
    used: AtomicBool,
}

/// All slots that hold a descriptor; the ones longest unused are emptied first.
#[derive(Debug)]
pub(super) struct Pool {
    limit: usize,
    filled: Mutex<VecDeque<Weak<Slot>>>,
}

impl Slot {
    /// Holds a descriptor for as long as the slot is there.
    pub(super) fn fixed(descriptor: OwnedFd) -> Arc<Self> {
        let held = Mutex::new(Some(Arc::new(descriptor)));
        Arc::new(Self { held, used: AtomicBool::new(true) })
    }

    /// What is held, if anything is.
    pub(super) fn get(&self) -> Option<Arc<OwnedFd>> {
        let held = lock(&self.held).clone();
        if held.is_some() {
            self.used.store(true, Ordering::Relaxed);
        }
        held
    }

    /// Lets go: what is held is of no use any more.
    pub(super) fn clear(&self) {
        lock(&self.held).take();
    }
}

impl Pool {
    /// Room for `limit` descriptors.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, filled: Mutex::new(VecDeque::new()) }
    }

    /// Holds a descriptor, in place of another where there is no room.
    pub(super) fn hold(&self, slot: &Arc<Slot>, descriptor: OwnedFd) -> Arc<OwnedFd> {
        let descriptor = Arc::new(descriptor);
        let before = lock(&slot.held).replace(Arc::clone(&descriptor));
        slot.used.store(true, Ordering::Relaxed);
        if before.is_some() {
            return descriptor; // it is in the queue already
        }
        let mut filled = lock(&self.filled);
        filled.push_back(Arc::downgrade(slot));
        while filled.len() > self.limit {
            let Some(oldest) = filled.pop_front() else { break };
            let Some(oldest) = oldest.upgrade() else { continue };
            if oldest.used.swap(false, Ordering::Relaxed) {
                filled.push_back(Arc::downgrade(&oldest)); // another round
            } else {
                oldest.clear();
            }
        }
        descriptor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor() -> OwnedFd {
        std::fs::File::open("/dev/null").expect("a file").into()
    }

    #[test]
    fn the_longest_unused_goes_first() {
        let pool = Pool::new(2);
        let slots: Vec<_> = (0..3).map(|_| Arc::new(Slot::default())).collect();
        pool.hold(&slots[0], descriptor());
        pool.hold(&slots[1], descriptor());
        // All have been used, so that each is passed over once; then the first goes.
        pool.hold(&slots[2], descriptor());
        let held: Vec<bool> = slots.iter().map(|slot| slot.get().is_some()).collect();
        assert_eq!(held, [false, true, true]);
    }

    #[test]
    fn a_slot_that_is_gone_takes_no_room() {
        let pool = Pool::new(1);
        pool.hold(&Arc::new(Slot::default()), descriptor());
        let slot = Arc::new(Slot::default());
        pool.hold(&slot, descriptor());
        assert!(slot.get().is_some());
    }
}
