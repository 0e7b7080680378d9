//! connect(2) to the outside by a socket of the host's (`network::Switch`).
//!
//! What is decided about is what is done: the address is copied once, and connected to by this
//! process. Where the kernel carries a call out itself, it reads address and descriptor again, and a
//! hostile program may have put a socket there that it was given before. So each of those is bound, for
//! good, to the device by which the host reached where it was made for: whatever is done with it
//! later, there is no way by it to the host's loopback (`sys::socket::bind_to_device`).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::callers::{Callers, Held};
use super::options::{Options, Set};
use super::serve::{CONTINUE, Done, refuse, value};
use super::signalled::{Signalled, signalled};
use super::watch::Watch;
use crate::network::{self, Lead, Routes, Switch};
use crate::sys::notify::{self, Answer, Listener, Notification};
use crate::sys::socket;

/// Connections that are waited for; more go by the tap.
const MOST: usize = 512;
/// How often those are looked at that wait: a signal or an end is not told of.
const TICK: Duration = Duration::from_millis(40);
/// The kernel's own word for a call that a signal has interrupted (signal(7)): to be begun again, or
/// EINTR, as the signal's handler has it. No program sees it.
const RESTART: i32 = 512;

/// TCP's states, as `TCP_INFO` begins with.
const SYN_SENT: u8 = 2;
const SYN_RECEIVED: u8 = 3;
const ESTABLISHED: u8 = 1;
const CLOSED: u8 = 7;
const CLOSE_WAIT: u8 = 8;

/// Who makes connections.
#[derive(Debug)]
pub(super) struct Connections {
    switch: Switch,
    /// The container's routes, the number of its tap, and the host's routes.
    routes: Routes,
    tap: u32,
    hosts_routes: Routes,
    /// The network namespaces of this process and of the container.
    hosts: u64,
    containers: u64,
    /// What sockets have that nobody has set anything on, by family.
    fresh: [Options; 2],
    /// What somebody has set in the container.
    set: Set,
    /// Made while nobody waits: what the next one becomes, by family.
    next: [Option<OwnedFd>; 2],
    /// Those whose place was taken. They end after the answer, as that takes its time.
    replaced: Vec<OwnedFd>,
    callers: Callers,
    waiting: Vec<Waiting>,
    /// One more than the highest number that a descriptor of this process can have.
    most: usize,
}

/// A blocking call that is yet to be answered.
#[derive(Debug)]
struct Waiting {
    id: u64,
    thread: u32,
    socket: OwnedFd,
    /// Whose place the socket takes; none where it has it.
    place: Option<Place>,
    /// `SO_SNDTIMEO`
    deadline: Option<Instant>,
}

/// A descriptor of the caller's.
#[derive(Debug)]
struct Place {
    number: u32,
    close_on_exec: bool,
    /// Who waits for what is there.
    watches: Vec<Watch>,
}

/// A socket of the caller's, as it is found.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // each a fact of its own
struct Found {
    socket: OwnedFd,
    six: bool,
    has_port: bool,
    /// Whether it is one of those that are made here.
    is_switched: bool,
    state: u8,
    blocks: bool,
}

impl Connections {
    /// `routes` are the container's; this process can have `most` descriptors.
    pub(super) fn new(switch: Switch, routes: Routes, most: usize) -> Result<Self, Errno> {
        let hosts_routes = Routes::new(network::route_sockets()?);
        let tap = routes.tap(&switch)?;
        let containers = socket::namespace(routes.socket())?;
        let [four, six] = [fresh(false)?, fresh(true).or_else(|_| fresh(false))?];
        let hosts = socket::namespace(four.as_fd())?;
        let fresh = [Options::of(four.as_fd(), false), Options::of(six.as_fd(), true)];
        let (callers, waiting) = (Callers::default(), Vec::new());
        Ok(Self {
            switch,
            routes,
            tap,
            hosts_routes,
            hosts,
            containers,
            fresh,
            set: Set::default(),
            next: [Some(four), None],
            replaced: Vec::new(),
            callers,
            waiting,
            most,
        })
    }

