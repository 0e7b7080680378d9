//! The process that a container or a joining program becomes: one clone, or a joiner before it.
//!
//! ```text
//! all new        parent ── clone3(NEW…) ──► child
//! some joined    parent ── fork ──► joiner: setns, …, clone3(NEW…, CLONE_PARENT) ──► child
//! ```
//!
//! The joiner is a process of its own because a joined pid namespace holds for children only, and
//! because the parent must stay where it is. By `CLONE_PARENT` the child is the parent's all the
//! same: it is waited for, and dies with it.

use std::ffi::CStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags};
use rustix::thread::UnshareFlags;

use super::{Error, socket};
use crate::bundle::{Namespace, Namespaces, NsKind};
use crate::sys::fork::{Child, Side};
use crate::{sys, userns};

/// Something to join by setns(2): a namespace's file, or a process's pidfd with the kinds wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Door<'a> {
    /// The descriptor.
    pub(super) descriptor: BorrowedFd<'a>,
    /// Which kinds of namespace.
    pub(super) kinds: UnshareFlags,
}

/// The kernel's flag of a kind.
pub(super) fn flag(kind: NsKind) -> UnshareFlags {
    match kind {
        NsKind::User => UnshareFlags::NEWUSER,
        NsKind::Pid => UnshareFlags::NEWPID,
        NsKind::Network => UnshareFlags::NEWNET,
        NsKind::Ipc => UnshareFlags::NEWIPC,
        NsKind::Uts => UnshareFlags::NEWUTS,
        NsKind::Cgroup => UnshareFlags::NEWCGROUP,
    }
}

/// Starts the first process of a container: in new namespaces, joined ones and the caller's. The
/// root of a cgroup namespace is the group that its maker is in: a child that is to go into one of
/// its own makes it there, and not here.
pub(super) fn in_namespaces(namespaces: &Namespaces, cgroup: bool) -> Result<Side, Error> {
    let new = namespaces.new_kinds().filter(|kind| cgroup || *kind != NsKind::Cgroup);
    let new = new.fold(UnshareFlags::NEWNS, |flags, kind| flags | flag(kind));
    let doors: Vec<Door<'_>> = namespaces
        .joined()
        .map(|(kind, joined)| Door { descriptor: joined.as_fd(), kinds: flag(kind) })
        .collect();
    if !doors.is_empty() {
        return through(&doors, new);
    }
    sys::fork::clone_into(new).map_err(|error| match &namespaces[NsKind::User] {
        Namespace::New => Error::Namespaces(userns::explain_refusal(error.errno)),
        Namespace::Host | Namespace::Join(_) => Error::NoPower(error.errno),
    })
}

/// The way into all namespaces of a process that are not the caller's own: one setns by pidfd.
pub(super) fn doors_of(pidfd: &OwnedFd, pid: Pid) -> Result<Vec<Door<'_>>, Error> {
    let same = |name: &str| {
        let link = |who: &str| rustix::fs::readlink(format!("/proc/{who}/ns/{name}"), Vec::new());
        let theirs = link(&pid.as_raw_nonzero().to_string()).map_err(Error::Join)?;
        Ok::<bool, Error>(link("self").map_err(Error::Join)? == theirs)
    };
    let mut kinds = UnshareFlags::empty();
    if !same("mnt")? {
        kinds |= UnshareFlags::NEWNS;
    }
    for kind in NsKind::ALL {
        if !same(kind.file_name())? {
            kinds |= flag(kind);
        }
    }
    // A kernel without them has none to join.
    if !same("time").unwrap_or(true) {
        kinds |= UnshareFlags::NEWTIME;
    }
    Ok(vec![Door { descriptor: pidfd.as_fd(), kinds }])
}

