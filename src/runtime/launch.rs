//! The parent's side of a launch: one clone, the maps, the child's report.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::DumpableBehavior;
use rustix::termios::Winsize;
use rustix::thread::UnshareFlags;

use super::agent::Agent;
use super::ahead::{Ahead, Aside, Orders};
use super::emulate::Supervision;
use super::hooks::{self, HookState};
use super::init::{self, Ends};
use super::plan::Plan;
use super::program::{ProgramPlan, Streams};
use super::ready::Ready;
use super::relay::{End, Flow, Source};
use super::seccomp::Profile;
use super::stage::Failure;
use super::{Error, describe, emulate, kept, socket, spawn};
use crate::bundle::{ContainerSpec, Joined, Namespace, NsKind, Process, SeccompChoice};
use crate::cgroup::Group;
use crate::mount::RootMount;
use crate::network::Switch;
use crate::sys::fork::{Child, Side};
use crate::userns::{self, IdMaps};
use crate::{network, sys, union};

/// What a launch needs besides the specification.
#[derive(Debug)]
pub struct Launch<'a> {
    /// What to start.
    pub spec: &'a ContainerSpec,
    /// The ids of its user namespace.
    pub ids: &'a IdMaps,
    /// The profile that the specification's filter is made from; `None` for unconfined.
    pub profile: Option<&'a Profile>,
    /// Whether the root's changes may be lost by a crash of the machine (overlayfs `volatile`):
    /// for a container that is removed when it ends.
    pub volatile: bool,
    /// What its streams are, and whether it outlives the caller.
    pub attachment: Attachment<'a>,
    /// A listening socket: everything is done but the start of the program, which waits until
    /// somebody connects (`open_gate`).
    pub gate: Option<&'a OwnedFd>,
    /// Whether the root is moved over `/` and changed to, for hosts whose own root is an initramfs,
    /// which pivot_root(2) refuses.
    pub no_pivot: bool,
    /// The control group that it goes into before anything else.
    pub group: Option<&'a Group>,
    /// What its private network is served by, where it has one.
    pub network: Option<&'a network::Options>,
    /// What the hooks are told.
    pub state: &'a HookState,
}

/// How a program hangs together with the caller.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // each a fact of its own
pub struct Attachment<'a> {
    /// Whether the program outlives the caller.
    pub detached: bool,
    /// Whether it has the caller's stdin, stdout and stderr as they are. Else what is a terminal of
    /// the caller's is relayed: who holds it could type into the caller's shell (CVE-2017-5226).
    pub inherit: bool,
    /// Whether it reads nothing and what it writes is lost: nobody waits for it.
    pub silent: bool,
    /// Whether the caller carries its bytes itself (`Running::keep`).
    pub kept: bool,
    /// Whether its output passes through the caller even where it could be handed on: somebody taps
    /// it (`supervise`).
    pub tapped: bool,
    /// Where the master of its terminal is sent (runc's `--console-socket`); to the caller itself
    /// where there is none.
    pub console: Option<&'a OwnedFd>,
    /// How many descriptors from 3 up it keeps.
    pub preserved: u32,
    /// Others that it keeps, by number.
    pub kept_descriptors: Vec<u32>,
    /// Which of stdin, stdout and stderr are not the caller's: nothing comes from there, and what
    /// goes there is seen by who taps it alone.
    pub apart: [bool; 3],
}

/// A program that runs, or waits for its start: a container's first process, or one that joined.
#[derive(Debug)]
pub struct Running {
    pub(super) child: Child,
    pub(super) flows: Vec<Flow<'static>>,
    pub(super) terminal: Option<OwnedFd>,
    /// stdin, stdout and stderr, where the caller carries their bytes.
    pub(super) pipes: [Option<OwnedFd>; 3],
    /// Answers for the container's ids, where these are emulated.
    pub(super) supervision: Supervision,
    /// Carries the container's packets, where it has a private network.
    pub(super) network: Option<network::Server>,
    /// Serves the container's root, where the kernel's overlayfs does not. Let go of last: it ends
    /// with the mount, which a supervisor is in too.
    pub(super) union: Option<union::Server>,
    /// Who has nothing to do, where somebody has.
    pub(super) aside: Option<Aside>,
}

