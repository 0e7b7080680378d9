//! How the allocator asks for memory.
#![allow(unsafe_code)]

/// What a thread that makes a container asks for in all: the stack of its first process, and what that one
/// has of its own.
const OF_A_THREAD: usize = (512 + 256) << 10;

/// Has the allocator ask for memory in few, large pieces, and give none back. Call it first of all.
pub fn ask_for_much() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) takes any number; no other thread allocates yet.
    unsafe {
        libc::mallopt(libc::M_TOP_PAD, 128 << 10);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 4 << 20);
        // Blocks of this size come from the heap.
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20);
    }
}

/// Has a thread ask for all that it will need at once: its heap grows by the page else, each time by a call
/// that stands in the way of all page faults of the process.
pub fn one_piece() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(OF_A_THREAD)));
}
