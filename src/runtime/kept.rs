//! A program whose bytes the caller carries itself: a monitor's.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::emulate::Supervision;
use super::supervise::{Exit, forward, mourn, reap};
use super::{Error, Running, launch};
use crate::sys::fork::Child;
use crate::{network, union};

/// A program that runs, and the far ends of its streams.
#[derive(Debug)]
pub struct Kept {
    child: Child,
    /// What it reads.
    pub stdin: Option<OwnedFd>,
    /// What it writes to stdout.
    pub stdout: Option<OwnedFd>,
    /// What it writes to stderr.
    pub stderr: Option<OwnedFd>,
    /// All three, where it has a terminal.
    pub terminal: Option<OwnedFd>,
    supervision: Supervision,
    network: Option<network::Server>,
    /// Let go of last.
    union: Option<union::Server>,
}

impl Running {
    /// Takes its streams over.
    pub fn keep(self) -> Kept {
        let [stdin, stdout, stderr] = self.pipes;
        let (child, terminal) = (self.child, self.terminal);
        let (supervision, network, union) = (self.supervision, self.network, self.union);
        Kept { child, stdin, stdout, stderr, terminal, supervision, network, union }
    }
}

impl Kept {
    /// Its pid in the caller's pid namespace.
    pub fn pid(&self) -> rustix::process::Pid {
        self.child.pid
    }

    /// Readable when it has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }

    /// What becomes readable at the first call that a supervisor is needed for: `look` then.
    pub fn watched(&self) -> Option<BorrowedFd<'_>> {
        self.supervision.watched()
    }

    /// Looks at what is watched, once it is ready.
    pub fn look(&mut self) -> Result<(), Errno> {
        let Some(watched) = self.supervision.watched() else { return Ok(()) };
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut polled = [PollFd::from_borrowed_fd(watched, PollFlags::IN)];
        rustix::event::poll(&mut polled, Some(&now))?;
        let [events] = polled.map(|polled| polled.revents());
        if events.is_empty() { Ok(()) } else { self.supervision.look(events).map(drop) }
    }

    /// What becomes readable when the server of its network has ended: `mourn` then.
    pub fn network(&self) -> Option<BorrowedFd<'_>> {
        self.network.as_ref().and_then(network::Server::watched)
    }

    /// Ends its connections, if its network's server was killed.
    pub fn mourn(&mut self) {
        if let Some(server) = &mut self.network {
            mourn(server, &self.child);
        }
    }

    /// Takes its end, which must have come; what it wrote is in its place afterwards.
    pub fn reap(&mut self) -> Result<Exit, Error> {
        let exit = reap(self.pidfd());
        // In this order: a supervisor is in its mounts too.
        self.supervision = Supervision::None;
        self.network = None;
        self.union = None;
        exit
    }

    /// Sends a signal on; the one that it stands for where it had to be SIGKILL instead.
    pub fn forward(&self, signal: i32) -> Option<i32> {
        forward(&self.child, signal)
    }
}

/// Pipes for a program's streams: its ends are returned, the others go to `ours`.
pub(super) fn pipes(
    interactive: bool,
    ours: &mut [Option<OwnedFd>; 3],
) -> Result<[Option<OwnedFd>; 3], Error> {
    let stdin = if interactive {
        let (reader, writer) = launch::pipe()?;
        ours[0] = Some(writer);
        reader
    } else {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::open(c"/dev/null", flags, Mode::empty()).map_err(Error::Pipe)?
    };
    let mut output = |stream: usize| -> Result<_, Error> {
        let (reader, writer) = launch::pipe()?;
        ours[stream] = Some(reader);
        Ok(Some(writer))
    };
    Ok([Some(stdin), output(1)?, output(2)?])
}