impl Running {
    /// The process's pid in the caller's pid namespace.
    pub fn pid(&self) -> rustix::process::Pid {
        self.child.pid
    }

    /// Sends a descriptor of the process over a connected socket.
    pub fn send_pidfd(&self, socket: &OwnedFd) -> Result<(), Error> {
        socket::send_descriptor(socket, &self.child.pidfd).map_err(Error::Pipe)
    }

    /// Its namespaces of these kinds, and the user namespace that they belong to, for another
    /// container to join.
    pub fn namespaces(&self, kinds: &[NsKind]) -> Result<Vec<(NsKind, Joined)>, Error> {
        let mut wanted = vec![NsKind::User];
        wanted.extend(kinds.iter().filter(|kind| **kind != NsKind::User));
        wanted.into_iter().map(|kind| Ok((kind, namespace_of(self.pid(), kind)?))).collect()
    }
}

/// A namespace of a process.
pub fn namespace_of(pid: rustix::process::Pid, kind: NsKind) -> Result<Joined, Error> {
    let path = format!("/proc/{}/ns/{}", pid.as_raw_nonzero(), kind.file_name());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map(Joined::new).map_err(Error::Join)
}

/// A launched child whose program has yet to be executed.
#[derive(Debug)]
pub struct Starting<'a> {
    child: Child,
    parent: ParentEnds,
    process: &'a Process,
    spec: Option<&'a ContainerSpec>,
    state: &'a HookState,
    supervision: Supervision,
    network: Option<network::Server>,
    union: Option<union::Server>,
    /// Where the child shares this process's memory until the exec: what it changes there, and whose it was.
    shared: Option<(DumpableBehavior, Aside)>,
}

/// What the parent holds of its child.
#[derive(Debug)]
struct ParentEnds {
    report: File,
    terminal: Option<OwnedFd>,
    flows: Vec<Flow<'static>>,
    pipes: [Option<OwnedFd>; 3],
    /// Whether the caller carries the terminal's bytes too.
    kept: bool,
    meeting: Option<OwnedFd>,
    /// Who is handed the filter's listener.
    agent: Option<Agent>,
    /// The first process of the container that is joined.
    joined: Option<rustix::process::Pid>,
}

/// Starts a container's first process. It works its way to the program while the caller goes on,
/// until `Starting::finish`.
pub fn start<'a>(launch: &Launch<'a>) -> Result<Starting<'a>, Error> {
    start_with(launch, None, None)
}

/// The same with a process that was made ahead, where it fits.
pub fn start_ahead<'a>(launch: &Launch<'a>, ahead: Ahead) -> Result<Starting<'a>, Error> {
    start_with(launch, Some(ahead), None)
}

