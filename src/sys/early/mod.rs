//! A process that is made before the C library has begun.
//!
//! glibc asks the processor 45 questions before anything else of a program is executed: in a virtual machine each takes
//! five microseconds, and another processor has nothing to do meanwhile. So where the words of a command tell by their
//! looks which new namespaces will be wanted, a thread has a process made in them at once, in shared memory:
//!
//! ```text
//! the kernel    words ─ thread ─► the C library ─► main ──── take ─ a thread's `lend`
//! a thread          └─ clone(NEW…, shared memory), stands still until the exec, as vfork(2) has it ─ stays
//! the process            └─ mounts what is likely, waits ──────────────────► works
//! ```
//!
//! Neither has what is local to a thread of the C library's: they are system calls and nothing else, and no function of
//! the C library, not even one that compares memory (those are chosen by what the processor says). What is local is lent to
//! the process by a thread of the program, which stands still meanwhile.
#![allow(unsafe_code)]
// Numbers are handed to the kernel as it takes them.
#![allow(clippy::cast_sign_loss, clippy::cast_possible_truncation, clippy::cast_possible_wrap)]

mod raw;
mod words;

use std::arch::asm;
use std::cell::UnsafeCell;
use std::ffi::CStr;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr::null_mut;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};

use rustix::thread::UnshareFlags;

/// Has the program begin with `begin`: `program!(f)` where `f` takes the command's words and gives what a process is
/// begun with. It is linked so by `-e coracle_start` (`.cargo/build.rs`).
#[macro_export]
#[doc(hidden)] // it is `early::program`
macro_rules! sys_early_program {
    ($look:expr) => {
        /// Called with the stack that the kernel gave the program.
        #[allow(unsafe_code)]
        unsafe extern "C" fn early(stack: *const usize) {
            // SAFETY: it is that stack, and nothing has run before.
            unsafe { $crate::sys::early::begin(stack, $look) }
        }

        ::std::arch::global_asm!(
            ".globl coracle_start",
            "coracle_start:",
            "mov rbx, rsp",
            "mov r12, rdx", // for atexit(3p), by the processor's ABI
            "mov rdi, rsp",
            "and rsp, -16",
            "call {early}",
            "mov rsp, rbx",
            "mov rdx, r12",
            "xor ebp, ebp",
            "jmp _start",
            early = sym early,
        );
    };
}

pub use super::likely::{Beginning, Likely};
pub use words::{Words, begins_with, is_same};

use raw::{call, start, wait, wake};
pub use sys_early_program as program;

/// So many mounts are made.
pub const MOST: usize = 16;

/// Where program, thread and process meet.
#[derive(Debug)]
struct Meeting {
    /// What was begun; null for nothing.
    begun: AtomicPtr<Beginning>,
    /// Whether it is somebody's.
    is_taken: AtomicBool,
    /// A descriptor of the program's process, who must be alive.
    program: AtomicI32,
    /// The thread. A futex: the kernel clears it when it has ended.
    thread: AtomicI32,
    pid: AtomicI32,
    /// One of the numbers below, and a futex.
    lent: AtomicU32,
    thread_pointer: AtomicUsize,
    work: AtomicUsize,
    /// 1 when there is no process any more that shares memory, or never was; a futex.
    over: AtomicU32,
    /// 1 when the thread is to go; a futex.
    go: AtomicU32,
    /// Whether `OTHERS` holds any.
    has_others: AtomicBool,
    /// Descriptors of what is made of that which is likely; -1 for none.
    made: [AtomicI32; MOST],
    /// Whether mount events are cut off.
    is_slave: AtomicBool,
}

/// clone(2) of a thread.
const THREAD: i32 = libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM
    | libc::CLONE_PARENT_SETTID
    | libc::CLONE_CHILD_CLEARTID;

/// clone(2) of a process in shared memory, for which its maker stands still.
const PROCESS: i32 = libc::CLONE_VM
    | libc::CLONE_VFORK
    | libc::CLONE_FILES
    | libc::CLONE_PARENT_SETTID
    | libc::SIGCHLD;

