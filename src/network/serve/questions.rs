//! Questions for names that come by a connection (RFC 7766): the other end of it is here.
//!
//! ```text
//! container ── tcp ── a pair of sockets ── whole questions ─► the links' own: answered
//!                                                         └─► others: the host's resolver, by a connection
//! ```

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};

use super::socket_for;

/// Silence after which nobody is taken to have another question.
const IDLE: Duration = Duration::from_secs(30);
/// What may wait in one direction: the longest message, behind its length.
const MOST: usize = 2 + u16::MAX as usize;

/// A conversation.
#[derive(Debug)]
pub(super) struct Questions {
    client: Stream,
    /// Where questions are asked that are not answered here; none where nobody asked one yet.
    resolver: Option<Stream>,
    watched: bool,
    deadline: Instant,
}

/// A socket, what came by it and what is to go.
#[derive(Debug)]
struct Stream {
    socket: OwnedFd,
    came: Vec<u8>,
    to_go: Vec<u8>,
    ended: bool,
    told: bool,
}

/// What is known of names here.
pub(super) struct Answers<'a> {
    /// The answer to a question, where it is not for others.
    pub(super) own: &'a dyn Fn(&[u8]) -> Option<Vec<u8>>,
    pub(super) resolver: Option<SocketAddr>,
}

impl Questions {
    /// By this end of a pair.
    pub(super) fn new(socket: OwnedFd, now: Instant) -> Self {
        let client = Stream::new(socket);
        Self { client, resolver: None, watched: false, deadline: now + IDLE }
    }

    pub(super) fn socket(&self) -> &OwnedFd {
        &self.client.socket
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The socket to the resolver, once: it is to be watched as the other is.
    pub(super) fn unwatched(&mut self) -> Option<&OwnedFd> {
        let resolver = self.resolver.as_ref()?;
        (!std::mem::replace(&mut self.watched, true)).then_some(&resolver.socket)
    }

    /// Does what can be done. An error: it is over, and who has had no answer asks by another.
    pub(super) fn advance(&mut self, answers: &Answers<'_>, now: Instant) -> Result<(), Errno> {
        loop {
            let is_full = |it: &Stream| it.to_go.len() >= MOST;
            let mut moved =
                !self.resolver.as_ref().is_some_and(is_full) && self.client.receive()?;
            while let Some(question) = self.client.message() {
                if let Some(answer) = (answers.own)(&question[2..]) {
                    let length = u16::try_from(answer.len()).map_err(|_| Errno::MSGSIZE)?;
                    self.client.to_go.extend(length.to_be_bytes());
                    self.client.to_go.extend(answer);
                } else {
                    self.resolver(answers)?.to_go.extend(question);
                }
                moved = true;
            }
            if let Some(resolver) = &mut self.resolver {
                moved |= resolver.send()?;
                moved |= self.client.to_go.len() < MOST && resolver.receive()?;
                while let Some(answer) = resolver.message() {
                    self.client.to_go.extend(answer);
                    moved = true;
                }
                if self.client.ended {
                    resolver.tell_end();
                }
            }
            moved |= self.client.send()?;
            if !moved {
                break;
            }
            self.deadline = now + IDLE;
        }
        let is_over = match &self.resolver {
            // One that it closes was idle, or was asked for nothing.
            Some(resolver) => resolver.ended,
            None => self.client.ended,
        };
        if is_over && self.client.to_go.is_empty() { Err(Errno::PIPE) } else { Ok(()) }
    }

    fn resolver(&mut self, answers: &Answers<'_>) -> Result<&mut Stream, Errno> {
        if self.resolver.is_none() {
            let target = answers.resolver.ok_or(Errno::NETUNREACH)?;
            let socket = socket_for(target)?;
            match rustix::net::connect(&socket, &target) {
                Ok(()) | Err(Errno::INPROGRESS) => self.resolver = Some(Stream::new(socket)),
                Err(errno) => return Err(errno),
            }
        }
        self.resolver.as_mut().ok_or(Errno::NOTCONN)
    }
}

impl Stream {
    fn new(socket: OwnedFd) -> Self {
        Self { socket, came: Vec::new(), to_go: Vec::new(), ended: false, told: false }
    }

