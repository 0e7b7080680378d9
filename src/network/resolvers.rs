//! The host's resolvers, as resolv.conf(5) names them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};

/// Where the host asks for names, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolvers(pub(super) Vec<SocketAddr>);

impl Resolvers {
    /// Those at these addresses, in place of the host's.
    pub fn at(addresses: &[IpAddr]) -> Self {
        Self(addresses.iter().map(|ip| SocketAddr::new(*ip, 53)).collect())
    }

    /// How many there are; at least one.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// glibc's `MAXNS`
const MOST: usize = 3;

/// The resolvers of a text. A host that names none asks itself (resolv.conf(5), `nameserver`).
/// `scope` is the number of a network device.
pub fn read(text: &str, scope: impl Fn(&str) -> Option<u32>) -> Resolvers {
    let mut found: Vec<SocketAddr> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("nameserver"), Some(address)) => address_of(address, &scope),
                _ => None,
            }
        })
        .take(MOST)
        .collect();
    if found.is_empty() {
        found.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53));
    }
    Resolvers(found)
}

fn address_of(text: &str, scope: impl Fn(&str) -> Option<u32>) -> Option<SocketAddr> {
    let (address, device) = match text.split_once('%') {
        Some((address, device)) => (address, Some(device)),
        None => (text, None),
    };
    Some(match (address.parse().ok()?, device) {
        (IpAddr::V6(ip), Some(device)) => {
            let number = device.parse().ok().or_else(|| scope(device))?;
            SocketAddrV6::new(ip, 53, 0, number).into()
        }
        (ip, _) => SocketAddr::new(ip, 53),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_those_of_the_file() {
        let scope = |name: &str| (name == "eth0").then_some(7);
        let texts = |text: &str| -> Vec<String> {
            read(text, scope).0.iter().map(ToString::to_string).collect()
        };
        assert_eq!(texts(""), ["127.0.0.1:53"]);
        assert_eq!(texts("# nameserver 9.9.9.9\nnameserver 127.0.0.53\n"), ["127.0.0.53:53"]);
        assert_eq!(
            texts(
                "nameserver fe80::1%eth0\nnameserver fe80::1%x\nnameserver ::1\nsearch a\nnameserver 1.1.1.1\nnameserver 2.2.2.2"
            ),
            ["[fe80::1%7]:53", "[::1]:53", "1.1.1.1:53"]
        );
    }
}
