//! The disk begins while layers still come, so that less is left for the barrier at the end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope, Thread};
use std::time::Duration;

use crate::store::Scratch;

use super::budget::Budget;
use super::error::Error;

/// Unpacked bytes from one time to the next. By itself the kernel waits for a tenth of the memory.
const STEP: u64 = 128 << 20;
/// How often it is looked at.
const PAUSE: Duration = Duration::from_millis(50);

/// Ends the writing out when dropped.
pub(super) struct Guard<'a> {
    ended: &'a AtomicBool,
    thread: Thread,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }
}

/// Writes out what is unpacked, time and again, until the guard is dropped, or the disk fails: then
/// `failed` is told, as the barrier at the end would not be.
pub(super) fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
    scratch: &'scope Scratch,
    budget: &'scope Budget,
    ended: &'scope AtomicBool,
    failed: impl FnOnce(Error) + Send + 'scope,
) -> Guard<'scope> {
    let writing = scope.spawn(move || {
        let mut written = 0;
        while !ended.load(Ordering::Relaxed) {
            let used = budget.used();
            if used - written >= STEP {
                written = used;
                if let Err(error) = scratch.write_out() {
                    return failed(error.into());
                }
            } else {
                thread::park_timeout(PAUSE);
            }
        }
    });
    Guard { ended, thread: writing.thread().clone() }
}
