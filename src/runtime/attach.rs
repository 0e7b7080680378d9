//! Attached to a container that a monitor keeps: bytes between the caller's stdio and the
//! monitor's socket.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::Error;
use super::detach::DetachKeys;
use super::supervise::{Signals, is_ending};
use super::terminal::Raw;
use super::wire::{self, Answer, CHUNK, Word};

/// How the caller is attached.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // each is a flag of its own
pub struct Attached {
    /// Whether what is typed goes to the program.
    pub stdin: bool,
    /// Whether its output is shown.
    pub stdout: bool,
    /// Whether its stderr is shown.
    pub stderr: bool,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether the caller's signals go to it; those that would end the caller end its attendance otherwise.
    pub sig_proxy: bool,
    /// The keys that leave it.
    pub detach_keys: DetachKeys,
}

/// How it came to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// The program ended, with this exit code.
    Ended(u8),
    /// The keys were typed: it runs on.
    Detached,
    /// The caller was to end by this signal: it runs on.
    Signalled(i32),
    /// The monitor went without a word.
    Lost,
}

/// Bytes on their way to one of the caller's streams.
#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    written: usize,
    /// The stream is gone: what comes is dropped.
    closed: bool,
}

impl Waiting {
    fn put(&mut self, bytes: &[u8]) {
        if !self.closed {
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Writes once; poll has said that there is room for as much as a pipe takes at once.
    fn write(&mut self, to: BorrowedFd<'_>) {
        let end = self.bytes.len().min(self.written + 4096);
        match rustix::io::write(to, &self.bytes[self.written..end]) {
            Ok(written) => self.written += written,
            Err(Errno::INTR | Errno::AGAIN) => return,
            Err(_) => self.closed = true,
        }
        if self.closed || self.written == self.bytes.len() {
            self.bytes.clear();
            self.written = 0;
        }
    }
}

/// Stays attached until the program ends or the keys are typed.
pub fn attend(socket: &OwnedFd, signals: &Signals, attached: &Attached) -> Result<Leaving, Error> {
    let stdin = rustix::stdio::stdin();
    let interactive = attached.tty && attached.stdin;
    let _raw = if interactive { Raw::enter(stdin).map_err(Error::Terminal)? } else { None };
    let Attached { stdout, stderr, .. } = *attached;
    // The first packets: there is room for them. A program may have ended already, and whoever kept it:
    // what they said is there to be read.
    match wire::send(socket, &Word::Hello { stdout, stderr }.pack()) {
        Err(Errno::PIPE) => {}
        sent => sent.map_err(Error::Pipe)?,
    }
    if attached.tty {
        send_size(socket);
    }
    Client {
        socket,
        signals,
        attached,
        keys: attached.detach_keys.clone(),
        stdin: attached.stdin,
        outgoing: None,
        out: Waiting::default(),
        err: Waiting::default(),
    }
    .attend()
}

struct Client<'a> {
    socket: &'a OwnedFd,
    signals: &'a Signals,
    attached: &'a Attached,
    keys: DetachKeys,
    /// Whether more is to be read from the caller.
    stdin: bool,
    /// A packet that there was no room for.
    outgoing: Option<Vec<u8>>,
    out: Waiting,
    err: Waiting,
}

impl Client<'_> {
    fn attend(&mut self) -> Result<Leaving, Error> {
        let mut ending = None;
        loop {
            let shown = self.out.is_empty() && self.err.is_empty();
            if let (Some(ending), true) = (ending, shown) {
                return Ok(ending);
            }
            let ready = self.poll(ending.is_some())?;
            if let (true, Some(signal)) = (ready.signal, self.take_signals()) {
                return Ok(Leaving::Signalled(signal));
            }
            if ready.stdout {
                self.out.write(rustix::stdio::stdout());
            }
            if ready.stderr {
                self.err.write(rustix::stdio::stderr());
            }
            if ready.stdin && self.read_input() {
                return Ok(Leaving::Detached);
            }
            if ready.room
                && let Some(packet) = self.outgoing.take()
            {
                self.send(packet);
            }
            if ready.socket {
                ending = self.listen()?;
            }
        }
    }

