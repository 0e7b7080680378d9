//! Datagrams and echoes: a connected socket for each pair of ends, which the kernel keeps strangers
//! out of, forgotten when it has been silent for a while.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto};

use super::frame::{Link, Unreachable};

/// One that nobody has answered yet (nf_conntrack_udp_timeout).
const UNANSWERED: Duration = Duration::from_secs(30);
/// One that goes both ways (nf_conntrack_udp_timeout_stream).
const ANSWERED: Duration = Duration::from_secs(180);
/// A question for a name that was answered: most sockets ask but once.
const RESOLVED: Duration = Duration::from_secs(10);
/// Who waits so long before the same question does not send it twice for safety's sake.
const ASKED_AGAIN: Duration = Duration::from_millis(500);
/// Datagrams taken from one socket before it is another's turn.
const TURN: usize = 64;
const DNS: u16 = 53;

/// A pair of ends that talk in datagrams.
#[derive(Debug)]
pub(super) struct Datagrams {
    pub(super) guest: SocketAddr,
    /// The other end, as the container sees it.
    pub(super) remote: SocketAddr,
    through: Through,
    last: Instant,
    answered: bool,
}

#[derive(Debug)]
enum Through {
    /// One of its own, connected to the other end.
    Own(OwnedFd),
    /// A published port's, and who is there.
    Published(Rc<OwnedFd>, SocketAddr),
}

impl Datagrams {
    /// To `target`, which the container knows as `remote`.
    pub(super) fn new(
        guest: SocketAddr,
        remote: SocketAddr,
        target: SocketAddr,
        now: Instant,
    ) -> Result<Self, Errno> {
        let family = family(target);
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
        rustix::net::connect(&socket, &target)?;
        Ok(Self { guest, remote, through: Through::Own(socket), last: now, answered: false })
    }

    /// With `peer`, who has sent something to a published port.
    pub(super) fn published(
        guest: SocketAddr,
        remote: SocketAddr,
        socket: Rc<OwnedFd>,
        peer: SocketAddr,
        now: Instant,
    ) -> Self {
        let through = Through::Published(socket, peer);
        Self { guest, remote, through, last: now, answered: false }
    }

    /// Its own socket.
    pub(super) fn socket(&self) -> Option<&OwnedFd> {
        match &self.through {
            Through::Own(socket) => Some(socket),
            Through::Published(..) => None,
        }
    }

    /// Whether it is this peer's.
    pub(super) fn is_of(&self, peer: SocketAddr) -> bool {
        matches!(&self.through, Through::Published(_, known) if *known == peer)
    }

    /// Whether it has had no answer to what was sent a while ago.
    pub(super) fn is_unanswered_since(&self, now: Instant) -> bool {
        !self.answered && now.saturating_duration_since(self.last) >= ASKED_AGAIN
    }

    /// From the container: datagrams of `size` bytes each, of which the last may be shorter.
    pub(super) fn send(&mut self, bytes: &[u8], size: usize, now: Instant) -> Result<(), Errno> {
        self.last = now;
        self.answered |= matches!(self.through, Through::Published(..));
        if bytes.len() > size {
            match self.send_together(bytes, size) {
                // A kernel or a way that has no such thing, or packets that are shorter on that way.
                Err(Errno::INVAL | Errno::MSGSIZE | Errno::IO | Errno::OPNOTSUPP) => {}
                other => return other,
            }
            return bytes.chunks(size).try_for_each(|datagram| self.send_one(datagram));
        }
        self.send_one(bytes)
    }

    fn send_one(&self, payload: &[u8]) -> Result<(), Errno> {
        let flags = SendFlags::NOSIGNAL;
        match &self.through {
            Through::Own(socket) => rustix::net::send(socket, payload, flags),
            Through::Published(socket, peer) => rustix::net::sendto(socket, payload, flags, peer),
        }
        .map(drop)
    }

