//! What the container sends.

use std::net::{IpAddr, SocketAddr};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpProtocol, TcpControl, TcpRepr, UdpPacket,
};

use super::links::{self, Attached};
use super::questions::Questions;
use super::{FRAMES, Flow, Key, MOST_DATAGRAMS, Server, own_address, socket_for};
use crate::network::datagram::{Datagrams, Echoes};
use crate::network::frame::{self, Frame, Packet, Unreachable};
use crate::network::tcp::{self, Connection, Turn};

/// In place of a protocol's number, of which this is none.
const QUESTIONS: u8 = 255;

impl Server {
    /// Whether the device is still there, or another one.
    pub(super) fn take_frames(&mut self, place: usize) -> Result<bool, Errno> {
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
        self.send_bundle();
        goes_on
    }

    pub(in crate::network) fn take_frame(&mut self, place: usize, bytes: &[u8]) {
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
        self.address(self.slots[id].link);
        let slot = &mut self.slots[id];
        let Some((_, Flow::Tcp(connection))) = &mut slot.flow else { return };
        let Some(Attached { link, .. }) = &self.links[slot.link] else { return };
        let mut turn =
            Turn { link, now: self.now, budget: &mut self.budget, outbox: &mut self.outbox };
        let fate = connection.take(segment, &mut turn);
        self.owe(id);
        self.settle(id, fate);
    }

    fn connect(&mut self, place: usize, key: Key, packet: &Packet<'_>, request: &TcpRepr<'_>) {
        let (_, guest, remote) = key;
        let start = self.first_number();
        let Some(Attached { link, policy, .. }) = &self.links[place] else { return };
        if policy.answers_names(remote) {
            return self.connect_for_names(place, key, request);
        }
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
        let mut turn =
            Turn { link, now: self.now, budget: &mut self.budget, outbox: &mut self.outbox };
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

    /// Names are asked for by a connection: its other end is here.
    fn connect_for_names(&mut self, place: usize, key: Key, request: &TcpRepr<'_>) {
        let (_, guest, remote) = key;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let pair = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None);
        let has_place = self.connections < self.most_connections;
        let start = self.first_number();
        if let (Ok((socket, other)), true) = (pair, has_place) {
            self.make_place();
            let questions = Flow::Questions(Box::new(Questions::new(other, self.now)));
            let Some(Attached { link, .. }) = &self.links[place] else { return };
            let turn =
                Turn { link, now: self.now, budget: &mut self.budget, outbox: &mut self.outbox };
            let connection = Connection::wanted(guest, remote, socket, request, start, &turn);
            // Each end learns of the other's end by their sockets.
            if self.add(place, (QUESTIONS, guest, remote), questions).is_ok()
                && self.add(place, key, Flow::Tcp(Box::new(connection))).is_ok()
            {
                return;
            }
        }
        if let Some(Attached { link, .. }) = &self.links[place] {
            tcp::refuse(link, guest, remote, request);
        }
    }

    /// Nobody outside sees these numbers; they only must not meet those of an old connection.
    pub(super) fn first_number(&mut self) -> u32 {
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
        if !self.bundle.push(id, payload) {
            self.send_bundle();
            self.bundle.push(id, payload);
        }
        self.set_alarm(id);
    }

    /// Sends datagrams that were put together.
    pub(in crate::network) fn send_bundle(&mut self) {
        let Some((id, bytes, size)) = self.bundle.take() else { return };
        let slot = &mut self.slots[id];
        if let (Some((_, Flow::Datagrams(datagrams))), Some(attached)) =
            (&mut slot.flow, &self.links[slot.link])
        {
            let mut sent = datagrams.send(&bytes, size, self.now);
            // That is what became of those before.
            if sent == Err(Errno::CONNREFUSED) {
                datagrams.tell_unreachable(Unreachable::Port, &attached.link);
                sent = datagrams.send(&bytes, size, self.now);
            }
            if let Some(why) = sent.err().and_then(tcp::unreachable_of) {
                datagrams.tell_unreachable(why, &attached.link);
            }
        }
        self.bundle.give_back(bytes);
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
        let answer = links::answer(query, &self.links, policy);
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
    pub(super) fn make_place(&mut self) {
        if self.flows.len() - self.connections < MOST_DATAGRAMS {
            return;
        }
        let next = self.slots.iter().enumerate().filter_map(|(id, slot)| match &slot.flow {
            Some((_, Flow::Datagrams(it))) => Some((it.deadline(), id)),
            Some((_, Flow::Echoes(it))) => Some((it.deadline(), id)),
            Some((_, Flow::Questions(it))) => Some((it.deadline(), id)),
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
}
