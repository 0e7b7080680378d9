//! The plan of a program, and the last steps of the process that becomes it: the first of a
//! container, or one that joins it.

use std::convert::Infallible;
use std::ffi::{CStr, CString, NulError};
use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Signal};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use rustix::thread::{Gid, Uid};

use super::hooks::{self, HookPlan};
use super::label::{self, Label};
use super::seccomp::{Profile, Program};
use super::stage::{At, Failure, Stage};
use super::target::Target;
use super::{Error, capabilities, emulate, seccomp, socket, tuning};
use crate::bundle::capabilities::Capabilities;
use crate::bundle::{Process, Resource, SeccompChoice, Tuning, Ulimit};
use crate::supervisor::Entrance;
use crate::sys;
use crate::sys::arguments::Arguments;
use crate::sys::exec::CStrings;
use crate::userns::IdMaps;

/// Everything that a process needs to become a program, made before the fork.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // each a step of its own
pub(super) struct ProgramPlan {
    pub(super) limits: Vec<Limit>,
    pub(super) cwd: Target,
    pub(super) identity: Identity,
    pub(super) capabilities: Capabilities,
    pub(super) no_new_privileges: bool,
    pub(super) seccomp: Option<Program>,
    pub(super) labels: Vec<Label>,
    pub(super) own_sockets: bool,
    pub(super) terminal: bool,
    pub(super) init: bool,
    /// Where an init has the arguments of who launches it.
    pub(super) arguments: Option<Arguments>,
    pub(super) umask: Mode,
    pub(super) tuning: Tuning,
    pub(super) oom_score_adj: Option<Vec<u8>>,
    pub(super) exec: Exec,
}

/// What the child holds of its parent while it becomes a program.
#[derive(Debug)]
pub(super) struct Streams {
    /// Where a failure goes; closed by exec.
    pub(super) report: Option<File>,
    /// stdin, stdout, stderr; `None` keeps the parent's.
    pub(super) stdio: [Option<OwnedFd>; 3],
    /// Where the terminal's master goes.
    pub(super) terminal: Option<OwnedFd>,
    /// The size of the caller's terminal, if it has one.
    pub(super) size: Option<Winsize>,
    /// How many descriptors from 3 up the program keeps.
    pub(super) preserved: u32,
    /// Others that it keeps, by number.
    pub(super) kept: Vec<u32>,
    /// Whether the program dies with the parent.
    pub(super) dies_with_parent: bool,
    /// A listening socket: the program waits until somebody connects.
    pub(super) gate: Option<OwnedFd>,
    /// Where the supervisor of emulated ids is met.
    pub(super) entrance: Option<Entrance>,
    /// Where the filter's listener goes, where an agent is to have it.
    pub(super) listener: Option<OwnedFd>,
}

/// A resource limit in the kernel's numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) resource: u32,
    pub(super) soft: u64,
    pub(super) hard: u64,
}

/// The limit that is set last.
const DESCRIPTORS: u32 = rustix::process::Resource::Nofile as u32;

/// As whom the program runs.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// `None` where the namespace may not call setgroups(2): one id only.
    pub(super) groups: Option<Vec<u32>>,
    /// Whether the caller's supplementary groups stay as they are.
    pub(super) keeps_groups: bool,
    /// Whether the namespace has a root to set things up as.
    pub(super) has_root: bool,
    /// Whether it is the namespace's root to the kernel, and `user` to all it talks to.
    pub(super) emulated: bool,
}

/// The program: each path to try, arguments, environment.
#[derive(Debug)]
pub(super) struct Exec {
    pub(super) candidates: Vec<CString>,
    pub(super) arguments: CStrings,
    pub(super) environment: CStrings,
}