/// How long the process waits before it looks whether the program is there.
static A_WHILE: libc::timespec = libc::timespec { tv_sec: 0, tv_nsec: 100_000_000 };

const NOTHING: u32 = 0;
const LENT: u32 = 1;
const UNWANTED: u32 = 2;

static MEETING: Meeting = Meeting {
    begun: AtomicPtr::new(null_mut()),
    is_taken: AtomicBool::new(false),
    program: AtomicI32::new(-1),
    thread: AtomicI32::new(0),
    pid: AtomicI32::new(0),
    lent: AtomicU32::new(NOTHING),
    thread_pointer: AtomicUsize::new(0),
    work: AtomicUsize::new(0),
    over: AtomicU32::new(0),
    go: AtomicU32::new(0),
    has_others: AtomicBool::new(false),
    made: [const { AtomicI32::new(-1) }; MOST],
    is_slave: AtomicBool::new(false),
};

/// Memory that is nobody's until it is somebody's alone.
#[repr(C, align(64))]
struct Room<const BYTES: usize>(UnsafeCell<[u8; BYTES]>);

// SAFETY: only its address is shared here.
unsafe impl<const BYTES: usize> Sync for Room<BYTES> {}

impl<const BYTES: usize> Room<BYTES> {
    const fn new() -> Self {
        Self(UnsafeCell::new([0; BYTES]))
    }

    fn begin(&self) -> *mut u8 {
        self.0.get().cast()
    }

    fn end(&self) -> *mut u8 {
        self.begin().wrapping_add(BYTES)
    }
}

/// The code on it is that of `make`.
static THREAD_STACK: Room<{ 16 << 10 }> = Room::new();
/// As deep as a launch goes.
static PROCESS_STACK: Room<{ 512 << 10 }> = Room::new();
/// The processors but the program's (`cpu_set_t`).
static OTHERS: Room<CPUS> = Room::new();
const CPUS: usize = 128;
static ALL_SIGNALS: AtomicU64 = AtomicU64::new(u64::MAX);
static SIGNALS: AtomicU64 = AtomicU64::new(0);

/// Begins a process, if `look` gives namespaces for the command's words.
///
/// # Safety
///
/// Nothing of the program has run, `stack` is what the kernel has made of its arguments, and `look` calls no function of
/// the C library's.
pub unsafe fn begin(stack: *const usize, look: fn(Words) -> Option<&'static Beginning>) {
    // SAFETY: the number of words is there, and they follow it (System V ABI, "Initial Stack").
    let words = unsafe { Words::at(stack.add(1).cast(), *stack) };
    let Some(beginning) = look(words) else { return };
    let begun = &MEETING.begun;
    begun.store(std::ptr::from_ref(beginning).cast_mut(), Ordering::Relaxed);
    // The thread must take no signal that the program waits for.
    // SAFETY: eight bytes each; nobody else is there yet.
    unsafe {
        if set_signals(&ALL_SIGNALS, SIGNALS.as_ptr().addr()) {
            if !begin_thread() {
                begun.store(null_mut(), Ordering::Relaxed);
            }
            set_signals(&SIGNALS, 0);
        }
    }
}

/// # Safety
///
/// At `before` are eight bytes, if it is not 0.
unsafe fn set_signals(blocked: &AtomicU64, before: usize) -> bool {
    let set = blocked.as_ptr().addr();
    // SAFETY: the kernel reads eight bytes, and writes as many.
    unsafe { call(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK as usize, set, before, 8, 0) == 0 }
}

