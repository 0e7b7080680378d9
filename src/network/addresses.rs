//! Who has which address on the link between a container and its server.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::Settings;

/// The addresses on a link. A private network's are slirp4netns's, which scripts know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// The container's.
    pub guest: Ipv4Addr,
    /// Where it sends what is not on the link; stands for the host.
    pub gateway: Ipv4Addr,
    /// Bits that all on the link share.
    pub prefix: u8,
    /// The same for IPv6, where the link has that.
    pub six: Option<Six>,
    /// Whether others are on the link: its gateway then answers questions for their names.
    pub shared: bool,
}

/// The addresses of IPv6 on a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Six {
    /// The container's.
    pub guest: Ipv6Addr,
    /// Where it sends what is not on the link.
    pub gateway: Ipv6Addr,
    /// Bits that all on the link share.
    pub prefix: u8,
}

const NETWORK: [u8; 3] = [10, 0, 2];
/// The host's resolvers, in order, have these last numbers in a private network.
const RESOLVERS: std::ops::Range<u8> = 3..6;

impl Addresses {
    /// Those that the settings of a private network ask for, and the usual ones in place of what they
    /// leave open.
    pub fn new(settings: &Settings) -> Self {
        Self {
            guest: settings.ip.unwrap_or(on_link(100)),
            gateway: on_link(2),
            prefix: 24,
            six: Some(Six {
                guest: settings.ip6.unwrap_or(on_link6(0x100)),
                gateway: on_link6(2),
                prefix: 64,
            }),
            shared: false,
        }
    }

    /// The addresses that stand for the host's first `count` resolvers in a private network.
    pub fn resolvers(count: usize) -> impl Iterator<Item = Ipv4Addr> {
        RESOLVERS.take(count).map(on_link)
    }

    /// Which of the host's resolvers an address stands for.
    pub(super) fn resolver(&self, address: IpAddr) -> Option<usize> {
        let last = match address {
            _ if self.shared => None,
            IpAddr::V4(address) => RESOLVERS.clone().find(|last| on_link(*last) == address),
            IpAddr::V6(address) => {
                RESOLVERS.clone().find(|last| on_link6(u16::from(*last)) == address)
            }
        };
        last.map(|last| usize::from(last - RESOLVERS.start))
    }

    /// Whether an address is one of the link's.
    pub(super) fn is_on_link(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => same(
                u32::from(address).into(),
                u32::from(self.guest).into(),
                32 - u32::from(self.prefix),
            ),
            IpAddr::V6(address) => self.six.as_ref().is_some_and(|six| {
                same(u128::from(address), u128::from(six.guest), 128 - u32::from(six.prefix))
            }),
        }
    }

    /// Whether an address is everybody's on the link, or a group's.
    pub(super) fn is_for_many(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => {
                let host = u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
                let last = u32::from(self.guest) | host;
                address.is_multicast() || address.is_broadcast() || u32::from(address) == last
            }
            IpAddr::V6(address) => address.is_multicast(),
        }
    }

    pub(super) fn is_gateway(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => address == self.gateway,
            IpAddr::V6(address) => self.six.as_ref().is_some_and(|six| six.gateway == address),
        }
    }

    /// Whether an address is the container's.
    pub(super) fn is_guest(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => address == self.guest,
            IpAddr::V6(address) => self.six.as_ref().is_some_and(|six| six.guest == address),
        }
    }

    /// Whether a container may have it in a private network: on the link, and nobody else's.
    pub fn is_free(address: IpAddr) -> bool {
        let last = match address {
            IpAddr::V4(address) => u16::from(address.octets()[3]),
            IpAddr::V6(address) if address.segments()[4..7] != [0, 0, 0] => {
                return address.segments()[..4] == [0xfd00, 0, 0, 0];
            }
            IpAddr::V6(address) => address.segments()[7],
        };
        let first = u16::from(RESOLVERS.end);
        let on_link = Self::new(&Settings::default()).is_on_link(address);
        on_link && last >= first && (address.is_ipv6() || last < 255)
    }
}

/// Whether two addresses differ in their last `bits` alone.
fn same(one: u128, other: u128, bits: u32) -> bool {
    (one ^ other).checked_shr(bits).unwrap_or(0) == 0
}

fn on_link(last: u8) -> Ipv4Addr {
    let [a, b, c] = NETWORK;
    Ipv4Addr::new(a, b, c, last)
}

fn on_link6(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_takes_nobodys_address() {
        let free = |text: &str| Addresses::is_free(text.parse().expect("an address"));
        for text in ["10.0.2.100", "10.0.2.6", "10.0.2.254", "fd00::100", "fd00::1:0:0:2"] {
            assert!(free(text), "{text}");
        }
        for text in
            ["10.0.2.2", "10.0.2.3", "10.0.2.255", "10.0.2.0", "10.0.3.9", "fd00::2", "fd01::9"]
        {
            assert!(!free(text), "{text}");
        }
    }

    #[test]
    fn each_resolver_has_an_address() {
        let addresses = Addresses::new(&Settings::default());
        let known: Vec<_> = Addresses::resolvers(9).collect();
        assert_eq!(known.len(), 3);
        for (place, address) in known.into_iter().enumerate() {
            assert_eq!(addresses.resolver(address.into()), Some(place));
        }
        assert_eq!(addresses.resolver("fd00::4".parse().expect("an address")), Some(1));
        assert_eq!(addresses.resolver("10.0.2.2".parse().expect("an address")), None);
        let shared = Addresses { shared: true, ..addresses };
        assert_eq!(shared.resolver("10.0.2.3".parse().expect("an address")), None);
    }

    #[test]
    fn the_link_ends_where_its_prefix_says() {
        let link = Addresses {
            guest: "10.89.3.17".parse().expect("an address"),
            gateway: "10.89.3.16".parse().expect("an address"),
            prefix: 28,
            six: None,
            shared: true,
        };
        let on_link = |text: &str| link.is_on_link(text.parse().expect("an address"));
        assert!(on_link("10.89.3.31") && !on_link("10.89.3.32") && !on_link("10.89.3.15"));
        assert!(!on_link("fd00::2"), "it has no IPv6");
        let many = |text: &str| link.is_for_many(text.parse().expect("an address"));
        assert!(many("10.89.3.31") && many("255.255.255.255") && many("224.0.0.251"));
        assert!(!many("10.89.3.30") && !many("10.89.3.17"));
    }
}