impl ProgramPlan {
    /// Translates a process. But for where the caller's arguments lie nothing is looked at, and nothing done.
    pub(super) fn new(
        process: &Process,
        seccomp: &SeccompChoice,
        init: bool,
        ids: &IdMaps,
        profile: Option<&Profile>,
    ) -> Result<Self, Error> {
        let program = match (seccomp, profile) {
            (SeccompChoice::Unconfined, _) | (_, None) => None,
            (_, Some(profile)) => Some(profile.compile(process.capabilities.bounding)?),
        };
        // With emulated ids this one is the supervisor's (Linux itself has no use for it).
        let taken = |limit: &&Ulimit| ids.emulated && limit.resource == Resource::Locks;
        let limits = process.limits.iter().filter(|limit| !taken(limit)).map(|limit| Limit {
            resource: number(limit.resource),
            soft: limit.soft,
            hard: limit.hard,
        });
        Ok(Self {
            limits: limits.collect(),
            cwd: Target::new(&process.cwd)?,
            identity: identity(process, ids),
            capabilities: process.capabilities,
            no_new_privileges: process.no_new_privileges,
            seccomp: program,
            labels: label::plan(&process.labels)?,
            own_sockets: process.own_sockets,
            terminal: process.terminal,
            init,
            arguments: init.then(Arguments::of_this_process).flatten(),
            umask: Mode::from_raw_mode(process.umask.unwrap_or(0o022)),
            tuning: process.tuning.clone(),
            oom_score_adj: process.oom_score_adj.map(|score| score.to_string().into_bytes()),
            exec: exec_plan(process)?,
        })
    }

    /// Goes the last steps: nothing of the host is in reach any more.
    pub(super) fn become_program(
        &self,
        streams: &mut Streams,
        terminal: Option<OwnedFd>,
        (hooks, state): (&[HookPlan], &[u8]),
    ) -> Result<Infallible, Failure> {
        tuning::apply(&self.tuning)?;
        set_limits(&self.limits, |resource| resource != DESCRIPTORS)?;
        sys::process::leave_keyring().at(Stage::Keyring)?;
        rustix::process::setsid().at(Stage::Stdio)?;
        set_stdio(&mut streams.stdio, terminal.as_ref()).at(Stage::Stdio)?;
        drop(terminal);
        for (item, label) in self.labels.iter().enumerate() {
            label::set(label).at_item(Stage::Label, item)?;
        }
        confine(self, streams.entrance.take(), streams.listener.take().as_ref())?;
        // The process stands in `/`, so the path without its first slash is the same.
        rustix::process::chdir(self.cwd.whole()).at(Stage::ChangeDirectory)?;
        rustix::process::umask(self.umask);
        sys::process::close_on_exec_from(3 + streams.preserved).at(Stage::Stdio)?;
        sys::process::keep_over_exec(&streams.kept).at(Stage::Stdio)?;
        check_parent(streams.report.as_ref()).at(Stage::Gate)?;
        if !streams.dies_with_parent {
            // Up to here a killed parent leaves nothing behind that nobody has written down.
            rustix::process::set_parent_process_death_signal(None).at(Stage::Stdio)?;
        }
        if let Some(gate) = streams.gate.take() {
            // What cannot be executed is told to who creates it, as runc does.
            look_up(&self.exec)?;
            // From here on failures are told to who starts it.
            streams.report = Some(wait_for_start(&gate, streams.report.take()).at(Stage::Gate)?);
        }
        hooks::run_plans(hooks, state, Stage::StartContainerHook)?;
        if self.init {
            start_below_init(streams, self.arguments)?;
        }
        exec(&self.exec)
    }
}

/// Says that everything is ready, then waits for who opens the gate: the connection is where the
/// rest is reported to.
fn wait_for_start(gate: &OwnedFd, report: Option<File>) -> Result<File, Errno> {
    if let Some(report) = report {
        Failure::READY.send(report);
    }
    loop {
        let flags = rustix::net::SocketFlags::CLOEXEC;
        match rustix::net::accept_with(gate, flags) {
            Err(Errno::INTR) => {}
            other => return other.map(File::from),
        }
    }
}

/// The container dies with the coracle that runs it.
pub(super) fn die_with_parent() -> Result<(), Errno> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
}

