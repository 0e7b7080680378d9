//! What is known of a named network, and what is asked of one.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::network::{Error, InvalidSubnet, Mac, Subnet};

/// A network: `networks/NAME/network.json`. Fields may be added, and have defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    /// The name, unique in a store.
    pub name: String,
    /// 64 hexadecimal digits.
    pub id: String,
    /// RFC 3339 time of creation.
    pub created: String,
    /// Its addresses, those of IPv4 first.
    pub pools: Vec<Pool>,
    /// Whether nothing but its containers is reached by it.
    pub internal: bool,
    /// Whether its containers find each other by name.
    pub dns: bool,
    /// The longest packet in bytes.
    pub mtu: Option<u16>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// `--opt`, as given.
    pub options: BTreeMap<String, String>,
}

/// Addresses of one family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// All of them.
    pub subnet: Subnet,
    /// The one that stands for the host.
    pub gateway: IpAddr,
    /// Those that containers get that ask for none.
    pub range: Option<Range>,
}

/// Addresses from one to another, both of them too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The first.
    pub first: IpAddr,
    /// The last.
    pub last: IpAddr,
    /// As it was given.
    pub text: String,
}

/// What `network create` asks for.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The name.
    pub name: String,
    /// `--subnet`
    pub subnets: Vec<Subnet>,
    /// `--gateway`
    pub gateways: Vec<IpAddr>,
    /// `--ip-range`
    pub ranges: Vec<Range>,
    /// `--ipv6`
    pub ipv6: bool,
    /// `--internal`
    pub internal: bool,
    /// Not `--disable-dns`
    pub dns: bool,
    /// `--opt mtu`
    pub mtu: Option<u16>,
    /// `--label`
    pub labels: BTreeMap<String, String>,
    /// `--opt`
    pub options: BTreeMap<String, String>,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            name: String::new(),
            subnets: Vec::new(),
            gateways: Vec::new(),
            ranges: Vec::new(),
            ipv6: false,
            internal: false,
            dns: true,
            mtu: None,
            labels: BTreeMap::new(),
            options: BTreeMap::new(),
        }
    }
}

/// A network that a container is to be in. Kept with what the container is made from: fields may be
/// added, and have defaults there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wanted {
    /// The network's name: also `private` and `none`, for a container that has left the one network
    /// that it was made with.
    pub name: String,
    /// The address that it is to have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<Ipv4Addr>,
    /// The same of IPv6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip6: Option<Ipv6Addr>,
    /// The hardware address that it is to have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Further names that it has there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
}

impl Network {
    pub(super) fn new(draft: &Draft, id: String, created: String, pools: Vec<Pool>) -> Self {
        Self {
            name: draft.name.clone(),
            id,
            created,
            pools,
            internal: draft.internal,
            dns: draft.dns,
            mtu: draft.mtu,
            labels: draft.labels.clone(),
            options: draft.options.clone(),
        }
    }
}

impl Pool {
    /// The address that was asked for, or else the first that nobody has.
    pub(super) fn address(
        &self,
        asked: Option<IpAddr>,
        taken: &[IpAddr],
        network: &str,
    ) -> Result<IpAddr, Error> {
        if let Some(address) = asked {
            return match taken.contains(&address) {
                true => Err(Error::AddressInUse { address, name: network.to_owned() }),
                false => Ok(address),
            };
        }
        let range = self.range.as_ref();
        let (first, last) = match range {
            Some(range) => (range.first, range.last),
            None => (self.subnet.first(), self.subnet.last()),
        };
        // One more than there are that it may not be.
        let most = taken.len() + 4;
        let candidates = std::iter::successors(Some(first), |address| {
            crate::network::subnet::next(*address).filter(|next| *next <= last)
        });
        candidates
            .take(most)
            .find(|address| {
                self.subnet.is_a_station_s(*address)
                    && *address != self.gateway
                    && !taken.contains(address)
            })
            .ok_or_else(|| Error::NetworkFull { name: network.to_owned() })
    }
}

impl FromStr for Range {
    type Err = InvalidSubnet;

    /// `ADDRESS/BITS`, or `FIRST-LAST`.
    fn from_str(text: &str) -> Result<Self, InvalidSubnet> {
        let invalid = || InvalidSubnet(text.to_owned());
        let text = text.to_owned();
        if let Some((first, last)) = text.split_once('-') {
            let (first, last): (IpAddr, IpAddr) =
                (first.parse().map_err(|_| invalid())?, last.parse().map_err(|_| invalid())?);
            if first > last || first.is_ipv6() != last.is_ipv6() {
                return Err(invalid());
            }
            return Ok(Self { first, last, text });
        }
        let subnet: Subnet = text.parse()?;
        Ok(Self { first: subnet.first(), last: subnet.last(), text })
    }
}

/// docker's rule for names.
pub(super) fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    let goes_on = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.len() <= 128
        && bytes.all(goes_on)
}