/// The same up to the program, in whose place the child does an errand: as root of the container's
/// namespaces, in its root, with all that is mounted there.
pub(super) fn start_with<'a>(
    launch: &Launch<'a>,
    ahead: Option<Ahead>,
    errand: Option<Errand<'_>>,
) -> Result<Starting<'a>, Error> {
    let spec = launch.spec;
    let mut plan = Plan::new(spec, launch.ids, launch.profile, launch.volatile)?;
    plan.no_pivot = launch.no_pivot;
    let (mut parent, mut streams) = ends(&spec.process, &launch.attachment)?;
    streams.gate = launch.gate.map(duplicate).transpose()?;
    let mut meeting = None;
    if hooks::must_meet(&spec.hooks) {
        let (ours, childs) = socket::pair().map_err(Error::Pipe)?;
        (parent.meeting, meeting) = (Some(ours), Some(childs));
    }
    let (maps, parent_maps) = match spec.namespaces[NsKind::User] {
        Namespace::New => userns::prepare(launch.ids).map(|(maps, own)| (Some(maps), Some(own)))?,
        Namespace::Host | Namespace::Join(_) => (None, None),
    };
    let recorded = recorded_root(launch);
    let switch = launch.network.and_then(|options| Switch::of(&options.plans()));
    let (supervision, entrance) =
        emulate::prepare(launch.ids, &spec.process, Some(&recorded), switch.as_ref())?;
    streams.entrance = entrance;
    (parent.agent, streams.listener) = Agent::meet(launch.profile, supervision.is_some())?.unzip();
    let (served, union) = union_of(spec, launch.volatile)?.unzip();
    let network = launch.network.map(|options| {
        network::Meeting::new(options.links.iter().map(|link| &link.plan)).map_err(Error::Pipe)
    });
    let (network, devices) = network.transpose()?.unzip();
    let group = launch.group.map(Group::entrances).transpose()?.unwrap_or_default();
    let ends = Ends {
        maps,
        group,
        meeting,
        union,
        network: devices,
        makes_view: false,
        has_loopback: false,
        ready: Ready::default(),
        before: None,
        streams,
    };
    let others = (parent_maps, supervision, served, network);
    let ahead = ahead.filter(|ahead| errand.is_none() && ahead.fits(&plan, &ends, launch));
    let (child, shared) = match begin(launch, ahead, plan, ends, &parent)? {
        Begun::Child(orders) => {
            drop((parent, others));
            sys::process::default_signals();
            init::become_program(&orders.0, orders.1, errand)
        }
        Begun::Parent { child, shared } => (child, shared),
    };
    drop(errand);
    let (parent_maps, supervision, served, network) = others;
    let (process, state) = (&spec.process, launch.state);
    let mut starting = Starting {
        child,
        parent,
        process,
        spec: Some(spec),
        state,
        supervision: Supervision::None,
        network: None,
        union: None,
        shared,
    };
    let outlives = launch.attachment.detached;
    let go = |starting: &mut Starting<'a>| -> Result<(), Error> {
        if let Some((meeting, options)) = served {
            starting.union = Some(meeting.fork(&options, outlives).map_err(Error::Pipe)?);
        }
        if let (Some(meeting), Some(options)) = (network, launch.network) {
            let server = meeting.fork(options, &starting.child.pidfd, outlives);
            starting.network = Some(server.map_err(Error::Pipe)?);
        }
        if let Some(meeting) = supervision {
            let root = Some(&recorded);
            let options = emulate::options(launch.ids, process, root, switch, outlives);
            starting.supervision = Supervision::of(meeting, options)?;
        }
        parent_maps.map_or(Ok(()), |maps| maps.write(starting.child.pid)).map_err(Error::from)
    };
    match go(&mut starting) {
        Ok(()) => Ok(starting),
        Err(error) => {
            starting.abandon();
            Err(error)
        }
    }
}

/// What is done in a program's place.
pub(super) type Errand<'a> = Box<dyn FnOnce() -> u8 + 'a>;

/// The two sides of a launch, once there is a child.
enum Begun {
    Child(Box<(Plan, Ends)>),
    Parent {
        child: Child,
        /// What is to be set again once the child has memory of its own, and whose it was.
        shared: Option<(DumpableBehavior, Aside)>,
    },
}

/// Has the child: the one that was made ahead, or a new one. The parent holds none of its ends then.
fn begin(
    launch: &Launch<'_>,
    ahead: Option<Ahead>,
    mut plan: Plan,
    mut ends: Ends,
    parent: &ParentEnds,
) -> Result<Begun, Error> {
    if let Some(ahead) = ahead {
        ends.makes_view = true;
        let dumpable = rustix::process::dumpable_behavior().map_err(Error::Pipe)?;
        let not_its = parent.report.as_raw_fd();
        match ahead.hand_over(Box::new(Orders { plan, ends, not_its })) {
            Ok((child, aside)) => {
                return Ok(Begun::Parent { child, shared: Some((dumpable, aside)) });
            }
            Err(None) => return Err(Error::Pipe(Errno::SRCH)),
            Err(Some(orders)) => Orders { plan, ends, .. } = *orders,
        }
    }
    ends.makes_view = launch.group.is_some();
    match spawn::in_namespaces(&launch.spec.namespaces, launch.group.is_none())? {
        Side::Child => Ok(Begun::Child(Box::new((plan, ends)))),
        Side::Parent(child) => Ok(Begun::Parent { child, shared: None }),
    }
}

