//! The supervisor's process, put to work by the container's first process.
//!
//! Who stays with its container only watches for the first call that is asked about, and forks the
//! supervisor then: a container that asks for nothing never has one. Nor has one whose processes,
//! root all of them, only look who they are, as many a program does that never asks again. Who leaves
//! forks it at once.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use rustix::process::{DumpableBehavior, Pid, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets, LinkNameSpaceType};

use super::call::{Call, Calls, Purpose};
use super::confine;
use super::connect::Connections;
use super::filter::{Filter, UNASKED, filter};
use super::ids::{Credentials, Powers};
use super::links::Links;
use super::people::{People, RESOURCE, Tag, UNTAGGED};
use super::serve::Server;
use crate::network::{self, RouteSockets, Routes, Switch};
use crate::sys;
use crate::sys::fork::{self, Child, Side};
use crate::sys::notify::{self, Answer, Listener, Notification};
use crate::sys::seccomp::Instruction;

/// What a supervisor is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// What ids are emulated by, where they are.
    pub ids: Option<Emulation>,
    /// Which connections are made for the container, where any are.
    pub switch: Option<Switch>,
    /// Whether it serves on when the launching process is gone.
    pub outlives: bool,
}

/// What is known of a container's ids.
#[derive(Clone, Debug)]
pub struct Emulation {
    /// What root in the container may do.
    pub powers: Powers,
    /// `owners` of the image's layers, the lowest first, then of the container.
    pub known: Vec<PathBuf>,
}

/// A supervisor, held by who launches: it ends with the container, or when this is dropped.
#[derive(Debug)]
pub struct Supervisor {
    child: Child,
    outlives: bool,
}

/// The container's end: what its first process needs to put itself under supervision.
#[derive(Debug)]
pub struct Entrance {
    filter: Filter,
    socket: OwnedFd,
    /// The first process's own tag, where ids are emulated.
    limit: Option<u64>,
    connections: bool,
}

/// The room that the descriptors take in a control message.
const SPACE: usize = rustix::cmsg_space!(ScmRights(5));

/// Where a supervisor will meet the container's first process: made before the clone.
#[derive(Debug)]
pub struct Meeting {
    socket: OwnedFd,
    /// The container's directory on the host, for `owners` and `people`.
    directory: Option<OwnedFd>,
}

impl Meeting {
    /// A meeting that nobody has come to yet, and the way in for a first process who is to be `user`,
    /// where ids are emulated; `directory` is the container's, where who is who and whose is what is
    /// kept for others. `connections`: some are made for the container.
    pub fn new(
        user: Option<&Credentials>,
        directory: Option<&Path>,
        connections: bool,
    ) -> Result<(Self, Entrance), Errno> {
        let kind = SocketType::SEQPACKET;
        let (ours, containers) =
            rustix::net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |path: &Path| rustix::fs::open(path, flags, Mode::empty());
        let directory = directory.and_then(|path| open(path).ok());
        let mut limit = None;
        if let Some(user) = user {
            let mut people = People::new(copy(directory.as_ref())?);
            let credentials = people.place(user).ok_or(Errno::NOMEM)?;
            limit = Some(Tag { credentials, elsewhere: false }.limit());
        }
        let purpose = Purpose { ids: limit.is_some(), connections };
        let entrance = Entrance { filter: filter(purpose), socket: containers, limit, connections };
        Ok((Self { socket: ours, directory }, entrance))
    }

    /// Forks the supervisor, while the container's first process is on its way and nobody here holds
    /// its entrance any more.
    pub fn fork(self, options: &Options) -> Result<Supervisor, Errno> {
        start(options, self.directory, Begin::Await(self.socket))
    }

    /// Forks nothing: the supervisor comes with the first call that is asked about.
    pub fn watch(self, options: Options) -> Watch {
        let awaited = Awaited::Arrival(self.socket);
        Watch { options, directory: self.directory, awaited, patience: PATIENCE }
    }
}

