//! The child of a launch: from a fresh process to the container's program.
//!
//! Reads as one list. It runs in a copy of the single-threaded parent, with all memory made before.

use std::convert::Infallible;
use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Signal};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use rustix::thread::{Gid, Uid};

use super::plan::{Exec, Identity, Limit, Plan};
use super::stage::{At, Failure, Stage};
use super::{capabilities, rootfs, seccomp, socket};
use crate::cgroup::Entrances;
use crate::sys;
use crate::userns::ChildMaps;

/// What the child holds of its parent.
pub(super) struct Ends {
    /// The child's own end of the maps: writes them, or waits until they are written.
    pub(super) maps: ChildMaps,
    /// Where a failure goes; closed by exec.
    pub(super) report: Option<File>,
    /// stdin, stdout, stderr; `None` keeps the parent's.
    pub(super) stdio: [Option<OwnedFd>; 3],
    /// Where the terminal's master goes.
    pub(super) terminal: Option<OwnedFd>,
    /// The ways into its control group.
    pub(super) group: Entrances,
    /// The size of the caller's terminal, if it has one.
    pub(super) size: Option<Winsize>,
}

/// Becomes the container's program, or tells why not and ends.
pub(super) fn become_program(plan: &Plan, mut ends: Ends) -> ! {
    let Err(failure) = steps(plan, &mut ends);
    if let Some(report) = ends.report {
        failure.send(report);
    }
    sys::fork::exit(1)
}

fn steps(plan: &Plan, ends: &mut Ends) -> Result<Infallible, Failure> {
    sys::process::reset_signals();
    enter(&ends.group).at(Stage::Group)?; // first: all that follows is counted
    ends.maps.complete().at(Stage::IdMap)?; // until then every id is nobody's
    // From here to exec nothing may look into this process or its descriptors (CVE-2016-9962).
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).at(Stage::IdMap)?;
    die_with_parent().at(Stage::IdMap)?;
    become_root(&plan.identity).at(Stage::IdMap)?;
    rootfs::make_slave().at(Stage::Propagation)?; // or unmounts reach the host
    let root = build_root(plan)?;
    let terminal =
        if plan.terminal { Some(open_terminal(root.as_fd(), plan, ends)?) } else { None };
    rootfs::mask(root.as_fd(), &plan.masked, &plan.null)?;
    rootfs::make_read_only(root.as_fd(), &plan.read_only)?;
    rootfs::make_directory(root.as_fd(), &plan.cwd).at(Stage::WorkingDirectory)?;
    if plan.seal_root {
        rootfs::seal_root(root.as_fd()).at(Stage::ReadOnly)?;
    }
    rootfs::pivot(root.as_fd()).at(Stage::Pivot)?; // host paths end here
    rustix::system::sethostname(&plan.hostname).at(Stage::Hostname)?;
    if plan.loopback {
        sys::network::loopback_up().at(Stage::Loopback)?;
    }
    set_limits(&plan.limits)?;
    sys::process::leave_keyring().at(Stage::Keyring)?;
    rustix::process::setsid().at(Stage::Stdio)?;
    set_stdio(&mut ends.stdio, terminal.as_ref()).at(Stage::Stdio)?;
    drop((root, terminal));
    confine(plan)?;
    rustix::process::chdir(cwd(plan)).at(Stage::ChangeDirectory)?;
    sys::process::close_on_exec_from(3).at(Stage::Stdio)?;
    if plan.init {
        start_below_init(ends)?;
    }
    exec(&plan.exec)
}

/// Goes into its control group, and makes that the root of what it sees of them.
fn enter(group: &Entrances) -> Result<(), Errno> {
    if group.is_empty() {
        return Ok(());
    }
    group.enter()?;
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWCGROUP)
        .map_err(|errno| Errno::from_raw_os_error(errno as i32))
}

/// The container dies with the coracle that runs it.
fn die_with_parent() -> Result<(), Errno> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
}