/// Begins the thread, on another processor if there is one.
///
/// # Safety
///
/// Nobody else is there yet.
unsafe fn begin_thread() -> bool {
    let it = &MEETING;
    // SAFETY: the calls get what they expect, and the stack is nobody else's.
    unsafe {
        let own = call(libc::SYS_getpid, 0, 0, 0, 0, 0);
        let program = call(libc::SYS_pidfd_open, own.cast_unsigned(), 0, 0, 0, 0);
        it.program.store(program as i32, Ordering::Relaxed);
        find_others();
        // A stream that is closed is to be found so: it is not this one.
        if program > libc::STDERR_FILENO as isize {
            let thread = start(THREAD, THREAD_STACK.end(), it.thread.as_ptr(), make);
            if thread > 0 {
                if it.has_others.load(Ordering::Relaxed) {
                    let others = OTHERS.begin().addr();
                    call(libc::SYS_sched_setaffinity, thread.cast_unsigned(), CPUS, others, 0, 0);
                }
                return true;
            }
        }
        if program >= 0 {
            call(libc::SYS_close, program.cast_unsigned(), 0, 0, 0, 0);
        }
    }
    false
}

/// Writes down which processors there are besides this one.
///
/// # Safety
///
/// Nobody else is there yet.
unsafe fn find_others() {
    let set = OTHERS.begin();
    let mut here = 0_u32;
    // SAFETY: the kernel writes at most the 128 bytes of the set, and 4 of the number.
    unsafe {
        let length = call(libc::SYS_sched_getaffinity, 0, CPUS, set.addr(), 0, 0);
        if length <= 0
            || call(libc::SYS_getcpu, (&raw mut here).addr(), 0, 0, 0, 0) != 0
            || here as usize >= CPUS * 8
        {
            return;
        }
        let byte = set.add((here / 8) as usize);
        *byte &= !(1 << (here % 8));
        let mut place = 0;
        while place < CPUS {
            if *set.add(place) != 0 {
                MEETING.has_others.store(true, Ordering::Relaxed);
            }
            place += 1;
        }
    }
}

/// The thread: has the process made.
extern "C" fn make() -> ! {
    let it = &MEETING;
    // SAFETY: the calls get what they expect; the process's stack is nobody else's, and `process` never returns.
    unsafe {
        if it.has_others.load(Ordering::Relaxed) {
            call(libc::SYS_sched_setaffinity, 0, CPUS, OTHERS.begin().addr(), 0, 0);
        }
        let new = begun().map_or(0, |begun| begun.new.bits()).cast_signed();
        start(new | PROCESS, PROCESS_STACK.end(), it.pid.as_ptr(), process);
        it.over.store(1, Ordering::Release);
        wake(&it.over);
        // The process asked to die with its parent, which to the kernel is this thread.
        while it.go.load(Ordering::Acquire) == 0 {
            wait(&it.go, 0, None);
        }
        loop {
            call(libc::SYS_exit, 0, 0, 0, 0, 0);
        }
    }
}

/// The process: waits for what it lacks, and for what to do.
extern "C" fn process() -> ! {
    const SET_FS: usize = 0x1002; // ARCH_SET_FS
    let it = &MEETING;
    // SAFETY: the calls get what they expect. Once `LENT` is seen, the pointers are those of `lend`, which stands still.
    unsafe {
        call(libc::SYS_prctl, libc::PR_SET_PDEATHSIG as usize, libc::SIGKILL as usize, 0, 0, 0);
        // Who was killed before that will not take it along, and may be on the way to its end for a while.
        let mut is_wanted = is_program_there();
        if is_wanted {
            make_likely();
        }
        while is_wanted {
            match it.lent.load(Ordering::Acquire) {
                NOTHING => {
                    wait(&it.lent, NOTHING, Some(&A_WHILE));
                    is_wanted = is_program_there();
                }
                LENT => {
                    let pointer = it.thread_pointer.load(Ordering::Relaxed);
                    call(libc::SYS_arch_prctl, SET_FS, pointer, 0, 0, 0);
                    let work = it.work.load(Ordering::Relaxed) as *mut &mut dyn FnMut() -> u8;
                    super::fork::exit((*work)());
                }
                _ => is_wanted = false,
            }
        }
        loop {
            call(libc::SYS_exit_group, 0, 0, 0, 0, 0);
        }
    }
}

