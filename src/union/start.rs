//! The server's process: forked early, put to work by the container's first process, gone with the
//! mount.

use std::convert::Infallible;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use fuser::{Config, Session, SessionACL};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, mkdirat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets, LinkNameSpaceType};

use super::Result;
use super::look::open_directory;
use super::mount::{Entrance, SPACE};
use super::serve::Service;
use super::tree::Union;
use crate::sys;
use crate::sys::fork::{self, Child, Side};

/// What a server is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Layer trees, the topmost first.
    pub lowers: Vec<PathBuf>,
    /// What the container writes.
    pub upper: PathBuf,
    /// A directory on the file system of `upper`.
    pub work: PathBuf,
    /// Whether nothing need survive a crash of the machine.
    pub volatile: bool,
}

/// A server, held by who launches: it ends when nobody has the mount any more.
#[derive(Debug)]
pub struct Server {
    child: Child,
    outlives: bool,
}

/// Where a server will meet the container's first process: made before the clone.
#[derive(Debug)]
pub struct Meeting(OwnedFd);

/// How long a server may take to write back what was left when its container ended.
const PATIENCE: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };

impl Meeting {
    /// A meeting that nobody has come to yet, and the way in for the container's first process.
    pub fn new() -> Result<(Self, Entrance)> {
        let kind = SocketType::SEQPACKET;
        let (servers, socket) =
            rustix::net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        Ok((Self(servers), Entrance { socket }))
    }

    /// Forks the server, while the container's first process is on its way and nobody here holds its
    /// entrance any more. With `outlives` it is not waited for.
    pub fn fork(self, options: &Options, outlives: bool) -> Result<Server> {
        match fork::fork().map_err(|error| error.errno)? {
            Side::Parent(child) => Ok(Server { child, outlives }),
            Side::Child => {
                let Err(_) = serve(options, &self.0);
                fork::exit(1)
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.outlives {
            return;
        }
        // Its container is gone, or it would not be dropped, and the mount with it: the kernel has
        // written back, or is about to.
        let mut ended = [PollFd::new(&self.child.pidfd, PollFlags::IN)];
        if !matches!(poll(&mut ended, Some(&PATIENCE)), Ok(1)) {
            let _ = rustix::process::pidfd_send_signal(&self.child.pidfd, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// From a fresh fork to the loop; comes back only when something failed.
fn serve(options: &Options, socket: &OwnedFd) -> Result<Infallible> {
    let _ = rustix::thread::set_name(c"coracle-union");
    // The terminal's signals are for the container.
    sys::process::block_signals();
    rustix::process::setsid()?;
    let limit = raise_limit();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |path: &PathBuf| rustix::fs::open(path, flags, Mode::empty());
    let layers = std::iter::once(&options.upper).chain(&options.lowers).map(open);
    let layers = layers.collect::<Result<Vec<_>>>()?;
    let work = open(&options.work)?;
    let proc = open(&PathBuf::from("/proc/self/fd"))?;
    let kept: Vec<&OwnedFd> = layers.iter().chain([&work, &proc, socket]).collect();
    sys::process::hold_only(&kept)?;
    let Some((device, user)) = receive(socket)? else { fork::exit(0) };
    join(&user)?;
    drop(user);
    let work = make_work(&work)?;
    let limit = limit.saturating_sub(layers.len() as u64 + 64).max(64) / 2;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(MOST_HELD);
    let (union, _root) = Union::new(&layers, work, proc, limit, options.volatile)?;
    drop(layers);
    // A thread that panics would leave its callers waiting: the end of all gives them an error.
    std::panic::set_hook(Box::new(|_| std::process::abort()));
    let mut config = Config::default();
    config.acl = SessionACL::All;
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    config.n_threads = Some(cores.clamp(2, 8));
    config.clone_fd = true;
    let union = Arc::new(union);
    let session = Session::from_fd(Service(Arc::clone(&union)), device, SessionACL::All, config);
    let ended = session.and_then(|session| {
        union.set_notifier(session.notifier());
        session.run()
    });
    fork::exit(u8::from(ended.is_err()))
}

/// Descriptors that are kept open at most.
const MOST_HELD: usize = 32 << 10;

/// As many descriptors as may be; gives how many those are.
fn raise_limit() -> u64 {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let limit = match rustix::process::setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    limit.unwrap_or(u64::MAX)
}

/// Where things are made; what a server before left there is of no use.
fn make_work(work: &OwnedFd) -> Result<OwnedFd> {
    let work = open_directory(work, c".")?;
    sys::remove_tree_at(&work, "union".as_ref())
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    mkdirat(&work, c"union", Mode::RWXU)?;
    open_directory(&work, c"union")
}

/// Waits for the container's first process: the device, and its user namespace. `None` when it ended
/// before.
fn receive(socket: &OwnedFd) -> Result<Option<(OwnedFd, OwnedFd)>> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let slices = &mut [IoSliceMut::new(&mut byte)];
    rustix::net::recvmsg(socket, slices, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let received = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let mut descriptors = received.into_iter().flatten();
    Ok(descriptors.next().zip(descriptors.next()))
}

/// Into the container's user namespace, with what an owner of all its files needs and no more.
fn join(user: &OwnedFd) -> Result<()> {
    match rustix::thread::move_into_link_name_space(user.as_fd(), Some(LinkNameSpaceType::User)) {
        Err(Errno::INVAL) => {} // it is this one
        other => other?,
    }
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::process::umask(Mode::empty());
    let kept = CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::DAC_READ_SEARCH
        | CapabilitySet::FOWNER
        | CapabilitySet::FSETID
        | CapabilitySet::CHOWN
        | CapabilitySet::MKNOD
        | CapabilitySet::SETFCAP;
    let inheritable = CapabilitySet::empty();
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable };
    rustix::thread::set_capabilities(None, sets)
}
