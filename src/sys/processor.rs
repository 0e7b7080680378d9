//! Which processor a new thread begins on.
//!
//! The kernel often lines it up behind its maker, though another processor has nothing to do, and there it
//! waits until the maker does. Where both are to run at once, its mask leaves out this processor until
//! it runs.
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
pub struct Before {
    mask: CpuSet,
    /// Whether that is all there are. The kernel keeps a mask that was set: what a group's cpuset may be given
    /// later would be out of reach.
    everywhere: bool,
}

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
        let online = std::fs::read_to_string("/sys/devices/system/cpu/online");
        let online = online.ok().and_then(|list| count(&list));
        Before { mask: self.before, everywhere: online == Some(self.before.count() as usize) }
    }
}

impl Before {
    /// Lets this process run there again.
    pub fn resume(&self) {
        if self.everywhere {
            run_everywhere();
        } else {
            let _ = sched_setaffinity(None, &self.mask);
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

/// How many processors a list like `0-3,5` names.
fn count(list: &str) -> Option<usize> {
    let mut count = 0;
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        count += last.checked_sub(first)? + 1;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::super::thread;
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn lists_are_counted() {
        assert_eq!(["0\n", "0-3", "0-1,4,6-7\n"].map(count), [Some(1), Some(4), Some(5)]);
        assert_eq!(["", "3-1", "a"].map(count), [None; 3]);
    }

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
            let before = Before { mask, everywhere: false };
            run_everywhere();
            before.resume();
            (mask, sched_getaffinity(None))
        });
        let (mask, after) = alone.join().expect("no panic");
        assert_eq!(after, Ok(mask));
    }
}
