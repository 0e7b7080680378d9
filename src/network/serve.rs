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

use super::control::{DONE, Word};
use super::datagram::{Datagrams, Echoes, family};
use super::fragments::Fragments;
use super::frame::{self, Frame, LONGEST, Link, Packet, Unreachable};
use super::peers::{Card, Peers, spoken};
use super::policy::Policy;
use super::publish::{self, Opened};
use super::ring::Budget;
use super::tcp::{self, Connection, Fate, Turn};
use super::{LinkPlan, Mac, Membership, Protocol, messages, names};

/// Frames taken before it is the sockets' turn.
const FRAMES: usize = 64;
/// Connections at most, below what descriptors there are.
const MOST_CONNECTIONS: usize = 16 << 10;
/// Pairs that talk in datagrams at most; the longest silent gives way.
const MOST_DATAGRAMS: usize = 2 << 10;
/// Descriptors that are not a flow's.
const RESERVED: usize = 64;

/// What becomes ready besides flows, in place of a flow's generation; the number of which one stands
/// below.
const DEVICE: u64 = 1 << 63;
const CONTAINER: u64 = DEVICE | 1 << 32;
const PORT: u64 = DEVICE | 2 << 32;
/// Who comes to a link.
const ARRIVAL: u64 = DEVICE | 3 << 32;
/// Somebody on a link: its place there in the upper half of the number.
const PEER: u64 = DEVICE | 4 << 32;
const CONTROL: u64 = DEVICE | 5 << 32;
const TELLER: u64 = DEVICE | 6 << 32;
/// Generations stay below all those.
const GENERATIONS: u32 = 0x7fff_ffff;

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
    /// The link that it is on.
    link: usize,
    flow: Option<(Key, Flow)>,
    is_ready: bool,
    owes: bool,
    /// The earliest time at which it is looked at.
    alarm: Option<Instant>,
}

/// What a server is made of.
#[derive(Debug)]
pub(super) struct Parts {
    /// The host's, in order.
    pub(super) resolvers: Vec<SocketAddr>,
    pub(super) ports: Vec<Opened>,
    /// Where it is told of links that come and go.
    pub(super) control: Option<OwnedFd>,
    /// Descriptors that this process may have.
    pub(super) descriptors: usize,
}

/// A link that is to be served.
#[derive(Debug)]
pub(super) struct Joining {
    pub(super) plan: LinkPlan,
    pub(super) tap: OwnedFd,
    pub(super) membership: Option<Membership>,
}