/// In the process: whether the program's process has yet to end.
fn is_program_there() -> bool {
    let program = MEETING.program.load(Ordering::Relaxed);
    let mut polled = libc::pollfd { fd: program, events: libc::POLLIN, revents: 0 };
    // SAFETY: one such structure.
    unsafe { call(libc::SYS_poll, (&raw mut polled).addr(), 1, 0, 0, 0) == 0 }
}

/// In the process: makes what is likely.
///
/// # Safety
///
/// Its descriptors are the program's too, and nobody looks at `made` before this has ended.
unsafe fn make_likely() {
    const SLAVE: usize = (libc::MS_REC | libc::MS_SLAVE) as usize;
    let it = &MEETING;
    // A copy of a shared mount would be its peer.
    // SAFETY: a text that ends with 0, and nothing else.
    if unsafe { call(libc::SYS_mount, 0, c"/".as_ptr().addr(), 0, SLAVE, 0) } < 0 {
        return;
    }
    it.is_slave.store(true, Ordering::Release);
    // Plain loops: to move an iterator the compiler calls memcpy(3) where it does not optimise, and that may not
    // be there yet.
    let (likely, mut place) = (likely(), 0);
    while place < likely.len() && place < MOST {
        // SAFETY: as of this function.
        it.made[place].store(unsafe { make_one(&likely[place]) }, Ordering::Release);
        place += 1;
    }
}

/// Makes a mount; its descriptor, or what is below 0.
unsafe fn make_one(one: &Likely) -> i32 {
    const CLOSE_ON_EXEC: usize = 1; // FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC
    const SET_STRING: usize = 1; // FSCONFIG_SET_STRING
    const CREATE: usize = 6; // FSCONFIG_CMD_CREATE
    let at = |text: &CStr| text.as_ptr().addr();
    let (name, options, attributes) = match one {
        Likely::FileSystem { name, options, attributes } => (*name, *options, *attributes),
        Likely::Bind(path) => {
            const CLONE: usize = (libc::OPEN_TREE_CLONE as libc::c_int | libc::O_CLOEXEC) as usize;
            // SAFETY: a text that ends with 0.
            let made = unsafe {
                call(libc::SYS_open_tree, libc::AT_FDCWD as usize, at(path), CLONE, 0, 0)
            };
            return made as i32;
        }
    };
    // SAFETY: texts that end with 0, and a descriptor of ours that nobody else closes.
    unsafe {
        let context = call(libc::SYS_fsopen, at(name), CLOSE_ON_EXEC, 0, 0, 0);
        if context < 0 {
            return -1;
        }
        let context = context.cast_unsigned();
        let mut place = 0;
        while place < options.len() {
            let (key, value) = options[place];
            call(libc::SYS_fsconfig, context, SET_STRING, at(key), at(value), 0);
            place += 1;
        }
        let mut made = call(libc::SYS_fsconfig, context, CREATE, 0, 0, 0);
        if made >= 0 {
            made = call(libc::SYS_fsmount, context, CLOSE_ON_EXEC, attributes as usize, 0, 0);
        }
        call(libc::SYS_close, context, 0, 0, 0, 0);
        made as i32
    }
}

/// In the process: whether it gets no mount events.
pub fn is_slave() -> bool {
    MEETING.is_slave.load(Ordering::Acquire)
}

/// In the process: what it has made.
pub fn made() -> Vec<(&'static Likely, OwnedFd)> {
    let made = |(likely, made): (&'static Likely, &AtomicI32)| {
        let made = made.swap(-1, Ordering::AcqRel);
        // SAFETY: the process's own, and nobody else's from now on.
        (made >= 0).then(|| (likely, unsafe { OwnedFd::from_raw_fd(made) }))
    };
    likely().iter().zip(&MEETING.made).filter_map(made).collect()
}

fn begun() -> Option<&'static Beginning> {
    // SAFETY: null, or what `begin` has put there, which lives for ever.
    unsafe { MEETING.begun.load(Ordering::Relaxed).as_ref() }
}

fn likely() -> &'static [Likely] {
    begun().map_or(&[], |begun| begun.likely)
}

