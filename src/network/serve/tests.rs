//! The server against a hand-made kernel: a socket pair for the tap, real sockets on loopback behind
//! it, and time that passes when the test says so.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};

use rustix::net::AddressFamily;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, IpProtocol, Ipv4Packet,
    Ipv4Repr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber, UdpPacket, UdpRepr,
};

use super::*;
use crate::network::frame::{self, Frame, VNET};
use crate::network::{Addresses, Mac, Settings, publish};

mod day;
mod hostile;
mod inwards;

const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 100);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
const PORT: u16 = 40_000;

/// The container's kernel, as the test plays it.
struct Guest {
    tap: OwnedFd,
    server: Server,
    now: Instant,
}

/// A segment of the server's, as far as tests look at it.
#[derive(Debug)]
struct Seen {
    control: TcpControl,
    sequence: u32,
    ack: Option<u32>,
    window: u16,
    to: u16,
    payload: Vec<u8>,
}

impl Guest {
    fn new(ports: &str) -> Self {
        Self::with(ports, &Settings { host_loopback: true, ..Settings::default() }, 512)
    }

    fn with(ports: &str, settings: &Settings, descriptors: usize) -> Self {
        let kind = SocketType::SEQPACKET;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, kind, flags, None).expect("a pair");
        let requests = match ports {
            "" => Vec::new(),
            text => crate::network::PortRequest::parse(text).expect("a port"),
        };
        let ports = publish(&requests).expect("open").sockets;
        let parts = Parts { resolvers: Vec::new(), ports, control: None, descriptors };
        let mut server = Server::new(parts).expect("a server");
        let plan = LinkPlan::private(settings, 0);
        server.join(Joining { plan, tap: theirs, membership: None }).expect("a link");
        Self { tap: ours, server, now: Instant::now() }
    }

    /// Lets the server do what there is to do.
    fn turn(&mut self) {
        for _ in 0..4 {
            let patience = Some(Duration::from_millis(3));
            self.server.turn(patience, Some(self.now)).expect("a turn");
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.turn();
    }

    fn put(&mut self, frame: &[u8]) {
        rustix::io::write(&self.tap, frame).expect("sent");
        self.turn();
    }

    fn frame(protocol: IpProtocol, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; VNET + 14 + 20 + length];
        let ethernet = EthernetRepr {
            src_addr: EthernetAddress(Settings::default().mac().0),
            dst_addr: EthernetAddress([2; 6]),
            ethertype: EthernetProtocol::Ipv4,
        };
        ethernet.emit(&mut EthernetFrame::new_unchecked(&mut bytes[VNET..]));
        let ip = Ipv4Repr {
            src_addr: GUEST,
            dst_addr: GATEWAY,
            next_header: protocol,
            payload_len: length,
            hop_limit: 64,
        };
        ip.emit(
            &mut Ipv4Packet::new_unchecked(&mut bytes[VNET + 14..]),
            &ChecksumCapabilities::default(),
        );
        bytes
    }

    fn send(
        &mut self,
        to: u16,
        control: TcpControl,
        sequence: u32,
        ack: Option<u32>,
        payload: &[u8],
    ) {
        self.send_with(to, control, sequence, ack, payload, 4096);
    }

    fn send_with(
        &mut self,
        to: u16,
        control: TcpControl,
        sequence: u32,
        ack: Option<u32>,
        payload: &[u8],
        window: u16,
    ) {
        let bytes = Self::segment((PORT, to), control, sequence, ack, payload, window);
        self.put(&bytes);
    }

    /// A segment between these ports, the container's first.
    fn segment(
        (from, to): (u16, u16),
        control: TcpControl,
        sequence: u32,
        ack: Option<u32>,
        payload: &[u8],
        window: u16,
    ) -> Vec<u8> {
        let syn = control == TcpControl::Syn;
        let repr = TcpRepr {
            src_port: from,
            dst_port: to,
            seq_number: TcpSeqNumber(sequence.cast_signed()),
            ack_number: ack.map(|ack| TcpSeqNumber(ack.cast_signed())),
            window_len: window,
            window_scale: syn.then_some(0),
            max_seg_size: syn.then_some(1000),
            payload,
            ..crate::network::tcp::empty(control)
        };
        let mut bytes = Self::frame(IpProtocol::Tcp, repr.buffer_len());
        let packet = &mut TcpPacket::new_unchecked(&mut bytes[VNET + 34..]);
        repr.emit(packet, &GUEST.into(), &GATEWAY.into(), &ChecksumCapabilities::ignored());
        bytes
    }

    fn seen(&mut self) -> Vec<Seen> {
        let mut room = vec![0; LONGEST];
        let mut seen = Vec::new();
        while let Ok(length) = rustix::io::read(&self.tap, &mut *room) {
            let Some(Frame::Ip(packet)) = frame::read(&room[..length]) else { continue };
            let Some(segment) = frame::read_tcp(&packet) else { continue };
            seen.push(Seen {
                control: segment.control,
                sequence: segment.seq_number.0.cast_unsigned(),
                ack: segment.ack_number.map(|ack| ack.0.cast_unsigned()),
                window: segment.window_len,
                to: segment.dst_port,
                payload: segment.payload.to_vec(),
            });
        }
        seen
    }

    /// A connection to the listener; the server's next number.
    fn connect(&mut self, to: u16) -> u32 {
        self.send(to, TcpControl::Syn, 1000, None, b"");
        let seen = self.seen();
        assert_eq!((seen.len(), seen[0].control, seen[0].ack), (1, TcpControl::Syn, Some(1001)));
        let next = seen[0].sequence.wrapping_add(1);
        self.send(to, TcpControl::None, 1001, Some(next), b"");
        next
    }
}

fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    (listener, port)
}

fn connected(guest: &mut Guest) -> (TcpStream, u16, u32) {
    let (listener, port) = listener();
    let next = guest.connect(port);
    let (stream, _) = listener.accept().expect("a stream");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
    (stream, port, next)
}

#[test]
fn bytes_go_both_ways_and_each_side_ends_for_itself() {
    let mut guest = Guest::new("");
    let (mut stream, port, next) = connected(&mut guest);
    guest.send(port, TcpControl::Psh, 1001, Some(next), b"question");
    assert_eq!(guest.seen().last().and_then(|seen| seen.ack), Some(1009));
    let mut room = [0; 8];
    stream.read_exact(&mut room).expect("read");
    assert_eq!(&room, b"question");
    // The container ends its side: what is said to it still arrives.
    guest.send(port, TcpControl::Fin, 1009, Some(next), b"");
    assert_eq!(guest.seen().last().and_then(|seen| seen.ack), Some(1010));
    assert_eq!(stream.read(&mut room).expect("read"), 0);
    stream.write_all(b"answer").expect("written");
    guest.turn();
    let seen = guest.seen();
    assert_eq!((seen[0].sequence, &*seen[0].payload), (next, &b"answer"[..]));
    drop(stream);
    guest.send(port, TcpControl::None, 1010, Some(next.wrapping_add(6)), b"");
    let seen = guest.seen();
    assert_eq!((seen[0].control, seen[0].sequence), (TcpControl::Fin, next.wrapping_add(6)));
    guest.send(port, TcpControl::None, 1010, Some(next.wrapping_add(7)), b"");
    assert_eq!(guest.server.count(), 0);
}

#[test]
fn what_is_lost_is_sent_again_and_nothing_twice() {
    let mut guest = Guest::new("");
    let (mut stream, port, next) = connected(&mut guest);
    stream.write_all(&[7; 2500]).expect("written");
    guest.turn();
    assert_eq!(guest.seen().iter().map(|seen| seen.payload.len()).sum::<usize>(), 2500);
    // Nothing is heard of it.
    guest.pass(Duration::from_millis(250));
    let again = guest.seen();
    assert_eq!((again[0].sequence, again[0].payload.len()), (next, 2500));
    guest.send(port, TcpControl::None, 1001, Some(next.wrapping_add(2500)), b"");
    guest.pass(Duration::from_secs(60));
    assert!(guest.seen().is_empty());
    // A piece ahead of its time is asked for again; one that is past is acknowledged and not taken.
    guest.send(port, TcpControl::Psh, 1011, Some(next.wrapping_add(2500)), b"second");
    assert_eq!(guest.seen()[0].ack, Some(1001));
    guest.send(port, TcpControl::Psh, 1001, Some(next.wrapping_add(2500)), b"first-word");
    guest.send(port, TcpControl::Psh, 1001, Some(next.wrapping_add(2500)), b"first-word");
    guest.send(port, TcpControl::Psh, 1006, Some(next.wrapping_add(2500)), b"-wordsecond");
    assert_eq!(guest.seen().last().and_then(|seen| seen.ack), Some(1017));
    let mut room = [0; 16];
    stream.read_exact(&mut room).expect("read");
    assert_eq!(&room, b"first-wordsecond");
}