/// Sets things up as the namespace's root where it has one, so that what is made belongs to it.
fn become_root(identity: &Identity) -> Result<(), Errno> {
    if identity.has_root && identity.groups.is_some() {
        rustix::thread::set_thread_groups(&[])?;
        rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
        rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
    }
    Ok(())
}

fn build_root(plan: &Plan) -> Result<OwnedFd, Failure> {
    let root = rootfs::mount_root(&plan.root)?;
    for (item, target) in plan.volumes.iter().enumerate() {
        rootfs::make_volume(root.as_fd(), target, plan.seal_root).at_item(Stage::Volume, item)?;
    }
    for (item, step) in plan.mounts.iter().enumerate() {
        rootfs::mount(root.as_fd(), step, item)?;
    }
    for (item, (target, points_at)) in plan.links.iter().enumerate() {
        rootfs::link(root.as_fd(), target, points_at).at_item(Stage::Link, item)?;
    }
    Ok(root)
}

/// Opens a pair in the container's own devpts and sends the master out.
fn open_terminal(
    root: std::os::fd::BorrowedFd<'_>,
    plan: &Plan,
    ends: &Ends,
) -> Result<OwnedFd, Failure> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let open = || -> Result<OwnedFd, Errno> {
        let master = rustix::fs::openat(root, c"dev/pts/ptmx", flags, Mode::empty())?;
        rustix::pty::unlockpt(&master)?;
        let peer = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, peer)?;
        let user = (Uid::from_raw(plan.identity.uid), Gid::from_raw(plan.identity.gid));
        // Before the program can ask for it.
        if let Some(size) = ends.size {
            rustix::termios::tcsetwinsize(&slave, size)?;
        }
        // A program that is not root must be able to reopen its terminal by name.
        rustix::fs::fchown(&slave, Some(user.0), None)?;
        if let Some(socket) = &ends.terminal {
            socket::send_descriptor(socket, &master)?;
        }
        rootfs::bind_console(root, &slave)?;
        Ok(slave)
    };
    open().at(Stage::Terminal)
}

fn set_limits(limits: &[Limit]) -> Result<(), Failure> {
    for (item, limit) in limits.iter().enumerate() {
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
fn confine(plan: &Plan) -> Result<(), Failure> {
    capabilities::limit_bounding_set(plan.capabilities).at(Stage::Capabilities)?;
    if plan.no_new_privileges {
        rustix::thread::set_no_new_privs(true).at(Stage::Seccomp)?;
    } else if let Some(program) = &plan.seccomp {
        // Without no_new_privs loading takes CAP_SYS_ADMIN, which goes below (seccomp(2)).
        seccomp::load(program).at(Stage::Seccomp)?;
    }
    assume(&plan.identity).at(Stage::Identity)?;
    capabilities::assume(plan.capabilities, plan.identity.uid == 0).at(Stage::Capabilities)?;
    // Changing ids cleared it (prctl(2), PR_SET_PDEATHSIG) and made the process dumpable.
    die_with_parent().at(Stage::Identity)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).at(Stage::Identity)?;
    match &plan.seccomp {
        Some(program) if plan.no_new_privileges => seccomp::load(program).at(Stage::Seccomp),
        _ => Ok(()),
    }
}

/// Groups, gid, then uid: each later step takes the power for the earlier ones away.
fn assume(identity: &Identity) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    if let Some(groups) = &identity.groups {
        set_groups(groups)?;
    }
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

fn set_groups(groups: &[u32]) -> Result<(), Errno> {
    let groups: Vec<Gid> = groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    rustix::thread::set_thread_groups(&groups)
}

fn cwd(plan: &Plan) -> &CStr {
    // The process stands in `/`, so the path without its first slash is the same.
    plan.cwd.whole()
}

/// Leaves a small pid 1 behind and goes on as its child.
fn start_below_init(ends: &mut Ends) -> Result<(), Failure> {
    sys::process::block_signals();
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
            drop(ends.report.take());
            super::reaper::reap_until(child.pid)
        }
    }
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

fn exists(path: &CStr) -> bool {
    rustix::fs::lstat(path).is_ok()
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