/// A container whose supervisor is not needed yet.
#[derive(Debug)]
pub struct Watch {
    options: Options,
    directory: Option<OwnedFd>,
    awaited: Awaited,
    /// How many calls are answered here before a supervisor does it, who is quicker.
    patience: u32,
}

/// More than programs ask at their start.
const PATIENCE: u32 = 16;

/// What a watch waits for.
#[derive(Debug)]
enum Awaited {
    /// The first process, with its listener.
    Arrival(OwnedFd),
    /// A call.
    Call(Arrival),
}

/// What a supervisor begins with.
#[derive(Debug)]
enum Begin {
    /// Waiting for the first process.
    Await(OwnedFd),
    /// A call that was taken and is to be answered.
    Answer(Arrival, Notification),
}

/// What came of looking at a watch.
#[derive(Debug)]
pub enum Seen {
    /// Nothing that needs a supervisor.
    Quiet(Watch),
    /// A call: the supervisor is there.
    Called(Supervisor),
    /// There will be no calls, as nobody is asked about: the first process has gone before it came so far,
    /// or is without supervision.
    Nobody,
    /// All processes that were asked about have ended.
    Ended(Left),
}

/// A container's namespaces, which are still held though nobody is in them: they end when it is dropped, and
/// the mounts with them, which takes the kernel a while.
#[derive(Debug)]
pub struct Left(#[allow(dead_code)] [OwnedFd; 2]);

impl Watch {
    /// What becomes readable when there is something to see.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        match &self.awaited {
            Awaited::Arrival(socket) => socket.as_fd(),
            Awaited::Call(arrival) => arrival.listener.as_ref().as_fd(),
        }
    }

    /// Looks, once the descriptor is said to be ready; `called` says that it is readable, and not
    /// merely closed. Call it while the process has one thread.
    pub fn look(self, called: bool) -> Result<Seen, Errno> {
        let Self { options, directory, awaited, patience } = self;
        let quiet = |directory, arrival, patience| {
            let awaited = Awaited::Call(arrival);
            Seen::Quiet(Self { options: options.clone(), directory, awaited, patience })
        };
        match awaited {
            Awaited::Arrival(socket) => Ok(match receive(&socket)? {
                Some(arrival) => quiet(directory, arrival, patience),
                None => Seen::Nobody,
            }),
            // The filter's users are gone (poll(2) of a seccomp listener, Linux 5.10).
            Awaited::Call(Arrival { user, mounts, .. }) if !called => {
                Ok(Seen::Ended(Left([user, mounts])))
            }
            Awaited::Call(arrival) => match arrival.listener.receive() {
                // Who called has died meanwhile.
                Err(Errno::NOENT | Errno::INTR) => Ok(quiet(directory, arrival, patience)),
                Err(errno) => Err(errno),
                Ok(call) if patience > 0 && is_plain(&call) => {
                    let _ = arrival.listener.answer(call.id, Answer::Continue);
                    Ok(quiet(directory, arrival, patience - 1))
                }
                Ok(call) => {
                    let begin = Begin::Answer(arrival, call);
                    start(&options, directory, begin).map(Seen::Called)
                }
            },
        }
    }
}

/// Whether somebody who is root, as the kernel has it, asks who it is.
fn is_plain(call: &Notification) -> bool {
    let asks = matches!(Calls::new().get(call.number), Some(Call::Id { .. } | Call::Ids(_)));
    let is_root = || notify::limit(call.thread, RESOURCE).is_ok_and(|(soft, _)| soft == UNTAGGED);
    asks && is_root()
}

