//! One connection: the container's TCP ends here, and its bytes go on through a socket of the host.
//!
//! ```text
//! container ──segments──► received ─ pending ──write──► socket
//! container ◄──segments── outbox  ◄──looked at──────── socket (unread)
//! ```
//!
//! What the socket does not take at once waits in `pending`, and shrinks the window that the container
//! sees; what the container has not acknowledged stays in the socket, and shrinks the window that the
//! other side sees. So both sides' own flow control meets through this. A connection of the
//! container's is answered when the host's is there: a refusal is a refusal.
//!
//! The link loses nothing but what finds a full queue (RFC 9293 without reassembly, congestion control
//! and timestamps): what is lost is sent again after three duplicates or a time-out.
#![allow(clippy::cast_possible_truncation)] // rings and frames are far below 4 GiB

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::Shutdown;
use smoltcp::wire::{TcpControl, TcpRepr, TcpSeqNumber};

use super::frame::{Link, PAYLOAD, Unreachable, before_payload};
use super::outbox::Outbox;
use super::ring::{Budget, LARGE, Ring};
use super::unread::Unread;

/// What the container may send before it hears of it again.
const WINDOW: u32 = LARGE as u32;
/// What may be under way to it, whatever it takes.
const FLIGHT: u32 = 1 << 20;
/// Our window is told in units of 2^this.
const SCALE: u8 = 8;
/// The first time-out; the link answers within microseconds, a busy machine within milliseconds.
const PATIENCE: Duration = Duration::from_millis(200);
const LONGEST_PATIENCE: Duration = Duration::from_secs(10);
/// How often something is sent for nothing, before the container is taken to have forgotten.
const MOST_TRIES: u32 = 15;
/// The same while a connection is being made.
const MOST_SYNS: u32 = 6;
/// When a silent container is asked whether it still knows a connection (tcp(7), `tcp_keepalive_time`).
const IDLE: Duration = Duration::from_secs(2 * 60 * 60);
/// The same for one that has ended its side: its kernel forgets it after a minute
/// (`tcp_fin_timeout`).
const HALF_CLOSED_IDLE: Duration = Duration::from_secs(120);
/// Longer than the kernel tries to connect (`tcp_syn_retries`).
const CONNECTING: Duration = Duration::from_secs(180);
/// Frames that one connection may fill before it is another's turn.
const TURN: usize = 4;

/// What a step needs of its surroundings.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pub(super) link: &'a Link,
    pub(super) now: Instant,
    pub(super) budget: &'a mut Budget,
    pub(super) outbox: &'a mut Outbox,
}

/// What becomes of a connection after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Stays,
    /// It has more to do at once.
    Continues,
    /// It is over, on both sides.
    Ended,
    /// The container refused it.
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The host's socket is on its way.
    Connecting,
    /// The container's request was granted.
    Granted,
    /// The container is asked for a connection.
    Asked,
    Open,
}

/// A connection.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // each a fact of its own
pub(super) struct Connection {
    /// The container's end.
    guest: SocketAddr,
    /// The other one, as the container sees it.
    remote: SocketAddr,
    socket: OwnedFd,
    state: State,

    /// The next byte of the container's.
    received: u32,
    pending: Ring,
    /// Whether something is pending, or was when the window was told last.
    held: bool,
    /// The end of the window that was told last.
    edge: u32,
    /// Whether windows are scaled.
    scaled: bool,
    guest_ended: bool,
    /// Whether the host's socket was told so.
    host_told: bool,

    /// The first byte that the container has not acknowledged.
    first: u32,
    /// The next one to send, and the highest that ever was.
    next: u32,
    highest: u32,
    window: u32,
    scale: u8,
    segment: u16,
    unread: Unread,
    host_ended: bool,
    /// Where it did.
    end: u32,
    /// Whether the container knows.
    guest_told: bool,

