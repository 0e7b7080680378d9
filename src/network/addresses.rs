//! Who has which address on the link between a container and its server.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Settings;

/// The addresses of a private network. They are slirp4netns's, which scripts know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The container's.
    pub guest: Ipv4Addr,
    /// The container's.
    pub guest6: Ipv6Addr,
    /// Where it sends what is not on the link; stands for the host.
    pub gateway: Ipv4Addr,
    /// The same for IPv6.
    pub gateway6: Ipv6Addr,
}

const NETWORK: [u8; 3] = [10, 0, 2];
/// The host's resolvers, in order, have these last numbers.
const RESOLVERS: std::ops::Range<u8> = 3..6;

impl Addresses {
    /// 10.0.2.0/24
    pub const PREFIX: u8 = 24;
    /// fd00::/64
    pub const PREFIX6: u8 = 64;

    /// Those that the settings ask for, and the usual ones in place of what they leave open.
    pub fn new(settings: &Settings) -> Self {
        Self {
            guest: settings.ip.unwrap_or(on_link(100)),
            guest6: settings.ip6.unwrap_or(on_link6(0x100)),
            gateway: on_link(2),
            gateway6: on_link6(2),
        }
    }

    /// The addresses that stand for the host's first `count` resolvers.
    pub fn resolvers(count: usize) -> impl Iterator<Item = Ipv4Addr> {
        RESOLVERS.take(count).map(on_link)
    }

    /// Which of the host's resolvers an address stands for.
    pub(super) fn resolver(address: IpAddr) -> Option<usize> {
        let last = match address {
            IpAddr::V4(address) => RESOLVERS.clone().find(|last| on_link(*last) == address),
            IpAddr::V6(address) => {
                RESOLVERS.clone().find(|last| on_link6(u16::from(*last)) == address)
            }
        };
        last.map(|last| usize::from(last - RESOLVERS.start))
    }

    /// Whether an address is one of the link's.
    pub(super) fn is_on_link(address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => address.octets()[..3] == NETWORK,
            IpAddr::V6(address) => address.segments()[..4] == [0xfd00, 0, 0, 0],
        }
    }

    pub(super) fn is_gateway(&self, address: IpAddr) -> bool {
        address == IpAddr::V4(self.gateway) || address == IpAddr::V6(self.gateway6)
    }

    /// Whether a container may have it: on the link, and nobody else's.
    pub fn is_free(address: IpAddr) -> bool {
        let last = match address {
            IpAddr::V4(address) => u16::from(address.octets()[3]),
            IpAddr::V6(address) if address.segments()[4..7] != [0, 0, 0] => return true,
            IpAddr::V6(address) => address.segments()[7],
        };
        let first = u16::from(RESOLVERS.end);
        Self::is_on_link(address) && last >= first && (address.is_ipv6() || last < 255)
    }
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
        let known: Vec<_> = Addresses::resolvers(9).collect();
        assert_eq!(known.len(), 3);
        for (place, address) in known.into_iter().enumerate() {
            assert_eq!(Addresses::resolver(address.into()), Some(place));
        }
        assert_eq!(Addresses::resolver("fd00::4".parse().expect("an address")), Some(1));
        assert_eq!(Addresses::resolver("10.0.2.2".parse().expect("an address")), None);
    }
}
