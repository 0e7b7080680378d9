//! System calls where there is no C library yet.

use std::arch::asm;
use std::ptr::null;
use std::sync::atomic::AtomicU32;

/// Waits until a futex has another value, or somebody wakes it; no longer than `patience`, if there is one.
///
/// # Safety
///
/// Nothing is local to the thread here; it is a mark that none of it is needed.
pub(super) unsafe fn wait(word: &AtomicU32, value: u32, patience: Option<&libc::timespec>) {
    let operation = (libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG) as usize;
    let patience = patience.map_or(0, |patience| std::ptr::from_ref(patience).addr());
    // SAFETY: the words outlive the call.
    unsafe { call(libc::SYS_futex, word.as_ptr().addr(), operation, value as usize, patience, 0) };
}

/// Wakes who waits at a futex.
///
/// # Safety
///
/// As for `wait`.
pub(super) unsafe fn wake(word: &AtomicU32) {
    let operation = (libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG) as usize;
    // SAFETY: the word outlives the call.
    unsafe { call(libc::SYS_futex, word.as_ptr().addr(), operation, i32::MAX as usize, 0, 0) };
}

/// A system call, whose error is not errno but its negative.
///
/// # Safety
///
/// The arguments are what the call expects.
pub(super) unsafe fn call(
    number: i64,
    first: usize,
    second: usize,
    third: usize,
    fourth: usize,
    fifth: usize,
) -> isize {
    let result: isize;
    // SAFETY: the registers are declared as the kernel leaves them.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") first,
            in("rsi") second,
            in("rdx") third,
            in("r10") fourth,
            in("r8") fifth,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// clone(2) of one that executes `code` on a stack of its own; its id is written to `id`.
///
/// # Safety
///
/// The stack ends there, aligned to 16 bytes, and is nobody else's.
pub(super) unsafe fn start(
    flags: i32,
    stack: *mut u8,
    id: *mut i32,
    code: extern "C" fn() -> !,
) -> isize {
    let result: isize;
    // SAFETY: this frame is not touched by the new one, who has another stack and comes to no end of `code`.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "call r12",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone as isize => result,
            in("rdi") flags as isize,
            in("rsi") stack,
            in("rdx") id,
            in("r10") id,
            in("r8") null::<u8>(),
            in("r12") code,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}