    /// Takes what is there, as long as what is to go for it has room. Whether there was anything.
    fn receive(&mut self) -> Result<bool, Errno> {
        let mut room = [0; 2048];
        if self.ended || self.to_go.len() >= MOST || self.came.len() >= MOST {
            return Ok(false);
        }
        match rustix::net::recv(&self.socket, &mut room[..], RecvFlags::empty()) {
            Ok((0, _)) => self.ended = true,
            Ok((count, _)) => self.came.extend(&room[..count]),
            // Not yet there, or not yet connected.
            Err(Errno::AGAIN | Errno::NOTCONN) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        Ok(true)
    }

    /// The first whole message that has come, with its length before it.
    fn message(&mut self) -> Option<Vec<u8>> {
        let length = u16::from_be_bytes(self.came.get(..2)?.try_into().ok()?);
        let end = 2 + usize::from(length);
        (self.came.len() >= end).then(|| self.came.drain(..end).collect())
    }

    /// Sends what is to go. Whether any of it went.
    fn send(&mut self) -> Result<bool, Errno> {
        if self.to_go.is_empty() {
            return Ok(false);
        }
        match rustix::net::send(&self.socket, &self.to_go, SendFlags::NOSIGNAL) {
            Ok(count) => {
                self.to_go.drain(..count);
                Ok(true)
            }
            Err(Errno::INTR) => Ok(true),
            Err(Errno::AGAIN | Errno::NOTCONN) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Tells the other end, once, that nothing more comes.
    fn tell_end(&mut self) {
        if self.to_go.is_empty() && !std::mem::replace(&mut self.told, true) {
            let _ = rustix::net::shutdown(&self.socket, Shutdown::Write);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use rustix::net::{AddressFamily, SocketFlags, SocketType};

    use super::*;

    fn framed(text: &str) -> Vec<u8> {
        let length = u16::try_from(text.len()).expect("short");
        [&length.to_be_bytes()[..], text.as_bytes()].concat()
    }

    #[test]
    fn own_names_are_answered_and_others_asked_for() {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let kind = SocketType::STREAM;
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, kind, flags, None).expect("a pair");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let now = Instant::now();
        let mut questions = Questions::new(theirs, now);
        let own = |question: &[u8]| question.starts_with(b"own").then(|| b"answer".to_vec());
        let resolver = listener.local_addr().ok();
        let answers = Answers { own: &own, resolver };
        let mut advance = |now| questions.advance(&answers, now);
        let mut client = std::os::unix::net::UnixStream::from(ours);

        // In pieces.
        let asked = [framed("own name"), framed("far name")].concat();
        client.write_all(&asked[..5]).expect("sent");
        advance(now).expect("open");
        client.write_all(&asked[5..]).expect("sent");
        advance(now).expect("open");
        let mut room = [0; 64];
        let count = client.read(&mut room).expect("an answer");
        assert_eq!(room[..count], framed("answer"));
        let (mut far, _) = listener.accept().expect("the resolver is asked");
        advance(now).expect("open");
        let count = far.read(&mut room).expect("a question");
        assert_eq!(room[..count], framed("far name"));
        far.write_all(&framed("far answer")).expect("sent");
        client.set_nonblocking(false).expect("blocks");
        client.set_read_timeout(Some(Duration::from_millis(1))).expect("a patience");
        let count = loop {
            advance(now).expect("open");
            if let Ok(count) = client.read(&mut room) {
                break count;
            }
        };
        assert_eq!(room[..count], framed("far answer"));
        // Who has no more questions is forgotten once the resolver is.
        drop(client);
        assert!(advance(now).is_ok(), "the resolver may have an answer under way");
        assert_eq!(far.read(&mut room).expect("an end"), 0);
        drop(far);
        while advance(now).is_ok() {}
    }

    #[test]
    fn with_nobody_to_ask_it_ends() {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let kind = SocketType::STREAM;
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, kind, flags, None).expect("a pair");
        let mut questions = Questions::new(theirs, Instant::now());
        rustix::io::write(&ours, &framed("far name")).expect("sent");
        let answers = Answers { own: &|_| None, resolver: None };
        assert_eq!(questions.advance(&answers, Instant::now()), Err(Errno::NETUNREACH));
    }
}
