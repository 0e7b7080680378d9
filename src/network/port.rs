//! Ports of a container that the host is to have: what is asked for, and what came of it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a port is of.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// TCP
    #[default]
    Tcp,
    /// UDP
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// One port of a container that is to be published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRequest {
    /// On which of the host's addresses; on all where nothing is said.
    pub host_ip: Option<IpAddr>,
    /// The first of these that is free, both ends included; any where nothing is said.
    pub host: Option<(u16, u16)>,
    /// The container's.
    pub container: u16,
    /// Of which protocol.
    #[serde(default)]
    pub protocol: Protocol,
}

/// A port of a container that others are told of (`--expose`, the image's `ExposedPorts`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Expose {
    /// The container's.
    pub port: u16,
    /// Of which protocol.
    pub protocol: Protocol,
}

/// A port that is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The host's address.
    pub host_ip: IpAddr,
    /// The host's port.
    pub host_port: u16,
    /// The container's.
    pub container: u16,
    /// Of which protocol.
    pub protocol: Protocol,
}

impl fmt::Display for Expose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, self.protocol)
    }
}

/// Text that names no port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid port {text:?}: {why}")]
pub struct InvalidPort {
    text: String,
    why: &'static str,
}

const SYNTAX: &str =
    "want [[IP:][HOST-PORT]:]PORT[/tcp|udp], or ranges FIRST-LAST of the same length";

impl PortRequest {
    /// Reads `[[IP:][HOST-PORT]:]PORT[/PROTOCOL]`; a range gives a request each.
    pub fn parse(text: &str) -> Result<Vec<Self>, InvalidPort> {
        let invalid = |why| InvalidPort { text: text.to_owned(), why };
        let (ports, protocol) = protocol_of(text)?;
        let (rest, container) = match ports.rsplit_once(':') {
            Some((rest, container)) => (Some(rest), container),
            None => (None, ports),
        };
        let (first, last) = range(container).ok_or_else(|| invalid(SYNTAX))?;
        let (ip, host) = match rest.map(|rest| rest.rsplit_once(':').map_or(("", rest), |it| it)) {
            None => (None, None),
            // An address in brackets with nothing behind it is no port.
            Some((ip, host)) => (Some(ip), Some(host)),
        };
        let host_ip = match ip {
            None | Some("") => None,
            Some(ip) => {
                let bare = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
                Some(bare.parse().map_err(|_| invalid("its address is none"))?)
            }
        };
        let host = match host {
            None | Some("" | "0") => None,
            Some(host) => Some(range(host).ok_or_else(|| invalid(SYNTAX))?),
        };
        let count = last - first;
        if let Some((host_first, host_last)) = host
            && count > 0
            && host_last - host_first != count
        {
            return Err(invalid("the two ranges are not of the same length"));
        }
        let one = |place: u16| Self {
            host_ip,
            host: host.map(|(first, last)| match count {
                0 => (first, last),
                _ => (first + place, first + place),
            }),
            container: first + place,
            protocol,
        };
        Ok((0..=count).map(one).collect())
    }
}

impl Expose {
    /// Reads `PORT[-PORT][/PROTOCOL]`.
    pub fn parse(text: &str) -> Result<Vec<Self>, InvalidPort> {
        let (ports, protocol) = protocol_of(text)?;
        let invalid = || InvalidPort { text: text.to_owned(), why: "want PORT[-PORT][/tcp|udp]" };
        let (first, last) = range(ports).ok_or_else(invalid)?;
        Ok((first..=last).map(|port| Self { port, protocol }).collect())
    }
}

impl FromStr for Protocol {
    type Err = InvalidPort;

    fn from_str(text: &str) -> Result<Self, InvalidPort> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Err(InvalidPort { text: text.to_owned(), why: "sctp is not carried" }),
            _ => Err(InvalidPort { text: text.to_owned(), why: "the protocols are tcp and udp" }),
        }
    }
}