/// A parent that was killed before this process asked to die with it left it behind: then nobody
/// holds the other end of the report.
fn check_parent(report: Option<&File>) -> Result<(), Errno> {
    let Some(report) = report else { return Ok(()) };
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut polled = [PollFd::new(report, PollFlags::empty())];
    rustix::event::poll(&mut polled, Some(&now))?;
    match polled[0].revents().contains(PollFlags::ERR) {
        true => Err(Errno::PIPE),
        false => Ok(()),
    }
}

/// Before the program can see the process: raising the score needs no power, lowering does.
pub(super) fn set_oom_score(score: Option<&[u8]>) -> Result<(), Errno> {
    let Some(score) = score else { return Ok(()) };
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(c"/proc/self/oom_score_adj", flags, Mode::empty())?;
    rustix::io::write(&file, score).map(drop)
}

/// Opens a pair in the container's own devpts and sends the master out.
pub(super) fn open_terminal(
    root: BorrowedFd<'_>,
    identity: &Identity,
    streams: &Streams,
) -> Result<OwnedFd, Failure> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let open = || -> Result<OwnedFd, Errno> {
        let master = rustix::fs::openat(root, c"dev/pts/ptmx", flags, Mode::empty())?;
        rustix::pty::unlockpt(&master)?;
        let peer = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, peer)?;
        // Before the program can ask for it.
        if let Some(size) = streams.size {
            rustix::termios::tcsetwinsize(&slave, size)?;
        }
        // A program that is not root must be able to reopen its terminal by name.
        let user = if identity.emulated { 0 } else { identity.uid };
        rustix::fs::fchown(&slave, Some(Uid::from_raw(user)), None)?;
        if let Some(socket) = &streams.terminal {
            socket::send_descriptor(socket, &master)?;
        }
        Ok(slave)
    };
    open().at(Stage::Terminal)
}

fn set_limits(limits: &[Limit], is_due: impl Fn(u32) -> bool) -> Result<(), Failure> {
    for (item, limit) in limits.iter().enumerate().filter(|(_, limit)| is_due(limit.resource)) {
        sys::process::set_limit(limit.resource, limit.soft, limit.hard)
            .at_item(Stage::Limit, item)?;
    }
    Ok(())
}

fn set_stdio(stdio: &mut [Option<OwnedFd>; 3], terminal: Option<&OwnedFd>) -> Result<(), Errno> {
    if let Some(slave) = terminal {
        rustix::process::ioctl_tiocsctty(slave)?;
        rustix::stdio::dup2_stdin(slave)?;
        rustix::stdio::dup2_stdout(slave)?;
        return rustix::stdio::dup2_stderr(slave);
    }
    let [stdin, stdout, stderr] = stdio;
    stdin.take().map_or(Ok(()), rustix::stdio::dup2_stdin)?;
    stdout.take().map_or(Ok(()), rustix::stdio::dup2_stdout)?;
    stderr.take().map_or(Ok(()), rustix::stdio::dup2_stderr)
}