    readable: bool,
    writable: bool,
    hung_up: bool,
    /// Whether something was urgent: looks end before it.
    urgent: bool,
    owes: bool,
    duplicates: u8,
    tries: u32,
    /// How often the container was asked since it was heard.
    unheard: u32,
    pub(super) deadline: Instant,
}

fn after(one: u32, other: u32) -> bool {
    one.wrapping_sub(other).cast_signed() > 0
}

pub(super) fn empty(control: TcpControl) -> TcpRepr<'static> {
    TcpRepr {
        src_port: 0,
        dst_port: 0,
        control,
        seq_number: TcpSeqNumber(0),
        ack_number: None,
        window_len: 0,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    }
}

fn number(number: TcpSeqNumber) -> u32 {
    number.0.cast_unsigned()
}

/// Answers a segment that belongs to nothing (RFC 9293, 3.10.7.1).
pub(super) fn refuse(link: &Link, guest: SocketAddr, remote: SocketAddr, segment: &TcpRepr<'_>) {
    if segment.control == TcpControl::Rst {
        return;
    }
    let mut reply = empty(TcpControl::Rst);
    (reply.src_port, reply.dst_port) = (remote.port(), guest.port());
    match segment.ack_number {
        Some(ack) => reply.seq_number = ack,
        None => reply.ack_number = Some(segment.seq_number + segment.segment_len()),
    }
    link.tcp(remote, guest, &reply);
}

impl Connection {
    fn new(
        guest: SocketAddr,
        remote: SocketAddr,
        socket: OwnedFd,
        state: State,
        start: u32,
        now: Instant,
    ) -> Self {
        let unread = Unread::new(&socket);
        Self {
            guest,
            remote,
            socket,
            state,
            received: 0,
            pending: Ring::default(),
            held: false,
            edge: 0,
            scaled: false,
            guest_ended: false,
            host_told: false,
            first: start,
            next: start,
            highest: start,
            window: 0,
            scale: 0,
            segment: 536,
            unread,
            host_ended: false,
            end: start,
            guest_told: false,
            readable: false,
            writable: false,
            hung_up: false,
            urgent: false,
            owes: false,
            duplicates: 0,
            tries: 0,
            unheard: 0,
            deadline: now + CONNECTING,
        }
    }

    /// One that the container asks for by `request`; `socket` is on its way to where that leads.
    /// `start` is our first number.
    pub(super) fn wanted(
        guest: SocketAddr,
        remote: SocketAddr,
        socket: OwnedFd,
        request: &TcpRepr<'_>,
        start: u32,
        turn: &Turn<'_>,
    ) -> Self {
        let mut connection = Self::new(guest, remote, socket, State::Connecting, start, turn.now);
        connection.learn(request, turn.link);
        connection
    }

    /// One that somebody outside asks the container for, through `socket`.
    pub(super) fn offered(
        guest: SocketAddr,
        remote: SocketAddr,
        socket: OwnedFd,
        start: u32,
        turn: &Turn<'_>,
    ) -> Self {
        let mut connection = Self::new(guest, remote, socket, State::Asked, start, turn.now);
        connection.segment = turn.link.segment(guest.is_ipv6());
        connection.next = start.wrapping_add(1);
        connection.highest = connection.next;
        connection.ask(turn.link);
        connection.rest(turn.now);
        connection
    }

    /// The other socket for the same connection, to try another way: for one that was refused.
    pub(super) fn into_socket(self) -> OwnedFd {
        self.socket
    }

    pub(super) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// The container's end.
    pub(super) fn guest(&self) -> SocketAddr {
        self.guest
    }

    /// What the first segment of the container says of it.
    fn learn(&mut self, segment: &TcpRepr<'_>, link: &Link) {
        let longest = link.segment(self.guest.is_ipv6());
        self.segment = segment.max_seg_size.unwrap_or(536).clamp(64, longest);
        self.scaled = segment.window_scale.is_some();
        self.scale = segment.window_scale.unwrap_or(0);
        self.window = segment.window_len.into();
        self.received = number(segment.seq_number).wrapping_add(1);
        self.edge = self.received.wrapping_add(u16::MAX.into()); // as `introduce` tells
    }

