//! Stays with a running container: carries its bytes, forwards signals, waits for its end.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus};

use super::detach::DetachKeys;
use super::emulate::Supervision;
use super::relay::{Flow, Tap};
use super::terminal::{Raw, copy_size};
use super::{Error, Running, device};
use crate::supervisor::Left;
use crate::sys;
use crate::{network, union};

/// How a container's first process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By exit(2), with this status.
    Code(u8),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// The shell's reading: the status, or 128 and the signal's number.
    pub fn code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        }
    }
}

/// Signals held back from their usual effect, to be read one by one; dropping this lets go.
///
/// Made before the launch, so that a signal in its middle is not lost either.
#[derive(Debug)]
pub struct Signals {
    descriptor: SignalFd,
    before: SigSet,
}

impl Signals {
    /// Holds back every signal that is forwarded. Job control (SIGTSTP and its kin) stays the
    /// caller's shell's, faults stay fatal.
    pub fn hold() -> Result<Self, Error> {
        let mut held = SigSet::all();
        for signal in [
            Signal::SIGTSTP,
            Signal::SIGTTIN,
            Signal::SIGTTOU,
            Signal::SIGCHLD,
            Signal::SIGPIPE,
            Signal::SIGSEGV,
            Signal::SIGBUS,
            Signal::SIGILL,
            Signal::SIGFPE,
            Signal::SIGABRT,
            Signal::SIGTRAP,
            Signal::SIGSYS,
        ] {
            held.remove(signal);
        }
        let errno =
            |error: nix::errno::Errno| Error::Signals(Errno::from_raw_os_error(error as i32));
        let before = held.thread_swap_mask(SigmaskHow::SIG_BLOCK).map_err(errno)?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let descriptor = SignalFd::with_flags(&held, flags).map_err(errno)?;
        Ok(Self { descriptor, before })
    }

    /// The next one that was held back.
    pub fn next(&self) -> Option<i32> {
        let info = self.descriptor.read_signal().ok().flatten()?;
        i32::try_from(info.ssi_signo).ok()
    }
}

impl AsFd for Signals {
    /// Readable when there is one.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let _ = self.before.thread_set_mask();
    }
}

/// How the caller attends a program.
#[derive(Clone, Debug, Default)]
pub struct Attendance {
    /// Whether signals that would end the caller end its attendance, and nothing else; they go to the program
    /// otherwise.
    pub leaves: bool,
    /// The keys that leave its terminal.
    pub detach_keys: DetachKeys,
    /// When it is killed.
    pub deadline: Option<Instant>,
}

/// How the attendance ended.
#[derive(Debug)]
pub enum Parting {
    /// The program ended.
    Ended(Exit),
    /// The keys were typed: it runs on, without anybody at its terminal.
    Detached(Unattended),
    /// The caller was to end by this signal. Its terminal is hung up.
    Left(i32),
}

/// A program that nobody attends.
#[derive(Debug)]
pub struct Unattended {
    child: sys::fork::Child,
    terminal: Option<OwnedFd>,
    supervision: Supervision,
    _network: Option<network::Server>,
    /// Let go of last.
    _union: Option<union::Server>,
}

impl Unattended {
    /// A program at whose terminal nobody ever was.
    pub fn of(running: Running) -> Self {
        let Running { child, terminal, supervision, network, union, .. } = running;
        Self { child, terminal, supervision, _network: network, _union: union }
    }

    /// Keeps its terminal open, and swallows what it writes there, until it ends.
    pub fn keep(mut self) {
        let Some(terminal) = self.terminal else { return };
        let mut swallowed = [0; 4096];
        loop {
            let _ = self.supervision.watch_until(&terminal, &mut || ());
            if matches!(rustix::io::read(&terminal, &mut swallowed), Ok(0) | Err(Errno::IO)) {
                break;
            }
        }
        drop(self.child);
    }
}