/// Filter, ids and capabilities, in the order in which each step still may do its work.
fn confine(
    plan: &ProgramPlan,
    entrance: Option<Entrance>,
    listener: Option<&OwnedFd>,
) -> Result<(), Failure> {
    let load = |program| load_filter(program, listener).at(Stage::Seccomp);
    if plan.own_sockets {
        // A kernel before 6.12 cannot: there it is as it is in docker.
        sys::landlock::leave_abstract_sockets().at(Stage::Landlock)?;
    }
    capabilities::limit_bounding_set(plan.capabilities.bounding).at(Stage::Capabilities)?;
    if plan.no_new_privileges {
        rustix::thread::set_no_new_privs(true).at(Stage::Seccomp)?;
    }
    let switches = entrance.as_ref().is_some_and(Entrance::is_for_connections);
    let stage = if switches { Stage::Switch } else { Stage::Seccomp };
    let alone = !plan.no_new_privileges && listener.is_none();
    let first = plan.seccomp.as_ref().filter(|program| alone && program.lets_a_start_go_on());
    let is_loaded =
        emulate::enter(entrance, &plan.identity, &plan.exec.candidates, first).at(stage)?;
    // Whoever is to answer took a descriptor, and this process may have more than the program is to.
    set_limits(&plan.limits, |resource| resource == DESCRIPTORS)?;
    if let (Some(program), false, false) = (&plan.seccomp, plan.no_new_privileges, is_loaded) {
        // Without no_new_privs loading takes CAP_SYS_ADMIN, which goes below (seccomp(2)).
        load(program)?;
    }
    if plan.identity.emulated {
        emulate::keep_from_root(&plan.identity).at(Stage::Capabilities)?;
    } else {
        // Kept over the change of ids for a user that is to hold some; exec drops the mark.
        rustix::thread::set_keep_capabilities(true).at(Stage::Capabilities)?;
        assume(&plan.identity).at(Stage::Identity)?;
    }
    capabilities::assume(plan.capabilities).at(Stage::Capabilities)?;
    // Changing ids cleared it (prctl(2), PR_SET_PDEATHSIG) and made the process dumpable.
    die_with_parent().at(Stage::Identity)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).at(Stage::Identity)?;
    match &plan.seccomp {
        Some(program) if plan.no_new_privileges => load(program),
        _ => Ok(()),
    }
}

/// Whatever the agent is to answer may be one of the next steps, so that the listener goes first.
fn load_filter(program: &Program, listener: Option<&OwnedFd>) -> Result<(), Errno> {
    match listener {
        None => seccomp::load(program),
        Some(socket) => {
            let listener = seccomp::load_with_listener(program)?;
            socket::send_descriptor(socket, &listener)
        }
    }
}

/// Groups, gid, then uid: each later step takes the power for the earlier ones away.
fn assume(identity: &Identity) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    if let (Some(groups), false) = (&identity.groups, identity.keeps_groups) {
        set_groups(groups)?;
    }
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

fn set_groups(groups: &[u32]) -> Result<(), Errno> {
    let groups: Vec<Gid> = groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    rustix::thread::set_thread_groups(&groups)
}

/// Leaves a small pid 1 behind and goes on as its child.
fn start_below_init(streams: &mut Streams, arguments: Option<Arguments>) -> Result<(), Failure> {
    sys::process::block_signals();
    if let Some(arguments) = arguments {
        // They are the caller's: paths of the host, and what it logs in with (`--creds`). Before there is
        // somebody who could look.
        arguments.show(b"coracle-init");
    }
    match sys::fork::fork().map_err(|error| error.errno).at(Stage::Init)? {
        sys::fork::Side::Child => {
            // A group of its own, so that a terminal's signals reach it and not pid 1; SIGTTOU is
            // still blocked. Without a terminal there is nothing to hand over.
            rustix::process::setpgid(None, None).at(Stage::Init)?;
            let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpid());
            sys::process::reset_signals();
            Ok(())
        }
        sys::fork::Side::Parent(child) => {
            // The launching side waits for the end of this pipe: the exec in the child.
            drop(streams.report.take());
            super::reaper::reap_until(child.pid)
        }
    }
}

/// Whether `exec` would find something that may be executed; nothing is executed yet.
fn look_up(exec: &Exec) -> Result<(), Failure> {
    let mut worst = ExecFailure::NotFound;
    let mut why = Errno::NOENT;
    for candidate in &exec.candidates {
        let access = rustix::fs::Access::EXEC_OK;
        let flags = rustix::fs::AtFlags::EACCESS;
        match rustix::fs::accessat(rustix::fs::CWD, candidate, access, flags) {
            Ok(()) if !is_directory(candidate) => return Ok(()),
            Ok(()) => (worst, why) = (ExecFailure::Directory, Errno::ACCESS),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => (worst, why) = (ExecFailure::Refused, errno),
        }
    }
    Err(Failure { stage: Stage::Exec, item: worst as u16, errno: why })
}