/// The root beside which the records of emulated ids lie. With a directory of the user's own they lie
/// where the container is kept.
fn recorded_root(launch: &Launch<'_>) -> RootMount {
    let kept = &launch.state.bundle;
    match &launch.spec.root {
        RootMount::Directory(path) if !path.starts_with(kept) => {
            RootMount::Directory(kept.join("rootfs"))
        }
        root => root.clone(),
    }
}

/// What a root's server is forked from.
type Serving = (union::Meeting, union::Options);

/// Where a root that is served through FUSE meets its server, what that is told, and the way there.
fn union_of(
    spec: &ContainerSpec,
    volatile: bool,
) -> Result<Option<(Serving, union::Entrance)>, Error> {
    let RootMount::Union { lowers, upper, work } = &spec.root else { return Ok(None) };
    let (lowers, upper, work) = (lowers.clone(), upper.clone(), work.clone());
    let options = union::Options { lowers, upper, work, volatile };
    let (meeting, entrance) = union::Meeting::new().map_err(Error::Pipe)?;
    Ok(Some(((meeting, options), entrance)))
}

/// Starts another program in a container that runs.
pub fn join<'a>(join: &Join<'a>) -> Result<Starting<'a>, Error> {
    let plan = ProgramPlan::new(join.process, join.seccomp, false, join.ids, join.profile)?;
    let (mut parent, mut streams) = ends(join.process, &join.attachment)?;
    let doors = spawn::doors_of(join.pidfd, join.target)?;
    let (supervision, entrance) = emulate::prepare(join.ids, join.process, join.root, join.switch)?;
    streams.entrance = entrance;
    (parent.agent, streams.listener) = Agent::meet(join.profile, supervision.is_some())?.unzip();
    parent.joined = Some(join.target);
    let group = join.group.map(Group::entrances).transpose()?.unwrap_or_default();
    match spawn::through(&doors, UnshareFlags::empty())? {
        Side::Child => {
            drop((parent, supervision));
            init::join_program(&plan, &group, &mut streams)
        }
        Side::Parent(child) => {
            drop((streams, group));
            let (process, state) = (join.process, join.state);
            let mut starting = Starting {
                child,
                parent,
                process,
                spec: None,
                state,
                supervision: Supervision::None,
                network: None,
                union: None,
                shared: None,
            };
            if let Some(meeting) = supervision {
                let (switch, outlives) = (join.switch.cloned(), join.attachment.detached);
                let options = emulate::options(join.ids, process, join.root, switch, outlives);
                match Supervision::of(meeting, options) {
                    Ok(supervision) => starting.supervision = supervision,
                    Err(error) => {
                        starting.abandon();
                        return Err(error);
                    }
                }
            }
            Ok(starting)
        }
    }
}

/// What joining a running container needs.
#[derive(Debug)]
pub struct Join<'a> {
    /// The container's first process.
    pub target: rustix::process::Pid,
    /// A descriptor of it, opened before it was checked to be that process.
    pub pidfd: &'a OwnedFd,
    /// The program to run in it.
    pub process: &'a Process,
    /// The ids of the container's user namespace.
    pub ids: &'a IdMaps,
    /// Which filter.
    pub seccomp: &'a SeccompChoice,
    /// The profile that the filter is made from; `None` for unconfined.
    pub profile: Option<&'a Profile>,
    /// What its streams are, and whether it outlives the caller.
    pub attachment: Attachment<'a>,
    /// The container's root, beside which the records of emulated ids lie.
    pub root: Option<&'a RootMount>,
    /// Which connections are made for it, where any are.
    pub switch: Option<&'a Switch>,
    /// The control group that it goes into before anything else.
    pub group: Option<&'a Group>,
    /// The container, for messages.
    pub state: &'a HookState,
}

