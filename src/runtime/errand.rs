//! A child of coracle's own in a container: something is to be done there that no program of the
//! container can be trusted with.

use std::os::fd::OwnedFd;

use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Pid};
use rustix::thread::{Gid, ThreadNameSpaceType, Uid};

use super::Error;
use super::launch::{Launch, Running, start_with};
use super::spawn;
use crate::sys;
use crate::sys::fork::{self, Child};

/// Does `work` in a child that has joined the user and mount namespaces of a running container, as
/// root there. The container's processes cannot see it: it stays in the caller's pid namespace.
pub fn errand_in(pid: Pid, pidfd: &OwnedFd, work: impl FnOnce() -> u8) -> Result<Child, Error> {
    let mut doors = spawn::doors_of(pidfd, pid)?;
    let wanted = ThreadNameSpaceType::USER | ThreadNameSpaceType::MOUNT;
    for door in &mut doors {
        door.kinds &= rustix::thread::UnshareFlags::from_bits_retain(wanted.bits());
    }
    let parent = rustix::process::getpid();
    let child = fork::in_child(|| {
        let entered = sys::process::die_with(parent)
            .and_then(|()| rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable))
            .and_then(|()| spawn::join(&doors).map_err(|(_, errno)| errno));
        if let Err(errno) = entered {
            return u8::try_from(errno.raw_os_error()).unwrap_or(u8::MAX);
        }
        // Where root is none of the container's ids, the joiner has root's powers all the same.
        let _ = rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT);
        let _ = rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT);
        // A change of ids may have taken that back.
        let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
        rustix::process::umask(Mode::empty());
        work()
    });
    child.map_err(|error| Error::Pipe(error.errno))
}

/// Does `work` where a container's program would start: its root is made and mounted for as long as
/// that takes.
pub fn errand_before(launch: &Launch<'_>, work: impl FnOnce() -> u8) -> Result<Running, Error> {
    let work = || {
        rustix::process::umask(Mode::empty());
        work()
    };
    start_with(launch, None, Some(Box::new(work)))?.finish()
}

impl Running {
    /// Waits for the end of an errand.
    pub fn end_of_errand(self) -> Result<u8, Error> {
        self.child.wait().map_err(Error::Pipe)
    }
}
