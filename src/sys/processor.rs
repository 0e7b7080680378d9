//! Which processor a new thread or process begins on.
//!
//! The kernel often lines it up behind its maker, though another processor has nothing to do; there it
//! waits until the maker does. Both are to run at once, so it is moved: its mask leaves out this
//! processor for a moment, and is what it was then.
#![allow(unsafe_code)]

use std::os::unix::thread::JoinHandleExt;
use std::thread::JoinHandle;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// Moves a process that was just made to another processor, where there is one. It has yet to choose
/// its own.
pub fn spread(pid: Pid) {
    if let Some((others, all)) = others() {
        let _ = sched_setaffinity(Some(pid), &others);
        let _ = sched_setaffinity(Some(pid), &all);
    }
}

/// The same for a thread.
pub fn spread_thread<T>(thread: &JoinHandle<T>) {
    let Some((others, all)) = others() else { return };
    for set in [others, all] {
        // SAFETY: the handle keeps the thread from being forgotten, ended or not; the set is as long
        // as its size says.
        unsafe {
            let size = size_of::<CpuSet>();
            libc::pthread_setaffinity_np(
                thread.as_pthread_t(),
                size,
                std::ptr::from_ref(&set).cast(),
            );
        }
    }
}

/// The processors that this thread may run on, without the one that it does and with it; `None` where
/// there is no other.
fn others() -> Option<(CpuSet, CpuSet)> {
    let all = sched_getaffinity(None).ok()?;
    let mut others = all;
    others.unset(sched_getcpu());
    (others.count() > 0).then_some((others, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_keeps_its_processors() {
        let mask = || sched_getaffinity(None).map(|set| set.count());
        let (ask, asked) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let _ = asked.recv();
            mask()
        });
        spread_thread(&thread);
        drop(ask);
        assert_eq!(thread.join().expect("no panic"), mask());
    }
}
