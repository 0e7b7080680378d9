//! Which processor a new thread begins on.
//!
//! The kernel often lines it up behind its maker, though another processor has nothing to do, and there it
//! waits until the maker does. Where both are to run at once, its mask leaves out this processor, and so does
//! that of whom it makes, who is to put an end to that (`Before`).
#![allow(unsafe_code)]

use std::sync::{Arc, OnceLock};

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

use super::thread::Thread;

/// A place for a new thread: any processor but its maker's.
#[derive(Clone, Debug)]
pub struct Elsewhere {
    others: CpuSet,
    before: CpuSet,
    taken: Arc<OnceLock<()>>,
}

/// Where a thread might run before it was moved or kept somewhere.
#[derive(Clone, Copy, Debug)]
pub struct Before(CpuSet);

impl Elsewhere {
    /// `None` where there is no other processor.
    pub fn find() -> Option<Self> {
        let before = sched_getaffinity(None).ok()?;
        let mut others = before;
        others.unset(sched_getcpu());
        (others.count() > 0).then(|| Self { others, before, taken: Arc::default() })
    }

    /// Moves a thread there that waits for it.
    pub fn take(&self, thread: &Thread) {
        let (size, set) = (size_of::<CpuSet>(), std::ptr::from_ref(&self.others));
        // SAFETY: the handle keeps the thread from being forgotten, ended or not; the set is as long as
        // its size says.
        unsafe {
            libc::pthread_setaffinity_np(thread.handle(), size, set.cast());
        }
        let _ = self.taken.set(());
    }

    /// In the thread: waits for `take`. Whom it makes from now on begins elsewhere too.
    pub fn settle(&self) {
        self.taken.wait();
    }

    /// What is to be again in the end, of each that was made in the thread.
    pub fn before(&self) -> Before {
        Before(self.before)
    }
}

impl Before {
    /// Lets this process run there again.
    ///
    /// The kernel keeps a mask that was set, and what a group's cpuset is given later would be out of reach: so it
    /// is set to all processors, unless more come of that than there were, as somebody had set one before.
    pub fn resume(&self) {
        run_everywhere();
        if sched_getaffinity(None) != Ok(self.0) {
            let _ = sched_setaffinity(None, &self.0);
        }
    }
}

/// Has a thread of this process that is about to wake up run on any processor but this one, if there is
/// another.
pub fn send_away(thread: Pid) {
    if let Ok(mut others) = sched_getaffinity(None) {
        others.unset(sched_getcpu());
        let _ = sched_setaffinity(Some(thread), &others); // EINVAL for none
    }
}

/// Keeps this process on the processor that it is on: whoever wakes it would move it to its own.
pub fn stay() {
    let mut here = CpuSet::new();
    here.set(sched_getcpu());
    let _ = sched_setaffinity(None, &here);
}

/// Lets this process run on all processors that its group may have.
fn run_everywhere() {
    let everywhere = [u8::MAX; size_of::<CpuSet>()];
    // SAFETY: the kernel reads as many bytes as it is told.
    unsafe {
        libc::sched_setaffinity(0, everywhere.len(), everywhere.as_ptr().cast());
    }
}

#[cfg(test)]
mod tests {
    use super::super::thread;
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn who_was_moved_and_stays_may_run_again_where_it_might_before() {
        let Some(elsewhere) = Elsewhere::find() else { return };
        let own = sched_getaffinity(None).expect("a mask");
        let (its, here, (tell, told)) = (elsewhere.clone(), sched_getcpu(), channel());
        let thread = thread::begin(64 << 10, move || {
            its.settle();
            let moved = sched_getaffinity(None).expect("a mask");
            stay();
            let kept = sched_getaffinity(None).map(|set| set.count());
            its.before().resume();
            let _ = tell.send((moved, kept, sched_getaffinity(None)));
        });
        elsewhere.take(&thread.expect("a thread"));
        let (moved, kept, after) = told.recv().expect("no panic");
        assert_eq!((kept, after), (Ok(1), Ok(own)));
        assert!(moved.count() < own.count(), "not where it was made, {here}");
    }

    #[test]
    fn who_might_run_on_some_only_may_so_again() {
        let alone = std::thread::spawn(|| {
            stay();
            let mask = sched_getaffinity(None).expect("a mask");
            Before(mask).resume();
            (mask, sched_getaffinity(None))
        });
        let (mask, after) = alone.join().expect("no panic");
        assert_eq!(after, Ok(mask));
    }
}
