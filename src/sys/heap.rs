//! Where the memory of a start comes from.
//!
//! A start asks for memory some 4,000 times, mostly for a few words, and lives for milliseconds: the C library's
//! allocator, which has to think of programs that live for days, was a third of all that it did. So the two
//! threads that make a container have a piece of memory each, from which small blocks are cut. A block that is let
//! go of waits for the next one of its size; one of another thread's waits for ever, as few are. What is large, or
//! asked for by others, or when a piece is at its end, comes from the C library.
#![allow(unsafe_code)]
#![allow(clippy::cast_ptr_alignment)] // each block lies at a multiple of 16

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};

/// The allocator of a program.
#[derive(Clone, Copy, Debug)]
pub struct Heap;

/// Blocks come in multiples of this, and lie at one.
const GRAIN: usize = 16;
/// What is longer comes from the C library.
const LARGEST: usize = 4096;
const SIZES: usize = LARGEST / GRAIN + 1;

/// A piece of memory for one thread. Only pages that are used are there, and nothing of it is in the program's file.
#[repr(C, align(4096))]
struct Piece<const LENGTH: usize>(UnsafeCell<[MaybeUninit<u8>; LENGTH]>);

// SAFETY: it is given to one thread, which has it alone.
unsafe impl<const LENGTH: usize> Sync for Piece<LENGTH> {}

static FIRST: Piece<{ 512 << 10 }> = Piece::new();
static SECOND: Piece<{ 256 << 10 }> = Piece::new();
/// Whether the next thread to ask may have the second.
static IS_OFFERED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Neither made late nor ended by anybody, so that the allocator may use it.
    static OWN: Blocks = const { Blocks::none() };
}

/// Has this thread, the program's only one yet, have a piece; and the C library ask the kernel for what is large
/// in few steps, and give none back.
pub fn begin() {
    static IS_GIVEN: AtomicBool = AtomicBool::new(false);
    if !IS_GIVEN.swap(true, Ordering::Relaxed) {
        OWN.with(|own| FIRST.give_to(own));
    }
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) takes any number; no other thread allocates yet.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, 4 << 20);
        // Blocks of this size come from the heap.
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20);
    }
}

/// Has the next thread that asks for memory and has no piece have the other one. It is in time for what is done in
/// a new thread before its own work begins.
pub fn offer() {
    static WAS_OFFERED: AtomicBool = AtomicBool::new(false);
    if !WAS_OFFERED.swap(true, Ordering::Relaxed) {
        IS_OFFERED.store(true, Ordering::Relaxed);
    }
}

/// The blocks of a piece.
struct Blocks {
    begin: Cell<*mut u8>,
    /// Where the next one is cut.
    next: Cell<*mut u8>,
    end: Cell<*mut u8>,
    /// Those that were let go of, by size: each has the next one's place in its first word.
    free: [Cell<*mut u8>; SIZES],
}

impl<const LENGTH: usize> Piece<LENGTH> {
    const fn new() -> Self {
        Self(UnsafeCell::new([MaybeUninit::uninit(); LENGTH]))
    }

    fn give_to(&'static self, own: &Blocks) {
        let begin: *mut u8 = self.0.get().cast();
        own.begin.set(begin);
        own.next.set(begin);
        own.end.set(begin.wrapping_add(LENGTH));
    }

    fn holds(&self, block: *mut u8) -> bool {
        block.addr().wrapping_sub(self.0.get().addr()) < LENGTH
    }
}

/// The class of a size; none for what is not cut from a piece.
fn size_class(layout: Layout) -> Option<usize> {
    let fits = layout.size() <= LARGEST && layout.align() <= GRAIN;
    fits.then(|| layout.size().div_ceil(GRAIN))
}

impl Blocks {
    const fn none() -> Self {
        Self {
            begin: Cell::new(null_mut()),
            next: Cell::new(null_mut()),
            end: Cell::new(null_mut()),
            free: [const { Cell::new(null_mut()) }; SIZES],
        }
    }

    fn cut(&self, size: usize) -> Option<*mut u8> {
        let free = &self.free[size];
        let block = free.get();
        if !block.is_null() {
            // SAFETY: a free block of this piece, whose first word was written when it was let go of.
            free.set(unsafe { block.cast::<*mut u8>().read() });
            return Some(block);
        }
        let (block, length) = (self.next.get(), size * GRAIN);
        if self.end.get().addr() - block.addr() < length {
            let has_none = || self.begin.get().is_null();
            let is_offered = || IS_OFFERED.load(Ordering::Relaxed);
            if has_none() && is_offered() && IS_OFFERED.swap(false, Ordering::Relaxed) {
                SECOND.give_to(self);
                return self.cut(size);
            }
            return None;
        }
        self.next.set(block.wrapping_add(length));
        Some(block)
    }

    /// Takes back a block of any thread's.
    fn put(&self, block: *mut u8, size: usize) {
        if self.holds(block) && size > 0 {
            let free = &self.free[size];
            // SAFETY: the block is this piece's, nobody's any more, at least a word long and aligned for it.
            unsafe { block.cast::<*mut u8>().write(free.get()) };
            free.set(block);
        }
    }