fn start(options: &Options, directory: Option<OwnedFd>, begin: Begin) -> Result<Supervisor, Errno> {
    let parent = rustix::process::getpid();
    match fork::fork().map_err(|error| error.errno)? {
        Side::Parent(child) => Ok(Supervisor { child, outlives: options.outlives }),
        Side::Child => {
            let Err(_) = supervise(options, directory, parent, begin);
            fork::exit(1)
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if self.outlives {
            return; // it goes when those whom it serves have gone
        }
        // Its container is gone, or it would not be dropped; older kernels do not tell it.
        let _ = rustix::process::pidfd_send_signal(&self.child.pidfd, Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Entrance {
    /// What it is met by.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether the program must not go on without it, as connections are made for it.
    pub fn is_for_connections(&self) -> bool {
        self.connections
    }

    /// Puts this process and all that it starts under supervision, as the user it was made for;
    /// what it will execute first, the first of `programs` that can be, it executes unasked. With `profile` the
    /// calls are filtered by that too, if the two can be one; `true`, where they are.
    ///
    /// Needs `CAP_SYS_ADMIN` in the user namespace, and the container's root to be in place.
    /// `EBUSY`, `ENOSYS`, `EINVAL`: there can be no supervision here, and nothing was done.
    pub fn enter(
        &mut self,
        programs: &[CString],
        profile: Option<&[Instruction]>,
    ) -> Result<bool, Errno> {
        let (_, hard) = notify::limit(0, RESOURCE)?;
        // A tag must fit below the hard limit, and "unlimited" is a tag.
        if self.limit.is_some() && hard != UNTAGGED {
            return Err(Errno::INVAL);
        }
        let routes = self.connections.then(network::route_sockets).transpose()?;
        // By name: a pidfd would need the power to trace a process that is not dumpable.
        let open = |name| rustix::fs::open(name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let (user, mounts) = (open(c"/proc/self/ns/user")?, open(c"/proc/self/ns/mnt")?);
        let joined = profile.is_some_and(|profile| self.filter.join(profile));
        for (slot, path) in programs.iter().take(UNASKED).enumerate() {
            if gives_no_ids(path) {
                self.filter.let_execute(slot, path.as_ptr());
            }
        }
        if let Some(limit) = self.limit {
            notify::set_limit(0, RESOURCE, limit, hard)?;
        }
        let listener = match notify::install(self.filter.program()) {
            Ok(listener) => listener,
            Err(errno) => {
                if self.limit.is_some() {
                    notify::set_limit(0, RESOURCE, UNTAGGED, hard)?;
                }
                return Err(errno);
            }
        };
        let mut descriptors = vec![listener.as_fd(), user.as_fd(), mounts.as_fd()];
        if let Some(RouteSockets { questions, changes }) = &routes {
            descriptors.extend([questions.as_fd(), changes.as_fd()]);
        }
        let mut space = [MaybeUninit::uninit(); SPACE];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let byte = [IoSlice::new(b"l")];
        rustix::net::sendmsg(&self.socket, &byte, &mut control, SendFlags::NOSIGNAL)?;
        Ok(joined)
    }
}

/// Whether a program is found the same way from any directory, and has no set-id bits.
fn gives_no_ids(path: &CStr) -> bool {
    let set_ids = |stat: rustix::fs::Stat| stat.st_mode & (libc::S_ISUID | libc::S_ISGID) != 0;
    path.to_bytes().starts_with(b"/") && !rustix::fs::stat(path).is_ok_and(set_ids)
}

/// From a fresh fork to the loop; comes back only when something failed.
fn supervise(
    options: &Options,
    own: Option<OwnedFd>,
    parent: Pid,
    begin: Begin,
) -> Result<Infallible, Errno> {
    let name = if options.ids.is_some() { c"coracle-ids" } else { c"coracle-switch" };
    let _ = rustix::thread::set_name(name);
    // The terminal's signals are for the container.
    sys::process::block_signals();
    rustix::process::setsid()?;
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = rustix::fs::open(c"/proc", directory, Mode::empty())?;
    let known = options.ids.as_ref().map_or(&[][..], |ids| &ids.known);
    let known: Vec<Vec<u8>> = known.iter().filter_map(|path| std::fs::read(path).ok()).collect();
    let kept = [Some(&proc), own.as_ref()];
    let hold_only = |more: &[&OwnedFd]| {
        let kept: Vec<&OwnedFd> = kept.into_iter().flatten().chain(more.iter().copied()).collect();
        sys::process::hold_only(&kept)
    };
    let (arrival, first) = match begin {
        Begin::Await(socket) => {
            hold_only(&[&socket])?;
            (receive(&socket)?, None)
        }
        Begin::Answer(arrival, call) => {
            let mut kept = vec![arrival.listener.as_ref(), &arrival.user, &arrival.mounts];
            let routes = arrival.routes.as_ref();
            kept.extend(routes.into_iter().flat_map(|it| [&it.questions, &it.changes]));
            hold_only(&kept)?;
            (Some(arrival), Some(call))
        }
    };
    let Some(Arrival { listener, user, mounts, routes }) = arrival else { fork::exit(0) };
    // The network namespace stays the caller's.
    let root = match options.ids {
        Some(_) => join(&user, &mounts, &proc)?,
        None => confine::join(&user, &proc)?,
    };
    drop((user, mounts));
    if !options.outlives {
        match sys::process::die_with(parent) {
            Err(Errno::SRCH) => fork::exit(0),
            other => other?,
        }
    }
    let people = People::new(copy(own.as_ref())?);
    let mut links = Links::new(own);
    for text in known {
        links.load(&text);
    }
    let mut connections = None;
    if let (Some(switch), Some(routes)) = (&options.switch, routes) {
        let most = sys::process::raise_descriptors();
        // Without, they go by the tap.
        connections = Connections::new(switch.clone(), Routes::new(routes), most).ok();
    }
    if options.ids.is_none() {
        confine::confine()?;
    }
    let powers = options.ids.as_ref().map_or_else(Powers::default, |ids| ids.powers);
    Server::new(listener, root, proc, people, powers, links, connections).serve(first);
    fork::exit(0)
}

fn copy(directory: Option<&OwnedFd>) -> Result<Option<OwnedFd>, Errno> {
    directory.map(|directory| rustix::io::fcntl_dupfd_cloexec(directory, 3)).transpose()
}

/// What the container's first process sends.
#[derive(Debug)]
struct Arrival {
    listener: Listener,
    user: OwnedFd,
    mounts: OwnedFd,
    /// Where connections are made.
    routes: Option<RouteSockets>,
}

/// Waits for the container's first process; `None` when it ended before.
fn receive(socket: &OwnedFd) -> Result<Option<Arrival>, Errno> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let slices = &mut [IoSliceMut::new(&mut byte)];
    rustix::net::recvmsg(socket, slices, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut received = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let mut descriptors = received.next().into_iter().flatten();
    let mut next = || descriptors.next();
    Ok(match (next(), next(), next()) {
        (Some(listener), Some(user), Some(mounts)) => {
            let (listener, routes) = (Listener::new(listener), next().zip(next()));
            let routes = routes.map(|(questions, changes)| RouteSockets { questions, changes });
            Some(Arrival { listener, user, mounts, routes })
        }
        _ => None,
    })
}

/// Into the container's user and mount namespaces, with what an owner of all its files needs.
fn join(user: &OwnedFd, mounts: &OwnedFd, proc: &OwnedFd) -> Result<OwnedFd, Errno> {
    for (namespace, kind) in [(user, LinkNameSpaceType::User), (mounts, LinkNameSpaceType::Mount)] {
        rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(kind))?;
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // Joining a mount namespace makes its root the root (setns(2)): the container's, once pivoted.
    let root = rustix::fs::open(c"/", flags, Mode::empty())?;
    rustix::process::fchdir(proc)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::process::umask(Mode::empty());
    // Files of any mode, links of /proc to any process, and another's root directory.
    let kept = CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::DAC_READ_SEARCH
        | CapabilitySet::FOWNER
        | CapabilitySet::FSETID
        | CapabilitySet::CHOWN
        | CapabilitySet::SYS_PTRACE
        | CapabilitySet::SYS_CHROOT
        | CapabilitySet::SYS_RESOURCE;
    let inheritable = CapabilitySet::empty();
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable };
    rustix::thread::set_capabilities(None, sets)?;
    Ok(root)
}