fn protocol_of(text: &str) -> Result<(&str, Protocol), InvalidPort> {
    match text.split_once('/') {
        None => Ok((text, Protocol::Tcp)),
        Some((ports, protocol)) => match protocol.parse() {
            Ok(protocol) => Ok((ports, protocol)),
            Err(InvalidPort { why, .. }) => Err(InvalidPort { text: text.to_owned(), why }),
        },
    }
}

/// `PORT` or `FIRST-LAST`
fn range(text: &str) -> Option<(u16, u16)> {
    let port = |text: &str| text.parse().ok().filter(|port| *port > 0 && !text.starts_with('+'));
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(text)?, port(text)?),
    };
    (first <= last).then_some((first, last))
}

/// What is to be published: what was asked for and, with `all`, every exposed port that was not.
pub fn plan(requests: &[PortRequest], exposed: &[Expose], all: bool) -> Vec<PortRequest> {
    let mut ports = requests.to_vec();
    let mut known: Vec<Expose> = exposed.to_vec();
    known.sort_unstable();
    known.dedup();
    let is_asked = |expose: &Expose| {
        let is = |it: &PortRequest| (it.container, it.protocol) == (expose.port, expose.protocol);
        requests.iter().any(is)
    };
    let more = known.iter().filter(|expose| all && !is_asked(expose));
    ports.extend(more.map(|expose| PortRequest {
        host_ip: None,
        host: None,
        container: expose.port,
        protocol: expose.protocol,
    }));
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Vec<String> {
        let requests = PortRequest::parse(text).unwrap_or_else(|error| panic!("{error}"));
        requests
            .iter()
            .map(|it| {
                let ip = it.host_ip.map_or("*".to_owned(), |ip| ip.to_string());
                let host = it.host.map_or("any".to_owned(), |(a, b)| format!("{a}-{b}"));
                format!("{ip} {host} {}/{}", it.container, it.protocol)
            })
            .collect()
    }

    #[test]
    fn docker_s_forms_are_read() {
        assert_eq!(parse("80"), ["* any 80/tcp"]);
        assert_eq!(parse("8080:80"), ["* 8080-8080 80/tcp"]);
        assert_eq!(parse("0:80/udp"), ["* any 80/udp"]);
        assert_eq!(parse("127.0.0.1::80"), ["127.0.0.1 any 80/tcp"]);
        assert_eq!(parse("127.0.0.1:8080:80/TCP"), ["127.0.0.1 8080-8080 80/tcp"]);
        assert_eq!(parse("[::1]:8080:80"), ["::1 8080-8080 80/tcp"]);
        assert_eq!(parse("::1:8080:80"), ["::1 8080-8080 80/tcp"]);
        assert_eq!(parse("8000-8001:80-81"), ["* 8000-8000 80/tcp", "* 8001-8001 81/tcp"]);
        assert_eq!(parse("8000-8009:80"), ["* 8000-8009 80/tcp"]);
        assert_eq!(parse("80-81"), ["* any 80/tcp", "* any 81/tcp"]);
    }

    #[test]
    fn what_is_no_port_is_refused() {
        for text in [
            "",
            "x",
            "80:",
            "80:0",
            "65536",
            "8000-8002:80-81",
            "81-80",
            "1.2.3:1:2",
            "80/sctp",
            "80/icmp",
            "-80",
            "+80",
            "8 0",
            "80:80:80:80",
            "[::1]:80",
        ] {
            assert!(PortRequest::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn all_means_what_is_exposed_and_not_asked_for() {
        let asked = PortRequest::parse("8080:80").expect("valid");
        let exposed: Vec<Expose> = ["443", "80", "53/udp", "443"]
            .iter()
            .flat_map(|text| Expose::parse(text).expect("valid"))
            .collect();
        assert_eq!(plan(&asked, &exposed, false), asked);
        let all: Vec<_> = plan(&asked, &exposed, true).iter().map(|it| it.container).collect();
        assert_eq!(all, [80, 53, 443]);
    }
}