/// Waits for the end of `running`, or until the caller leaves it. What it writes is shown to `tap`,
/// if it passes here.
///
/// `ending` may be called before the end, once: its processes are ending, and the kernel takes half a
/// millisecond for what they leave. That is known where their ids are emulated.
pub fn supervise(
    running: Running,
    signals: &Signals,
    attendance: &Attendance,
    mut tap: Option<&mut dyn Tap>,
    ending: &mut dyn FnMut(),
) -> Result<Parting, Error> {
    // The root's server is waited for when all else is let go of: a supervisor is in its mounts too.
    let Running { union, mut network, child, mut flows, terminal, mut supervision, aside, .. } =
        running;
    let stdin = rustix::stdio::stdin();
    let interactive = terminal.is_some() && flows.len() > 1;
    let _raw = if interactive { Raw::enter(stdin).map_err(Error::Terminal)? } else { None };
    if let Some(master) = &terminal {
        copy_size(stdin, master);
    }
    if let (true, Some(typed)) = (interactive, flows.last_mut()) {
        typed.watch(&attendance.detach_keys);
    }
    let mut taken = None;
    loop {
        let patience = attendance.deadline.map(|end| end.saturating_duration_since(Instant::now()));
        if patience.is_some_and(|patience| patience.is_zero()) {
            // A process in D state lasts; the end is waited for below all the same.
            let _ = rustix::process::pidfd_send_signal(&child.pidfd, rustix::process::Signal::KILL);
        }
        let patience = patience.filter(|patience| !patience.is_zero());
        let happened = {
            let tap = tap.as_deref_mut().map(|tap| tap as &mut dyn Tap);
            let network = network.as_mut();
            wait(&child, network, signals, &mut flows, &mut supervision, patience, tap)?
        };
        if let Some(left) = happened.left {
            if let Some(aside) = &aside {
                aside.let_go(left);
            }
            ending();
        }
        if flows.iter().any(Flow::is_detached) {
            return Ok(Parting::Detached(Unattended {
                child,
                terminal,
                supervision,
                _network: network,
                _union: union,
            }));
        }
        if happened.signalled {
            while let Some(signal) = signals.next() {
                match (&terminal, signal) {
                    (Some(master), libc::SIGWINCH) => copy_size(stdin, master),
                    _ if !attendance.leaves => taken = forward(&child, signal).or(taken),
                    _ if is_ending(signal) => return Ok(Parting::Left(signal)),
                    _ => {}
                }
            }
        }
        if happened.ended {
            let exit = reap(child.pidfd.as_fd())?;
            // What the container wrote last is still in the pipes.
            for flow in flows {
                drain_output(flow, tap.as_deref_mut().map(|tap| tap as &mut dyn Tap));
            }
            return Ok(Parting::Ended(match (exit, taken) {
                (Exit::Signal(libc::SIGKILL), Some(signal)) => Exit::Signal(signal),
                _ => exit,
            }));
        }
    }
}

/// What `wait` has seen.
#[derive(Debug, Default)]
struct Happened {
    ended: bool,
    /// What is left of the processes, where they are on their way to the end.
    left: Option<Left>,
    signalled: bool,
}