/// Both sides' ends of report, streams and terminal.
fn ends(process: &Process, attachment: &Attachment<'_>) -> Result<(ParentEnds, Streams), Error> {
    let (report, childs_report) = pipe()?;
    let (terminal, childs_terminal) = match (process.terminal, attachment.console) {
        (false, _) => (None, None),
        (true, Some(console)) => (None, Some(duplicate(console)?)),
        (true, None) => {
            let (ours, childs) = socket::pair().map_err(Error::Pipe)?;
            (Some(ours), Some(childs))
        }
    };
    let mut pipes = [None, None, None];
    let (stdio, flows) = if process.terminal || attachment.inherit {
        ([None, None, None], Vec::new())
    } else if attachment.silent {
        (silence()?, Vec::new())
    } else if attachment.kept {
        (kept::pipes(process.interactive, &mut pipes)?, Vec::new())
    } else {
        stdio(process.interactive, attachment.tapped, attachment.apart)?
    };
    let kept = attachment.kept;
    let parent = ParentEnds {
        report: report.into(),
        terminal,
        flows,
        pipes,
        kept,
        meeting: None,
        agent: None,
        joined: None,
    };
    let streams = Streams {
        report: Some(childs_report.into()),
        stdio,
        terminal: childs_terminal,
        size: match process.terminal_size {
            Some((rows, columns)) if rows > 0 && columns > 0 => {
                Some(Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })
            }
            _ => rustix::termios::tcgetwinsize(rustix::stdio::stdin()).ok(),
        },
        preserved: attachment.preserved,
        kept: attachment.kept_descriptors.clone(),
        dies_with_parent: !attachment.detached,
        gate: None,
        entrance: None,
        listener: None,
    };
    Ok((parent, streams))
}

fn duplicate(descriptor: &OwnedFd) -> Result<OwnedFd, Error> {
    rustix::io::fcntl_dupfd_cloexec(descriptor, 3).map_err(Error::Pipe)
}

impl Starting<'_> {
    /// The process's pid in the caller's pid namespace.
    pub fn pid(&self) -> rustix::process::Pid {
        self.child.pid
    }

    /// Waits until the program is executed (or, behind a gate, waits for its start), or says why it
    /// was not.
    pub fn finish(self) -> Result<Running, Error> {
        self.finish_with(&mut || ())
    }

    /// The same; `idle` is called while the process is at its last steps, where that can be told: these want no
    /// other processor, as the way into the root does.
    pub fn finish_with(mut self, idle: &mut dyn FnMut()) -> Result<Running, Error> {
        let attended = self.attend(idle);
        if let Some((dumpable, _)) = self.shared {
            rustix::process::set_dumpable_behavior(dumpable).map_err(Error::Pipe)?;
        }
        match attended {
            Ok(terminal) => {
                let mut flows = self.parent.flows;
                if let (Some(master), false) = (&terminal, self.parent.kept) {
                    flows = terminal_flows(master, self.process.interactive)?;
                }
                let (child, pipes) = (self.child, self.parent.pipes);
                let (supervision, network, union) = (self.supervision, self.network, self.union);
                let aside = self.shared.map(|(_, aside)| aside);
                Ok(Running { child, flows, terminal, pipes, supervision, network, union, aside })
            }
            Err(error) => {
                self.abandon();
                Err(error)
            }
        }
    }

    fn attend(&mut self, idle: &mut dyn FnMut()) -> Result<Option<OwnedFd>, Error> {
        let terminal = match &self.parent.terminal {
            Some(socket) => socket::receive_descriptor(socket).map_err(Error::Pipe)?,
            None => None,
        };
        if let (Some(meeting), Some(spec)) = (&self.parent.meeting, self.spec) {
            let pid = self.child.pid.as_raw_nonzero().get();
            hooks::answer(meeting, &spec.hooks, self.state, pid)?;
        }
        if let Some(agent) = &self.parent.agent {
            agent.hand_on(self.state, self.child.pid, self.parent.joined)?;
        }
        // On its way the program may ask: a hook's, or an init's.
        self.supervision.watch_until(&self.parent.report, idle).map_err(Error::Pipe)?;
        match Failure::receive(&mut self.parent.report).map_err(Error::Report)? {
            // Closed by exec, or by a death on the way to it, which the exit status will tell.
            None | Some(Failure::READY) => Ok(terminal),
            Some(failure) => Err(describe::failure(failure, self.process, self.spec)),
        }
    }

    /// Ends a child that cannot go on.
    fn abandon(&self) {
        let _ =
            rustix::process::pidfd_send_signal(&self.child.pidfd, rustix::process::Signal::KILL);
        let id = rustix::process::WaitId::PidFd(self.child.pidfd.as_fd());
        let _ = rustix::process::waitid(id, rustix::process::WaitIdOptions::EXITED);
    }
}