    /// Makes the block that was cut last longer or shorter, where it lies.
    fn stretch(&self, block: *mut u8, from: usize, to: usize) -> bool {
        let (old, new) = (from * GRAIN, to * GRAIN);
        let is_last = self.holds(block) && block.wrapping_add(old) == self.next.get();
        let fits = is_last && self.end.get().addr() - block.addr() >= new;
        if fits {
            self.next.set(block.wrapping_add(new));
        }
        fits
    }

    fn holds(&self, block: *mut u8) -> bool {
        (self.begin.get()..self.end.get()).contains(&block)
    }
}

/// A block of this thread's piece, if it has one with room.
fn cut(layout: Layout) -> Option<*mut u8> {
    size_class(layout).and_then(|size| OWN.with(|own| own.cut(size)))
}

/// Whether a block was cut from a piece.
fn is_cut(block: *mut u8) -> bool {
    FIRST.holds(block) || SECOND.holds(block)
}

// SAFETY: a block is as long and as aligned as its layout asks, and nobody else's until it is let go of; what was
// not cut from a piece is the C library's from the beginning to the end.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        cut(layout).unwrap_or_else(|| unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match cut(layout) {
            // SAFETY: the block is that long.
            Some(block) => unsafe {
                block.write_bytes(0, layout.size());
                block
            },
            // SAFETY: the caller's promise.
            None => unsafe { System.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match size_class(layout).filter(|_| is_cut(block)) {
            Some(size) => OWN.with(|own| own.put(block, size)),
            // SAFETY: the caller's promise, and it was not cut from a piece.
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, length: usize) -> *mut u8 {
        let Some(from) = size_class(layout).filter(|_| is_cut(block)) else {
            // SAFETY: the caller's promise, and it was not cut from a piece.
            return unsafe { System.realloc(block, layout, length) };
        };
        // SAFETY: the caller promises that the length, rounded up to the alignment, fits in an isize.
        let wanted = unsafe { Layout::from_size_align_unchecked(length, layout.align()) };
        let stays = size_class(wanted)
            .is_some_and(|to| to == from || OWN.with(|own| own.stretch(block, from, to)));
        if stays {
            return block;
        }
        // SAFETY: the new block is another one, and both are as long as is copied.
        unsafe {
            let new = self.alloc(wanted);
            if !new.is_null() {
                new.copy_from_nonoverlapping(block, layout.size().min(length));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn bytes(size: usize) -> Layout {
        match Layout::from_size_align(size, 1) {
            Ok(layout) => layout,
            Err(_) => panic!("a layout"),
        }
    }

    /// In a thread that has the first piece: no other test has it.
    #[test]
    fn blocks_are_apart_come_again_by_size_and_grow_where_they_lie() {
        let work = || {
            begin();
            let get = |size| {
                // SAFETY: no layout here is empty.
                unsafe { Heap.alloc(bytes(size)) }
            };
            let (one, other) = (get(24), get(100));
            assert!(is_cut(one) && is_cut(other));
            assert_eq!((other.addr() - one.addr(), one.addr() % GRAIN), (32, 0));
            // SAFETY: each block is used as long as it was asked for, and let go of once.
            unsafe {
                one.write_bytes(7, 24);
                assert_eq!(Heap.realloc(other, bytes(100), 112), other, "it was that long");
                assert_eq!(Heap.realloc(other, bytes(112), 500), other, "nothing is behind it");
                let moved = Heap.realloc(one, bytes(24), 90);
                assert!(moved != one && moved.read() == 7 && moved.add(23).read() == 7);
                assert_eq!(get(17), one, "it was let go of");
                let zeroed = Heap.alloc_zeroed(bytes(24));
                Heap.dealloc(zeroed, bytes(24));
                zeroed.add(8).write(9);
                assert_eq!(Heap.alloc_zeroed(bytes(30)), zeroed);
                assert_eq!(zeroed.add(8).read(), 0);
                let large = Heap.realloc(moved, bytes(90), 9000);
                assert!(!is_cut(large) && large.add(23).read() == 7);
                Heap.dealloc(large, bytes(9000));
            }
            let aligned = Layout::from_size_align(64, 64).expect("a layout");
            // SAFETY: as above.
            unsafe {
                let block = Heap.alloc(aligned);
                assert!(!is_cut(block));
                Heap.dealloc(block, aligned);
            }
            let mut last = null_mut();
            for _ in 0..150 {
                last = get(LARGEST);
                assert!(!last.is_null());
            }
            assert!(!is_cut(last), "the piece is at its end");
            one.addr()
        };
        let foreign = std::thread::spawn(work).join().expect("no panic");
        let foreign = std::ptr::with_exposed_provenance_mut(foreign);
        // SAFETY: the block is nobody's any more, and is not given to anybody here.
        unsafe { Heap.dealloc(foreign, bytes(17)) };
        // SAFETY: as above.
        let own = unsafe { Heap.alloc(bytes(17)) };
        assert_ne!(own, foreign, "it was another thread's");
        // SAFETY: as above.
        unsafe { Heap.dealloc(own, bytes(17)) };
    }
}