/// Waits until something happens: the container's end, a signal, bytes (carried at once).
fn wait(
    child: &sys::fork::Child,
    mut network: Option<&mut network::Server>,
    signals: &Signals,
    flows: &mut [Flow<'_>],
    supervision: &mut Supervision,
    patience: Option<Duration>,
    mut tap: Option<&mut (dyn Tap + '_)>,
) -> Result<Happened, Error> {
    let mut polled = vec![
        PollFd::from_borrowed_fd(child.pidfd.as_fd(), PollFlags::IN),
        PollFd::from_borrowed_fd(signals.descriptor.as_fd(), PollFlags::IN),
    ];
    let waiting: Vec<usize> = (0..flows.len()).filter(|i| flows[*i].interest().is_some()).collect();
    polled.extend(waiting.iter().filter_map(|i| flows[*i].interest()));
    let watched = polled.len();
    polled.extend(supervision.watched().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
    let served = polled.len();
    let server = network.as_ref().and_then(|server| server.watched());
    polled.extend(server.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
    let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
    match rustix::event::poll(&mut polled, patience.as_ref()) {
        Err(Errno::INTR) => return Ok(Happened::default()),
        other => other.map_err(Error::Signals)?,
    };
    let ready: Vec<bool> = polled.iter().map(|fd| !fd.revents().is_empty()).collect();
    let watched = polled.get(watched..served).and_then(|it| it.first()).map(PollFd::revents);
    drop(polled);
    if let (Some(true), Some(server)) = (ready.get(served), &mut network) {
        mourn(server, child);
    }
    let left = match watched.filter(|events| !events.is_empty()) {
        Some(events) => supervision.look(events).map_err(Error::Signals)?,
        None => None,
    };
    for (place, flow) in waiting.into_iter().enumerate() {
        if ready[place + 2] {
            flows[flow].carry(tap.as_deref_mut().map(|tap| tap as &mut dyn Tap));
        }
    }
    Ok(Happened { ended: ready[0], left, signalled: ready[1] })
}

/// Notices the end of a network's server. It ends with its container; where the container runs on, it was
/// killed, and the container's connections end with it.
pub(super) fn mourn(server: &mut network::Server, child: &sys::fork::Child) {
    server.notice();
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut polled = [PollFd::from_borrowed_fd(child.pidfd.as_fd(), PollFlags::IN)];
    if rustix::event::poll(&mut polled, Some(&now)) == Ok(0) {
        device::end_connections(child.pid);
    }
}

/// Whether a signal ends who does not ask for it (signal(7)).
pub(super) fn is_ending(signal: i32) -> bool {
    const ENDING: [i32; 8] = [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGTERM,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGALRM,
        libc::SIGVTALRM,
    ];
    ENDING.contains(&signal)
}

/// Sends a signal on.
///
/// The kernel drops a signal to pid 1 that pid 1 does not catch (pid_namespaces(7)): a program that
/// never asked to survive Ctrl-C would. Its default action is carried out instead, and the signal
/// that it stands for is returned.
pub(super) fn forward(child: &sys::fork::Child, signal: i32) -> Option<i32> {
    if is_ending(signal) && is_default(child.pid, signal) {
        let kill = rustix::process::Signal::KILL;
        return rustix::process::pidfd_send_signal(&child.pidfd, kill).ok().map(|()| signal);
    }
    // The pid is held by our unreaped child, so it cannot be another's.
    let _ = sys::process::kill(child.pid, signal);
    None
}

/// Whether the process neither catches nor ignores nor blocks a signal (proc_pid_status(5)).
pub fn is_default(pid: rustix::process::Pid, signal: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()));
    let handled = |text: &str| {
        text.lines()
            .filter_map(|line| line.split_once(':'))
            .filter(|(name, _)| matches!(*name, "SigCgt" | "SigIgn" | "SigBlk"))
            .filter_map(|(_, mask)| u64::from_str_radix(mask.trim(), 16).ok())
            .any(|mask| mask & (1 << (signal - 1)) != 0)
    };
    status.is_ok_and(|text| !handled(&text))
}

fn drain_output(flow: Flow<'_>, tap: Option<&mut (dyn Tap + '_)>) {
    // Input that the container never read goes with it.
    let to_caller = flow.to().is_some_and(|to| {
        [rustix::stdio::stdout(), rustix::stdio::stderr()].iter().any(|caller| {
            std::os::fd::AsRawFd::as_raw_fd(caller) == std::os::fd::AsRawFd::as_raw_fd(&to)
        })
    });
    if to_caller {
        flow.drain(tap);
    }
}

pub(super) fn reap(pidfd: BorrowedFd<'_>) -> Result<Exit, Error> {
    let status: Option<WaitIdStatus> =
        rustix::process::waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED)
            .map_err(Error::Signals)?;
    let status = status.ok_or(Error::Signals(Errno::CHILD))?;
    let code = status.exit_status().and_then(|code| u8::try_from(code & 0xff).ok());
    Ok(match (code, status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Code(u8::MAX),
    })
}
