//! Ranges of addresses: `10.89.0.0/24`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A range of addresses that share their first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    first: IpAddr,
    /// How many bits they share.
    pub prefix: u8,
}

/// No range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid CIDR address: {0}: want ADDRESS/BITS such as 10.89.0.0/24")]
pub struct InvalidSubnet(pub String);

impl Subnet {
    /// The range that an address lies in.
    pub fn around(address: IpAddr, prefix: u8) -> Option<Self> {
        let bits = width(address);
        let host = bits.checked_sub(prefix)?;
        let mask = u128::MAX.checked_shl(host.into()).unwrap_or(0);
        let first = address_of(number(address) & mask, address.is_ipv6());
        Some(Self { first, prefix })
    }

    /// Its first address, which is nobody's.
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// Its last address.
    pub fn last(&self) -> IpAddr {
        let host = width(self.first) - self.prefix;
        let below = u128::MAX.checked_shl(host.into()).map_or(u128::MAX, |mask| !mask);
        address_of(number(self.first) | below, self.is_ipv6())
    }

    /// Whether it is of IPv6.
    pub fn is_ipv6(&self) -> bool {
        self.first.is_ipv6()
    }

    /// Whether an address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        Self::around(address, self.prefix) == Some(*self)
    }

    /// Whether they share an address.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.first) || other.contains(self.first)
    }

    /// Whether a station may have the address: neither the first nor, with IPv4, the last.
    pub fn is_a_station_s(&self, address: IpAddr) -> bool {
        let nobody_s = address == self.first || !self.is_ipv6() && address == self.last();
        self.contains(address) && !nobody_s
    }
}

/// The address that comes after one.
pub(super) fn next(address: IpAddr) -> Option<IpAddr> {
    let next = number(address).checked_add(1)?;
    (address.is_ipv6() || u32::try_from(next).is_ok()).then(|| address_of(next, address.is_ipv6()))
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv6() { 128 } else { 32 }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

#[allow(clippy::cast_possible_truncation)] // of IPv4: made from 32 bits
fn address_of(number: u128, six: bool) -> IpAddr {
    match six {
        true => Ipv6Addr::from(number).into(),
        false => Ipv4Addr::from(number as u32).into(),
    }
}

impl FromStr for Subnet {
    type Err = InvalidSubnet;

    fn from_str(text: &str) -> Result<Self, InvalidSubnet> {
        let invalid = || InvalidSubnet(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(invalid)?;
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let prefix = prefix.parse().map_err(|_| invalid())?;
        Self::around(address, prefix).ok_or_else(invalid)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl TryFrom<String> for Subnet {
    type Error = InvalidSubnet;

    fn try_from(text: String) -> Result<Self, InvalidSubnet> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_range_begins_and_ends_at_its_bits() {
        for (text, first, last) in [
            ("10.89.3.7/24", "10.89.3.0", "10.89.3.255"),
            ("10.0.0.9/30", "10.0.0.8", "10.0.0.11"),
            ("0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
            ("10.0.0.1/32", "10.0.0.1", "10.0.0.1"),
            ("fd00:1::5/64", "fd00:1::", "fd00:1::ffff:ffff:ffff:ffff"),
            ("::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ] {
            let it = subnet(text);
            assert_eq!(
                (it.first().to_string(), it.last().to_string()),
                (first.into(), last.into())
            );
        }
        for text in
            ["", "10.0.0.0", "10.0.0.0/33", "10.0.0/24", "fd00::/129", "x/24", "10.0.0.0/-1"]
        {
            assert!(text.parse::<Subnet>().is_err(), "{text}");
        }
    }

    #[test]
    fn ranges_meet_or_do_not() {
        let small = subnet("10.89.3.0/24");
        assert!(small.overlaps(&subnet("10.89.0.0/16")) && subnet("10.0.0.0/8").overlaps(&small));
        assert!(!small.overlaps(&subnet("10.89.4.0/24")) && !small.overlaps(&subnet("::/0")));
        let station = |text: &str| small.is_a_station_s(text.parse().expect("an address"));
        assert!(station("10.89.3.1") && station("10.89.3.254"));
        assert!(!station("10.89.3.0") && !station("10.89.3.255") && !station("10.89.4.1"));
    }
}
