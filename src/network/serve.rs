//! The loop: frames from the container, sockets of the host, time.
#![allow(clippy::cast_possible_truncation)] // tokens and places: numbers made here
#![allow(clippy::single_match_else)] // found, or made: the two ways stand side by side

mod bundle;
mod links;
mod packets;
mod ports;
mod questions;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, SocketType, sockopt};

use self::bundle::Bundle;
use self::links::Attached;
use self::ports::Port;
use self::questions::{Answers, Questions};
use super::datagram::{Datagrams, Echoes, family};
use super::fragments::Fragments;
use super::frame::{LONGEST, Unreachable};
use super::outbox::Outbox;
use super::publish::Opened;
use super::ring::Budget;
use super::tcp::{self, Connection, Fate, Turn};
use super::{LinkPlan, Membership};

/// Frames taken before it is the sockets' turn.
const FRAMES: usize = 64;
/// Connections at most, below what descriptors there are.
const MOST_CONNECTIONS: usize = 16 << 10;
/// Pairs that talk in datagrams at most; the longest silent gives way.
const MOST_DATAGRAMS: usize = 2 << 10;
/// Silence after which memory is given back.
const QUIET: Duration = Duration::from_millis(250);
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
/// How streams are watched.
const EDGES: epoll::EventFlags = epoll::EventFlags::IN
    .union(epoll::EventFlags::OUT)
    .union(epoll::EventFlags::RDHUP)
    .union(epoll::EventFlags::PRI)
    .union(epoll::EventFlags::ET);
/// Generations stay below all those.
const GENERATIONS: u32 = 0x7fff_ffff;

/// Protocol, the container's end, the other as the container sees it.
type Key = (u8, SocketAddr, SocketAddr);

#[derive(Debug)]
enum Flow {
    Tcp(Box<Connection>),
    Datagrams(Datagrams),
    Echoes(Echoes),
    Questions(Box<Questions>),
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

/// Why it does not serve any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// The container has ended, or its device is gone.
    Ended,
    /// Nothing has happened for a while, and nothing has to be done before this time.
    Idle(Option<Instant>),
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
    bundle: Bundle,
    budget: Budget,
    outbox: Outbox,
    /// Whose link those go to that wait there.
    addressee: usize,
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
            bundle: Bundle::default(),
            budget: Budget::default(),
            outbox: Outbox::default(),
            addressee: 0,
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

    /// Serves until there is nothing to do, or nothing more to come.
    pub(super) fn serve(&mut self) -> Result<Pause, Errno> {
        loop {
            let until = self.alarms.peek().map(|Reverse((at, ..))| *at);
            let patience = match (self.ready.is_empty(), until) {
                (false, _) => Duration::ZERO,
                (true, Some(at)) => at.saturating_duration_since(Instant::now()),
                (true, None) => Duration::MAX,
            };
            if !self.turn(Some(patience.min(QUIET)), None)? {
                return Ok(Pause::Ended);
            }
            if patience > QUIET && self.events.is_empty() {
                self.budget.rest();
                self.bundle.rest();
                self.outbox.rest();
                return Ok(Pause::Idle(until));
            }
        }
    }

