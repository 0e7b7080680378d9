//! Arguments to `cli`, its exit code back.
#![no_main]

#[global_allocator]
static HEAP: coracle::sys::heap::Heap = coracle::sys::heap::Heap;

coracle::sys::begin::program!(coracle::cli::main);

#[cfg(target_arch = "x86_64")]
coracle::sys::early::program!(coracle::cli::beginning);
