//! A thread that is nothing but a thread.
//!
//! One of the standard library's keeps a list of what is to be ended with it, in memory of its own: with that the C
//! library begins a heap for the thread, which takes it longer than the kernel takes for the thread.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr::null_mut;

use super::CallError;

/// A thread that runs, or has.
#[derive(Debug)]
pub struct Thread(libc::pthread_t);

type Work = Box<dyn FnOnce() + Send>;

/// Starts a thread with a stack of so many bytes. A panic in it ends the process.
pub fn begin(stack_size: usize, work: impl FnOnce() + Send + 'static) -> Result<Thread, CallError> {
    extern "C" fn run(work: *mut c_void) -> *mut c_void {
        // SAFETY: `begin` has made it so and leaves it to this thread.
        let work = unsafe { Box::from_raw(work.cast::<Work>()) };
        work();
        null_mut()
    }
    let work: Box<Work> = Box::new(Box::new(work));
    let work = Box::into_raw(work);
    let (mut attributes, mut thread) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: the attributes are used between their making and their end, and `work` is what `run` takes.
    let status = unsafe {
        libc::pthread_attr_init(attributes.as_mut_ptr());
        libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), stack_size);
        let status =
            libc::pthread_create(thread.as_mut_ptr(), attributes.as_ptr(), run, work.cast());
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        status
    };
    if status != 0 {
        // SAFETY: no thread has taken it.
        drop(unsafe { Box::from_raw(work) });
        let errno = rustix::io::Errno::from_raw_os_error(status);
        return Err(CallError { call: "pthread_create", errno });
    }
    // SAFETY: written, as it has succeeded.
    Ok(Thread(unsafe { thread.assume_init() }))
}

impl Thread {
    /// What the C library knows it by, for as long as this is not dropped.
    pub fn handle(&self) -> libc::pthread_t {
        self.0
    }

    /// Waits for its end.
    pub fn join(self) {
        // SAFETY: it was neither waited for nor let go of: that takes the handle.
        unsafe {
            libc::pthread_join(self.0, null_mut());
        }
        std::mem::forget(self);
    }
}

impl Drop for Thread {
    /// It goes on, and nobody waits for it.
    fn drop(&mut self) {
        // SAFETY: as in `join`.
        unsafe {
            libc::pthread_detach(self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn its_work_is_done_once_it_is_joined() {
        let done = Arc::new(AtomicU32::new(0));
        let its = Arc::clone(&done);
        let thread = begin(64 << 10, move || {
            its.fetch_add(1, Ordering::Relaxed);
        });
        thread.expect("a thread").join();
        assert_eq!((done.load(Ordering::Relaxed), Arc::strong_count(&done)), (1, 1));
    }

    #[test]
    fn what_a_thread_that_cannot_be_was_to_do_is_let_go_of() {
        let done = Arc::new(());
        let its = Arc::clone(&done);
        let refused = begin((usize::MAX / 2) & !0xffff, move || drop(its));
        assert_eq!(refused.map(drop).map_err(|error| error.call), Err("pthread_create"));
        assert_eq!(Arc::strong_count(&done), 1);
    }
}