    /// By one call, and as one packet until somebody has to tell them apart (udp(7), `UDP_SEGMENT`).
    fn send_together(&self, bytes: &[u8], size: usize) -> Result<(), Errno> {
        use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};
        let size = u16::try_from(size).map_err(|_| Errno::INVAL)?;
        let (control, flags) = ([ControlMessage::UdpGsoSegments(&size)], MsgFlags::MSG_NOSIGNAL);
        let (socket, peer) = match &self.through {
            Through::Own(socket) => (socket.as_raw_fd(), None),
            Through::Published(socket, peer) => {
                (socket.as_raw_fd(), Some(SockaddrStorage::from(*peer)))
            }
        };
        sendmsg(socket, &[IoSlice::new(bytes)], &control, flags, peer.as_ref())
            .map(drop)
            .map_err(|errno| Errno::from_raw_os_error(errno as i32))
    }

    /// Tells that what was sent went nowhere.
    pub(super) fn tell_unreachable(&self, why: Unreachable, link: &Link) {
        link.unreachable_udp(self.guest, self.remote, why);
    }

    /// To the container, all that is there; whether there is more. An error is the other end's answer.
    pub(super) fn receive(
        &mut self,
        room: &mut [u8],
        link: &Link,
        now: Instant,
    ) -> Result<bool, Errno> {
        let Through::Own(socket) = &self.through else { return Ok(false) };
        for _ in 0..TURN {
            match rustix::net::recv(socket, &mut *room, RecvFlags::empty()) {
                Ok((_, length)) => {
                    link.udp(self.remote, self.guest, &room[..length.min(room.len())]);
                    (self.last, self.answered) = (now, true);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(errno) => return Err(errno),
            }
        }
        Ok(true)
    }

    /// Something came for it by the published port's socket.
    pub(super) fn pass(&mut self, payload: &[u8], link: &Link, now: Instant) {
        self.last = now;
        link.udp(self.remote, self.guest, payload);
    }

    /// When it is forgotten if nothing more comes.
    pub(super) fn deadline(&self) -> Instant {
        let patience = match (self.answered, self.remote.port()) {
            (false, _) => UNANSWERED,
            (true, DNS) => RESOLVED,
            (true, _) => ANSWERED,
        };
        self.last + patience
    }
}

/// Somebody in the container who sends echo requests to one address.
#[derive(Debug)]
pub(super) struct Echoes {
    /// Its address, and the identifier of its requests in place of a port.
    pub(super) guest: SocketAddr,
    pub(super) remote: SocketAddr,
    socket: OwnedFd,
    last: Instant,
}

/// Type, code, checksum, identifier, number (RFC 792, RFC 4443).
const ECHO_HEADER: usize = 8;
const ECHO_REQUEST: u8 = 8;
const ECHO_REQUEST6: u8 = 128;
const ECHO_REPLY: u8 = 0;
const ECHO_REPLY6: u8 = 129;

impl Echoes {
    /// By a socket that needs no privilege (icmp(7), `ping_group_range`).
    pub(super) fn new(
        guest: SocketAddr,
        remote: SocketAddr,
        target: SocketAddr,
        now: Instant,
    ) -> Result<Self, Errno> {
        let protocol = if target.is_ipv6() { ipproto::ICMPV6 } else { ipproto::ICMP };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket =
            rustix::net::socket_with(family(target), SocketType::DGRAM, flags, Some(protocol))?;
        rustix::net::connect(&socket, &target)?;
        Ok(Self { guest, remote, socket, last: now })
    }

    pub(super) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// From the container. The kernel puts its own identifier and checksum in.
    pub(super) fn send(&mut self, number: u16, data: &[u8], now: Instant) -> Result<(), Errno> {
        self.last = now;
        let kind = if self.remote.is_ipv6() { ECHO_REQUEST6 } else { ECHO_REQUEST };
        let [high, low] = number.to_be_bytes();
        let message = [&[kind, 0, 0, 0, 0, 0, high, low], data].concat();
        rustix::net::send(&self.socket, &message, SendFlags::NOSIGNAL).map(drop)
    }

    /// To the container, all that is there; whether there is more.
    pub(super) fn receive(
        &mut self,
        room: &mut [u8],
        link: &Link,
        now: Instant,
    ) -> Result<bool, Errno> {
        for _ in 0..TURN {
            match rustix::net::recv(&self.socket, &mut *room, RecvFlags::empty()) {
                Ok((_, length)) => {
                    let reply = if self.remote.is_ipv6() { ECHO_REPLY6 } else { ECHO_REPLY };
                    let message = &room[..length.min(room.len())];
                    if let Some((header, data)) = message.split_at_checked(ECHO_HEADER)
                        && header[0] == reply
                    {
                        let number = u16::from_be_bytes([header[6], header[7]]);
                        let (from, to) = (self.remote.ip(), self.guest.ip());
                        link.echo_reply(from, to, self.guest.port(), number, data);
                        self.last = now;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(errno) => return Err(errno),
            }
        }
        Ok(true)
    }

    pub(super) fn deadline(&self) -> Instant {
        self.last + UNANSWERED
    }
}

/// The family of an address.
pub(super) fn family(address: SocketAddr) -> AddressFamily {
    if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET }
}
