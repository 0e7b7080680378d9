//! New processes: clone3(2) with namespaces, and plain fork.
#![allow(unsafe_code)]

use std::os::fd::{FromRawFd, OwnedFd};

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

/// Starts a sibling, a child of this process's parent (`CLONE_PARENT`), in new namespaces. `None` in
/// the sibling, its pid in the caller.
pub fn clone_sibling(namespaces: UnshareFlags) -> Result<Option<Pid>, CallError> {
    let flags = u64::from(namespaces.bits()) | libc::CLONE_PARENT as u64;
    // clone3 takes no exit signal here: the sibling's is the caller's own.
    let args = CloneArgs { flags, ..CloneArgs::default() };
    // SAFETY: without CLONE_VM the child gets a copy of the address space, so no memory is shared;
    // `args` outlives the call; a zero stack means "the caller's, copied", as fork does.
    let pid = unsafe {
        libc::syscall(libc::SYS_clone3, std::ptr::from_ref(&args), std::mem::size_of::<CloneArgs>())
    };
    let pid = match pid {
        // Docker's filter hides clone3(2); the flags at hand clone(2) has too.
        -1 if CallError::last("clone3").errno == rustix::io::Errno::NOSYS => {
            // SAFETY: as above; a null stack, and no pointers that the other flags would need.
            unsafe { libc::syscall(libc::SYS_clone, flags | libc::SIGCHLD as u64, 0, 0, 0, 0) }
        }
        pid => pid,
    };
    match pid {
        -1 => Err(CallError::last("clone")),
        pid => Ok(i32::try_from(pid).ok().and_then(Pid::from_raw)),
    }
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

impl Child {
    /// Waits for the end; the exit status, or 128 and the signal's number.
    pub fn wait(&self) -> Result<u8, rustix::io::Errno> {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        loop {
            let id = WaitId::PidFd(std::os::fd::AsFd::as_fd(&self.pidfd));
            match waitid(id, WaitIdOptions::EXITED) {
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno),
                Ok(None) => return Err(rustix::io::Errno::CHILD),
                Ok(Some(status)) => {
                    let code = status.exit_status().map(|code| code & 0xff);
                    let code = code.or(status.terminating_signal().map(|signal| 128 + signal));
                    return Ok(u8::try_from(code.unwrap_or(255)).unwrap_or(u8::MAX));
                }
            }
        }
    }
}
