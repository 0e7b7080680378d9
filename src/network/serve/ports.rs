//! Who comes by a published port.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SocketFlags, sockopt};
use smoltcp::wire::IpProtocol;

use super::links::Attached;
use super::{FRAMES, Flow, Key, PORT, Server, prepare, watch};
use crate::network::datagram::Datagrams;
use crate::network::tcp::{Connection, Turn};
use crate::network::{Protocol, publish};

/// A published port.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) socket: Rc<OwnedFd>,
    pub(super) container: u16,
    pub(super) protocol: Protocol,
}

impl Server {
    pub(super) fn watch_ports(&mut self) -> Result<(), Errno> {
        for (place, port) in self.ports.iter().enumerate() {
            match watch(&self.epoll, &port.socket, PORT | place as u64) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Takes in who has come by a port.
    pub(super) fn take_in(&mut self, place: usize) {
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
        let turn = Turn { link, now: self.now, budget: &mut self.budget, outbox: &mut self.outbox };
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
    pub(super) fn refused(&mut self, id: usize) {
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
}
