//! What a monitor and those attached to its container say to each other: one message a packet of a
//! `SOCK_SEQPACKET` socket (unix(7)), its first byte its kind.

use std::io::{IoSlice, Write};
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};

/// The most bytes of a stream in one packet.
pub const CHUNK: usize = 8 << 10;

/// From who is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word<'a> {
    /// The first one: which streams are wanted.
    Hello {
        /// stdout, or the terminal
        stdout: bool,
        /// stderr
        stderr: bool,
    },
    /// Bytes for the program's input.
    Input(&'a [u8]),
    /// The input has ended.
    EndOfInput,
    /// The terminal's size: rows, columns.
    Size(u16, u16),
    /// A signal for the program.
    Signal(i32),
}

/// From the monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// Bytes of stdout, or of the terminal.
    Stdout(&'a [u8]),
    /// Bytes of stderr.
    Stderr(&'a [u8]),
    /// The program has ended with this exit code, and that is written down.
    Ended(u8),
}

impl<'a> Word<'a> {
    /// The packet.
    pub fn pack(self) -> Vec<u8> {
        let mut packet = Vec::new();
        // Writing to memory does not fail.
        let _ = match self {
            Self::Hello { stdout, stderr } => {
                packet.write_all(&[b'h', u8::from(stdout), u8::from(stderr)])
            }
            Self::Input(bytes) => packet.write_all(b"i").and_then(|()| packet.write_all(bytes)),
            Self::EndOfInput => packet.write_all(b"c"),
            Self::Size(rows, columns) => {
                let [a, b] = rows.to_ne_bytes();
                let [c, d] = columns.to_ne_bytes();
                packet.write_all(&[b'w', a, b, c, d])
            }
            Self::Signal(signal) => {
                let [a, b, c, d] = signal.to_ne_bytes();
                packet.write_all(&[b'k', a, b, c, d])
            }
        };
        packet
    }

    /// What a packet says; `None` for what no coracle says.
    pub fn read(packet: &'a [u8]) -> Option<Self> {
        Some(match packet {
            [b'h', stdout, stderr] => Self::Hello { stdout: *stdout != 0, stderr: *stderr != 0 },
            [b'i', bytes @ ..] => Self::Input(bytes),
            [b'c'] => Self::EndOfInput,
            [b'w', a, b, c, d] => {
                Self::Size(u16::from_ne_bytes([*a, *b]), u16::from_ne_bytes([*c, *d]))
            }
            [b'k', a, b, c, d] => Self::Signal(i32::from_ne_bytes([*a, *b, *c, *d])),
            _ => return None,
        })
    }
}

impl<'a> Answer<'a> {
    fn parts(&self) -> (u8, &[u8]) {
        match self {
            Self::Stdout(bytes) => (b'o', bytes),
            Self::Stderr(bytes) => (b'e', bytes),
            Self::Ended(code) => (b'x', std::slice::from_ref(code)),
        }
    }

    /// The packet.
    pub fn pack(self) -> Vec<u8> {
        let (kind, bytes) = self.parts();
        [&[kind], bytes].concat()
    }

    /// What a packet says; `None` for what no monitor says.
    pub fn read(packet: &'a [u8]) -> Option<Self> {
        Some(match packet {
            [b'o', bytes @ ..] => Self::Stdout(bytes),
            [b'e', bytes @ ..] => Self::Stderr(bytes),
            [b'x', code] => Self::Ended(*code),
            _ => return None,
        })
    }

    /// Sends it without waiting; `AGAIN` where there is no room.
    pub fn send(&self, socket: impl AsFd) -> Result<(), Errno> {
        let (kind, bytes) = self.parts();
        let parts = [IoSlice::new(std::slice::from_ref(&kind)), IoSlice::new(bytes)];
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        rustix::net::sendmsg(socket, &parts, &mut SendAncillaryBuffer::default(), flags).map(drop)
    }
}

/// Sends a packet without waiting; `AGAIN` where there is no room.
pub fn send(socket: impl AsFd, packet: &[u8]) -> Result<(), Errno> {
    rustix::net::send(socket, packet, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).map(drop)
}

/// Receives a packet; an empty one is the end.
pub fn receive(socket: impl AsFd, room: &mut [u8]) -> Result<usize, Errno> {
    loop {
        match rustix::net::recv(&socket, &mut *room, RecvFlags::DONTWAIT) {
            // The latter: the other side went without having read all, and what it said is there still.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            other => return other.map(|(length, _)| length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_heard_from_who_did_not_listen() {
        let (ours, theirs) = super::super::socket::pair().expect("a pair");
        send(&ours, &Word::EndOfInput.pack()).expect("sent");
        Answer::Ended(7).send(&theirs).expect("sent");
        drop(theirs);
        let mut room = [0; 8];
        let length = receive(&ours, &mut room).expect("received");
        assert_eq!(Answer::read(&room[..length]), Some(Answer::Ended(7)));
        assert_eq!(receive(&ours, &mut room), Ok(0));
        assert_eq!(send(&ours, b"c"), Err(Errno::PIPE));
    }

    #[test]
    fn what_is_packed_is_read() {
        for word in [
            Word::Hello { stdout: true, stderr: false },
            Word::Input(b"typed"),
            Word::EndOfInput,
            Word::Size(33, 101),
            Word::Signal(28),
        ] {
            assert_eq!(Word::read(&word.pack()), Some(word));
        }
        for answer in [Answer::Stdout(b"o"), Answer::Stderr(b""), Answer::Ended(137)] {
            assert_eq!(Answer::read(&answer.pack()), Some(answer));
        }
        assert_eq!(Word::read(b""), None);
        assert_eq!(Answer::read(b"x"), None);
    }
}
