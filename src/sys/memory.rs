//! The first memory of a process, got at once.
#![allow(unsafe_code)]

use rustix::mm::{Advice, madvise};

const PAGE: usize = 4096;
/// What a command writes to of the heap until its container runs: `run` 128 KiB, `exec` and `ps` 50.
/// Each page too many costs as much as half a fault, and is copied by each fork.
const HEAP: usize = 112 << 10;
/// The same of the stack, 80 and 40 KiB. The kernel maps 128 KiB of it below a new program's arguments.
const STACK: usize = 64 << 10;

/// Has the allocator ask for memory in few, large pieces. Call it first of all.
#[inline(never)]
pub fn ask_for_much() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) takes any number; no other thread allocates yet.
    unsafe {
        // A thread's heap grows by so much too, else by the page.
        libc::mallopt(libc::M_TOP_PAD, 128 << 10);
        // What is freed stays, and blocks of this size come from the heap.
        libc::mallopt(libc::M_TRIM_THRESHOLD, 4 << 20);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20);
    }
}

/// Gets the first pages of heap and stack by two calls: one by one they take a fault each, of which a
/// start had 130, a tenth of its time. Where the kernel cannot (`MADV_POPULATE_WRITE` is new in Linux
/// 5.14) they come one by one.
#[inline(never)]
pub fn populate() {
    #[cfg(target_env = "gnu")]
    {
        let first = std::hint::black_box(Vec::<u8>::with_capacity(HEAP));
        let start = (first.as_ptr().addr() & !(PAGE - 1)) + PAGE;
        write_to(start, HEAP - PAGE);
    }
    let marker = 0_u8;
    let here = std::ptr::from_ref(&marker).addr() & !(PAGE - 1);
    write_to(here.saturating_sub(STACK), STACK);
}

fn write_to(start: usize, length: usize) {
    // SAFETY: the advice changes no byte; a range that is not mapped is an error, which is ignored.
    unsafe {
        let start = std::ptr::with_exposed_provenance_mut(start);
        let _ = madvise(start, length, Advice::LinuxPopulateWrite);
    }
}