/// Tries each candidate as execvp(3) does; a file that may not be executed is remembered.
fn exec(exec: &Exec) -> Result<Infallible, Failure> {
    let mut worst =
        Failure { stage: Stage::Exec, item: ExecFailure::NotFound as u16, errno: Errno::NOENT };
    for candidate in &exec.candidates {
        let errno = sys::exec::execve(candidate, &exec.arguments, &exec.environment);
        let kind = match errno {
            Errno::NOENT | Errno::NOTDIR if !exists(candidate) => continue,
            Errno::NOENT | Errno::NOTDIR => ExecFailure::NoInterpreter,
            Errno::ACCESS if is_directory(candidate) => ExecFailure::Directory,
            _ => ExecFailure::Refused,
        };
        worst = Failure { stage: Stage::Exec, item: kind as u16, errno };
        if !matches!(errno, Errno::ACCESS) {
            break;
        }
    }
    Err(worst)
}

/// Whether something is there, be it a link to nowhere. Looked up without stat(2), which with emulated
/// ids would wake a supervisor at each place of PATH.
fn exists(path: &CStr) -> bool {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).is_ok()
}

fn is_directory(path: &CStr) -> bool {
    rustix::fs::stat(path).is_ok_and(|stat| {
        rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory
    })
}

/// Why a program could not be executed, as the failure's item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum ExecFailure {
    /// No such file, on no directory of PATH.
    NotFound = 0,
    /// The file is there; what it names to run it is not.
    NoInterpreter = 1,
    /// It is a directory.
    Directory = 2,
    /// The kernel said no: permission, format.
    Refused = 3,
}

impl ExecFailure {
    pub(super) fn from_item(item: u16) -> Self {
        match item {
            0 => Self::NotFound,
            1 => Self::NoInterpreter,
            2 => Self::Directory,
            _ => Self::Refused,
        }
    }
}

fn identity(process: &Process, ids: &IdMaps) -> Identity {
    let user = &process.user;
    Identity {
        uid: user.uid,
        gid: user.gid,
        groups: ids.may_set_groups().then(|| user.groups.clone()),
        keeps_groups: process.keep_groups,
        has_root: ids.maps_uid(0) && ids.maps_gid(0),
        emulated: ids.emulated,
    }
}

fn exec_plan(process: &Process) -> Result<Exec, NulError> {
    let name = process.args[0].as_bytes();
    let candidates = if name.contains(&b'/') {
        vec![CString::new(name)?]
    } else if name.is_empty() {
        Vec::new() // and not the directories of PATH themselves
    } else {
        let path = process.env.iter().find_map(|pair| pair.as_bytes().strip_prefix(b"PATH="));
        path.unwrap_or_default()
            .split(|byte| *byte == b':')
            .map(|directory| {
                // An empty entry is the working directory (environ(7)).
                let directory = if directory.is_empty() { b"." } else { directory };
                CString::new([directory, b"/", name].concat())
            })
            .collect::<Result<_, _>>()?
    };
    Ok(Exec {
        candidates,
        arguments: CStrings::new(&process.args)?,
        environment: CStrings::new(&process.env)?,
    })
}

fn number(resource: Resource) -> u32 {
    match resource {
        Resource::As => libc::RLIMIT_AS,
        Resource::Core => libc::RLIMIT_CORE,
        Resource::Cpu => libc::RLIMIT_CPU,
        Resource::Data => libc::RLIMIT_DATA,
        Resource::Fsize => libc::RLIMIT_FSIZE,
        Resource::Locks => libc::RLIMIT_LOCKS,
        Resource::Memlock => libc::RLIMIT_MEMLOCK,
        Resource::Msgqueue => libc::RLIMIT_MSGQUEUE,
        Resource::Nice => libc::RLIMIT_NICE,
        Resource::Nofile => libc::RLIMIT_NOFILE,
        Resource::Nproc => libc::RLIMIT_NPROC,
        Resource::Rss => libc::RLIMIT_RSS,
        Resource::Rtprio => libc::RLIMIT_RTPRIO,
        Resource::Rttime => libc::RLIMIT_RTTIME,
        Resource::Sigpending => libc::RLIMIT_SIGPENDING,
        Resource::Stack => libc::RLIMIT_STACK,
    }
}