/// A process that was begun early.
#[derive(Debug)]
pub struct Early {
    /// A descriptor of the program's process.
    program: OwnedFd,
}

/// The process that was begun, if it is in these namespaces. What is not taken ends.
pub fn take(new: UnshareFlags) -> Option<Early> {
    let begun = begun().filter(|_| !MEETING.is_taken.swap(true, Ordering::Relaxed))?;
    // SAFETY: what `begin_thread` has opened, taken once.
    let program = unsafe { OwnedFd::from_raw_fd(MEETING.program.load(Ordering::Relaxed)) };
    let early = Early { program };
    // Who is not wanted is let go of.
    (begun.new == new).then_some(early)
}

/// Has nobody wait who was begun and is not wanted.
pub fn leave() {
    drop(take(UnshareFlags::empty()));
}

impl Early {
    /// A descriptor of this program's process (pidfd_open(2)).
    pub fn program(&self) -> std::io::Result<OwnedFd> {
        self.program.try_clone()
    }

    /// Has the process work, with what is local to this thread, and waits until it executes a program or ends. It may
    /// never have come to be; `pid` is written before `work` begins.
    pub fn lend(&self, pid: &AtomicI32, work: &mut dyn FnMut() -> u8) {
        let it = &MEETING;
        let mut work = || {
            pid.store(it.pid.load(Ordering::Relaxed), Ordering::Release);
            work()
        };
        let mut work: &mut dyn FnMut() -> u8 = &mut work;
        let pointer: usize;
        // SAFETY: the first word that is local to a thread is its own address (ELF Handling For Thread-Local Storage).
        unsafe { asm!("mov {}, fs:0", out(reg) pointer, options(nostack, pure, readonly)) };
        it.thread_pointer.store(pointer, Ordering::Relaxed);
        it.work.store((&raw mut work).expose_provenance(), Ordering::Relaxed);
        it.lent.store(LENT, Ordering::Release);
        // SAFETY: futexes of ours. Nothing here is local to the thread.
        unsafe {
            wake(&it.lent);
            while it.over.load(Ordering::Acquire) == 0 {
                wait(&it.over, 0, None);
            }
        }
    }
}

impl Drop for Early {
    /// The process ends, if it was not lent anything, and the thread: as whose child it may be waited for until then.
    fn drop(&mut self) {
        let it = &MEETING;
        let begun =
            it.lent.compare_exchange(NOTHING, UNWANTED, Ordering::AcqRel, Ordering::Acquire);
        // SAFETY: futexes of ours, the last one cleared by the kernel; a child of ours and a descriptor that nobody else
        // has.
        unsafe {
            wake(&it.lent);
            while it.over.load(Ordering::Acquire) == 0 {
                wait(&it.over, 0, None);
            }
            let pid = it.pid.load(Ordering::Relaxed);
            if begun.is_ok() && pid > 0 {
                call(libc::SYS_wait4, pid as usize, 0, libc::__WALL as usize, 0, 0);
            }
            drop(made());
            it.is_slave.store(false, Ordering::Release);
            it.go.store(1, Ordering::Release);
            wake(&it.go);
            loop {
                let thread = it.thread.load(Ordering::Acquire);
                if thread == 0 {
                    break;
                }
                call(
                    libc::SYS_futex,
                    it.thread.as_ptr().addr(),
                    libc::FUTEX_WAIT as usize,
                    thread as usize,
                    0,
                    0,
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_likely_file_system_lies_nowhere_and_another_is_none() {
        let one = |name| Likely::FileSystem { name, options: &[], attributes: 0 };
        // SAFETY: the call that is tested.
        let made = unsafe { make_one(&one(c"no such file system")) };
        assert_eq!(made, -1);
        // SAFETY: as above.
        assert!(unsafe { make_one(&Likely::Bind(c"/no/such/place")) } < 0);
    }

    #[test]
    fn nothing_is_begun_where_nobody_looked() {
        assert!(take(UnshareFlags::NEWUSER).is_none() && made().is_empty() && !is_slave());
        leave();
    }
}