/// Lets a program that waits behind a gate start; `gate` is connected to it. Waits until it is
/// executed, or says why it was not.
pub fn open_gate(gate: OwnedFd, spec: &ContainerSpec) -> Result<(), Error> {
    match Failure::receive(File::from(gate)).map_err(Error::Report)? {
        None => Ok(()),
        Some(failure) => Err(describe::failure(failure, &spec.process, Some(spec))),
    }
}

pub(super) fn pipe() -> Result<(OwnedFd, OwnedFd), Error> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(Error::Pipe)
}

fn silence() -> Result<[Option<OwnedFd>; 3], Error> {
    let null = |flags: OFlags| {
        rustix::fs::open(c"/dev/null", flags | OFlags::CLOEXEC, Mode::empty())
            .map(Some)
            .map_err(Error::Pipe)
    };
    Ok([null(OFlags::RDONLY)?, null(OFlags::WRONLY)?, null(OFlags::WRONLY)?])
}

/// stdin, stdout and stderr of a container without a terminal.
///
/// Files and pipes are handed on as they are, unless what passes is tapped. A terminal is not:
/// whoever holds it could type into the caller's shell (CVE-2017-5226), so that its bytes go through
/// pipes.
fn stdio(
    interactive: bool,
    tapped: bool,
    apart: [bool; 3],
) -> Result<([Option<OwnedFd>; 3], Vec<Flow<'static>>), Error> {
    use rustix::stdio::{stderr, stdin, stdout};
    if interactive {
        refuse_directory(stdin(), "standard input")?;
    }
    refuse_directory(stdout(), "standard output")?;
    refuse_directory(stderr(), "standard error")?;
    let mut flows = Vec::new();
    let null = |flags: OFlags| {
        rustix::fs::open(c"/dev/null", flags | OFlags::CLOEXEC, Mode::empty()).map_err(Error::Pipe)
    };
    let stdin = if !interactive || apart[0] {
        Some(null(OFlags::RDONLY)?)
    } else if rustix::termios::isatty(rustix::stdio::stdin()) {
        let (reader, writer) = pipe()?;
        flows.push(Flow::new(End::Borrowed(rustix::stdio::stdin()), End::Owned(writer)));
        Some(reader)
    } else {
        None
    };
    let mut output = |caller: BorrowedFd<'static>, source: Source, apart| -> Result<_, Error> {
        if apart {
            let null = null(OFlags::WRONLY)?;
            if !tapped {
                return Ok(Some(null));
            }
            let (reader, writer) = pipe()?;
            flows.push(Flow::new(End::Owned(reader), End::Owned(null)).of(source));
            return Ok(Some(writer));
        }
        if !tapped && !rustix::termios::isatty(caller) {
            return Ok(None);
        }
        let (reader, writer) = pipe()?;
        flows.push(Flow::new(End::Owned(reader), End::Borrowed(caller)).of(source));
        Ok(Some(writer))
    };
    let shown = output(stdout(), Source::Stdout, apart[1])?;
    let told = output(stderr(), Source::Stderr, apart[2])?;
    Ok(([stdin, shown, told], flows))
}

/// A directory of the host leads to every other: `/proc/self/fd/0/..` (CVE-2024-21626).
fn refuse_directory(stream: BorrowedFd<'_>, name: &'static str) -> Result<(), Error> {
    let stat = rustix::fs::fstat(stream).map_err(Error::Pipe)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Err(Error::DirectoryAsStream { name }),
        _ => Ok(()),
    }
}

fn terminal_flows(master: &OwnedFd, interactive: bool) -> Result<Vec<Flow<'static>>, Error> {
    let end = || -> Result<_, Error> {
        rustix::io::fcntl_dupfd_cloexec(master, 3).map(End::Owned).map_err(Error::Pipe)
    };
    let shown = Flow::new(end()?, End::Borrowed(rustix::stdio::stdout()));
    let mut flows = vec![shown.of(Source::Stdout)];
    if interactive {
        flows.push(Flow::new(End::Borrowed(rustix::stdio::stdin()), end()?));
    }
    Ok(flows)
}
