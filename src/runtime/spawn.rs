//! The process that a container or a joining program becomes: one clone, or a joiner before it.
//!
//! ```text
//! all new        parent ── clone3(NEW…) ──► child
//! some joined    parent ── vfork ──► joiner: setns, …, clone(NEW…, CLONE_PARENT) ──► child
//! ```
//!
//! The joiner is a process of its own because a joined pid namespace holds for children only, and
//! because the parent must stay where it is. By `CLONE_PARENT` the child is the parent's all the
//! same: it is waited for, and dies with it.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;
use rustix::process::{DumpableBehavior, Pid};
use rustix::thread::UnshareFlags;

use super::{Error, socket};
use crate::bundle::{Namespace, Namespaces, NsKind};
use crate::sys::fork::{Passage, Side};
use crate::{sys, userns};

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

/// The namespaces that a process may be made in before it is known what it becomes: where some are
/// joined, there is none. That of control groups it makes itself, once it is in its group.
pub(super) fn new_ahead(namespaces: &Namespaces) -> Option<UnshareFlags> {
    let owned = namespaces[NsKind::User] == Namespace::New && namespaces.joined().next().is_none();
    let kinds = namespaces.new_kinds().filter(|kind| *kind != NsKind::Cgroup);
    owned.then(|| kinds.fold(UnshareFlags::NEWNS, |flags, kind| flags | flag(kind)))
}

/// Starts the first process of a container: in new namespaces, joined ones and the caller's. The
/// root of a cgroup namespace is the group that its maker is in: a child that is to go into one of
/// its own makes it there, and not here.
pub(super) fn in_namespaces(namespaces: &Namespaces, cgroup: bool) -> Result<Side, Error> {
    let new = namespaces.new_kinds().filter(|kind| cgroup || *kind != NsKind::Cgroup);
    let new = new.fold(UnshareFlags::NEWNS, |flags, kind| flags | flag(kind));
    let doors: Vec<Passage<'_>> = namespaces
        .joined()
        .map(|(kind, joined)| Passage { descriptor: joined.as_fd(), kinds: flag(kind) })
        .collect();
    if !doors.is_empty() {
        let before = rustix::process::dumpable_behavior().map_err(Error::Pipe)?;
        let side = through(&doors, new)?;
        if matches!(side, Side::Child) && before == DumpableBehavior::Dumpable {
            // It may yet have to write maps of its own, which only who can be looked into may.
            rustix::process::set_dumpable_behavior(before).map_err(Error::Pipe)?;
        }
        return Ok(side);
    }
    sys::fork::clone_into(new).map_err(|error| match &namespaces[NsKind::User] {
        Namespace::New => Error::Namespaces(userns::explain_refusal(error.errno)),
        Namespace::Host | Namespace::Join(_) => Error::NoPower(error.errno),
    })
}

/// The way into all namespaces of a process that are not the caller's own: one setns by pidfd.
pub(super) fn doors_of(pidfd: &OwnedFd, pid: Pid) -> Result<Vec<Passage<'_>>, Error> {
    let open = |path: String| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).map_err(Error::Join)
    };
    let theirs = open(format!("/proc/{}/ns", pid.as_raw_nonzero()))?;
    let own = open("/proc/self/ns".to_owned())?;
    let same = |name: &str| {
        let link = |from: &OwnedFd| rustix::fs::readlinkat(from, name, Vec::new());
        let theirs = link(&theirs).map_err(Error::Join)?;
        Ok::<bool, Error>(link(&own).map_err(Error::Join)? == theirs)
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
    Ok(vec![Passage { descriptor: pidfd.as_fd(), kinds }])
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

/// Starts a process behind `doors`, in some new namespaces besides. From before the first door on
/// nothing may look into it or its descriptors (CVE-2016-9962), nor into the joiner.
pub(super) fn through(doors: &[Passage<'_>], new: UnshareFlags) -> Result<Side, Error> {
    let set = |behavior| rustix::process::set_dumpable_behavior(behavior).map_err(Error::Pipe);
    let before = rustix::process::dumpable_behavior().map_err(Error::Pipe)?;
    if before == DumpableBehavior::Dumpable {
        set(DumpableBehavior::NotDumpable)?;
    }
    let side = sys::fork::clone_through(doors, new);
    if before == DumpableBehavior::Dumpable && !matches!(side, Ok(Side::Child)) {
        set(before)?;
    }
    side.map_err(|(_, errno)| Error::Join(errno))
}

pub(super) fn join(doors: &[Passage<'_>]) -> Result<(), (usize, Errno)> {
    for (number, door) in doors.iter().enumerate() {
        let kinds = rustix::thread::ThreadNameSpaceType::from_bits_retain(door.kinds.bits());
        rustix::thread::move_into_thread_name_spaces(door.descriptor, kinds)
            .map_err(|errno| (number, errno))?;
    }
    Ok(())
}
