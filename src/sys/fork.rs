//! New processes: clone3(2) with namespaces, and plain fork.
#![allow(unsafe_code)]

use std::os::fd::{FromRawFd, OwnedFd};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use rustix::process::Pid;
use rustix::thread::UnshareFlags;

use super::CallError;

/// Which of the two a clone or fork returned in.
#[derive(Debug)]
pub enum Side {
    /// The new process.
    Child,
    /// The caller, with the child's pid and a descriptor for it.
    Parent(Child),
}

/// A child process held by its pidfd (pidfd_open(2)), so its pid cannot be another's.
#[derive(Debug)]
pub struct Child {
    /// The pid in the caller's pid namespace.
    pub pid: Pid,
    /// Readable when the child is gone.
    pub pidfd: OwnedFd,
}

#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
}

/// Starts a process in new namespaces, or plainly where `namespaces` is empty.
///
/// Needs Linux 5.3 (clone3(2)). Call it while the process has one thread: the child goes on with a
/// copy of this thread alone, and a lock held by another would stay locked for ever.
pub fn clone_into(namespaces: UnshareFlags) -> Result<Side, CallError> {
    let mut pidfd: libc::c_int = -1;
    let args = CloneArgs {
        flags: u64::from(namespaces.bits()) | libc::CLONE_PIDFD as u64,
        pidfd: std::ptr::from_mut(&mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    // SAFETY: without CLONE_VM the child gets a copy of the address space, so no memory is shared;
    // `args` and `pidfd` outlive the call; a zero stack means "the caller's, copied", as fork does.
    let pid = unsafe {
        libc::syscall(libc::SYS_clone3, std::ptr::from_ref(&args), std::mem::size_of::<CloneArgs>())
    };
    match pid {
        -1 => Err(CallError::last("clone3")),
        0 => Ok(Side::Child),
        pid => {
            // SAFETY: the kernel has just made this descriptor for us (CLONE_PIDFD).
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            let pid = pid.ok_or(CallError { call: "clone3", errno: rustix::io::Errno::RANGE })?;
            Ok(Side::Parent(Child { pid, pidfd }))
        }
    }
}

/// The stack of a process that shares memory: its code goes no deeper than a launch does.
const STACK: usize = 512 << 10;

/// Memory of its own, by the page, for as long as this lives.
#[derive(Debug)]
struct Mapping {
    place: *mut libc::c_void,
    length: usize,
}

impl Mapping {
    fn new(length: usize, kind: MapFlags) -> rustix::io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping where the kernel has room.
        let place = unsafe { mmap_anonymous(std::ptr::null_mut(), length, access, kind) };
        place.map(|place| Self { place, length })
    }

    fn end(&self) -> *mut libc::c_void {
        self.place.wrapping_byte_add(self.length)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`; no reference leads there, and nobody runs on it any more.
        let _ = unsafe { munmap(self.place, self.length) };
    }
}

/// Starts a process in new namespaces that shares this one's memory and descriptors, and waits until
/// it executes a program or ends, as vfork(2) does; `pid` is written before `work` begins in it.
///
/// `work` has a stack of its own, and what is local to this thread, which stands still meanwhile: other
/// threads go on. A program killed on its way leaves memory as it was then.
pub fn clone_sharing(
    namespaces: UnshareFlags,
    pid: &std::sync::atomic::AtomicI32,
    work: &mut dyn FnMut() -> u8,
) -> Result<(), CallError> {
    extern "C" fn begin(work: *mut libc::c_void) -> libc::c_int {
        // SAFETY: `clone_sharing` gives its own `work`, and stands still.
        let work = unsafe { &mut *work.cast::<&mut dyn FnMut() -> u8>() };
        libc::c_int::from(work())
    }
    let mut work = work;
    let stack = Mapping::new(STACK, MapFlags::PRIVATE)
        .map_err(|errno| CallError { call: "mmap", errno })?;
    let shared = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES;
    let flags =
        namespaces.bits().cast_signed() | shared | libc::CLONE_PARENT_SETTID | libc::SIGCHLD;
    // SAFETY: the stack is a page's end, unused and alive until the child has left this memory, for which
    // CLONE_VFORK waits; `begin` gets a pointer to `work`, which lives as long; `pid` is 32 bits that
    // the kernel may write.
    let cloned = unsafe {
        libc::clone(begin, stack.end(), flags, std::ptr::from_mut(&mut work).cast(), pid.as_ptr())
    };
    if cloned == -1 { Err(CallError::last("clone")) } else { Ok(()) }
}

/// A descriptor to join namespaces by, and which kinds (setns(2)); laid out as `clone_through` reads it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Passage<'a> {
    /// Of a namespace's file or of a process.
    pub descriptor: std::os::fd::BorrowedFd<'a>,
    /// The kinds, all that the kernel will look at.
    pub kinds: UnshareFlags,
}

/// What the joiner leaves behind; its code knows the places.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Word {
    /// The child's pid, or an error's number, negative.
    pid: i32,
    pidfd: i32,
    /// How many passages were open.
    passed: u32,
}

/// Starts a child of this process behind `passages`, in new namespaces besides. An error says at
/// which passage, or behind the last, it was.
///
/// A joined pid namespace holds for children only, and this process is to stay where it is. So a
/// joiner goes through and has the child, as its sibling (`CLONE_PARENT`). It borrows this process's
/// memory and descriptors meanwhile, as vfork(2) does, which spares a copy of both and a wait: it is
/// these few system calls and nothing else. A time namespace is not joined with borrowed memory
/// (setns(2)), then it is a copy.
///
/// Call it while the process has one thread, and with the signals blocked that have handlers.
pub fn clone_through(
    passages: &[Passage<'_>],
    new: UnshareFlags,
) -> Result<Side, (usize, rustix::io::Errno)> {
    use rustix::io::Errno;
    let copied = passages.iter().any(|one| one.kinds.contains(UnshareFlags::NEWTIME));
    let borrowed = if copied { 0 } else { libc::CLONE_VM };
    let joiner = borrowed | libc::CLONE_VFORK | libc::CLONE_FILES | libc::SIGCHLD;
    let child = new.bits().cast_signed() | libc::CLONE_PARENT | libc::CLONE_PIDFD;
    // It stays shared whatever the joiner's memory is.
    let shared = Mapping::new(size_of::<Word>(), MapFlags::SHARED).map_err(|errno| (0, errno))?;
    let word: *mut Word = shared.place.cast();
    // SAFETY: `passages` is `passages.len()` pairs of 32 bits, `word` a `Word` of ours; both
    // outlive the call, as this process stands still until the joiner has ended.
    let pid = unsafe { pass(passages.as_ptr().cast(), passages.len(), joiner, child, word) };
    match pid {
        0 => Ok(Side::Child),
        1.. => {
            let joiner = i32::try_from(pid).ok().and_then(Pid::from_raw);
            // It has ended; nobody else may wait for it.
            let ended = rustix::process::WaitOptions::empty();
            while matches!(rustix::process::waitpid(joiner, ended), Err(Errno::INTR)) {}
            // SAFETY: mapped above, aligned to a page, and zeroes mean something too; the joiner, who wrote it,
            // has ended.
            let Word { pid, pidfd, passed } = unsafe { word.read_volatile() };
            match (pid > 0).then(|| Pid::from_raw(pid)).flatten() {
                Some(pid) => {
                    // SAFETY: the kernel has just made it, in the table that the joiner shared.
                    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
                    Ok(Side::Parent(Child { pid, pidfd }))
                }
                // Without a word it was killed.
                None if pid == 0 => Err((0, Errno::INTR)),
                None => Err((passed as usize, Errno::from_raw_os_error(-pid))),
            }
        }
        failed => {
            let errno = i32::try_from(-failed).unwrap_or(libc::EINVAL);
            Err((0, Errno::from_raw_os_error(errno)))
        }
    }
}

/// The joiner: 0 in the child, the joiner's pid or an error's number in this process. The child goes
/// on with a copy of this very frame, which nobody has written to: the joiner uses registers only.
///
/// # Safety
/// The pointers are as `clone_through` says.
#[cfg(target_arch = "x86_64")]
#[inline(never)]
unsafe fn pass(
    passages: *const u32,
    count: usize,
    joiner: libc::c_int,
    child: libc::c_int,
    word: *mut Word,
) -> libc::c_long {
    let result: libc::c_long;
    // SAFETY: the system calls get what they expect; their registers are declared as written, and
    // the stack is not touched.
    unsafe {
        std::arch::asm!(
            "syscall", // clone
            "test rax, rax",
            "jnz 9f",
            "2:",
            "test r13, r13",
            "jz 3f",
            "mov edi, dword ptr [r12]",
            "mov esi, dword ptr [r12 + 4]",
            "mov eax, {setns}",
            "syscall",
            "test rax, rax",
            "js 4f",
            "add r12, 8",
            "dec r13",
            "inc dword ptr [r14 + 8]",
            "jmp 2b",
            "3:",
            "mov edi, r15d",
            "xor esi, esi",
            "lea rdx, [r14 + 4]",
            "xor r10d, r10d",
            "xor r8d, r8d",
            "mov eax, {clone}",
            "syscall",
            "test rax, rax",
            "jz 9f",
            "4:",
            "mov dword ptr [r14], eax",
            "xor edi, edi",
            "mov eax, {exit}",
            "syscall",
            "ud2",
            "9:",
            setns = const libc::SYS_setns,
            clone = const libc::SYS_clone,
            exit = const libc::SYS_exit,
            inlateout("rax") libc::SYS_clone => result,
            inlateout("rdi") i64::from(joiner) => _,
            inlateout("rsi") 0_usize => _,
            inlateout("rdx") 0_usize => _,
            inlateout("r10") 0_usize => _,
            inlateout("r8") 0_usize => _,
            inlateout("r12") passages => _,
            inlateout("r13") count => _,
            inlateout("r14") word => _,
            inlateout("r15") i64::from(child) => _,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// The same in the words of aarch64.
///
/// # Safety
/// The pointers are as `clone_through` says.
#[cfg(target_arch = "aarch64")]
#[inline(never)]
unsafe fn pass(
    passages: *const u32,
    count: usize,
    joiner: libc::c_int,
    child: libc::c_int,
    word: *mut Word,
) -> libc::c_long {
    let result: libc::c_long;
    // SAFETY: as above.
    unsafe {
        std::arch::asm!(
            "svc 0", // clone
            "cbnz x0, 9f",
            "2:",
            "cbz x21, 3f",
            "ldp w0, w1, [x20]",
            "mov x8, {setns}",
            "svc 0",
            "tbnz x0, 63, 4f",
            "add x20, x20, 8",
            "sub x21, x21, 1",
            "ldr w9, [x22, 8]",
            "add w9, w9, 1",
            "str w9, [x22, 8]",
            "b 2b",
            "3:",
            "mov w0, w23",
            "mov x1, xzr",
            "add x2, x22, 4",
            "mov x3, xzr",
            "mov x4, xzr",
            "mov x8, {clone}",
            "svc 0",
            "cbz x0, 9f",
            "4:",
            "str w0, [x22]",
            "mov x0, xzr",
            "mov x8, {exit}",
            "svc 0",
            "brk 1",
            "9:",
            setns = const libc::SYS_setns,
            clone = const libc::SYS_clone,
            exit = const libc::SYS_exit,
            inlateout("x0") i64::from(joiner) => result,
            inlateout("x1") 0_usize => _,
            inlateout("x2") 0_usize => _,
            inlateout("x3") 0_usize => _,
            inlateout("x4") 0_usize => _,
            inlateout("x8") libc::SYS_clone => _,
            inlateout("x20") passages => _,
            inlateout("x21") count => _,
            inlateout("x22") word => _,
            inlateout("x23") i64::from(child) => _,
            lateout("x9") _,
            options(nostack),
        );
    }
    result
}

/// A plain child of a single-threaded process.
pub fn fork() -> Result<Side, CallError> {
    match clone_into(UnshareFlags::empty()) {
        // Docker's filter hides clone3(2), whose flags it cannot see; fork(2) it lets through.
        Err(CallError { errno: rustix::io::Errno::NOSYS, .. }) => old_fork(),
        other => other,
    }
}

fn old_fork() -> Result<Side, CallError> {
    // SAFETY: the caller has one thread, so the copy holds no other's locks.
    let pid = unsafe { libc::fork() };
    match Pid::from_raw(pid) {
        None => Ok(Side::Child),
        Some(_) if pid < 0 => Err(CallError::last("fork")),
        Some(pid) => {
            // Our child, and not waited for: the pid cannot be another's yet.
            let flags = rustix::process::PidfdFlags::empty();
            let pidfd = rustix::process::pidfd_open(pid, flags);
            let pidfd = pidfd.map_err(|errno| CallError { call: "pidfd_open", errno })?;
            Ok(Side::Parent(Child { pid, pidfd }))
        }
    }
}

/// Runs `work` in a forked child and gives its exit status back through `waitid`.
///
/// The child never returns from here: it ends with what `work` returned.
pub fn in_child(work: impl FnOnce() -> u8) -> Result<Child, CallError> {
    match fork()? {
        Side::Parent(child) => Ok(child),
        Side::Child => exit(work()),
    }
}

/// Ends the process at once: no destructors, no flushing of copied buffers.
pub fn exit(code: u8) -> ! {
    // SAFETY: _exit(2) takes any status and does not return.
    unsafe { libc::_exit(libc::c_int::from(code)) }
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With this status.
    Status(u8),
    /// By this signal.
    Signal(u8),
}

impl Child {
    /// Waits for the end; the exit status, or 128 and the signal's number.
    pub fn wait(&self) -> Result<u8, rustix::io::Errno> {
        Ok(match self.ending()? {
            Ending::Status(status) => status,
            Ending::Signal(signal) => 128 | signal,
        })
    }

    /// Waits for the end.
    pub fn ending(&self) -> Result<Ending, rustix::io::Errno> {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        loop {
            let id = WaitId::PidFd(std::os::fd::AsFd::as_fd(&self.pidfd));
            match waitid(id, WaitIdOptions::EXITED) {
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno),
                Ok(None) => return Err(rustix::io::Errno::CHILD),
                Ok(Some(status)) => {
                    let byte = |number: i32| u8::try_from(number & 0xff).unwrap_or(u8::MAX);
                    return Ok(match (status.terminating_signal(), status.exit_status()) {
                        (Some(signal), _) => Ending::Signal(byte(signal)),
                        (None, code) => Ending::Status(code.map_or(u8::MAX, byte)),
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn memory_is_shared_until_the_end() {
        let (pid, mut seen) = (std::sync::atomic::AtomicI32::new(0), 0);
        let mut work = || {
            seen = 7;
            3
        };
        clone_sharing(UnshareFlags::empty(), &pid, &mut work).expect("a child");
        let pid = Pid::from_raw(pid.into_inner());
        let ended = rustix::process::waitpid(pid, rustix::process::WaitOptions::empty());
        let (_, status) = ended.expect("the child is ours").expect("it has ended");
        assert_eq!((seen, status.exit_status()), (7, Some(3)));
    }

    #[test]
    fn a_child_is_had_where_all_passages_are_open() {
        match clone_through(&[], UnshareFlags::empty()).expect("a child") {
            Side::Child => exit(7),
            Side::Parent(child) => assert_eq!(child.wait(), Ok(7)),
        }
        let no_namespace = std::fs::File::open("/dev/null").expect("a file");
        // With borrowed memory, and with a copy of it.
        for kinds in [UnshareFlags::NEWUTS, UnshareFlags::NEWTIME] {
            let passage = Passage { descriptor: no_namespace.as_fd(), kinds };
            match clone_through(&[passage], UnshareFlags::empty()) {
                Err(error) => assert_eq!(error, (0, Errno::INVAL)),
                Ok(Side::Child) => exit(8),
                Ok(side) => panic!("{side:?}"),
            }
        }
    }
}