    /// Answers a connect(2), or has it wait.
    pub(super) fn connect(&mut self, listener: &Listener, call: &Notification) -> Done {
        let [number, address, length, ..] = call.arguments;
        #[allow(clippy::cast_possible_truncation)] // the kernel too takes the low half
        let number = number as i32;
        let Some(target) = read_address(call.thread, address, length) else { return CONTINUE };
        let Some(found) = self.find(call.thread, number) else { return CONTINUE };
        if found.six != target.is_ipv6() {
            return CONTINUE; // the kernel has its own words for it
        }
        let outside = self.leads_outside(target);
        if found.is_switched {
            // Or it was another process that was looked at.
            if !listener.is_waiting(call.id) {
                return CONTINUE;
            }
            if found.state != CLOSED {
                return self.again(call, found);
            }
            match sockopt::socket_error(&found.socket) {
                Ok(Ok(())) => {}
                Ok(Err(errno)) | Err(errno) => return refuse(errno),
            }
            // To the container's own network there is no way from it.
            if !outside {
                return refuse(Errno::NETUNREACH);
            }
        } else if !outside || found.state != CLOSED || found.has_port {
            return CONTINUE;
        }
        let leave = if found.is_switched { refuse(Errno::CONNABORTED) } else { CONTINUE };
        let Some(place) = self.place(number, &found) else { return leave };
        let Ok(new) = self.make(&found, target) else { return leave };
        // All that was looked at was the caller's, if it is still there.
        if !listener.is_waiting(call.id) {
            return leave;
        }
        self.begin(listener, call, found, new, target, place)
    }

    /// The place of a socket that was found, where another can take it.
    fn place(&mut self, number: i32, found: &Found) -> Option<Place> {
        let has_room = self.waiting.len() < MOST;
        let caller = self.callers.last().filter(|_| has_room)?;
        let number = number.cast_unsigned();
        let Ok(Held::Alone { watches, close_on_exec }) = caller.held(number, found.socket.as_fd())
        else {
            return None;
        };
        // They call it by its number.
        let can_go_on = watches.is_empty() || (number as usize) < self.most;
        can_go_on.then_some(Place { number, close_on_exec, watches })
    }

    /// The policy's word and the container's routes'.
    fn leads_outside(&mut self, target: SocketAddr) -> bool {
        let canonical = SocketAddr::new(target.ip().to_canonical(), target.port());
        self.switch.leads_outside(canonical)
            && self.routes.lead(canonical.ip()) == Some(Lead::Out(self.tap))
    }

    /// The caller's socket, where it is one of TCP in the container's network or one of ours.
    fn find(&mut self, thread: u32, number: i32) -> Option<Found> {
        let socket = self.callers.take(thread, number)?;
        let fd = socket.as_fd();
        let namespace = socket::namespace(fd).ok()?;
        let is_switched = namespace == self.hosts;
        if !is_switched && namespace != self.containers {
            return None;
        }
        let name = rustix::net::getsockname(fd).ok()?;
        let name = SocketAddr::try_from(name).ok()?;
        let protocol = socket::number(fd, libc::SOL_SOCKET, libc::SO_PROTOCOL).ok()?;
        // A raw socket of the same protocol has no such state.
        let mut state = [0];
        let known = socket::option(fd, libc::IPPROTO_TCP, libc::TCP_INFO, &mut state);
        if protocol != libc::IPPROTO_TCP || known.is_err() {
            return None;
        }
        let flags = rustix::fs::fcntl_getfl(&socket).ok()?;
        // Signals on arrival are asked of a descriptor, and would be lost.
        if flags.bits() & libc::O_ASYNC.cast_unsigned() != 0 {
            return None;
        }
        let blocks = !flags.contains(OFlags::NONBLOCK);
        let (six, has_port) = (name.is_ipv6(), name.port() != 0);
        Some(Found { socket, six, has_port, is_switched, state: state[0], blocks })
    }

    /// A socket like the one that was found, bound to the host's way to where it will be connected. The
    /// way to the host itself is lo, and the tap's unless all of that is open to the container.
    fn make(&mut self, found: &Found, target: SocketAddr) -> Result<OwnedFd, Errno> {
        let lead = self.hosts_routes.lead(target.ip().to_canonical()).ok_or(Errno::NETUNREACH)?;
        let family = usize::from(found.six);
        let new = self.next[family].take().map_or_else(|| fresh(found.six), Ok)?;
        let known = &self.fresh[family];
        known.carry(found.socket.as_fd(), new.as_fd(), found.six, found.is_switched, self.set)?;
        match lead {
            Lead::Out(device) => socket::bind_to_device(new.as_fd(), device)?,
            Lead::Here if self.switch.may_stay() => {}
            Lead::Here => return Err(Errno::NETUNREACH),
        }
        Ok(new)
    }