    /// What the socket has become.
    pub(super) fn notice(&mut self, readable: bool, writable: bool, hung_up: bool) {
        self.readable |= readable || hung_up;
        self.writable |= writable;
        self.hung_up |= hung_up;
    }

    pub(super) fn notice_urgent(&mut self) {
        self.urgent = true;
    }

    // ---- What the container says.

    pub(super) fn take(&mut self, segment: &TcpRepr<'_>, turn: &mut Turn<'_>) -> Fate {
        self.unheard = 0;
        match self.state {
            // It asks again what has not been answered yet, or no longer wants it.
            State::Connecting if segment.control == TcpControl::Rst => return Fate::Ended,
            State::Connecting => return Fate::Stays,
            State::Asked => return self.take_answer(segment, turn),
            State::Granted | State::Open => {}
        }
        let start = number(segment.seq_number);
        if segment.control == TcpControl::Rst {
            // Anybody in the container could guess a port, and nobody its number (RFC 5961).
            let within = start.wrapping_sub(self.received) <= WINDOW;
            return if within { self.reset() } else { Fate::Stays };
        }
        if segment.control == TcpControl::Syn {
            match self.state {
                State::Granted => self.grant(turn.link),
                _ => self.owes = true,
            }
            return Fate::Stays;
        }
        let Some(ack) = segment.ack_number.map(number) else { return Fate::Stays };
        if self.state == State::Granted {
            if ack != self.next {
                refuse(turn.link, self.guest, self.remote, segment);
                return Fate::Stays;
            }
            self.state = State::Open;
            self.first = ack;
            self.readable = true;
            self.tries = 0;
        }
        if after(ack, self.highest) {
            self.owes = true;
            return Fate::Stays;
        }
        self.take_acknowledgement(ack, segment, turn);
        let fate = self.take_data(start, segment, turn);
        if fate == Fate::Ended || self.is_over() {
            return Fate::Ended;
        }
        // Once all are heard.
        Fate::Continues
    }

    fn take_answer(&mut self, segment: &TcpRepr<'_>, turn: &mut Turn<'_>) -> Fate {
        if segment.ack_number.map(number) != Some(self.next) {
            refuse(turn.link, self.guest, self.remote, segment);
            return Fate::Stays;
        }
        match segment.control {
            TcpControl::Rst => Fate::Refused,
            TcpControl::Syn => {
                self.learn(segment, turn.link);
                self.state = State::Open;
                self.first = self.next;
                self.owes = true;
                self.tries = 0;
                (self.readable, self.writable) = (true, true);
                Fate::Continues
            }
            _ => Fate::Stays,
        }
    }

    fn take_acknowledgement(&mut self, ack: u32, segment: &TcpRepr<'_>, turn: &mut Turn<'_>) {
        let window = u32::from(segment.window_len) << self.scale;
        if after(ack, self.first) {
            let mut count = ack.wrapping_sub(self.first) as usize;
            if self.host_ended && after(ack, self.end) {
                count -= 1;
                self.guest_told = true;
            }
            self.unread.acknowledge(count, turn.budget);
            self.first = ack;
            if after(ack, self.next) {
                self.next = ack;
            }
            (self.duplicates, self.tries) = (0, 0);
            if self.guest_told {
                // What is left unread when a socket is closed resets its connection.
                self.drop_acknowledged(turn.outbox);
            }
        } else if ack == self.first {
            let is_duplicate = segment.payload.is_empty()
                && segment.control != TcpControl::Fin
                && window == self.window
                && self.next != self.first;
            self.duplicates = if is_duplicate { self.duplicates.saturating_add(1) } else { 0 };
            if self.duplicates == 3 {
                self.resend(turn);
            }
            if self.window == 0 && window > 0 {
                self.tries = 0;
            }
        }
        // An old acknowledgement says nothing of the window.
        if !after(self.first, ack) {
            self.window = window;
        }
    }