/// A link that is served.
#[derive(Debug)]
struct Attached {
    network: String,
    names: Vec<String>,
    mac: Mac,
    link: Link,
    policy: Policy,
    peers: Peers,
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
    /// Places are kept: flows know theirs.
    links: Vec<Option<Attached>>,
    resolvers: Vec<SocketAddr>,
    control: Option<OwnedFd>,
    /// Who tells of links.
    teller: Option<OwnedFd>,
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
        let Parts { resolvers, ports, control, descriptors } = parts;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        if let Some(control) = &control {
            watch(&epoll, control, CONTROL)?;
        }
        let mut seed = [0; 4];
        rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())?;
        let ports = ports.into_iter().map(|it| Port {
            socket: Rc::new(it.socket),
            container: it.container,
            protocol: it.protocol,
        });
        let mut server = Self {
            links: Vec::new(),
            resolvers,
            control,
            teller: None,
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
        watch(&self.epoll, container, CONTAINER)
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
        for event in &events {
            let token = event.data.u64();
            let number = (token & 0xffff_ffff) as usize;
            match token & !0xffff_ffff {
                // Behind what came by sockets, as that may be what it is about.
                DEVICE => {}
                CONTAINER => goes_on = false,
                PORT => self.take_in(number),
                ARRIVAL => self.meet_arrivals(number),
                PEER => self.hear(number & 0xffff, number >> 16),
                CONTROL => self.take_teller(),
                TELLER => self.listen(),
                _ => self.notice(token, event.flags),
            }
        }
        for event in &events {
            let token = event.data.u64();
            if token & !0xffff_ffff == DEVICE
                && !self.take_frames((token & 0xffff_ffff) as usize)?
            {
                goes_on = false;
            }
        }
        self.events = events;
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

    fn add(&mut self, link: usize, key: Key, flow: Flow) -> Result<usize, Errno> {
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
        self.slots[id].link = link;
        self.slots[id].flow = Some((key, flow));
        self.flows.insert(key, id);
        self.set_alarm(id);
        Ok(id)
    }

    fn remove(&mut self, id: usize) -> Option<Flow> {
        let slot = &mut self.slots[id];
        let (key, mut flow) = slot.flow.take()?;
        slot.generation = slot.generation.wrapping_add(1) & GENERATIONS;
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
        let slot = &mut self.slots[id];
        slot.is_ready = false;
        let Some((_, flow)) = &mut slot.flow else { return };
        let Some(Attached { link, .. }) = &self.links[slot.link] else { return };
        let received = match flow {
            Flow::Tcp(connection) => {
                let mut turn = Turn { link, now: self.now, budget: &mut self.budget };
                let fate = connection.advance(&mut turn);
                self.owe(id);
                return self.settle(id, fate);
            }
            Flow::Datagrams(datagrams) => {
                let received = datagrams.receive(&mut self.room, link, self.now);
                if let Err(errno) = received {
                    let why = tcp::unreachable_of(errno).unwrap_or(Unreachable::Port);
                    link.unreachable_udp(datagrams.guest, datagrams.remote, why);
                }
                received
            }
            Flow::Echoes(echoes) => echoes.receive(&mut self.room, link, self.now),
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
            let slot = &mut self.slots[id];
            slot.owes = false;
            if let (Some((_, Flow::Tcp(connection))), Some(attached)) =
                (&mut slot.flow, &self.links[slot.link])
            {
                connection.acknowledge(&attached.link);
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
                    let Some(Attached { link, .. }) = &self.links[slot.link] else { continue };
                    let mut turn = Turn { link, now: self.now, budget: &mut self.budget };
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

    /// Whether the device is still there, or another one.
    fn take_frames(&mut self, place: usize) -> Result<bool, Errno> {
        let mut room = std::mem::take(&mut self.room);
        let mut goes_on = Ok(true);
        for _ in 0..FRAMES {
            let Some(Some(attached)) = self.links.get(place) else { break };
            match attached.link.receive(&mut room) {
                Ok(length) => self.take_frame(place, &room[..length]),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // The device was taken down, or away.
                Err(Errno::BADFD | Errno::IO) => {
                    self.drop_link(place);
                    goes_on = Ok(self.control.is_some() || self.links.iter().any(Option::is_some));
                    break;
                }
                Err(errno) => {
                    goes_on = Err(errno);
                    break;
                }
            }
        }
        self.room = room;
        goes_on
    }

    pub(super) fn take_frame(&mut self, place: usize, bytes: &[u8]) {
        let Some(Some(attached)) = self.links.get(place) else { return };
        match frame::read(bytes) {
            Some(Frame::Arp(request)) => attached.link.arp(&request, |ip| attached.owner(ip)),
            Some(Frame::Ip(packet)) if attached.pass(bytes, &packet) => {}
            Some(Frame::Ip(packet)) => self.take_packet(place, &packet),
            None => {}
        }
    }

    fn take_packet(&mut self, place: usize, packet: &Packet<'_>) {
        if packet.source.is_unspecified() || packet.source.is_multicast() {
            return;
        }
        if let Some(part) = packet.part {
            if let Some(whole) = self.fragments.take(packet, part, self.now) {
                self.take_packet(place, &Packet { payload: &whole, part: None, ..*packet });
            }
            return;
        }
        match packet.protocol {
            IpProtocol::Tcp => {
                if let Some(segment) = frame::read_tcp(packet) {
                    self.take_segment(place, packet, &segment);
                }
            }
            IpProtocol::Udp => {
                if let Ok(datagram) = UdpPacket::new_checked(packet.payload) {
                    self.take_datagram(
                        place,
                        packet,
                        datagram.src_port(),
                        datagram.dst_port(),
                        datagram.payload(),
                    );
                }
            }
            IpProtocol::Icmp => self.take_echo(place, packet),
            IpProtocol::Icmpv6 => {
                if let Some(attached) = &self.links[place] {
                    attached.link.neighbour(packet, |ip| attached.owner(ip));
                }
                self.take_echo6(place, packet);
            }
            _ => {}
        }
    }

    fn take_segment(&mut self, place: usize, packet: &Packet<'_>, segment: &TcpRepr<'_>) {
        let guest = SocketAddr::new(packet.source, segment.src_port);
        let remote = SocketAddr::new(packet.target, segment.dst_port);
        let key = (u8::from(IpProtocol::Tcp), guest, remote);
        let Some(id) = self.flows.get(&key).copied() else {
            if segment.control == TcpControl::Syn && segment.ack_number.is_none() {
                self.connect(place, key, packet, segment);
            } else if let (false, Some(attached)) =
                (packet.target.is_multicast(), &self.links[place])
            {
                tcp::refuse(&attached.link, guest, remote, segment);
            }
            return;
        };
        let slot = &mut self.slots[id];
        let Some((_, Flow::Tcp(connection))) = &mut slot.flow else { return };
        let Some(Attached { link, .. }) = &self.links[slot.link] else { return };
        let mut turn = Turn { link, now: self.now, budget: &mut self.budget };
        let fate = connection.take(segment, &mut turn);
        self.owe(id);
        self.settle(id, fate);
    }

    fn connect(&mut self, place: usize, key: Key, packet: &Packet<'_>, request: &TcpRepr<'_>) {
        let (_, guest, remote) = key;
        let start = self.first_number();
        let Some(Attached { link, policy, .. }) = &self.links[place] else { return };
        let Some(target) = policy.way(remote, own_address) else {
            match policy.nowhere(remote.ip()) {
                Some(Unreachable::Port) => tcp::refuse(link, guest, remote, request),
                Some(why) => link.unreachable(remote.ip(), guest.ip(), packet.whole, why),
                None => {}
            }
            return;
        };
        if self.connections >= self.most_connections {
            return tcp::refuse(link, guest, remote, request);
        }
        let Ok(socket) = socket_for(target) else {
            return tcp::refuse(link, guest, remote, request);
        };
        let connecting = rustix::net::connect(&socket, &target);
        let mut turn = Turn { link, now: self.now, budget: &mut self.budget };
        let mut connection = Connection::wanted(guest, remote, socket, request, start, &turn);
        if let Err(errno) = connecting
            && errno != Errno::INPROGRESS
        {
            connection.fail(errno, &mut turn);
            return;
        }
        if self.add(place, key, Flow::Tcp(Box::new(connection))).is_err()
            && let Some(Attached { link, .. }) = &self.links[place]
        {
            tcp::refuse(link, guest, remote, request);
        }
    }

    /// Nobody outside sees these numbers; they only must not meet those of an old connection.
    fn first_number(&mut self) -> u32 {
        self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.seed
    }

    fn take_datagram(
        &mut self,
        place: usize,
        packet: &Packet<'_>,
        from: u16,
        to: u16,
        payload: &[u8],
    ) {
        let guest = SocketAddr::new(packet.source, from);
        let remote = SocketAddr::new(packet.target, to);
        let key = (u8::from(IpProtocol::Udp), guest, remote);
        if self.answer_name(place, guest, remote, payload) {
            return;
        }
        self.give_up_resolver(place, &key);
        let id = match self.flows.get(&key).copied() {
            Some(id) => id,
            None => match self.start_datagrams(place, key) {
                Ok(Some(id)) => id,
                Ok(None) => return,
                Err(errno) => return self.tell_unreachable(place, packet, errno),
            },
        };
        let Some((_, Flow::Datagrams(datagrams))) = &mut self.slots[id].flow else { return };
        let sent = match datagrams.send(payload, self.now) {
            // That is what became of the one before.
            Err(Errno::CONNREFUSED) => {
                let again = datagrams.send(payload, self.now);
                self.tell_unreachable(place, packet, Errno::CONNREFUSED);
                again
            }
            other => other,
        };
        if let Err(errno) = sent
            && tcp::unreachable_of(errno).is_some()
        {
            self.tell_unreachable(place, packet, errno);
        }
        self.set_alarm(id);
    }

    /// `None` where nobody is told that nobody is there.
    fn start_datagrams(&mut self, place: usize, key: Key) -> Result<Option<usize>, Errno> {
        let (_, guest, remote) = key;
        let Some(Attached { policy, .. }) = &self.links[place] else { return Ok(None) };
        let Some(target) = policy.way(remote, own_address) else {
            return match policy.nowhere(remote.ip()) {
                Some(why) => Err(why.errno()),
                None => Ok(None),
            };
        };
        self.make_place();
        let made = Datagrams::new(guest, remote, target, self.now)?;
        self.add(place, key, Flow::Datagrams(made)).map(Some)
    }

    fn tell_unreachable(&self, place: usize, packet: &Packet<'_>, errno: Errno) {
        let why = tcp::unreachable_of(errno).unwrap_or(Unreachable::Port);
        if let Some(Attached { link, .. }) = &self.links[place] {
            link.unreachable(packet.target, packet.source, packet.whole, why);
        }
    }

    // ---- Names.

    /// Whether it was a question that is answered here: for a name on the links, or for one outside
    /// where nothing is outside.
    fn answer_name(
        &self,
        place: usize,
        guest: SocketAddr,
        remote: SocketAddr,
        query: &[u8],
    ) -> bool {
        let Some(Attached { link, policy, .. }) = &self.links[place] else { return false };
        if !policy.answers_names(remote) {
            return false;
        }
        let answer = names::answer(query, &Everybody(&self.links));
        let answer = answer.or_else(|| names::deny(query).filter(|_| policy.internal));
        if let Some(answer) = &answer {
            link.udp(remote, guest, answer);
        }
        answer.is_some()
    }

    /// Who asks again has had no answer: another of the host's resolvers is asked from then on.
    fn give_up_resolver(&mut self, place: usize, key: &Key) {
        let Some(Some(Attached { policy, .. })) = self.links.get_mut(place) else { return };
        let Some(id) = self.flows.get(key).copied().filter(|_| policy.answers_names(key.2)) else {
            return;
        };
        if let Some((_, Flow::Datagrams(it))) = &self.slots[id].flow
            && it.is_unanswered_since(self.now)
        {
            policy.asked = policy.asked.wrapping_add(1);
            self.remove(id);
        }
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

    fn take_echo(&mut self, place: usize, packet: &Packet<'_>) {
        let Ok(message) = Icmpv4Packet::new_checked(packet.payload) else { return };
        if let Ok(Icmpv4Repr::EchoRequest { ident, seq_no, data }) =
            Icmpv4Repr::parse(&message, &ChecksumCapabilities::ignored())
        {
            self.echo(place, packet, ident, seq_no, data);
        }
    }

    fn take_echo6(&mut self, place: usize, packet: &Packet<'_>) {
        let (IpAddr::V6(source), IpAddr::V6(target)) = (packet.source, packet.target) else {
            return;
        };
        let Ok(message) = Icmpv6Packet::new_checked(packet.payload) else { return };
        if let Ok(Icmpv6Repr::EchoRequest { ident, seq_no, data }) =
            Icmpv6Repr::parse(&source, &target, &message, &ChecksumCapabilities::ignored())
        {
            self.echo(place, packet, ident, seq_no, data);
        }
    }

    fn echo(&mut self, place: usize, packet: &Packet<'_>, ident: u16, number: u16, data: &[u8]) {
        let Some(Attached { link, policy, .. }) = &self.links[place] else { return };
        // The server itself.
        if policy.addresses.is_gateway(packet.target)
            || policy.addresses.resolver(packet.target).is_some()
        {
            return link.echo_reply(packet.target, packet.source, ident, number, data);
        }
        let guest = SocketAddr::new(packet.source, ident);
        let remote = SocketAddr::new(packet.target, 0);
        let key = (u8::from(packet.protocol), guest, remote);
        let id = match self.flows.get(&key).copied() {
            Some(id) => id,
            None => match self.start_echoes(place, key) {
                Ok(Some(id)) => id,
                Ok(None) => return,
                Err(errno) => return self.tell_unreachable(place, packet, errno),
            },
        };
        let Some((_, Flow::Echoes(echoes))) = &mut self.slots[id].flow else { return };
        if let Err(errno) = echoes.send(number, data, self.now) {
            self.tell_unreachable(place, packet, errno);
        }
        self.set_alarm(id);
    }

    fn start_echoes(&mut self, place: usize, key: Key) -> Result<Option<usize>, Errno> {
        let (_, guest, remote) = key;
        let Some(Attached { policy, .. }) = &self.links[place] else { return Ok(None) };
        // Echo has no ports, which the policy wants.
        if policy.way(SocketAddr::new(remote.ip(), 7), own_address).is_none() {
            return match policy.nowhere(remote.ip()) {
                Some(Unreachable::Network) => Err(Errno::NETUNREACH),
                Some(_) => Err(Errno::HOSTUNREACH),
                None => Ok(None),
            };
        }
        self.make_place();
        let made = Echoes::new(guest, remote, remote, self.now)?;
        self.add(place, key, Flow::Echoes(made)).map(Some)
    }

    // ---- Links that come and go.

    /// Serves another link. Its descriptors do not block.
    pub(super) fn join(&mut self, joining: Joining) -> Result<(), Errno> {
        let Joining { plan, tap, membership } = joining;
        let (listener, others) = match membership {
            Some(Membership { listener, peers }) => (Some(listener), peers),
            None => (None, Vec::new()),
        };
        let attached = Attached {
            peers: Peers::new(&plan, listener),
            link: Link::new(tap, plan.mac, plan.mtu),
            policy: Policy {
                addresses: plan.addresses,
                host_loopback: plan.host_loopback,
                resolvers: self.resolvers.clone(),
                asked: 0,
                internal: plan.internal,
            },
            mac: plan.mac,
            network: plan.network,
            names: spoken(&plan.names),
        };
        let place = self.links.iter().position(Option::is_none).unwrap_or(self.links.len());
        watch(&self.epoll, attached.link.tap(), DEVICE | place as u64)?;
        if let Some(listener) = attached.peers.listener() {
            watch(&self.epoll, listener, ARRIVAL | place as u64)?;
        }
        match self.links.get_mut(place) {
            Some(free) => *free = Some(attached),
            None => self.links.push(Some(attached)),
        }
        for socket in others {
            self.greet(place, socket);
        }
        Ok(())
    }

    /// Somebody who is gone again is nobody.
    fn greet(&mut self, place: usize, socket: OwnedFd) {
        let Some(Some(Attached { link, peers, .. })) = self.links.get_mut(place) else { return };
        let Ok(peer) = peers.greet(socket, link.tap()) else { return };
        if let Some(socket) = peers.socket(peer) {
            let _ = watch(&self.epoll, socket, PEER | (peer as u64) << 16 | place as u64);
        }
    }

    fn meet_arrivals(&mut self, place: usize) {
        while let Some(Some(attached)) = self.links.get(place) {
            let Ok(socket) = attached.peers.accept() else { return };
            self.greet(place, socket);
        }
    }

    fn hear(&mut self, place: usize, peer: usize) {
        let Some(Some(attached)) = self.links.get_mut(place) else { return };
        if let Some(gone) = attached.peers.hear(peer, &mut self.room) {
            let _ = epoll::delete(&self.epoll, gone);
        }
    }

    /// With its flows.
    fn drop_link(&mut self, place: usize) {
        for id in 0..self.slots.len() {
            if self.slots[id].link == place {
                self.remove(id);
            }
        }
        if let Some(gone) = self.links[place].take() {
            // Others have it open too, so that closing it does not end what is told of it (epoll(7)).
            let _ = epoll::delete(&self.epoll, gone.link.tap());
        }
    }

    fn rename(&mut self, place: usize, names: &[String]) {
        let Some(Some(Attached { link, peers, names: known, .. })) = self.links.get_mut(place)
        else {
            return;
        };
        *known = spoken(names);
        peers.rename(known.clone(), link.tap());
    }

    fn take_teller(&mut self) {
        let Some(control) = &self.control else { return };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // One at a time, and the last that came: who is not heard out tries again.
        if let Ok(teller) = rustix::net::accept_with(control, flags)
            && watch(&self.epoll, &teller, TELLER).is_ok()
        {
            self.teller = Some(teller);
        }
    }

    fn listen(&mut self) {
        let Some(teller) = &self.teller else { return };
        let received = messages::receive(teller, &mut self.room[..messages::LONGEST]);
        let (length, mut descriptors) = match received {
            Err(Errno::AGAIN) => return,
            Err(_) | Ok((0, _)) => {
                self.teller = None;
                return;
            }
            Ok(received) => received,
        };
        let last = descriptors.pop();
        let done = match (serde_json::from_slice(&self.room[..length]), descriptors.pop(), last) {
            (Ok(Word::Join(plan)), tap, Some(last)) => {
                // The device first; of a private network there is nothing else.
                let (tap, membership) = match tap {
                    Some(tap) => (tap, Some(Membership { listener: last, peers: Vec::new() })),
                    None => (last, None),
                };
                self.join(Joining { plan, tap, membership }).is_ok()
            }
            (Ok(Word::Meet(network)), _, Some(socket)) => match self.place_of(&network) {
                Some(place) => {
                    self.greet(place, socket);
                    true
                }
                None => false,
            },
            (Ok(Word::Leave(network)), ..) => match self.place_of(&network) {
                Some(place) => {
                    self.drop_link(place);
                    true
                }
                None => false,
            },
            (Ok(Word::Call(network, names)), ..) => match self.place_of(&network) {
                Some(place) => {
                    self.rename(place, &names);
                    true
                }
                None => false,
            },
            _ => false,
        };
        if let (true, Some(teller)) = (done, &self.teller) {
            let _ = messages::send(teller, DONE, &[]);
        } else {
            self.teller = None;
        }
    }

    fn place_of(&self, network: &str) -> Option<usize> {
        let is = |it: &Option<Attached>| it.as_ref().is_some_and(|it| it.network == network);
        self.links.iter().position(is)
    }

    // ---- By published ports.

    fn watch_ports(&mut self) -> Result<(), Errno> {
        for (place, port) in self.ports.iter().enumerate() {
            match watch(&self.epoll, &port.socket, PORT | place as u64) {
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

    /// Opens a connection in the container for somebody outside, by the way that leads out.
    fn offer(&mut self, socket: OwnedFd, peer: SocketAddr, six: bool, container: u16) {
        let Some((place, guest, face)) = self.way_in(peer, six, container) else { return };
        let Some(key) = self.free_key(IpProtocol::Tcp, guest, face) else { return };
        let start = self.first_number();
        let Some(Attached { link, .. }) = &self.links[place] else { return };
        let turn = Turn { link, now: self.now, budget: &mut self.budget };
        let connection = Connection::offered(guest, key.2, socket, start, &turn);
        // One that cannot be watched is let go of, which resets it.
        let _ = self.add(place, key, Flow::Tcp(Box::new(connection)));
    }

    /// The link that leads out, the container's end there, and how it sees the other.
    fn way_in(
        &self,
        peer: SocketAddr,
        six: bool,
        port: u16,
    ) -> Option<(usize, SocketAddr, SocketAddr)> {
        let mut links = self.links.iter().enumerate();
        let (place, policy) = links.find_map(|(place, it)| {
            let policy = &it.as_ref()?.policy;
            (!policy.internal).then_some((place, policy))
        })?;
        let addresses = &policy.addresses;
        let (guest, gateway): (IpAddr, IpAddr) = match &addresses.six {
            Some(it) if six => (it.guest.into(), it.gateway.into()),
            _ => (addresses.guest.into(), addresses.gateway.into()),
        };
        let face = publish::face(peer, gateway, addresses);
        Some((place, SocketAddr::new(guest, port), face))
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
        let Some((place, guest, face)) = self.way_in(peer, peer.is_ipv6(), container) else {
            return;
        };
        let key = (u8::from(IpProtocol::Udp), guest, face);
        let known = self.flows.get(&key).copied();
        let is_of = |id: usize| matches!(&self.slots[id].flow, Some((_, Flow::Datagrams(it))) if it.is_of(peer));
        let id = match known {
            Some(id) if is_of(id) => id,
            _ => {
                self.make_place();
                let Some(key) = self.free_key(IpProtocol::Udp, guest, face) else { return };
                let flow = Datagrams::published(guest, key.2, Rc::clone(socket), peer, self.now);
                match self.add(place, key, Flow::Datagrams(flow)) {
                    Ok(id) => id,
                    Err(_) => return,
                }
            }
        };
        if let (Some((_, Flow::Datagrams(datagrams))), Some(Attached { link, .. })) =
            (&mut self.slots[id].flow, &self.links[place])
        {
            datagrams.pass(payload, link, self.now);
        }
        self.set_alarm(id);
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.flows.len()
    }
}

impl Attached {
    /// The hardware address of another on the link.
    fn owner(&self, address: IpAddr) -> Option<Mac> {
        self.peers.at(address).map(|(mac, _)| mac)
    }

    /// Passes on what is for others on the link; whether it was. Nobody sends in another's name.
    fn pass(&self, bytes: &[u8], packet: &Packet<'_>) -> bool {
        let addresses = &self.policy.addresses;
        if !addresses.shared || !addresses.is_guest(packet.source) {
            return false;
        }
        if let Some((mac, device)) = self.peers.at(packet.target) {
            frame::pass(bytes, self.mac, Some(mac), device);
            return true;
        }
        let for_many = packet.protocol == IpProtocol::Udp && addresses.is_for_many(packet.target);
        for device in self.peers.devices().filter(|_| for_many) {
            frame::pass(bytes, self.mac, None, device);
        }
        for_many
    }
}

/// Everybody on all links of the container, by name, and the container itself.
struct Everybody<'a>(&'a [Option<Attached>]);

impl names::Directory for Everybody<'_> {
    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        let mut found = Vec::new();
        for it in self.0.iter().flatten() {
            let has = |names: &[String]| names.iter().any(|known| known == name);
            if has(&it.names) {
                found.push(it.policy.addresses.guest.into());
                found.extend(it.policy.addresses.six.as_ref().map(|six| IpAddr::from(six.guest)));
            }
            found
                .extend(it.peers.cards().filter(|card| has(&card.names)).flat_map(Card::addresses));
        }
        Some(found).filter(|found| !found.is_empty())
    }

    fn name(&self, address: IpAddr) -> Option<String> {
        self.0.iter().flatten().find_map(|it| {
            if it.policy.addresses.shared && it.policy.addresses.is_guest(address) {
                return it.names.first().cloned();
            }
            let mut cards = it.peers.cards();
            cards
                .find(|card| card.addresses().any(|known| known == address))?
                .names
                .first()
                .cloned()
        })
    }
}

fn watch(epoll: &OwnedFd, descriptor: &OwnedFd, token: u64) -> Result<(), Errno> {
    epoll::add(epoll, descriptor, epoll::EventData::new_u64(token), epoll::EventFlags::IN)
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