    /// Readable when there is something to do again.
    pub(super) fn waker(&self) -> &OwnedFd {
        &self.epoll
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
        self.ring();
        self.acknowledge();
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
            if flags.contains(Is::PRI) {
                connection.notice_urgent();
            }
        }
        self.make_ready(id);
    }

    fn make_ready(&mut self, id: usize) {
        if !std::mem::replace(&mut self.slots[id].is_ready, true) {
            self.ready.push_back(id);
        }
    }

    fn token(&self, id: usize) -> u64 {
        (u64::from(self.slots[id].generation) << 32) | id as u64
    }

    fn add(&mut self, link: usize, key: Key, flow: Flow) -> Result<usize, Errno> {
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        let token = self.token(id);
        let watched = match &flow {
            Flow::Tcp(connection) => Some((connection.socket(), EDGES)),
            Flow::Datagrams(datagrams) => datagrams.socket().map(|it| (it, epoll::EventFlags::IN)),
            Flow::Echoes(echoes) => Some((echoes.socket(), epoll::EventFlags::IN)),
            Flow::Questions(questions) => Some((questions.socket(), EDGES)),
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
        self.send_bundle(); // of datagrams that may be its own
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
        self.address(self.slots[id].link);
        let slot = &mut self.slots[id];
        slot.is_ready = false;
        let Some((_, flow)) = &mut slot.flow else { return };
        let Some(Attached { link, .. }) = &self.links[slot.link] else { return };
        let received = match flow {
            Flow::Tcp(connection) => {
                let mut turn = Turn {
                    link,
                    now: self.now,
                    budget: &mut self.budget,
                    outbox: &mut self.outbox,
                };
                let fate = connection.advance(&mut turn);
                self.owe(id);
                return self.settle(id, fate);
            }
            Flow::Datagrams(datagrams) => {
                let received = datagrams.receive(&mut self.room, link, self.now);
                if let Err(errno) = received {
                    let why = tcp::unreachable_of(errno).unwrap_or(Unreachable::Port);
                    datagrams.tell_unreachable(why, link);
                }
                received
            }
            Flow::Echoes(echoes) => echoes.receive(&mut self.room, link, self.now),
            Flow::Questions(_) => return self.advance_questions(id),
        };
        // An error has been taken off the socket: what comes behind it wakes us again.
        if received == Ok(true) {
            self.make_ready(id);
        }
        self.set_alarm(id);
    }

    fn advance_questions(&mut self, id: usize) {
        let token = self.token(id);
        let slot = &mut self.slots[id];
        let (Some(((_, _, remote), Flow::Questions(questions))), Some(Attached { policy, .. })) =
            (&mut slot.flow, &self.links[slot.link])
        else {
            return;
        };
        let answers = Answers {
            own: &|query: &[u8]| links::answer(query, &self.links, policy),
            resolver: policy.way(*remote, own_address),
        };
        let mut gone = questions.advance(&answers, self.now).is_err();
        if let Some(socket) = questions.unwatched() {
            let data = epoll::EventData::new_u64(token);
            gone |= epoll::add(&self.epoll, socket, data, EDGES).is_err();
        }
        if gone {
            self.remove(id);
        } else {
            self.set_alarm(id);
        }
    }

    fn owe(&mut self, id: usize) {
        if !std::mem::replace(&mut self.slots[id].owes, true) {
            self.owing.push(id);
        }
    }

    /// One acknowledgement for all that a turn has brought, to either side.
    fn acknowledge(&mut self) {
        let mut owing = std::mem::take(&mut self.owing);
        for id in &owing {
            self.address(self.slots[*id].link);
            let slot = &mut self.slots[*id];
            slot.owes = false;
            if let (Some((_, Flow::Tcp(connection))), Some(Attached { link, .. })) =
                (&mut slot.flow, &self.links[slot.link])
            {
                connection.acknowledge(&mut Turn {
                    link,
                    now: self.now,
                    budget: &mut self.budget,
                    outbox: &mut self.outbox,
                });
            }
        }
        self.send_segments();
        for id in owing.drain(..) {
            if let Some((_, Flow::Tcp(connection))) = &mut self.slots[id].flow {
                connection.drop_acknowledged(&mut self.outbox);
            }
        }
        self.owing = owing;
    }

    /// What waits goes on before something for another link does.
    fn address(&mut self, link: usize) {
        if self.addressee != link {
            self.send_segments();
            self.addressee = link;
        }
    }

    fn send_segments(&mut self) {
        if let Some(Some(Attached { link, .. })) = self.links.get(self.addressee) {
            self.outbox.flush(link);
        }
    }

    // ---- Time.

    fn set_alarm(&mut self, id: usize) {
        let slot = &mut self.slots[id];
        let at = match &slot.flow {
            Some((_, Flow::Tcp(connection))) => connection.deadline,
            Some((_, Flow::Datagrams(datagrams))) => datagrams.deadline(),
            Some((_, Flow::Echoes(echoes))) => echoes.deadline(),
            Some((_, Flow::Questions(questions))) => questions.deadline(),
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
            self.address(self.slots[id].link);
            let slot = &mut self.slots[id];
            match &mut slot.flow {
                Some((_, Flow::Tcp(connection))) if connection.deadline <= self.now => {
                    let Some(Attached { link, .. }) = &self.links[slot.link] else { continue };
                    let mut turn = Turn {
                        link,
                        now: self.now,
                        budget: &mut self.budget,
                        outbox: &mut self.outbox,
                    };
                    let fate = connection.wake(&mut turn);
                    self.owe(id);
                    self.settle(id, fate);
                }
                Some((_, Flow::Datagrams(datagrams))) if datagrams.deadline() <= self.now => {
                    self.remove(id);
                }
                Some((_, Flow::Echoes(echoes))) if echoes.deadline() <= self.now => {
                    self.remove(id);
                }
                Some((_, Flow::Questions(it))) if it.deadline() <= self.now => {
                    self.remove(id);
                }
                Some(_) => self.set_alarm(id),
                None => {}
            }
        }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.flows.len()
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
    // A hole in what is looked at and left there could not be counted (RFC 6093 wants none either).
    let _ = sockopt::set_socket_oobinline(socket, true);
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
