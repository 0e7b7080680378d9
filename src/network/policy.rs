//! Where a destination of the container's leads.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Addresses;
use super::frame::Unreachable;

/// What a container may reach.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) addresses: Addresses,
    /// Whether the gateway is the host's loopback.
    pub(super) host_loopback: bool,
    /// The host's, in order.
    pub(super) resolvers: Vec<SocketAddr>,
    /// Which of them is asked where one address stands for all.
    pub(super) asked: usize,
    /// Whether nothing is outside (`network create --internal`).
    pub(super) internal: bool,
}

pub(super) const DNS: u16 = 53;

impl Policy {
    /// The address that the server connects to in the container's stead; `None` where nothing is
    /// there for it. `host` gives the host's own address of a family.
    pub(super) fn way(
        &self,
        target: SocketAddr,
        host: impl Fn(bool) -> Option<IpAddr>,
    ) -> Option<SocketAddr> {
        let (ip, port) = (target.ip(), target.port());
        if self.internal {
            return None;
        }
        if self.answers_names(target) {
            return self.resolvers.get(self.asked % self.resolvers.len().max(1)).copied();
        }
        if let Some(place) = self.addresses.resolver(ip) {
            return self.resolvers.get(place).filter(|_| port == DNS).copied();
        }
        if self.addresses.is_gateway(ip) {
            let ip = match (self.host_loopback, ip.is_ipv6()) {
                (true, false) => Some(Ipv4Addr::LOCALHOST.into()),
                (true, true) => Some(Ipv6Addr::LOCALHOST.into()),
                (false, six) => host(six).filter(|ip| is_outside(*ip)),
            };
            return ip.map(|ip| SocketAddr::new(ip, port));
        }
        let reachable = is_outside(ip) && !self.addresses.is_on_link(ip) && port != 0;
        reachable.then_some(target)
    }

    /// What is told of an address that leads nowhere; nothing of a group's.
    pub(super) fn nowhere(&self, ip: IpAddr) -> Option<Unreachable> {
        match ip {
            _ if self.addresses.is_for_many(ip) => None,
            _ if !self.addresses.is_on_link(ip) => Some(Unreachable::Network),
            _ if self.addresses.shared && !self.addresses.is_gateway(ip) => Some(Unreachable::Host),
            _ => Some(Unreachable::Port),
        }
    }

    /// Whether names are asked for there, of which some are the link's own.
    pub(super) fn answers_names(&self, target: SocketAddr) -> bool {
        self.addresses.shared && target.port() == DNS && self.addresses.is_gateway(target.ip())
    }
}

/// Whether an address is another station's, and one station's: the kernel takes `0.0.0.0`, `::` and
/// IPv4 in IPv6's clothes for the loopback too.
pub(crate) fn is_outside(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let first = ip.octets()[0];
            // 0/8 and 127/8 are this host, from 224 up are groups and everybody.
            first != 0 && first != 127 && first < 224
        }
        IpAddr::V6(ip) => {
            // The first 96 bits all zero: `::`, `::1`, IPv4 "compatible"; mapped; 64:ff9b::/96 leads
            // to IPv4 by a router outside.
            let low = ip.segments()[..6] == [0; 6];
            let mapped = ip.to_ipv4_mapped().is_some();
            let link_local = ip.segments()[0] & 0xffc0 == 0xfe80;
            !low && !mapped && !link_local && !ip.is_multicast()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Settings;

    fn policy(host_loopback: bool) -> Policy {
        Policy {
            addresses: Addresses::new(&Settings::default()),
            host_loopback,
            resolvers: vec!["127.0.0.53:53".parse().expect("an address")],
            asked: 0,
            internal: false,
        }
    }

    fn way(policy: &Policy, target: &str) -> Option<String> {
        let host = |six: bool| {
            let text = if six { "2001:db8::5" } else { "192.168.1.5" };
            Some(text.parse().expect("an address"))
        };
        let target = target.parse().expect("an address");
        policy.way(target, host).map(|way| way.to_string())
    }

    #[test]
    fn the_hosts_loopback_has_no_form_that_leads_there() {
        for target in [
            "127.0.0.1:22",
            "127.255.0.9:22",
            "0.0.0.0:22",
            "0.1.2.3:22",
            "[::1]:22",
            "[::]:22",
            "[::ffff:127.0.0.1]:22",
            "[::ffff:10.1.1.1]:22",
            "[::127.0.0.1]:22",
            "[fe80::1]:22",
            "224.0.0.1:22",
            "255.255.255.255:22",
            "[ff02::1]:22",
        ] {
            assert_eq!(way(&policy(false), target), None, "{target}");
            assert_eq!(way(&policy(true), target), None, "{target}");
        }
    }

    #[test]
    fn the_link_s_addresses_lead_where_they_say() {
        let (closed, open) = (policy(false), policy(true));
        assert_eq!(way(&closed, "10.0.2.2:80").as_deref(), Some("192.168.1.5:80"));
        assert_eq!(way(&closed, "[fd00::2]:80").as_deref(), Some("[2001:db8::5]:80"));
        assert_eq!(way(&open, "10.0.2.2:80").as_deref(), Some("127.0.0.1:80"));
        assert_eq!(way(&open, "[fd00::2]:80").as_deref(), Some("[::1]:80"));
        assert_eq!(way(&closed, "10.0.2.3:53").as_deref(), Some("127.0.0.53:53"));
        for target in ["10.0.2.3:80", "10.0.2.4:53", "10.0.2.100:80", "10.0.2.7:1", "1.1.1.1:0"] {
            assert_eq!(way(&closed, target), None, "{target}");
        }
        assert_eq!(way(&closed, "1.1.1.1:443").as_deref(), Some("1.1.1.1:443"));
        assert_eq!(way(&closed, "[2001:db8::1]:443").as_deref(), Some("[2001:db8::1]:443"));
    }

    #[test]
    fn nothing_is_outside_of_an_internal_network() {
        let shared = Addresses { shared: true, ..Addresses::new(&Settings::default()) };
        let open = Policy { addresses: shared, ..policy(false) };
        assert_eq!(way(&open, "10.0.2.2:53").as_deref(), Some("127.0.0.53:53"));
        assert_eq!(way(&open, "[fd00::2]:53").as_deref(), Some("127.0.0.53:53"));
        assert_eq!(way(&open, "10.0.2.3:53"), None, "somebody else's on such a link");
        let internal = Policy { internal: true, ..open };
        for target in ["10.0.2.2:53", "10.0.2.2:80", "1.1.1.1:443", "[2001:db8::1]:443"] {
            assert_eq!(way(&internal, target), None, "{target}");
        }
    }

    #[test]
    fn a_host_without_an_address_is_not_its_loopback() {
        let target = "10.0.2.2:80".parse().expect("an address");
        assert_eq!(policy(false).way(target, |_| None), None);
        assert_eq!(policy(false).way(target, |_| Some(Ipv4Addr::LOCALHOST.into())), None);
    }
}
