//! The others on a link: each server knows each other's device, and writes to it what its own
//! container sends there.
//!
//! ```text
//! container A ── frames ──► A's server ──► B's device ── container B
//!                              │ ▲
//!                              ▼ │ a connection each: names, addresses, the device; its end is B's end
//!                           B's server
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::SocketFlags;
use serde::{Deserialize, Serialize};

use super::{LinkPlan, Mac, Membership, messages};

/// What a server tells the others on a link of its container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Card {
    pub(super) names: Vec<String>,
    pub(super) mac: Mac,
    pub(super) ip: Ipv4Addr,
    pub(super) ip6: Option<Ipv6Addr>,
}

/// Another server on the link.
#[derive(Debug)]
struct Peer {
    socket: OwnedFd,
    /// Its container and that one's device, once it has told.
    known: Option<(Card, OwnedFd)>,
}

/// All others on a link.
#[derive(Debug)]
pub(super) struct Peers {
    listener: Option<OwnedFd>,
    /// Who is there. Places are kept: what becomes ready is told by them.
    places: Vec<Option<Peer>>,
    card: Card,
}

impl Card {
    pub(super) fn of(plan: &LinkPlan) -> Self {
        Self {
            names: spoken(&plan.names),
            mac: plan.mac,
            ip: plan.addresses.guest,
            ip6: plan.addresses.six.as_ref().map(|six| six.guest),
        }
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        std::iter::once(self.ip.into()).chain(self.ip6.map(IpAddr::from))
    }
}

/// Names as they are asked for: in lower case.
pub(super) fn spoken(names: &[String]) -> Vec<String> {
    names.iter().map(|name| name.to_ascii_lowercase()).collect()
}

impl Peers {
    pub(super) fn new(plan: &LinkPlan, listener: Option<OwnedFd>) -> Self {
        Self { listener, places: Vec::new(), card: Card::of(plan) }
    }

    fn card(&self) -> Vec<u8> {
        serde_json::to_vec(&self.card).unwrap_or_default()
    }

    /// Tells all of other names of this container, whose device is `tap`.
    pub(super) fn rename(&mut self, names: Vec<String>, tap: &OwnedFd) {
        self.card.names = names;
        let card = self.card();
        for peer in self.places.iter().flatten() {
            // Who does not listen is about to be gone.
            let _ = messages::send(&peer.socket, &card, &[tap.as_fd()]);
        }
    }

    /// Where those who come later arrive.
    pub(super) fn listener(&self) -> Option<&OwnedFd> {
        self.listener.as_ref()
    }

    /// The next who has arrived.
    pub(super) fn accept(&self) -> Result<OwnedFd, Errno> {
        let listener = self.listener.as_ref().ok_or(Errno::BADF)?;
        rustix::net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
    }

    /// Tells somebody of this container, whose device is `tap`; gives the place that the other has.
    pub(super) fn greet(&mut self, socket: OwnedFd, tap: &OwnedFd) -> Result<usize, Errno> {
        messages::send(&socket, &self.card(), &[tap.as_fd()])?;
        let peer = Some(Peer { socket, known: None });
        let place = self.places.iter().position(Option::is_none).unwrap_or(self.places.len());
        match self.places.get_mut(place) {
            Some(free) => *free = peer,
            None => self.places.push(peer),
        }
        Ok(place)
    }

    /// The connection to somebody.
    pub(super) fn socket(&self, place: usize) -> Option<&OwnedFd> {
        self.places.get(place)?.as_ref().map(|peer| &peer.socket)
    }

    /// Hears what somebody says: of its container, or that it is gone, whose connection this gives
    /// back then.
    pub(super) fn hear(&mut self, place: usize, room: &mut [u8]) -> Option<OwnedFd> {
        let peer = self.places.get_mut(place)?;
        let it = peer.as_mut()?;
        match messages::receive(&it.socket, room) {
            Err(Errno::AGAIN) => None,
            Ok((length @ 1.., mut descriptors)) => {
                let card = serde_json::from_slice(&room[..length.min(room.len())]).ok();
                it.known = card.zip(descriptors.pop());
                None
            }
            Ok((0, _)) | Err(_) => peer.take().map(|peer| peer.socket),
        }
    }

    fn known(&self) -> impl Iterator<Item = &(Card, OwnedFd)> {
        self.places.iter().flatten().filter_map(|peer| peer.known.as_ref())
    }

    /// The cards of those who are there.
    pub(super) fn cards(&self) -> impl Iterator<Item = &Card> {
        self.known().map(|(card, _)| card)
    }

    /// Who has an address, and the device that leads there.
    pub(super) fn at(&self, address: IpAddr) -> Option<(Mac, &OwnedFd)> {
        let (card, tap) =
            self.known().find(|(card, _)| card.addresses().any(|known| known == address))?;
        Some((card.mac, tap))
    }

    /// The devices of all.
    pub(super) fn devices(&self) -> impl Iterator<Item = &OwnedFd> {
        self.known().map(|(_, tap)| tap)
    }
}

impl Membership {
    /// What the server keeps, by descriptors of its own.
    pub(super) fn copy(&self) -> Result<Self, Errno> {
        let copy = |it: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(it, 3);
        let peers = self.peers.iter().map(copy).collect::<Result<_, _>>()?;
        Ok(Self { listener: copy(&self.listener)?, peers })
    }

    pub(super) fn descriptors(&self) -> impl Iterator<Item = &OwnedFd> {
        std::iter::once(&self.listener).chain(&self.peers)
    }
}
