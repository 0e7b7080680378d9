//! Arguments to `cli`, its exit code back.
#![no_main]

#[global_allocator]
static HEAP: coracle::sys::heap::Heap = coracle::sys::heap::Heap;

coracle::sys::begin::program!(coracle::cli::main);
