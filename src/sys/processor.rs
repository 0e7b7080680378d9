//! Which processor a new thread begins on.
//!
//! The kernel often lines it up behind its maker, though another processor has nothing to do, and there it
//! waits until the maker does. Where both are to run at once, its mask leaves out this processor until
//! it runs.
#![allow(unsafe_code)]

use std::os::unix::thread::JoinHandleExt;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// A place for a new thread: any processor but its maker's.
#[derive(Clone, Debug)]
pub struct Elsewhere {
    others: CpuSet,
    taken: Arc<OnceLock<()>>,
}

impl Elsewhere {
    /// `None` where there is no other processor, or where this thread may not run on all: the kernel keeps a
    /// mask that was set, and what a group's cpuset may be given later would be out of reach.
    pub fn find() -> Option<Self> {
        let mut others = sched_getaffinity(None).ok()?;
        let online = std::fs::read_to_string("/sys/devices/system/cpu/online").ok()?;
        if count(&online) != Some(others.count() as usize) {
            return None;
        }
        others.unset(sched_getcpu());
        (others.count() > 0).then(|| Self { others, taken: Arc::default() })
    }

    /// Moves a thread there that will `settle`.
    pub fn take<T>(&self, thread: &JoinHandle<T>) {
        let (size, set) = (size_of::<CpuSet>(), std::ptr::from_ref(&self.others));
        // SAFETY: the handle keeps the thread from being forgotten, ended or not; the set is as long as
        // its size says.
        unsafe {
            libc::pthread_setaffinity_np(thread.as_pthread_t(), size, set.cast());
        }
        let _ = self.taken.set(());
    }

    /// In the thread: it may run everywhere from now on, and so may whom it makes. Waits for `take`, which must
    /// not come later.
    pub fn settle(&self) {
        self.taken.wait();
        run_everywhere();
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
pub fn run_everywhere() {
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
    use super::*;

    #[test]
    fn lists_are_counted() {
        assert_eq!(["0\n", "0-3", "0-1,4,6-7\n"].map(count), [Some(1), Some(4), Some(5)]);
        assert_eq!(["", "3-1", "a"].map(count), [None; 3]);
    }

    #[test]
    fn who_stays_may_run_everywhere_again() {
        let Some(_) = Elsewhere::find() else { return };
        let count = || sched_getaffinity(None).map(|set| set.count());
        let thread = std::thread::spawn(move || {
            let before = count();
            stay();
            let here = count();
            run_everywhere();
            (before, here, count())
        });
        let (before, here, after) = thread.join().expect("no panic");
        assert_eq!((here, after), (Ok(1), before));
    }

    #[test]
    fn a_thread_that_has_settled_may_run_everywhere() {
        let Some(elsewhere) = Elsewhere::find() else { return };
        let its = elsewhere.clone();
        let thread = std::thread::spawn(move || {
            its.settle();
            sched_getaffinity(None).map(|set| set.count())
        });
        elsewhere.take(&thread);
        let own = sched_getaffinity(None).map(|set| set.count());
        assert_eq!(thread.join().expect("no panic"), own);
    }
}
