//! What is asked of a private network.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Addresses;

/// `--network private` and what goes with it. Kept beside a container's record: fields may be added,
/// and have defaults there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Whether the gateway's address leads to the host's loopback (`private:host-loopback`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub host_loopback: bool,
    /// Whether connections to the outside are made by sockets of the host's (`fast`).
    pub fast: bool,
    /// The longest packet in bytes, from `SHORTEST_MTU` to `MTU`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// `--mac-address`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// `--ip`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<Ipv4Addr>,
    /// `--ip6`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip6: Option<Ipv6Addr>,
}

impl Settings {
    /// The MTU where none is asked for: what slirp4netns and pasta have, so that a datagram of any
    /// usual length is one packet.
    pub const MTU: u16 = 65_520;
    /// What IPv6 takes (RFC 8200, section 5).
    pub const SHORTEST_MTU: u16 = 1280;

    /// The longest packet in bytes.
    pub fn mtu(&self) -> u16 {
        self.mtu.unwrap_or(Self::MTU)
    }

    /// The container's hardware address.
    pub fn mac(&self) -> Mac {
        // docker's form: 02:42 and the address.
        let [a, b, c, d] = Addresses::new(self).guest.octets();
        self.mac.unwrap_or(Mac([0x02, 0x42, a, b, c, d]))
    }
}

/// The hardware address of one station (IEEE 802).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

/// No hardware address of one station.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no hardware address of one station: want six bytes such as 02:42:0a:00:02:64")]
pub struct InvalidMac(String);

impl FromStr for Mac {
    type Err = InvalidMac;

    fn from_str(text: &str) -> Result<Self, InvalidMac> {
        let invalid = || InvalidMac(text.to_owned());
        let byte = |part: &str| match part.len() {
            1 | 2 => u8::from_str_radix(part, 16).ok(),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = text.split([':', '-']).map(byte).collect();
        let bytes: [u8; 6] = bytes.and_then(|it| it.try_into().ok()).ok_or_else(invalid)?;
        // The first byte's lowest bit makes a group of it; all zeroes are nobody.
        if bytes[0] & 1 == 1 || bytes == [0; 6] { Err(invalid()) } else { Ok(Self(bytes)) }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            let colon = if place == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Mac {
    type Error = InvalidMac;

    fn try_from(text: String) -> Result<Self, InvalidMac> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses_are_of_one_station() {
        let mac: Mac = "2:42-0A:00:02:64".parse().expect("valid");
        assert_eq!(mac.to_string(), "02:42:0a:00:02:64");
        assert_eq!(Settings::default().mac(), mac);
        for text in [
            "",
            "02:42:0a:00:02",
            "01:00:5e:00:00:01",
            "00:00:00:00:00:00",
            "02:42:0a:00:02:640",
            "zz:42:0a:00:02:64",
        ] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }
}
