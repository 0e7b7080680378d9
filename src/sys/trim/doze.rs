//! The wait itself: what is dropped is what runs while it is gone has no use for.
#![allow(unsafe_code)]

use rustix::event::{PollFd, Timespec};
use rustix::io::Errno;
use rustix::mm::MprotectFlags;

use super::relocated::{Rela, Relocated};

pub(super) const PAGE: usize = 4096;

/// Pages in a row, as the function below reads it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: usize,
    pub(super) length: usize,
}

impl Range {
    fn end(self) -> usize {
        self.start + self.length
    }

    /// Whether all of another one lies in it.
    pub(super) fn holds(self, other: Self) -> bool {
        self.start <= other.start && other.end() <= self.end()
    }

    /// What lies before the pages of `hole`, and what lies behind them.
    pub(super) fn without(self, hole: Self) -> impl Iterator<Item = Self> {
        let from = (hole.start / PAGE * PAGE).clamp(self.start, self.end());
        let to = hole.end().next_multiple_of(PAGE).clamp(self.start, self.end());
        let before = Self { start: self.start, length: from - self.start };
        let after = Self { start: to, length: self.end() - to };
        [before, after].into_iter().filter(|part| part.length > 0)
    }
}

/// All that `asleep` reads.
#[repr(C)]
struct Plan {
    /// Dropped first.
    files: *const Range,
    files_end: *const Range,
    /// The beginning of the stack's mapping: dropped up to the frames that are there.
    stack: usize,
    /// poll(2)'s arguments.
    polled: *mut libc::pollfd,
    count: usize,
    timeout: *const Timespec,
    /// Dropped last, and made again first.
    relocated: Range,
    table: *const Rela,
    table_end: *const Rela,
    bias: usize,
}

/// As many bytes as the function below has at most.
const CODE: usize = 256;

/// The code that runs while the rest is gone: what of the program's file has to stay.
pub(super) fn code() -> Range {
    Range { start: asleep as *const () as usize, length: CODE }
}

