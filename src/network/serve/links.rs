//! Links that come and go, and who is on them.

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::SocketFlags;
use smoltcp::wire::IpProtocol;

use super::{ARRIVAL, DEVICE, Joining, PEER, Server, TELLER, watch};
use crate::network::control::{DONE, Word};
use crate::network::frame::{self, Link, Packet};
use crate::network::peers::{Card, Peers, spoken};
use crate::network::policy::Policy;
use crate::network::{Mac, Membership, messages, names};

/// A link that is served.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) network: String,
    pub(super) names: Vec<String>,
    pub(super) mac: Mac,
    pub(super) link: Link,
    pub(super) policy: Policy,
    pub(super) peers: Peers,
}

impl Server {
    /// Serves another link. Its descriptors do not block.
    pub(in crate::network) fn join(&mut self, joining: Joining) -> Result<(), Errno> {
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

    pub(super) fn meet_arrivals(&mut self, place: usize) {
        while let Some(Some(attached)) = self.links.get(place) {
            let Ok(socket) = attached.peers.accept() else { return };
            self.greet(place, socket);
        }
    }

    pub(super) fn hear(&mut self, place: usize, peer: usize) {
        let Some(Some(attached)) = self.links.get_mut(place) else { return };
        if let Some(gone) = attached.peers.hear(peer, &mut self.room) {
            let _ = epoll::delete(&self.epoll, gone);
        }
    }

    /// With its flows.
    pub(super) fn drop_link(&mut self, place: usize) {
        self.send_segments();
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

    pub(super) fn take_teller(&mut self) {
        let Some(control) = &self.control else { return };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // One at a time, and the last that came: who is not heard out tries again.
        if let Ok(teller) = rustix::net::accept_with(control, flags)
            && watch(&self.epoll, &teller, TELLER).is_ok()
        {
            self.teller = Some(teller);
        }
    }

    pub(super) fn listen(&mut self) {
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
            (Ok(Word::Meet(network)), _, Some(socket)) => {
                self.place_of(&network).map(|place| self.greet(place, socket)).is_some()
            }
            (Ok(Word::Leave(network)), ..) => {
                self.place_of(&network).map(|place| self.drop_link(place)).is_some()
            }
            (Ok(Word::Call(network, names)), ..) => {
                self.place_of(&network).map(|place| self.rename(place, &names)).is_some()
            }
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
}

impl Attached {
    /// The hardware address of another on the link.
    pub(super) fn owner(&self, address: IpAddr) -> Option<Mac> {
        self.peers.at(address).map(|(mac, _)| mac)
    }

    /// Passes on what is for others on the link; whether it was. Nobody sends in another's name.
    pub(super) fn pass(&self, bytes: &[u8], packet: &Packet<'_>) -> bool {
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

/// The answer to a question for a name on the links, or for one outside where nothing is outside; `None`
/// where it is for others to answer.
pub(super) fn answer(query: &[u8], links: &[Option<Attached>], policy: &Policy) -> Option<Vec<u8>> {
    let answer = names::answer(query, &Everybody(links));
    answer.or_else(|| names::deny(query).filter(|_| policy.internal))
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