#[test]
fn windows_hold_both_sides_back() {
    let mut guest = Guest::new("");
    let (mut stream, port, next) = connected(&mut guest);
    // The container takes nothing: nothing is sent, and it is asked now and then.
    guest.send_with(port, TcpControl::None, 1001, Some(next), b"", 0);
    stream.write_all(&[1; 100]).expect("written");
    guest.turn();
    assert!(guest.seen().iter().all(|seen| seen.payload.is_empty()));
    for _ in 0..40 {
        guest.pass(Duration::from_secs(11));
        let asked = guest.seen();
        assert!(!asked.is_empty() && asked.iter().all(|seen| seen.payload.is_empty()));
        guest.send_with(port, TcpControl::None, 1001, Some(next), b"", 0);
    }
    guest.send_with(port, TcpControl::None, 1001, Some(next), b"", 50);
    assert_eq!(guest.seen()[0].payload.len(), 50);
    guest.send(port, TcpControl::None, 1001, Some(next.wrapping_add(50)), b"");
    assert_eq!(guest.seen()[0].payload.len(), 50);
    // The host takes nothing: the container's window closes, and opens when it does.
    let (chunk, mut sequence, mut window) = (vec![9; 60_000], 1001_u32, u16::MAX);
    for _ in 0..400 {
        guest.send(port, TcpControl::Psh, sequence, Some(next.wrapping_add(100)), &chunk);
        let Some(last) = guest.seen().pop() else { continue };
        (sequence, window) = (last.ack.expect("an answer"), last.window);
        if window == 0 {
            break;
        }
    }
    assert_eq!(window, 0);
    let mut taken = 0;
    let mut room = vec![0; 1 << 20];
    let wanted = sequence.wrapping_sub(1001) as usize;
    let mut opened = false;
    while taken < wanted {
        taken += stream.read(&mut room).expect("read");
        guest.turn();
        opened |= guest.seen().iter().any(|seen| seen.window > 0);
    }
    assert!(opened && taken == wanted);
}

#[test]
fn refusals_and_resets_pass_through() {
    let mut guest = Guest::new("");
    let (listener, port) = listener();
    drop(listener);
    guest.send(port, TcpControl::Syn, 1000, None, b"");
    let seen = guest.seen();
    assert_eq!((seen[0].control, seen[0].ack), (TcpControl::Rst, Some(1001)));
    let (mut stream, port, next) = connected(&mut guest);
    guest.send(port, TcpControl::Rst, 900_000_000, None, b"");
    assert_eq!(guest.server.count(), 1, "a guess is no reset");
    guest.send(port, TcpControl::Rst, 1001, Some(next), b"");
    assert_eq!(guest.server.count(), 0);
    let error = stream.read(&mut [0; 1]).expect_err("reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    guest.send(port, TcpControl::Psh, 1001, Some(next), b"late");
    assert_eq!(guest.seen()[0].control, TcpControl::Rst);
}

#[test]
fn who_has_forgotten_a_connection_is_forgotten() {
    let mut guest = Guest::new("");
    let (_stream, port, next) = connected(&mut guest);
    // A day of silence is asked about, and answered.
    for _ in 0..12 {
        guest.pass(Duration::from_secs(2 * 60 * 60 + 1));
        let asked = guest.seen();
        assert_eq!(asked[0].sequence, next.wrapping_sub(1));
        guest.send(port, TcpControl::None, 1001, Some(next), b"");
    }
    assert_eq!(guest.server.count(), 1);
    guest.pass(Duration::from_secs(2 * 60 * 60 + 1));
    for _ in 0..20 {
        guest.pass(Duration::from_secs(11));
    }
    assert_eq!(guest.server.count(), 0);
}

#[test]
fn a_published_port_leads_to_the_container() {
    let mut guest = Guest::new("127.0.0.1::80");
    let address = rustix::net::getsockname(&guest.server.ports[0].socket).expect("bound");
    let address = SocketAddr::try_from(address).expect("an address");
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
    guest.turn();
    let seen = guest.seen();
    assert_eq!((seen[0].control, seen[0].ack, seen[0].to), (TcpControl::Syn, None, 80));
    // Nobody there: it is asked again, then given up.
    guest.pass(Duration::from_millis(250));
    assert_eq!(guest.seen()[0].control, TcpControl::Syn);
    for _ in 0..8 {
        guest.pass(Duration::from_secs(14));
    }
    assert_eq!(guest.server.count(), 0);
    assert!(stream.read(&mut [0; 1]).is_err());
}

#[test]
fn datagrams_are_answered_and_forgotten() {
    let mut guest = Guest::new("");
    let peer = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let to = peer.local_addr().expect("an address").port();
    let repr = UdpRepr { src_port: PORT, dst_port: to };
    let mut bytes = Guest::frame(IpProtocol::Udp, 8 + 5);
    let packet = &mut UdpPacket::new_unchecked(&mut bytes[VNET + 34..]);
    repr.emit(
        packet,
        &GUEST.into(),
        &GATEWAY.into(),
        5,
        |room| room.copy_from_slice(b"hello"),
        &ChecksumCapabilities::ignored(),
    );
    guest.put(&bytes);
    let mut room = [0; 16];
    let (length, from) = peer.recv_from(&mut room).expect("received");
    assert_eq!(&room[..length], b"hello");
    peer.send_to(b"world", from).expect("sent");
    guest.turn();
    let mut frame = vec![0; LONGEST];
    let length = rustix::io::read(&guest.tap, &mut *frame).expect("a frame");
    assert_eq!(&frame[length - 5..length], b"world");
    guest.pass(Duration::from_secs(100));
    assert_eq!(guest.server.count(), 1);
    guest.pass(Duration::from_secs(81));
    assert_eq!(guest.server.count(), 0);
}

// ---- Containers that share a link.

/// A container's kernel and server in a network with another, at 10.89.0.`last`.
fn member(last: u8, name: &str, peer: OwnedFd) -> (OwnedFd, Server) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let pair = || {
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .expect("a pair")
    };
    let ((ours, tap), (listener, _)) = (pair(), pair());
    let parts = Parts { resolvers: Vec::new(), ports: Vec::new(), control: None, descriptors: 512 };
    let mut server = Server::new(parts).expect("a server");
    let addresses = Addresses {
        guest: Ipv4Addr::new(10, 89, 0, last),
        gateway: Ipv4Addr::new(10, 89, 0, 1),
        prefix: 24,
        six: None,
        shared: true,
    };
    let plan = LinkPlan {
        network: "web".into(),
        mac: Mac([2, 0, 0, 0, 0, last]),
        names: vec![name.to_owned()],
        addresses,
        ..LinkPlan::private(&Settings::default(), 0)
    };
    let membership = Some(crate::network::Membership { listener, peers: vec![peer] });
    server.join(Joining { plan, tap, membership }).expect("a link");
    (ours, server)
}

