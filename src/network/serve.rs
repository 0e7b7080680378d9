//! The loop: frames from the container, sockets of the host, time.
#![allow(clippy::cast_possible_truncation)] // tokens and places: numbers made here
#![allow(clippy::single_match_else)] // found, or made: the two ways stand side by side

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SocketFlags, SocketType, sockopt};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpProtocol, TcpControl, TcpRepr, UdpPacket,
};

use super::datagram::{Datagrams, Echoes, family};
use super::fragments::Fragments;
use super::frame::{self, Frame, LONGEST, Link, Packet, Unreachable};
use super::policy::Policy;
use super::publish::{self, Opened};
use super::ring::Budget;
use super::tcp::{self, Connection, Fate, Turn};
use super::{Addresses, Protocol};

/// Frames taken before it is the sockets' turn.
const FRAMES: usize = 64;
/// Connections at most, below what descriptors there are.
const MOST_CONNECTIONS: usize = 16 << 10;
/// Pairs that talk in datagrams at most; the longest silent gives way.
const MOST_DATAGRAMS: usize = 2 << 10;
/// Descriptors that are not a flow's.
const RESERVED: usize = 64;

/// What becomes ready besides flows.
const TAP: u64 = u64::MAX;
const CONTAINER: u64 = u64::MAX - 1;
/// The first of the published ports, counted down.
const PORTS: u64 = u64::MAX - 2;

/// Protocol, the container's end, the other as the container sees it.
type Key = (u8, SocketAddr, SocketAddr);

#[derive(Debug)]
enum Flow {
    Tcp(Box<Connection>),
    Datagrams(Datagrams),
    Echoes(Echoes),
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    flow: Option<(Key, Flow)>,
    is_ready: bool,
    owes: bool,
    /// The earliest time at which it is looked at.
    alarm: Option<Instant>,
}

/// What a server is made of.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) link: Link,
    pub(super) policy: Policy,
    pub(super) ports: Vec<Opened>,
    /// Descriptors that this process may have.
    pub(super) descriptors: usize,
}

/// A published port.
#[derive(Debug)]
struct Port {
    socket: Rc<OwnedFd>,
    container: u16,
    protocol: Protocol,
}

/// A server.
pub(super) struct Server {
    link: Link,
    policy: Policy,
    ports: Vec<Port>,
    epoll: OwnedFd,
    slots: Vec<Slot>,
    free: Vec<usize>,
    flows: HashMap<Key, usize>,
    connections: usize,
    most_connections: usize,
    ready: VecDeque<usize>,
    owing: Vec<usize>,
    alarms: BinaryHeap<Reverse<(Instant, usize, u32)>>,
    fragments: Fragments,
    budget: Budget,
    room: Box<[u8]>,
    events: Vec<epoll::Event>,
    /// Whether ports take nobody until a flow ends.
    full: bool,
    seed: u32,
    now: Instant,
}