    fn poll(&self, ended: bool) -> Result<Ready, Error> {
        let (stdin, stdout, stderr) =
            (rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr());
        let mut polled = vec![PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN)];
        let mut place = |fd: Option<PollFd<'static>>| {
            fd.map(|fd| {
                polled.push(fd);
                polled.len() - 1
            })
        };
        let out = |fd, wanted: bool| wanted.then(|| PollFd::from_borrowed_fd(fd, PollFlags::OUT));
        let out_at = place(out(stdout, !self.out.is_empty()));
        let err_at = place(out(stderr, !self.err.is_empty()));
        let wants_input = self.stdin && self.outgoing.is_none() && !ended;
        let in_at = place(wants_input.then(|| PollFd::from_borrowed_fd(stdin, PollFlags::IN)));
        let shown = self.out.is_empty() && self.err.is_empty();
        let mut wanted = PollFlags::empty();
        if shown {
            wanted |= PollFlags::IN;
        }
        if self.outgoing.is_some() {
            wanted |= PollFlags::OUT;
        }
        let mut all = polled;
        let socket_at = (!ended && !wanted.is_empty()).then(|| {
            all.push(PollFd::new(self.socket, wanted));
            all.len() - 1
        });
        match rustix::event::poll(&mut all, None) {
            Err(Errno::INTR) => return Ok(Ready::default()),
            other => other.map_err(Error::Signals)?,
        };
        let is = |at: Option<usize>| at.is_some_and(|at| !all[at].revents().is_empty());
        let events = socket_at.map_or(PollFlags::empty(), |at| all[at].revents());
        Ok(Ready {
            signal: is(Some(0)),
            stdout: is(out_at),
            stderr: is(err_at),
            stdin: is(in_at),
            room: events.contains(PollFlags::OUT),
            socket: shown && events.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR),
        })
    }

    /// Reads what is typed; whether the keys were among it.
    fn read_input(&mut self) -> bool {
        let mut typed = [0; CHUNK / 2];
        match rustix::io::read(rustix::stdio::stdin(), &mut typed) {
            Ok(0) => {
                self.stdin = false;
                self.send(Word::EndOfInput.pack());
            }
            Ok(length) => {
                let mut passed = Vec::with_capacity(length);
                // Without a terminal nobody types.
                let left = self.attached.tty && self.keys.filter(&typed[..length], &mut passed);
                if !self.attached.tty {
                    passed.extend_from_slice(&typed[..length]);
                }
                if !passed.is_empty() {
                    self.send(Word::Input(&passed).pack());
                }
                return left;
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => self.stdin = false,
        }
        false
    }

    /// Passes signals on; the one that is to end the caller.
    fn take_signals(&mut self) -> Option<i32> {
        while let Some(signal) = self.signals.next() {
            if signal == libc::SIGWINCH {
                if self.attached.tty {
                    send_size(self.socket);
                }
            } else if self.attached.sig_proxy {
                // A monitor whose socket is full is about to go.
                let _ = wire::send(self.socket, &Word::Signal(signal).pack());
            } else if is_ending(signal) {
                return Some(signal);
            }
        }
        None
    }

    fn send(&mut self, packet: Vec<u8>) {
        // The end of the other side is seen when it is listened to.
        if let Err(Errno::AGAIN) = wire::send(self.socket, &packet) {
            self.outgoing = Some(packet);
        }
    }

    fn listen(&mut self) -> Result<Option<Leaving>, Error> {
        let mut room = [0; CHUNK + 1];
        let length = match wire::receive(self.socket, &mut room) {
            Err(Errno::AGAIN) => return Ok(None),
            other => other.map_err(Error::Pipe)?,
        };
        if length == 0 {
            return Ok(Some(Leaving::Lost));
        }
        match Answer::read(&room[..length]) {
            Some(Answer::Stdout(bytes)) => self.out.put(bytes),
            Some(Answer::Stderr(bytes)) => self.err.put(bytes),
            Some(Answer::Ended(code)) => return Ok(Some(Leaving::Ended(code))),
            None => {}
        }
        Ok(None)
    }
}

/// What poll found.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // each a descriptor
struct Ready {
    signal: bool,
    stdout: bool,
    stderr: bool,
    stdin: bool,
    room: bool,
    socket: bool,
}

fn send_size(socket: &OwnedFd) {
    // A caller whose size is unknown leaves the container's as it is.
    if let Ok(size) = rustix::termios::tcgetwinsize(rustix::stdio::stdin()) {
        let _ = wire::send(socket, &Word::Size(size.ws_row, size.ws_col).pack());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::socket;

    #[test]
    fn a_program_that_ended_before_it_was_attended_to_has_its_code() {
        let (ours, theirs) = socket::pair().expect("a pair");
        Answer::Ended(7).send(&theirs).expect("sent");
        drop(theirs);
        let signals = Signals::hold().expect("signals");
        let attached = Attached {
            stdin: false,
            stdout: true,
            stderr: true,
            tty: false,
            sig_proxy: true,
            detach_keys: DetachKeys::default(),
        };
        let left = attend(&ours, &signals, &attached).expect("attended");
        assert!(matches!(left, Leaving::Ended(7)), "{left:?}");
    }
}