/// Drops, waits by poll(2), and puts back.
pub(super) fn doze(
    files: &[Range],
    stack: Option<usize>,
    relocated: Option<&Relocated>,
    polled: &mut [PollFd<'_>],
    timeout: Option<&Timespec>,
) -> rustix::io::Result<usize> {
    const {
        assert!(size_of::<PollFd<'_>>() == size_of::<libc::pollfd>());
        assert!(size_of::<Timespec>() == size_of::<libc::timespec>());
    }
    // SAFETY: malloc_trim(3) takes any number.
    unsafe {
        libc::malloc_trim(0);
    }
    // Writable before it is dropped: where it cannot be made so, nothing is lost.
    let relocated = relocated.filter(|it| {
        let flags = MprotectFlags::READ | MprotectFlags::WRITE;
        protect(it.range, flags).is_ok()
    });
    let table = relocated.map_or(&[][..], |it| it.table).as_ptr_range();
    let files = files.as_ptr_range();
    let plan = Plan {
        files: files.start,
        files_end: files.end,
        stack: stack.unwrap_or(usize::MAX),
        polled: polled.as_mut_ptr().cast(),
        count: polled.len(),
        timeout: timeout.map_or(std::ptr::null(), std::ptr::from_ref),
        relocated: relocated.map_or(Range { start: 0, length: 0 }, |it| it.range),
        table: table.start,
        table_end: table.end,
        bias: relocated.map_or(0, |it| it.bias),
    };
    // SAFETY: `files` are clean private mappings of a file, whose bytes come back from there; of the
    // stack only what lies below this frame and its callee's goes. Relocated data is dropped by a
    // process with one thread and all signals blocked, so that nobody reads it but `asleep`, which
    // reads `plan` and what it points to and nothing else; it then holds again what it held, which
    // was tried out (relocated.rs). The pointers outlive the call. `PollFd` is `struct pollfd`
    // (rustix says so), `Timespec` the kernel's.
    let ready = unsafe { asleep(&raw const plan) };
    if let Some(relocated) = relocated {
        let _ = protect(relocated.range, MprotectFlags::READ); // sealed again
    }
    match usize::try_from(ready) {
        Ok(ready) => Ok(ready),
        Err(_) => Err(Errno::from_raw_os_error(i32::try_from(-ready).unwrap_or(libc::EIO))),
    }
}

fn protect(range: Range, flags: MprotectFlags) -> rustix::io::Result<()> {
    let start = std::ptr::with_exposed_provenance_mut(range.start);
    // SAFETY: data of this program that it only reads; who asks for writable pages writes to them
    // in `asleep` alone.
    unsafe { rustix::mm::mprotect(start, range.length, flags) }
}

/// Drops what the plan names, waits, makes the relocated data again; what poll(2) gave.
///
/// In assembly, as no compiler promises what its code reads: this reads the plan, and itself.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn asleep(plan: *const Plan) -> isize {
    core::arch::naked_asm!(
        "9: push rbx",
        "push r12",
        "mov rbx, rdi",
        // for range in files: madvise(range.start, range.length, MADV_DONTNEED)
        "mov r12, [rbx + {files}]",
        "2: cmp r12, [rbx + {files_end}]",
        "je 3f",
        "mov rdi, [r12]",
        "mov rsi, [r12 + 8]",
        "mov edx, {dontneed}",
        "mov eax, {madvise}",
        "syscall",
        "add r12, 16",
        "jmp 2b",
        // The stack below this frame and the 128 bytes that a leaf may use unasked.
        "3: mov rdi, [rbx + {stack}]",
        "lea rsi, [rsp - 128]",
        "and rsi, -4096",
        "sub rsi, rdi",
        "jbe 4f",
        "mov edx, {dontneed}",
        "mov eax, {madvise}",
        "syscall",
        // Relocated data, where there is some.
        "4: mov rdi, [rbx + {relocated}]",
        "mov rsi, [rbx + {relocated} + 8]",
        "test rsi, rsi",
        "je 5f",
        "mov edx, {dontneed}",
        "mov eax, {madvise}",
        "syscall",
        // ppoll(polled, count, timeout, NULL, 8)
        "5: mov rdi, [rbx + {polled}]",
        "mov rsi, [rbx + {count}]",
        "mov rdx, [rbx + {timeout}]",
        "xor r10d, r10d",
        "mov r8d, 8",
        "mov eax, {ppoll}",
        "syscall",
        // for rela in table: *(bias + rela.offset) = bias + rela.addend
        "mov rdi, [rbx + {bias}]",
        "mov rsi, [rbx + {table}]",
        "6: cmp rsi, [rbx + {table_end}]",
        "je 7f",
        "mov rcx, [rsi]",
        "mov rdx, [rsi + 16]",
        "add rdx, rdi",
        "mov [rdi + rcx], rdx",
        "add rsi, 24",
        "jmp 6b",
        "7: pop r12",
        "pop rbx",
        "ret",
        ".org 9b + {code}, 0xcc",
        files = const std::mem::offset_of!(Plan, files),
        files_end = const std::mem::offset_of!(Plan, files_end),
        stack = const std::mem::offset_of!(Plan, stack),
        polled = const std::mem::offset_of!(Plan, polled),
        count = const std::mem::offset_of!(Plan, count),
        timeout = const std::mem::offset_of!(Plan, timeout),
        relocated = const std::mem::offset_of!(Plan, relocated),
        table = const std::mem::offset_of!(Plan, table),
        table_end = const std::mem::offset_of!(Plan, table_end),
        bias = const std::mem::offset_of!(Plan, bias),
        dontneed = const libc::MADV_DONTNEED,
        madvise = const libc::SYS_madvise,
        ppoll = const libc::SYS_ppoll,
        code = const CODE,
    )
}

/// The same where nothing was relocated, in so far as it is safe in any code: what is dropped of files
/// comes again. The stack stays.
#[cfg(not(target_arch = "x86_64"))]
unsafe extern "C" fn asleep(plan: *const Plan) -> isize {
    // SAFETY: the caller's plan is whole, and outlives the call.
    let plan = unsafe { &*plan };
    let mut file = plan.files;
    while file != plan.files_end {
        // SAFETY: within the caller's slice, whose ranges are its clean mappings.
        unsafe {
            libc::madvise((*file).start as *mut _, (*file).length, libc::MADV_DONTNEED);
        }
        // SAFETY: up to one behind the last.
        file = unsafe { file.add(1) };
    }
    // SAFETY: the caller's own arguments of poll(2); no signal mask.
    let ready = unsafe {
        libc::ppoll(plan.polled, plan.count as libc::nfds_t, plan.timeout.cast(), std::ptr::null())
    };
    match ready {
        -1 => -(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO) as isize),
        ready => ready as isize,
    }
}