impl Server {
    pub(super) fn new(parts: Parts) -> Result<Self, Errno> {
        let Parts { link, policy, ports, descriptors } = parts;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let level = epoll::EventFlags::IN;
        epoll::add(&epoll, link.descriptor(), epoll::EventData::new_u64(TAP), level)?;
        let mut seed = [0; 4];
        rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())?;
        let ports = ports.into_iter().map(|it| Port {
            socket: Rc::new(it.socket),
            container: it.container,
            protocol: it.protocol,
        });
        let mut server = Self {
            link,
            policy,
            ports: ports.collect(),
            epoll,
            slots: Vec::new(),
            free: Vec::new(),
            flows: HashMap::new(),
            connections: 0,
            most_connections: descriptors
                .saturating_sub(MOST_DATAGRAMS.min(descriptors / 2) + RESERVED)
                .min(MOST_CONNECTIONS),
            ready: VecDeque::new(),
            owing: Vec::new(),
            alarms: BinaryHeap::new(),
            fragments: Fragments::default(),
            budget: Budget::default(),
            room: vec![0; LONGEST].into_boxed_slice(),
            events: Vec::with_capacity(256),
            full: false,
            seed: u32::from_ne_bytes(seed),
            now: Instant::now(),
        };
        server.watch_ports()?;
        Ok(server)
    }

    /// Ends the loop when this descriptor becomes ready: the container's first process.
    pub(super) fn end_with(&self, container: &OwnedFd) -> Result<(), Errno> {
        let data = epoll::EventData::new_u64(CONTAINER);
        epoll::add(&self.epoll, container, data, epoll::EventFlags::IN)
    }

    /// Serves until the container has ended, or its device is gone.
    pub(super) fn serve(&mut self) -> Result<(), Errno> {
        loop {
            let until = self.alarms.peek().map(|Reverse((at, ..))| *at);
            let patience = match (self.ready.is_empty(), until) {
                (false, _) => Some(Duration::ZERO),
                (true, Some(at)) => Some(at.saturating_duration_since(Instant::now())),
                (true, None) => None,
            };
            if !self.turn(patience, None)? {
                return Ok(());
            }
        }
    }

    /// Waits, at most for `patience`, and does what is to be done by `now`. Whether there is more to come.
    pub(super) fn turn(
        &mut self,
        patience: Option<Duration>,
        now: Option<Instant>,
    ) -> Result<bool, Errno> {
        let timeout = patience.map(|patience| Timespec {
            tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
            // Not before the time has come.
            tv_nsec: patience.subsec_nanos().into(),
        });
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        let waited =
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref());
        if !matches!(waited, Ok(_) | Err(Errno::INTR)) {
            waited?;
        }
        self.now = now.unwrap_or_else(Instant::now);
        let mut goes_on = true;
        let mut frames = false;
        for event in &events {
            match event.data.u64() {
                TAP => frames = true,
                CONTAINER => goes_on = false,
                token if token > PORTS - self.ports.len() as u64 && token <= PORTS => {
                    self.take_in((PORTS - token) as usize);
                }
                token => self.notice(token, event.flags),
            }
        }
        self.events = events;
        if frames && !self.take_frames()? {
            goes_on = false;
        }
        for _ in 0..self.ready.len() {
            if let Some(id) = self.ready.pop_front() {
                self.advance(id);
            }
        }
        self.acknowledge();
        self.ring();
        Ok(goes_on)
    }

    // ---- Flows in general.

    fn notice(&mut self, token: u64, flags: epoll::EventFlags) {
        use epoll::EventFlags as Is;
        let (id, generation) = ((token & 0xffff_ffff) as usize, (token >> 32) as u32);
        let Some(slot) = self.slots.get_mut(id).filter(|slot| slot.generation == generation) else {
            return;
        };
        if let Some((_, Flow::Tcp(connection))) = &mut slot.flow {
            let hung_up = flags.intersects(Is::RDHUP | Is::HUP | Is::ERR);
            connection.notice(flags.contains(Is::IN), flags.contains(Is::OUT), hung_up);
        }
        self.make_ready(id);
    }

    fn make_ready(&mut self, id: usize) {
        if !std::mem::replace(&mut self.slots[id].is_ready, true) {
            self.ready.push_back(id);
        }
    }

    fn add(&mut self, key: Key, flow: Flow) -> Result<usize, Errno> {
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        let token = (u64::from(self.slots[id].generation) << 32) | id as u64;
        let edges = epoll::EventFlags::IN
            | epoll::EventFlags::OUT
            | epoll::EventFlags::RDHUP
            | epoll::EventFlags::ET;
        let watched = match &flow {
            Flow::Tcp(connection) => Some((connection.socket(), edges)),
            Flow::Datagrams(datagrams) => datagrams.socket().map(|it| (it, epoll::EventFlags::IN)),
            Flow::Echoes(echoes) => Some((echoes.socket(), epoll::EventFlags::IN)),
        };
        if let Some((socket, flags)) = watched
            && let Err(errno) =
                epoll::add(&self.epoll, socket, epoll::EventData::new_u64(token), flags)
        {
            self.free.push(id);
            return Err(errno);
        }
        if matches!(flow, Flow::Tcp(_)) {
            self.connections += 1;
        }
        self.slots[id].flow = Some((key, flow));
        self.flows.insert(key, id);
        self.set_alarm(id);
        Ok(id)
    }

    fn remove(&mut self, id: usize) -> Option<Flow> {
        let slot = &mut self.slots[id];
        let (key, mut flow) = slot.flow.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        slot.alarm = None;
        self.flows.remove(&key);
        self.free.push(id);
        if let Flow::Tcp(connection) = &mut flow {
            connection.close(&mut self.budget);
            // One that is to be tried another way must not wake the next that has this place.
            let _ = epoll::delete(&self.epoll, connection.socket());
            self.connections -= 1;
        }
        if std::mem::take(&mut self.full) {
            let _ = self.watch_ports();
        }
        Some(flow)
    }

    fn settle(&mut self, id: usize, fate: Fate) {
        match fate {
            Fate::Stays => self.set_alarm(id),
            Fate::Continues => {
                self.set_alarm(id);
                self.make_ready(id);
            }
            Fate::Ended => drop(self.remove(id)),
            Fate::Refused => self.refused(id),
        }
    }

    fn advance(&mut self, id: usize) {
        self.slots[id].is_ready = false;
        let Some((_, flow)) = &mut self.slots[id].flow else { return };
        let received = match flow {
            Flow::Tcp(connection) => {
                let mut turn = Turn { link: &self.link, now: self.now, budget: &mut self.budget };
                let fate = connection.advance(&mut turn);
                self.owe(id);
                return self.settle(id, fate);
            }
            Flow::Datagrams(datagrams) => {
                let received = datagrams.receive(&mut self.room, &self.link, self.now);
                if let Err(errno) = received {
                    let why = tcp::unreachable_of(errno).unwrap_or(Unreachable::Port);
                    self.link.unreachable_udp(datagrams.guest, datagrams.remote, why);
                }
                received
            }
            Flow::Echoes(echoes) => echoes.receive(&mut self.room, &self.link, self.now),
        };
        // An error has been taken off the socket: what comes behind it wakes us again.
        if received == Ok(true) {
            self.make_ready(id);
        }
        self.set_alarm(id);
    }

    fn owe(&mut self, id: usize) {
        if !std::mem::replace(&mut self.slots[id].owes, true) {
            self.owing.push(id);
        }
    }

    /// One acknowledgement for all that a turn has brought.
    fn acknowledge(&mut self) {
        while let Some(id) = self.owing.pop() {
            self.slots[id].owes = false;
            if let Some((_, Flow::Tcp(connection))) = &mut self.slots[id].flow {
                connection.acknowledge(&self.link);
            }
        }
    }

    // ---- Time.

    fn set_alarm(&mut self, id: usize) {
        let slot = &mut self.slots[id];
        let at = match &slot.flow {
            Some((_, Flow::Tcp(connection))) => connection.deadline,
            Some((_, Flow::Datagrams(datagrams))) => datagrams.deadline(),
            Some((_, Flow::Echoes(echoes))) => echoes.deadline(),
            None => return,
        };
        // A later one is found out when the earlier rings.
        if slot.alarm.is_none_or(|known| at < known) {
            slot.alarm = Some(at);
            self.alarms.push(Reverse((at, id, slot.generation)));
        }
        if self.alarms.len() > 1024 + 8 * self.slots.len() {
            let slots = &self.slots;
            let is_set = |id: usize, generation, at| {
                let slot: &Slot = &slots[id];
                slot.generation == generation && slot.alarm == Some(at)
            };
            self.alarms.retain(|Reverse((at, id, generation))| is_set(*id, *generation, *at));
        }
    }

    /// Looks at those whose time has come.
    fn ring(&mut self) {
        while let Some(Reverse((at, id, generation))) = self.alarms.peek().copied() {
            if at > self.now {
                break;
            }
            self.alarms.pop();
            let slot = &mut self.slots[id];
            if slot.generation != generation || slot.alarm != Some(at) {
                continue;
            }
            slot.alarm = None;
            match &mut slot.flow {
                Some((_, Flow::Tcp(connection))) if connection.deadline <= self.now => {
                    let mut turn =
                        Turn { link: &self.link, now: self.now, budget: &mut self.budget };
                    let fate = connection.wake(&mut turn);
                    self.settle(id, fate);
                }
                Some((_, Flow::Datagrams(datagrams))) if datagrams.deadline() <= self.now => {
                    self.remove(id);
                }
                Some((_, Flow::Echoes(echoes))) if echoes.deadline() <= self.now => {
                    self.remove(id);
                }
                Some(_) => self.set_alarm(id),
                None => {}
            }
        }
    }

    // ---- From the container.

    /// Whether the device is still there.
    fn take_frames(&mut self) -> Result<bool, Errno> {
        let mut room = std::mem::take(&mut self.room);
        let mut goes_on = true;
        for _ in 0..FRAMES {
            match self.link.receive(&mut room) {
                Ok(length) => self.take_frame(&room[..length]),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // The device was taken down, or away.
                Err(Errno::BADFD | Errno::IO) => {
                    goes_on = false;
                    break;
                }
                Err(errno) => {
                    self.room = room;
                    return Err(errno);
                }
            }
        }
        self.room = room;
        Ok(goes_on)
    }

    pub(super) fn take_frame(&mut self, bytes: &[u8]) {
        match frame::read(bytes) {
            Some(Frame::Arp(request)) => self.link.arp(&request),
            Some(Frame::Ip(packet)) => self.take_packet(&packet),
            None => {}
        }
    }

    fn take_packet(&mut self, packet: &Packet<'_>) {
        if packet.source.is_unspecified() || packet.source.is_multicast() {
            return;
        }
        if let Some(part) = packet.part {
            if let Some(whole) = self.fragments.take(packet, part, self.now) {
                self.take_packet(&Packet { payload: &whole, part: None, ..*packet });
            }
            return;
        }
        match packet.protocol {
            IpProtocol::Tcp => {
                if let Some(segment) = frame::read_tcp(packet) {
                    self.take_segment(packet, &segment);
                }
            }
            IpProtocol::Udp => {
                if let Ok(datagram) = UdpPacket::new_checked(packet.payload) {
                    self.take_datagram(
                        packet,
                        datagram.src_port(),
                        datagram.dst_port(),
                        datagram.payload(),
                    );
                }
            }
            IpProtocol::Icmp => self.take_echo(packet),
            IpProtocol::Icmpv6 => {
                self.link.neighbour(packet);
                self.take_echo6(packet);
            }
            _ => {}
        }
    }

    fn take_segment(&mut self, packet: &Packet<'_>, segment: &TcpRepr<'_>) {
        let guest = SocketAddr::new(packet.source, segment.src_port);
        let remote = SocketAddr::new(packet.target, segment.dst_port);
        let key = (u8::from(IpProtocol::Tcp), guest, remote);
        let Some(id) = self.flows.get(&key).copied() else {
            if segment.control == TcpControl::Syn && segment.ack_number.is_none() {
                self.connect(key, packet, segment);
            } else if !packet.target.is_multicast() {
                tcp::refuse(&self.link, guest, remote, segment);
            }
            return;
        };
        let Some((_, Flow::Tcp(connection))) = &mut self.slots[id].flow else { return };
        let mut turn = Turn { link: &self.link, now: self.now, budget: &mut self.budget };
        let fate = connection.take(segment, &mut turn);
        self.owe(id);
        self.settle(id, fate);
    }

    fn connect(&mut self, key: Key, packet: &Packet<'_>, request: &TcpRepr<'_>) {
        let (_, guest, remote) = key;
        let Some(target) = self.policy.way(remote, own_address) else {
            if Addresses::is_on_link(remote.ip()) {
                tcp::refuse(&self.link, guest, remote, request);
            } else if !remote.ip().is_multicast() {
                self.link.unreachable(remote.ip(), guest.ip(), packet.whole, Unreachable::Network);
            }
            return;
        };
        if self.connections >= self.most_connections {
            return tcp::refuse(&self.link, guest, remote, request);
        }
        let Ok(socket) = socket_for(target) else {
            return tcp::refuse(&self.link, guest, remote, request);
        };
        let connecting = rustix::net::connect(&socket, &target);
        let start = self.first_number();
        let mut turn = Turn { link: &self.link, now: self.now, budget: &mut self.budget };
        let mut connection = Connection::wanted(guest, remote, socket, request, start, &turn);
        if let Err(errno) = connecting
            && errno != Errno::INPROGRESS
        {
            connection.fail(errno, &mut turn);
            return;
        }
        if self.add(key, Flow::Tcp(Box::new(connection))).is_err() {
            tcp::refuse(&self.link, guest, remote, request);
        }
    }

    /// Nobody outside sees these numbers; they only must not meet those of an old connection.
    fn first_number(&mut self) -> u32 {
        self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.seed
    }

    fn take_datagram(&mut self, packet: &Packet<'_>, from: u16, to: u16, payload: &[u8]) {
        let guest = SocketAddr::new(packet.source, from);
        let remote = SocketAddr::new(packet.target, to);
        let key = (u8::from(IpProtocol::Udp), guest, remote);
        let id = match self.flows.get(&key).copied() {
            Some(id) => id,
            None => {
                let made = match self.policy.way(remote, own_address) {
                    Some(target) => {
                        self.make_place();
                        Datagrams::new(guest, remote, target, self.now)
                    }
                    None if packet.target.is_multicast() => return,
                    None if Addresses::is_on_link(packet.target) => Err(Errno::CONNREFUSED),
                    None => Err(Errno::NETUNREACH),
                };
                let added = made.and_then(|made| self.add(key, Flow::Datagrams(made)));
                match added {
                    Ok(id) => id,
                    Err(errno) => return self.tell_unreachable(packet, errno),
                }
            }
        };
        let Some((_, Flow::Datagrams(datagrams))) = &mut self.slots[id].flow else { return };
        let sent = match datagrams.send(payload, self.now) {
            // That is what became of the one before.
            Err(Errno::CONNREFUSED) => {
                self.link.unreachable(
                    packet.target,
                    packet.source,
                    packet.whole,
                    Unreachable::Port,
                );
                datagrams.send(payload, self.now)
            }
            other => other,
        };
        if let Err(errno) = sent
            && tcp::unreachable_of(errno).is_some()
        {
            self.tell_unreachable(packet, errno);
        }
        self.set_alarm(id);
    }

    fn tell_unreachable(&self, packet: &Packet<'_>, errno: Errno) {
        let why = tcp::unreachable_of(errno).unwrap_or(Unreachable::Port);
        self.link.unreachable(packet.target, packet.source, packet.whole, why);
    }

    /// Where there are too many flows without connections, the one goes that would go next.
    fn make_place(&mut self) {
        if self.flows.len() - self.connections < MOST_DATAGRAMS {
            return;
        }
        let next = self.slots.iter().enumerate().filter_map(|(id, slot)| match &slot.flow {
            Some((_, Flow::Datagrams(it))) => Some((it.deadline(), id)),
            Some((_, Flow::Echoes(it))) => Some((it.deadline(), id)),
            Some((_, Flow::Tcp(_))) | None => None,
        });
        if let Some((_, id)) = next.min() {
            self.remove(id);
        }
    }

    fn take_echo(&mut self, packet: &Packet<'_>) {
        let Ok(message) = Icmpv4Packet::new_checked(packet.payload) else { return };
        if let Ok(Icmpv4Repr::EchoRequest { ident, seq_no, data }) =
            Icmpv4Repr::parse(&message, &ChecksumCapabilities::ignored())
        {
            self.echo(packet, ident, seq_no, data);
        }
    }

    fn take_echo6(&mut self, packet: &Packet<'_>) {
        let (IpAddr::V6(source), IpAddr::V6(target)) = (packet.source, packet.target) else {
            return;
        };
        let Ok(message) = Icmpv6Packet::new_checked(packet.payload) else { return };
        if let Ok(Icmpv6Repr::EchoRequest { ident, seq_no, data }) =
            Icmpv6Repr::parse(&source, &target, &message, &ChecksumCapabilities::ignored())
        {
            self.echo(packet, ident, seq_no, data);
        }
    }

    fn echo(&mut self, packet: &Packet<'_>, ident: u16, number: u16, data: &[u8]) {
        // The server itself.
        if self.policy.addresses.is_gateway(packet.target)
            || Addresses::resolver(packet.target).is_some()
        {
            return self.link.echo_reply(packet.target, packet.source, ident, number, data);
        }
        let guest = SocketAddr::new(packet.source, ident);
        let remote = SocketAddr::new(packet.target, 0);
        let key = (u8::from(packet.protocol), guest, remote);
        let id = match self.flows.get(&key).copied() {
            Some(id) => id,
            None => {
                // Echo has no ports, which the policy wants.
                let any = SocketAddr::new(packet.target, 7);
                let made = match self.policy.way(any, own_address) {
                    Some(_) => {
                        self.make_place();
                        Echoes::new(guest, remote, remote, self.now)
                    }
                    None if packet.target.is_multicast() => return,
                    None if Addresses::is_on_link(packet.target) => Err(Errno::HOSTUNREACH),
                    None => Err(Errno::NETUNREACH),
                };
                match made.and_then(|made| self.add(key, Flow::Echoes(made))) {
                    Ok(id) => id,
                    Err(errno) => return self.tell_unreachable(packet, errno),
                }
            }
        };
        let Some((_, Flow::Echoes(echoes))) = &mut self.slots[id].flow else { return };
        if let Err(errno) = echoes.send(number, data, self.now) {
            self.tell_unreachable(packet, errno);
        }
        self.set_alarm(id);
    }

    // ---- By published ports.

    fn watch_ports(&mut self) -> Result<(), Errno> {
        for (place, port) in self.ports.iter().enumerate() {
            let data = epoll::EventData::new_u64(PORTS - place as u64);
            match epoll::add(&self.epoll, &port.socket, data, epoll::EventFlags::IN) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Takes in who has come by a port.
    fn take_in(&mut self, place: usize) {
        let (socket, container) =
            (Rc::clone(&self.ports[place].socket), self.ports[place].container);
        for _ in 0..FRAMES {
            let taken = match self.ports[place].protocol {
                Protocol::Tcp => self.take_connection(&socket, container),
                Protocol::Udp => self.take_from_port(&socket, container),
            };
            match taken {
                Ok(()) | Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => {
                    // Nothing more can be taken, and asking again at once would be a loop.
                    for port in &self.ports {
                        let _ = epoll::delete(&self.epoll, &port.socket);
                    }
                    self.full = true;
                    break;
                }
            }
        }
    }

    fn take_connection(&mut self, socket: &OwnedFd, container: u16) -> Result<(), Errno> {
        if self.connections >= self.most_connections {
            return Err(Errno::MFILE);
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (socket, peer) = rustix::net::acceptfrom_with(socket, flags)?;
        let Some(peer) = peer.and_then(|peer| SocketAddr::try_from(peer).ok()) else {
            return Ok(());
        };
        prepare(&socket);
        self.offer(socket, peer, peer.is_ipv6(), container);
        Ok(())
    }

    /// Opens a connection in the container for somebody outside.
    fn offer(&mut self, socket: OwnedFd, peer: SocketAddr, six: bool, container: u16) {
        let (guest, gateway) = self.guest(six, container);
        let Some(key) = self.free_key(IpProtocol::Tcp, guest, publish::face(peer, gateway)) else {
            return;
        };
        let start = self.first_number();
        let turn = Turn { link: &self.link, now: self.now, budget: &mut self.budget };
        let connection = Connection::offered(guest, key.2, socket, start, &turn);
        // One that cannot be watched is let go of, which resets it.
        let _ = self.add(key, Flow::Tcp(Box::new(connection)));
    }

    fn guest(&self, six: bool, port: u16) -> (SocketAddr, IpAddr) {
        let Addresses { guest, guest6, gateway, gateway6 } = self.policy.addresses;
        match six {
            true => (SocketAddr::new(guest6.into(), port), gateway6.into()),
            false => (SocketAddr::new(guest.into(), port), gateway.into()),
        }
    }

    /// Another port for who would be taken for somebody else.
    fn free_key(
        &mut self,
        protocol: IpProtocol,
        guest: SocketAddr,
        face: SocketAddr,
    ) -> Option<Key> {
        let mut key = (u8::from(protocol), guest, face);
        for _ in 0..64 {
            if !self.flows.contains_key(&key) {
                return Some(key);
            }
            let port = 32_768 + (self.first_number() >> 16) % 28_000;
            key.2.set_port(u16::try_from(port).unwrap_or(u16::MAX));
        }
        None
    }

    /// The container takes no connection: by IPv4 it may, if this was by IPv6.
    fn refused(&mut self, id: usize) {
        let Some(Flow::Tcp(connection)) = self.remove(id) else { return };
        let (guest, socket) = (connection.guest(), connection.into_socket());
        let peer = rustix::net::getpeername(&socket).ok().flatten();
        match peer.and_then(|peer| SocketAddr::try_from(peer).ok()) {
            Some(peer) if guest.is_ipv6() => self.offer(socket, peer, false, guest.port()),
            _ => {
                let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
            }
        }
    }

    fn take_from_port(&mut self, socket: &Rc<OwnedFd>, container: u16) -> Result<(), Errno> {
        let mut room = std::mem::take(&mut self.room);
        let taken = rustix::net::recvfrom(socket, &mut *room, RecvFlags::empty());
        if let Ok((_, length, Some(peer))) = &taken
            && let Ok(peer) = SocketAddr::try_from(peer.clone())
        {
            self.take_from(socket, peer, container, &room[..(*length).min(room.len())]);
        }
        self.room = room;
        match taken {
            // An answer to something that was sent back.
            Ok(_) | Err(Errno::CONNREFUSED | Errno::HOSTUNREACH | Errno::NETUNREACH) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn take_from(
        &mut self,
        socket: &Rc<OwnedFd>,
        peer: SocketAddr,
        container: u16,
        payload: &[u8],
    ) {
        let (guest, gateway) = self.guest(peer.is_ipv6(), container);
        let face = publish::face(peer, gateway);
        let key = (u8::from(IpProtocol::Udp), guest, face);
        let known = self.flows.get(&key).copied();
        let is_of = |id: usize| matches!(&self.slots[id].flow, Some((_, Flow::Datagrams(it))) if it.is_of(peer));
        let id = match known {
            Some(id) if is_of(id) => id,
            _ => {
                self.make_place();
                let Some(key) = self.free_key(IpProtocol::Udp, guest, face) else { return };
                let flow = Datagrams::published(guest, key.2, Rc::clone(socket), peer, self.now);
                match self.add(key, Flow::Datagrams(flow)) {
                    Ok(id) => id,
                    Err(_) => return,
                }
            }
        };
        if let Some((_, Flow::Datagrams(datagrams))) = &mut self.slots[id].flow {
            datagrams.pass(payload, &self.link, self.now);
        }
        self.set_alarm(id);
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.flows.len()
    }
}

/// A socket for a connection to `target`.
fn socket_for(target: SocketAddr) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family(target), SocketType::STREAM, flags, None)?;
    prepare(&socket);
    Ok(socket)
}

/// The container's kernel has collected what belongs together; and who has gone is to be noticed.
fn prepare(socket: &OwnedFd) {
    let _ = sockopt::set_tcp_nodelay(socket, true);
    let _ = sockopt::set_socket_keepalive(socket, true);
}

/// The host's own address towards others: what it would send from.
fn own_address(six: bool) -> Option<IpAddr> {
    let anybody: SocketAddr = match six {
        // Documentation's (RFC 5737, RFC 3849): nothing is sent.
        false => (Ipv4Addr::new(192, 0, 2, 1), 9).into(),
        true => (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9).into(),
    };
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family(anybody), SocketType::DGRAM, flags, None).ok()?;
    rustix::net::connect(&socket, &anybody).ok()?;
    let own = rustix::net::getsockname(socket.as_fd()).ok()?;
    SocketAddr::try_from(own).ok().map(|own| own.ip())
}

#[cfg(test)]
mod tests;