    fn take_data(&mut self, start: u32, segment: &TcpRepr<'_>, turn: &mut Turn<'_>) -> Fate {
        let ends = segment.control == TcpControl::Fin;
        if segment.payload.is_empty() && !ends {
            // A question whether we are still there has a number that is past (RFC 9293, 3.8.4).
            self.owes |= start != self.received;
            return Fate::Stays;
        }
        self.owes = true;
        if self.guest_ended || after(start, self.received) {
            return Fate::Stays; // again, or ahead of what was lost
        }
        let known = self.received.wrapping_sub(start) as usize;
        let Some(new) = segment.payload.get(known..) else { return Fate::Stays };
        let taken = match self.hand_on(new, turn) {
            Ok(taken) => taken,
            Err(errno) => return self.fail(errno, turn),
        };
        self.received = self.received.wrapping_add(taken as u32);
        if ends && taken == new.len() {
            self.received = self.received.wrapping_add(1);
            self.guest_ended = true;
            self.tell_host();
        }
        Fate::Stays
    }

    /// Gives bytes to the host's socket, and keeps what that does not take. How much is ours now.
    fn hand_on(&mut self, bytes: &[u8], turn: &mut Turn<'_>) -> Result<usize, Errno> {
        let mut written = 0;
        if self.pending.is_empty() && self.writable {
            while written < bytes.len() {
                match rustix::net::send(
                    &self.socket,
                    &bytes[written..],
                    rustix::net::SendFlags::NOSIGNAL,
                ) {
                    Ok(count) => written += count,
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => {
                        self.writable = false;
                        break;
                    }
                    Err(errno) => return Err(errno),
                }
            }
        }
        let kept = self.pending.push(&bytes[written..], turn.budget);
        self.held |= !self.pending.is_empty();
        Ok(written + kept)
    }