/// A copy of the mount at `path`, relative to the root of another container, to mount elsewhere;
/// `None` where it has none.
///
/// A mount can be copied only from within its mount namespace (open_tree(2)), so a child goes there
/// and sends it out.
pub fn borrow_mount(pid: Pid, pidfd: &OwnedFd, path: &CStr) -> Result<Option<OwnedFd>, Error> {
    let (ours, childs) = socket::pair().map_err(Error::Pipe)?;
    let doors = doors_of(pidfd, pid)?;
    let child = sys::fork::in_child(|| {
        let go = || -> Result<(), Errno> {
            join(&doors).map_err(|(_, errno)| errno)?;
            let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let beneath = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
            let place = rustix::fs::openat2(CWD, path, flags, Mode::empty(), beneath)?;
            let flags = OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_EMPTY_PATH;
            let tree = rustix::mount::open_tree(&place, c"", flags)?;
            socket::send_descriptor(&childs, &tree)
        };
        match go() {
            Ok(()) | Err(Errno::NOENT) => 0,
            Err(errno) => u8::try_from(errno.raw_os_error()).unwrap_or(u8::MAX),
        }
    });
    let child = child.map_err(|error| Error::Pipe(error.errno))?;
    drop(childs);
    let mount = socket::receive_descriptor(&ours).map_err(Error::Pipe)?;
    match child.wait().map_err(Error::Pipe)? {
        0 => Ok(mount),
        errno => Err(Error::Join(Errno::from_raw_os_error(errno.into()))),
    }
}

/// Whether a process has ended (pidfd_open(2): its descriptor is readable then).
pub fn has_ended(pidfd: &OwnedFd) -> bool {
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut polled = [PollFd::new(pidfd, PollFlags::IN)];
    rustix::event::poll(&mut polled, Some(&now)) != Ok(0)
}

/// Starts a process behind `doors`, in some new namespaces besides.
pub(super) fn through(doors: &[Door<'_>], new: UnshareFlags) -> Result<Side, Error> {
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(Error::Pipe)?;
    match sys::fork::fork().map_err(|error| Error::Pipe(error.errno))? {
        Side::Parent(joiner) => {
            drop(writer);
            let told = read(File::from(reader));
            // It ends at once either way; nobody else may wait for it.
            let _ = joiner.wait();
            let pid = told?;
            let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty());
            Ok(Side::Parent(Child { pid, pidfd: pidfd.map_err(Error::Pipe)? }))
        }
        Side::Child => {
            drop(reader);
            match join(doors).and_then(|()| {
                sys::fork::clone_sibling(new).map_err(|error| (doors.len(), error.errno))
            }) {
                Ok(None) => Ok(Side::Child),
                Ok(Some(pid)) => tell(writer.into(), pid.as_raw_nonzero().get(), 0),
                Err((door, errno)) => {
                    let door = i32::try_from(door).unwrap_or(i32::MAX);
                    tell(writer.into(), -1 - door, errno.raw_os_error())
                }
            }
        }
    }
}

pub(super) fn join(doors: &[Door<'_>]) -> Result<(), (usize, Errno)> {
    for (number, door) in doors.iter().enumerate() {
        let kinds = rustix::thread::ThreadNameSpaceType::from_bits_retain(door.kinds.bits());
        rustix::thread::move_into_thread_name_spaces(door.descriptor, kinds)
            .map_err(|errno| (number, errno))?;
    }
    Ok(())
}

/// The joiner's last words: the child's pid, or which door was closed and why.
fn tell(mut pipe: File, number: i32, errno: i32) -> ! {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&number.to_ne_bytes());
    bytes[4..].copy_from_slice(&errno.to_ne_bytes());
    let told = pipe.write_all(&bytes);
    sys::fork::exit(u8::from(told.is_err()))
}

fn read(mut pipe: File) -> Result<Pid, Error> {
    let mut bytes = [0; 8];
    pipe.read_exact(&mut bytes).map_err(Error::Report)?;
    let [a, b, c, d, errno @ ..] = bytes;
    let (number, errno) = (i32::from_ne_bytes([a, b, c, d]), i32::from_ne_bytes(errno));
    match Pid::from_raw(number).filter(|_| number > 0) {
        Some(pid) => Ok(pid),
        None => Err(Error::Join(Errno::from_raw_os_error(errno))),
    }
}
