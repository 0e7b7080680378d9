//! What a monitor does all day: one poll, over the program, its streams, and who is attached.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::SocketFlags;

use crate::container::{Log, Stream};
use crate::runtime::wire::{self, Answer, CHUNK, Word};
use crate::runtime::{Kept, Signals};
use crate::sys::trim::Trimmer;

/// When nothing has happened for so long, memory is given back.
const QUIET: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// The most that is held for a program that does not read its input.
const INPUT: usize = 64 << 10;

/// Log, socket and who came to it: what outlives a run of the program.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) log: Log,
    signals: Signals,
    listener: OwnedFd,
    clients: Vec<Client>,
    /// Whether the program's input ends with that of who is attached.
    stdin_once: bool,
    trimmer: OnceCell<Trimmer>,
}

/// Someone who is attached.
#[derive(Debug)]
struct Client {
    socket: OwnedFd,
    /// Wants stdout, wants stderr; nothing before it has said so.
    wants: (bool, bool),
    /// Packets that there was no room for.
    waiting: VecDeque<Vec<u8>>,
    /// It was told the end: what waits is all that it still gets.
    closing: bool,
    gone: bool,
}

/// A run of the program.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) kept: Kept,
    /// What it has not read yet.
    input: VecDeque<u8>,
    /// Its input ends when it has read that.
    input_ends: bool,
    /// The signal that a SIGKILL to it stood for.
    pub(super) taken: Option<i32>,
    /// When it is killed.
    pub(super) deadline: Option<Instant>,
    pub(super) started: Instant,
}

/// What came of a turn.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// The program has ended.
    pub(super) ended: bool,
    /// The other process that was waited for has ended.
    pub(super) other_ended: bool,
    /// The monitor was asked to go.
    pub(super) terminated: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Signals,
    Listener,
    Program,
    Other,
    Terminal,
    Stdout,
    Stderr,
    /// Calls of the program that need a supervisor of ids.
    Calls,
    /// The end of what serves its network.
    Network,
    Input,
    Client(usize),
}

impl Program {
    pub(super) fn new(kept: Kept, timeout: Option<Duration>) -> Self {
        let ends = [&kept.stdin, &kept.stdout, &kept.stderr, &kept.terminal];
        for end in ends.into_iter().flatten() {
            // Where it cannot be, poll says when a read or write will not block.
            let _ = rustix::io::ioctl_fionbio(end, true);
        }
        let started = Instant::now();
        let deadline = timeout.map(|timeout| started + timeout);
        let input = VecDeque::new();
        Self { kept, input, input_ends: false, taken: None, deadline, started }
    }

    fn input(&self) -> Option<BorrowedFd<'_>> {
        self.kept.terminal.as_ref().or(self.kept.stdin.as_ref()).map(AsFd::as_fd)
    }

    fn write_input(&mut self) {
        while !self.input.is_empty() {
            let Some(to) = self.input() else {
                self.input = VecDeque::new(); // it reads nothing
                return;
            };
            match rustix::io::write(to, self.input.as_slices().0) {
                Ok(written) => drop(self.input.drain(..written)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    self.kept.stdin = None;
                    self.input = VecDeque::new();
                }
            }
        }
        self.input = VecDeque::new();
        if self.input_ends {
            self.kept.stdin = None;
        }
    }

    fn stream(&mut self, source: Source) -> &mut Option<OwnedFd> {
        match source {
            Source::Terminal => &mut self.kept.terminal,
            Source::Stderr => &mut self.kept.stderr,
            _ => &mut self.kept.stdout,
        }
    }
}

impl Server {
    pub(super) fn new(log: Log, signals: Signals, listener: OwnedFd, stdin_once: bool) -> Self {
        Self { log, signals, listener, clients: Vec::new(), stdin_once, trimmer: OnceCell::new() }
    }

    /// Takes in someone who is connected, and wants stdout and stderr or not.
    pub(super) fn adopt(&mut self, socket: OwnedFd, wants: (bool, bool)) {
        let waiting = VecDeque::new();
        self.clients.push(Client { socket, wants, waiting, closing: false, gone: false });
    }