    fn begin(
        &mut self,
        listener: &Listener,
        call: &Notification,
        found: Found,
        new: OwnedFd,
        target: SocketAddr,
        place: Place,
    ) -> Done {
        let begun = rustix::net::connect(&new, &target);
        match begun {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            // The descriptor stays what it was, and can be tried again.
            Err(errno) => return refuse(errno),
        }
        let waiting = Waiting {
            id: call.id,
            thread: call.thread,
            place: Some(place),
            deadline: None,
            socket: new,
        };
        if !found.blocks {
            self.put_off(found.socket, &waiting);
            return match (waiting.hand_over(listener, false), begun) {
                (Err(errno), _) | (Ok(()), Err(errno)) => refuse(errno),
                (Ok(()), Ok(())) => value(0),
            };
        }
        // On the host itself a connection is there at once, as the same call tells then.
        match begun.or_else(|_| rustix::net::connect(&waiting.socket, &target)) {
            Ok(()) => {
                self.put_off(found.socket, &waiting);
                match waiting.hand_over(listener, true) {
                    Ok(()) => value(0),
                    Err(errno) => refuse(errno),
                }
            }
            Err(Errno::ALREADY) => {
                self.waiting.push(Waiting { deadline: deadline(&found.socket), ..waiting });
                Done::Answered
            }
            Err(errno) => refuse(errno),
        }
    }

    /// Ends a socket whose place is taken, after the answer if nobody waits for what it tells.
    fn put_off(&mut self, socket: OwnedFd, waiting: &Waiting) {
        if waiting.place.as_ref().is_some_and(|place| place.watches.is_empty()) {
            self.replaced.push(socket);
        }
    }

    /// A call on a socket that has begun, or has done, what it was to do.
    fn again(&mut self, call: &Notification, found: Found) -> Done {
        match (found.state, found.blocks) {
            (SYN_SENT | SYN_RECEIVED, false) => refuse(Errno::ALREADY),
            (SYN_SENT | SYN_RECEIVED, true) if self.waiting.len() < MOST => {
                let deadline = deadline(&found.socket);
                let (id, thread, socket) = (call.id, call.thread, found.socket);
                self.waiting.push(Waiting { id, thread, socket, place: None, deadline });
                Done::Answered
            }
            (SYN_SENT | SYN_RECEIVED, true) => refuse(Errno::AGAIN),
            // A call that was begun again.
            (ESTABLISHED | CLOSE_WAIT, true) => value(0),
            _ => refuse(Errno::ISCONN),
        }
    }

    /// Remembers that somebody sets one of those options that hardly anybody does.
    pub(super) fn set_option(&mut self, call: &Notification) -> Done {
        let [_, level, name, ..] = call.arguments;
        self.set.remember(level, name);
        CONTINUE
    }

    /// What is to be done when nobody waits for it, after an answer.
    fn prepare(&mut self) {
        self.replaced.clear();
        for (six, next) in [false, true].into_iter().zip(&mut self.next) {
            if next.is_none() {
                *next = fresh(six).ok();
            }
        }
        self.callers.learn();
    }

    /// Answers those who wait, as their connections come to something, until there is another call.
    pub(super) fn attend(&mut self, listener: &Listener) {
        self.prepare();
        let mut looked = Instant::now();
        while !self.waiting.is_empty() {
            let tick = Timespec { tv_sec: 0, tv_nsec: TICK.subsec_nanos().into() };
            let mut polled =
                vec![PollFd::from_borrowed_fd(listener.as_ref().as_fd(), PollFlags::IN)];
            let sockets = self.waiting.iter().map(|it| it.socket.as_fd());
            polled.extend(sockets.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::OUT)));
            let _ = poll(&mut polled, Some(&tick));
            let ready: Vec<bool> = polled.iter().map(|it| !it.revents().is_empty()).collect();
            drop(polled);
            let is_time = looked.elapsed() >= TICK;
            if is_time {
                looked = Instant::now();
            }
            let mut places = ready[1..].iter();
            self.waiting.retain(|waiting| {
                let is_ready = places.next() == Some(&true);
                let answer = match is_ready {
                    true => Some(waiting.finish(listener)),
                    false if is_time => match waiting.look(listener) {
                        Ok(answer) => answer,
                        Err(Gone) => return false,
                    },
                    false => None,
                };
                match answer {
                    Some(answer) => {
                        // Who died meanwhile needs no answer.
                        let _ = listener.answer(waiting.id, answer);
                        false
                    }
                    None => true,
                }
            });
            if ready[0] {
                return;
            }
        }
    }
}

/// Whoever waited does so no more.
struct Gone;

impl Waiting {
    /// Gives the caller the socket in the place of its own.
    fn hand_over(&self, listener: &Listener, blocks: bool) -> Result<(), Errno> {
        let Some(Place { number, close_on_exec, watches }) = &self.place else { return Ok(()) };
        if blocks {
            rustix::fs::fcntl_setfl(&self.socket, OFlags::empty())?;
        }
        listener.replace(self.id, self.socket.as_fd(), *number, *close_on_exec)?;
        // Not before, or who is told of it would meet the old one. That leaves the sets with its last
        // descriptor.
        let mut watches = watches.iter();
        watches.try_for_each(|watch| watch.go_on(self.socket.as_fd(), number.cast_signed()))
    }

