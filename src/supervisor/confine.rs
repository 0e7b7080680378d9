//! What a supervisor that only makes connections may do once it serves.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::DumpableBehavior;
use rustix::thread::{CapabilitySet, CapabilitySets, LinkNameSpaceType};

use crate::sys::seccomp;

/// Looking at who calls, sockets and their options, waiting. It opens what is below
/// /proc, and has no call to write to it.
const CALLS: &[libc::c_long] = &[
    libc::SYS_ioctl,
    libc::SYS_process_vm_readv,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // What waits for a socket is to wait for the one in its place (`watch`).
    libc::SYS_epoll_ctl,
    libc::SYS_dup3,
    libc::SYS_connect,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    libc::SYS_openat,
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_lseek,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_close,
];

/// Into the container's user namespace, with the power to look at its processes and no other; /proc
/// is its root directory, which this gives.
pub(super) fn join(user: &OwnedFd, proc: &OwnedFd) -> Result<OwnedFd, Errno> {
    rustix::thread::move_into_link_name_space(user.as_fd(), Some(LinkNameSpaceType::User))?;
    rustix::process::fchdir(proc)?;
    rustix::process::chroot(c".")?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let kept = CapabilitySet::SYS_PTRACE;
    let inheritable = CapabilitySet::empty();
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: kept, permitted: kept, inheritable },
    )?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(c"/", flags, Mode::empty())
}

/// Gives up everything else, for good.
pub(super) fn confine() -> Result<(), Errno> {
    rustix::thread::set_no_new_privs(true)?;
    seccomp::load(&seccomp::only(CALLS), 0)
}