    /// Waits until something happens, or until `until`, and does what is to be done.
    pub(super) fn turn(
        &mut self,
        mut program: Option<&mut Program>,
        other: Option<BorrowedFd<'_>>,
        until: Option<Instant>,
    ) -> Result<Turn, Errno> {
        let ready = self.poll(program.as_deref(), other, until)?;
        let mut turn = Turn::default();
        for source in ready {
            match (source, &mut program) {
                (Source::Signals, _) => turn.terminated |= self.take_signals(),
                (Source::Listener, _) => self.accept(),
                (Source::Other, _) => turn.other_ended = true,
                (Source::Program, _) => turn.ended = true,
                (Source::Client(number), program) => {
                    self.listen(number, program.as_deref_mut());
                }
                (Source::Calls, Some(program)) => program.kept.look()?,
                (Source::Network, Some(program)) => program.kept.mourn(),
                (Source::Input, Some(program)) => program.write_input(),
                (stream, Some(program)) => {
                    self.carry(program, stream);
                }
                (_, None) => {}
            }
        }
        self.clients.retain(|client| !client.gone);
        if self.clients.is_empty() {
            self.clients = Vec::new();
        }
        Ok(turn)
    }

    fn poll(
        &self,
        program: Option<&Program>,
        other: Option<BorrowedFd<'_>>,
        until: Option<Instant>,
    ) -> Result<Vec<Source>, Errno> {
        let mut sources = vec![Source::Signals, Source::Listener];
        let mut polled =
            vec![(self.signals.as_fd(), PollFlags::IN), (self.listener.as_fd(), PollFlags::IN)];
        let mut add = |source, fd, flags| {
            sources.push(source);
            polled.push((fd, flags));
        };
        // Who does not read what was sent holds the program up, as a full pipe would.
        let congested =
            self.clients.iter().any(|client| !client.closing && !client.waiting.is_empty());
        let mut hungry = true;
        if let Some(program) = program {
            let kept = &program.kept;
            add(Source::Program, kept.pidfd(), PollFlags::IN);
            if let Some(watched) = kept.watched() {
                add(Source::Calls, watched, PollFlags::IN);
            }
            if let Some(server) = kept.network() {
                add(Source::Network, server, PollFlags::IN);
            }
            let streams = [
                (Source::Terminal, &kept.terminal),
                (Source::Stdout, &kept.stdout),
                (Source::Stderr, &kept.stderr),
            ];
            for (source, stream) in streams {
                if let (Some(stream), false) = (stream, congested) {
                    add(source, stream.as_fd(), PollFlags::IN);
                }
            }
            if let (Some(input), false) = (program.input(), program.input.is_empty()) {
                add(Source::Input, input, PollFlags::OUT);
            }
            hungry = program.input.len() < INPUT;
        }
        if let Some(other) = other {
            add(Source::Other, other, PollFlags::IN);
        }
        for (number, client) in self.clients.iter().enumerate() {
            let mut flags = PollFlags::empty();
            if hungry {
                flags |= PollFlags::IN;
            }
            if !client.waiting.is_empty() {
                flags |= PollFlags::OUT;
            }
            add(Source::Client(number), client.socket.as_fd(), flags);
        }
        let timeout = || {
            let left = until?.saturating_duration_since(Instant::now());
            Timespec::try_from(left).ok()
        };
        let mut polled: Vec<PollFd<'_>> =
            polled.into_iter().map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags)).collect();
        let soon = timeout().filter(|timeout| *timeout <= QUIET);
        let mut polled_once = rustix::event::poll(&mut polled, Some(&soon.unwrap_or(QUIET)));
        if polled_once == Ok(0) && soon.is_none() {
            let timeout = timeout();
            let trimmer = self.trimmer.get_or_init(Trimmer::new);
            polled_once = trimmer.trim_and_poll(&mut polled, timeout.as_ref());
        }
        match polled_once {
            Err(Errno::INTR) => return Ok(Vec::new()),
            other => other?,
        };
        let ready = sources.into_iter().zip(&polled);
        Ok(ready.filter(|(_, fd)| !fd.revents().is_empty()).map(|(source, _)| source).collect())
    }

    /// Whether it was SIGTERM: everything else that comes is not for a monitor.
    fn take_signals(&mut self) -> bool {
        let mut terminated = false;
        while let Some(signal) = self.signals.next() {
            terminated |= signal == libc::SIGTERM;
        }
        terminated
    }

    fn accept(&mut self) {
        if let Ok(socket) = rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC) {
            self.adopt(socket, (false, false)); // until it says more
        }
    }

    /// Reads a stream once; whether there was anything. Its buffer is not to be on the stack while
    /// nothing happens, nor that of `listen`.
    #[inline(never)]
    fn carry(&mut self, program: &mut Program, source: Source) -> bool {
        let stream = program.stream(source);
        let Some(from) = &*stream else { return false };
        let mut bytes = [0; CHUNK];
        match rustix::io::read(from, &mut bytes) {
            Ok(length @ 1..) => {
                self.pass(source, &bytes[..length]);
                true
            }
            Err(Errno::INTR) => true,
            Err(Errno::AGAIN) => false,
            // A terminal that nobody has open any more may be opened again; who would, was told.
            Ok(0) | Err(_) => {
                *stream = None;
                false
            }
        }
    }

    fn pass(&mut self, source: Source, bytes: &[u8]) {
        let stderr = source == Source::Stderr;
        self.log.take(if stderr { Stream::Stderr } else { Stream::Stdout }, bytes);
        for client in &mut self.clients {
            match (stderr, client.wants) {
                (true, (_, true)) => client.send(Answer::Stderr(bytes)),
                (false, (true, _)) => client.send(Answer::Stdout(bytes)),
                _ => {}
            }
        }
    }

    /// Reads what the program has left behind.
    pub(super) fn drain(&mut self, program: &mut Program) {
        for source in [Source::Terminal, Source::Stdout, Source::Stderr] {
            while self.carry(program, source) {}
        }
        self.log.finish();
    }

    /// Tells all who are attached that the program has ended, and that this is written down.
    pub(super) fn tell_end(&mut self, code: u8) {
        for client in self.clients.iter_mut().filter(|client| !client.closing) {
            client.send(Answer::Ended(code));
            client.closing = true;
            client.gone |= client.waiting.is_empty();
        }
        self.clients.retain(|client| !client.gone);
    }

    /// Whether someone has yet to read what was sent.
    pub(super) fn is_owing(&self) -> bool {
        self.clients.iter().any(|client| !client.waiting.is_empty())
    }

    #[inline(never)]
    fn listen(&mut self, number: usize, program: Option<&mut Program>) {
        let Some(client) = self.clients.get_mut(number) else { return };
        client.flush();
        let mut room = [0; CHUNK + 1];
        let length = match wire::receive(&client.socket, &mut room) {
            Err(Errno::AGAIN) => return,
            Err(_) | Ok(0) => {
                client.gone = true;
                if let (true, Some(program)) = (self.stdin_once, program)
                    && program.kept.terminal.is_none()
                {
                    program.input_ends = true;
                    program.write_input();
                }
                return;
            }
            Ok(length) => length,
        };
        match (Word::read(&room[..length]), program) {
            (Some(Word::Hello { stdout, stderr }), _) => client.wants = (stdout, stderr),
            (Some(Word::Input(bytes)), Some(program)) => {
                program.input.extend(bytes);
                program.write_input();
            }
            (Some(Word::EndOfInput), Some(program)) => {
                // A terminal's input ends by what is typed.
                if self.stdin_once && program.kept.terminal.is_none() {
                    program.input_ends = true;
                    program.write_input();
                }
            }
            (Some(Word::Size(rows, columns)), Some(program)) => {
                if let Some(master) = &program.kept.terminal {
                    let size = rustix::termios::Winsize {
                        ws_row: rows,
                        ws_col: columns,
                        ws_xpixel: 0,
                        ws_ypixel: 0,
                    };
                    let _ = rustix::termios::tcsetwinsize(master, size);
                }
            }
            (Some(Word::Signal(signal)), Some(program)) => {
                program.taken = program.kept.forward(signal).or(program.taken);
            }
            (_, None) | (None, _) => {}
        }
    }
}

impl Client {
    fn send(&mut self, answer: Answer<'_>) {
        if self.closing || self.gone {
            return;
        }
        if !self.waiting.is_empty() {
            self.waiting.push_back(answer.pack());
            return;
        }
        match answer.send(&self.socket) {
            Ok(()) => {}
            Err(Errno::AGAIN) => self.waiting.push_back(answer.pack()),
            Err(_) => self.gone = true,
        }
    }

    fn flush(&mut self) {
        while let Some(packet) = self.waiting.front() {
            match wire::send(&self.socket, packet) {
                Ok(()) => drop(self.waiting.pop_front()),
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    self.gone = true;
                    return;
                }
            }
        }
        self.gone |= self.closing;
    }
}