/// A datagram from one address to another.
fn datagram(from: [u8; 4], to: [u8; 4], port: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Guest::frame(IpProtocol::Udp, 8 + payload.len());
    let ip = VNET + 14;
    bytes[ip + 12..ip + 16].copy_from_slice(&from);
    bytes[ip + 16..ip + 20].copy_from_slice(&to);
    bytes[ip + 20..ip + 22].copy_from_slice(&5000_u16.to_be_bytes());
    bytes[ip + 22..ip + 24].copy_from_slice(&port.to_be_bytes());
    let length = u16::try_from(8 + payload.len()).expect("short");
    bytes[ip + 24..ip + 26].copy_from_slice(&length.to_be_bytes());
    bytes[ip + 28..].copy_from_slice(payload);
    bytes
}

#[test]
fn members_of_a_network_hear_each_other_and_nobody_speaks_for_another() {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let kind = SocketType::SEQPACKET;
    let (one, two) =
        rustix::net::socketpair(AddressFamily::UNIX, kind, flags, None).expect("a pair");
    let (a_tap, mut a) = member(2, "a", one);
    let (b_tap, mut b) = member(3, "b", two);
    let turn = |server: &mut Server| {
        server.turn(Some(Duration::from_millis(3)), None).expect("a turn");
    };
    let put = |bytes: &[u8], a: &mut Server| {
        rustix::io::write(&a_tap, bytes).expect("sent");
        turn(a);
        let mut room = vec![0; LONGEST];
        let read = |tap: &OwnedFd, room: &mut [u8]| {
            rustix::io::read(tap, &mut *room).map_or(Vec::new(), |length| room[..length].to_vec())
        };
        (read(&b_tap, &mut room), read(&a_tap, &mut room))
    };
    turn(&mut a);
    turn(&mut b);
    turn(&mut a);
    let (own, other, gateway) = ([10, 89, 0, 2], [10, 89, 0, 3], [10, 89, 0, 1]);
    let (passed, _) = put(&datagram(own, other, 7, b"ahoy"), &mut a);
    assert!(passed.ends_with(b"ahoy"));
    assert_eq!(passed[VNET..VNET + 12], [2, 0, 0, 0, 0, 3, 2, 0, 0, 0, 0, 2]);
    // To all, as to one; in another's name to nobody.
    assert!(put(&datagram(own, [10, 89, 0, 255], 7, b"all"), &mut a).0.ends_with(b"all"));
    for source in [other, gateway, [10, 89, 0, 9], [127, 0, 0, 1]] {
        let passed = put(&datagram(source, other, 7, b"ahoy"), &mut a).0;
        assert!(passed.is_empty(), "{source:?}");
    }
    let question = b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01b\x00\x00\x01\x00\x01";
    let (_, answer) = put(&datagram(own, gateway, 53, question), &mut a);
    assert!(answer.ends_with(&other), "{answer:?}");
    // With its server goes the container.
    drop(b);
    turn(&mut a);
    let (passed, told) = put(&datagram(own, other, 7, b"ahoy"), &mut a);
    assert!(passed.is_empty());
    assert_eq!(told[VNET + 34], 3, "unreachable");
    assert_ne!(put(&datagram(own, gateway, 53, question), &mut a).1.last(), Some(&3));
}