    /// The answer, once there is one. One that failed is not handed over.
    fn finish(&self, listener: &Listener) -> Answer {
        let came = sockopt::socket_error(&self.socket).and_then(|result| result);
        match came.and_then(|()| self.hand_over(listener, true)) {
            Ok(()) => Answer::Value(0),
            Err(errno) => Answer::Error(errno),
        }
    }

    /// Whether its caller is there, has time, and no signal for it: the connection goes on without it
    /// in those cases, as it does elsewhere (connect(2)).
    fn look(&self, listener: &Listener) -> Result<Option<Answer>, Gone> {
        let signalled = signalled(self.thread);
        if !listener.is_waiting(self.id) {
            return Err(Gone);
        }
        let errno = match signalled {
            // With a time-out it is not begun again, or it would never end.
            Some(Signalled::Itself) if self.deadline.is_none() => Errno::from_raw_os_error(RESTART),
            Some(_) => Errno::INTR,
            None if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) => {
                Errno::INPROGRESS
            }
            None => return Ok(None),
        };
        Ok(Some(Answer::Error(self.hand_over(listener, true).err().unwrap_or(errno))))
    }
}

fn fresh(six: bool) -> Result<OwnedFd, Errno> {
    let family = if six { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(family, SocketType::STREAM, flags, Some(rustix::net::ipproto::TCP))
}

fn deadline(socket: &OwnedFd) -> Option<Instant> {
    let patience = sockopt::socket_timeout(socket, sockopt::Timeout::Send).ok()??;
    Instant::now().checked_add(patience)
}

/// An address of another process's, where it is one of IP and has no more to it than address and
/// port.
fn read_address(thread: u32, address: u64, length: u64) -> Option<SocketAddr> {
    const LONGEST: usize = size_of::<libc::sockaddr_in6>();
    let mut room = [0; LONGEST];
    let length = usize::try_from(length & 0xffff_ffff).ok()?.min(LONGEST);
    // Of local sockets' addresses, which are as frequent, the family alone is read.
    let length = notify::read_memory(thread, address, &mut room[..length]).ok()?;
    parse_address(&room[..length])
}

fn parse_address(bytes: &[u8]) -> Option<SocketAddr> {
    let part = |from: usize, to: usize| bytes.get(from..to);
    let family = u16::from_ne_bytes(part(0, 2)?.try_into().ok()?);
    let port = u16::from_be_bytes(part(2, 4)?.try_into().ok()?);
    match i32::from(family) {
        libc::AF_INET if bytes.len() >= size_of::<libc::sockaddr_in>() => {
            let ip: [u8; 4] = part(4, 8)?.try_into().ok()?;
            Some(SocketAddrV4::new(Ipv4Addr::from(ip), port).into())
        }
        libc::AF_INET6 => {
            let ip: [u8; 16] = part(8, 24)?.try_into().ok()?;
            // A flow or a scope is the tap's.
            let plain = part(4, 8)? == [0; 4] && part(24, 28)? == [0; 4];
            plain.then(|| SocketAddrV6::new(Ipv6Addr::from(ip), port, 0, 0).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn six(ip: &str, flow: u8, scope: u8) -> Vec<u8> {
        let ip: Ipv6Addr = ip.parse().expect("an address");
        let family = u16::try_from(libc::AF_INET6).expect("a family").to_ne_bytes();
        [&family[..], &[0, 80], &[flow, 0, 0, 0], &ip.octets(), &[scope, 0, 0, 0]].concat()
    }

    #[test]
    fn an_address_is_read_as_the_kernel_reads_it() {
        let family = u16::try_from(libc::AF_INET).expect("a family").to_ne_bytes();
        let four = [&family[..], &[1, 187], &[192, 0, 2, 7], &[0; 8]].concat();
        let read = parse_address(&four).map(|address| address.to_string());
        assert_eq!(read.as_deref(), Some("192.0.2.7:443"));
        let read = parse_address(&six("2001:db8::1", 0, 0)).map(|address| address.to_string());
        assert_eq!(read.as_deref(), Some("[2001:db8::1]:80"));
        for odd in [
            &four[..15],
            &four[..1],
            &[],
            &six("2001:db8::1", 1, 0),
            &six("fe80::1", 0, 2),
            &six("::1", 0, 0)[..24],
            &[1, 0, b'/', b'x', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0; 16],
        ] {
            assert_eq!(parse_address(odd), None, "{odd:?}");
        }
    }
}