    /// Whatever happens now happens on both sides.
    fn reset(&mut self) -> Fate {
        let _ = rustix::net::sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO));
        Fate::Ended
    }

    fn is_over(&self) -> bool {
        self.guest_ended && self.host_told && self.guest_told
    }

    fn tell_host(&mut self) {
        if self.guest_ended && self.pending.is_empty() && !self.host_told {
            let _ = rustix::net::shutdown(&self.socket, Shutdown::Write);
            self.host_told = true;
        }
    }

    // ---- What the host says.

    /// Does what can be done: for one whose socket is ready.
    pub(super) fn advance(&mut self, turn: &mut Turn<'_>) -> Fate {
        if self.state == State::Connecting {
            return self.connected(turn);
        }
        if self.state != State::Open {
            return Fate::Stays;
        }
        let fate = self.go_on(turn);
        if fate != Fate::Ended && self.is_over() {
            return Fate::Ended;
        }
        self.rest(turn.now);
        fate
    }

    fn connected(&mut self, turn: &mut Turn<'_>) -> Fate {
        if !self.writable && !self.hung_up {
            return Fate::Stays;
        }
        match rustix::net::sockopt::socket_error(&self.socket) {
            Ok(Ok(())) if self.writable => {
                self.state = State::Granted;
                self.next = self.first.wrapping_add(1);
                self.highest = self.next;
                self.grant(turn.link);
                self.rest(turn.now);
                Fate::Stays
            }
            Ok(Ok(())) => Fate::Stays,
            Ok(Err(errno)) | Err(errno) => self.fail(errno, turn),
        }
    }

    /// Tells the container why its connection is no more.
    pub(super) fn fail(&mut self, errno: Errno, turn: &mut Turn<'_>) -> Fate {
        match (self.state, unreachable(errno)) {
            (State::Connecting, Answer::Unreachable(why)) => self.tell_unreachable(why, turn.link),
            // The container's own time-out is about to say so.
            (State::Connecting, Answer::Nothing) => {}
            (State::Connecting, Answer::Refused) => {
                let mut reply = self.repr(TcpControl::Rst, 0);
                reply.ack_number = Some(TcpSeqNumber(self.received.cast_signed()));
                turn.link.tcp(self.remote, self.guest, &reply);
            }
            _ => self.send_reset(turn),
        }
        Fate::Ended
    }

    fn send_reset(&self, turn: &mut Turn<'_>) {
        turn.outbox.flush(turn.link);
        turn.link.tcp(self.remote, self.guest, &self.repr(TcpControl::Rst, self.next));
    }

    fn tell_unreachable(&self, why: Unreachable, link: &Link) {
        let request = self.received.wrapping_sub(1);
        link.unreachable_tcp(self.guest, self.remote, request, why);
    }

    fn go_on(&mut self, turn: &mut Turn<'_>) -> Fate {
        if let Err(errno) = self.flush(turn) {
            return self.fail(errno, turn);
        }
        match self.pump(turn) {
            Ok(true) => Fate::Continues,
            Ok(false) => Fate::Stays,
            Err(errno) => self.fail(errno, turn),
        }
    }

    /// Writes what waits for the host's socket.
    fn flush(&mut self, turn: &mut Turn<'_>) -> Result<(), Errno> {
        while self.writable && !self.pending.is_empty() {
            let flags = rustix::net::SendFlags::NOSIGNAL;
            let mut control = rustix::net::SendAncillaryBuffer::default();
            match rustix::net::sendmsg(&self.socket, &self.pending.parts(), &mut control, flags) {
                Ok(count) => self.pending.consume(count, turn.budget),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.writable = false,
                Err(errno) => return Err(errno),
            }
        }
        self.tell_host();
        // A window that opens, or that has grown a good deal, is news.
        let grown = self.received.wrapping_add(self.space()).wrapping_sub(self.edge).cast_signed();
        let closed = self.edge == self.received;
        if self.held
            && grown > 0
            && (closed || grown.cast_unsigned() >= WINDOW / 4)
            && !self.guest_ended
        {
            self.owes = true;
        }
        Ok(())
    }

    /// Sends what the container's window takes. Whether there is more to do at once.
    fn pump(&mut self, turn: &mut Turn<'_>) -> Result<bool, Errno> {
        for _ in 0..TURN {
            if !self.transmit(self.window.min(FLIGHT), turn)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sends the next frame, where one may be sent and is there.
    fn transmit(&mut self, window: u32, turn: &mut Turn<'_>) -> Result<bool, Errno> {
        let flight = self.next.wrapping_sub(self.first);
        let room = window.saturating_sub(flight);
        let is_known = after(self.highest, self.next);
        if (!self.readable && !is_known) || (self.host_ended && !after(self.end, self.next)) {
            self.tell_end(turn);
            return Ok(false);
        }
        // Not in crumbs: an acknowledgement of what is under way opens more (RFC 1122, 4.2.3.4).
        if room == 0 || (flight > 0 && room < u32::from(self.segment).min(WINDOW / 4)) {
            return Ok(false);
        }
        // What was sent before is there, and whether more is shows behind it.
        let known = self.highest.wrapping_sub(self.next);
        let most = if is_known { room.min(known) } else { room } as usize;
        match self.carry(self.next, self.longest().min(most), turn) {
            Ok((0, _)) => {
                (self.host_ended, self.end) = (true, self.next);
                self.tell_end(turn);
                Ok(false)
            }
            Ok((count, is_all)) => {
                self.next = self.next.wrapping_add(count as u32);
                if after(self.next, self.highest) {
                    self.highest = self.next;
                }
                // The next comes with an event, but for an end that was told already (epoll(7)) and what
                // stands behind an urgent byte (tcp(7)).
                if is_all && !is_known && !self.hung_up && !self.urgent {
                    self.readable = false;
                }
                Ok(true)
            }
            Err(Errno::INTR) => Ok(true),
            // Until the container has taken some of it.
            Err(Errno::NOBUFS) => Ok(false),
            Err(Errno::AGAIN) => {
                self.readable = false;
                Ok(false)
            }
            Err(errno) => Err(errno),
        }
    }

    /// Tells the container that nothing comes any more, once it was sent all.
    fn tell_end(&mut self, turn: &mut Turn<'_>) {
        if self.host_ended && !self.guest_told && self.next == self.end {
            self.send(TcpControl::Fin, self.next, 0, turn);
            self.next = self.next.wrapping_add(1);
            if after(self.next, self.highest) {
                self.highest = self.next;
            }
        }
    }

    /// Sends at most `most` bytes from `sequence` on; how many, and whether those are all that there are.
    /// None are the end.
    fn carry(
        &mut self,
        sequence: u32,
        most: usize,
        turn: &mut Turn<'_>,
    ) -> Result<(usize, bool), Errno> {
        let offset = sequence.wrapping_sub(self.first) as usize;
        let room = turn.outbox.room(before_payload(self.guest.is_ipv6()), most, turn.link);
        let (count, is_all) = self.unread.look(&self.socket, offset, room, turn.budget)?;
        if count > 0 {
            self.send(TcpControl::Psh, sequence, count, turn);
        }
        Ok((count, is_all))
    }

    /// The longest payload of one frame: as many whole segments as go in.
    fn longest(&self) -> usize {
        let segment = usize::from(self.segment);
        (PAYLOAD / segment * segment).max(segment)
    }

    // ---- What is said to the container.

    /// What may still be pending.
    fn space(&self) -> u32 {
        let space = WINDOW.saturating_sub(self.pending.len() as u32);
        if self.scaled { space } else { space.min(u16::MAX.into()) }
    }

    fn repr(&self, control: TcpControl, sequence: u32) -> TcpRepr<'static> {
        TcpRepr {
            src_port: self.remote.port(),
            dst_port: self.guest.port(),
            seq_number: TcpSeqNumber(sequence.cast_signed()),
            ..empty(control)
        }
    }

    /// Sends `count` bytes that stand ready, from `sequence` on, with all that the container is to know.
    fn send(&mut self, control: TcpControl, sequence: u32, count: usize, turn: &mut Turn<'_>) {
        let mut repr = self.repr(control, sequence);
        repr.ack_number = Some(TcpSeqNumber(self.received.cast_signed()));
        // Down to the unit in which it is told, and never back.
        let mut space = self.space();
        if self.scaled {
            space &= !((1 << SCALE) - 1);
        }
        let edge = self.received.wrapping_add(space);
        if after(edge, self.edge) {
            self.edge = edge;
        }
        let window = self.edge.wrapping_sub(self.received) >> if self.scaled { SCALE } else { 0 };
        repr.window_len = u16::try_from(window).unwrap_or(u16::MAX);
        self.owes = false;
        self.held = !self.pending.is_empty();
        let head = turn.link.tcp_head(self.remote, self.guest, &repr, count, self.segment);
        if let Some(head) = head {
            turn.outbox.push(&head, count, turn.link);
        }
    }

    /// Sends the first frame again that was not acknowledged.
    fn resend(&mut self, turn: &mut Turn<'_>) {
        let last = if self.host_ended { self.end } else { self.highest };
        if after(last, self.first) {
            let most = self.longest().min(last.wrapping_sub(self.first) as usize);
            // What went wrong shows again at the next look.
            let _ = self.carry(self.first, most, turn);
        } else if self.host_ended && !self.guest_told {
            self.send(TcpControl::Fin, self.first, 0, turn);
        }
    }

    /// Acknowledges what has come, if that is due.
    pub(super) fn acknowledge(&mut self, turn: &mut Turn<'_>) {
        if self.owes && self.state == State::Open {
            self.send(TcpControl::None, self.next, 0, turn);
        }
    }

    /// Lets the other side send more, for what the container has taken.
    pub(super) fn drop_acknowledged(&mut self, outbox: &mut Outbox) {
        self.unread.drop_acknowledged(&self.socket, outbox.scratch());
    }

    fn grant(&self, link: &Link) {
        let mut repr = self.repr(TcpControl::Syn, self.first);
        repr.ack_number = Some(TcpSeqNumber(self.received.cast_signed()));
        self.introduce(repr, self.scaled, link);
    }

    fn ask(&self, link: &Link) {
        self.introduce(self.repr(TcpControl::Syn, self.first), true, link);
    }

    fn introduce(&self, mut repr: TcpRepr<'static>, scaled: bool, link: &Link) {
        repr.max_seg_size = Some(link.segment(self.guest.is_ipv6()));
        repr.window_scale = scaled.then_some(SCALE);
        // Not scaled yet.
        repr.window_len = u16::MAX;
        link.tcp(self.remote, self.guest, &repr);
    }

    // ---- What time says.

    fn rest(&mut self, now: Instant) {
        let patience = (PATIENCE * (1 << self.tries.min(10))).min(LONGEST_PATIENCE);
        let waits = self.next != self.first
            || (self.window == 0 && (self.readable || after(self.highest, self.next)));
        self.deadline = now
            + match self.state {
                State::Connecting => CONNECTING,
                State::Granted | State::Asked => PATIENCE * (1 << self.tries.min(6)),
                State::Open if waits => patience,
                State::Open if self.unheard > 0 => LONGEST_PATIENCE,
                State::Open if self.guest_ended || self.host_ended => HALF_CLOSED_IDLE,
                State::Open => IDLE,
            };
    }

    /// The deadline is past.
    pub(super) fn wake(&mut self, turn: &mut Turn<'_>) -> Fate {
        self.tries += 1;
        self.unheard += 1;
        let most = match self.state {
            State::Connecting => return self.fail(Errno::TIMEDOUT, turn),
            State::Granted | State::Asked => MOST_SYNS,
            State::Open => MOST_TRIES,
        };
        if self.unheard > most {
            self.send_reset(turn);
            return self.reset();
        }
        match self.state {
            State::Granted => self.grant(turn.link),
            State::Asked => self.ask(turn.link),
            State::Open if self.next != self.first && self.window > 0 => {
                // From the first lost one on, all again: what has arrived is skipped by its answer.
                self.next = self.first;
                self.duplicates = 0;
                let window = self.window.min(self.longest() as u32);
                if let Err(errno) = self.transmit(window, turn) {
                    return self.fail(errno, turn);
                }
            }
            // The last byte that it knows: it answers with what it expects, and its window.
            _ => self.send(TcpControl::None, self.first.wrapping_sub(1), 0, turn),
        }
        self.rest(turn.now);
        Fate::Stays
    }

    /// Gives its memory back.
    pub(super) fn close(&mut self, budget: &mut Budget) {
        self.pending.clear(budget);
        self.unread.clear(budget);
    }
}

enum Answer {
    Refused,
    Unreachable(Unreachable),
    Nothing,
}

/// What a failed call on the host's socket is to the container.
fn unreachable(errno: Errno) -> Answer {
    match unreachable_of(errno) {
        Some(why) => Answer::Unreachable(why),
        None if errno == Errno::TIMEDOUT => Answer::Nothing,
        None => Answer::Refused,
    }
}

/// The same for who has no connection.
pub(super) fn unreachable_of(errno: Errno) -> Option<Unreachable> {
    Some(match errno {
        Errno::NETUNREACH | Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL | Errno::NETDOWN => {
            Unreachable::Network
        }
        Errno::HOSTUNREACH | Errno::HOSTDOWN => Unreachable::Host,
        Errno::ACCESS | Errno::PERM => Unreachable::Forbidden,
        _ => return None,
    })
}
