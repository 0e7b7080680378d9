//! Opens the host's ports.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{SocketFlags, SocketType, sockopt};

use super::datagram::family;
use super::{Addresses, Error, PortRequest, Protocol, Published};

/// Ports that are open on the host, and lead into a container.
#[derive(Debug, Default)]
pub struct Publications {
    /// What was opened, for people.
    pub list: Vec<Published>,
    pub(super) sockets: Vec<Opened>,
}

/// An open one.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) socket: OwnedFd,
    pub(super) container: u16,
    pub(super) protocol: Protocol,
}

impl Opened {
    /// The same port, by a descriptor of its own.
    pub(super) fn copy(&self) -> Result<Self, Errno> {
        let socket = rustix::io::fcntl_dupfd_cloexec(&self.socket, 3)?;
        Ok(Self { socket, container: self.container, protocol: self.protocol })
    }
}

/// How many connections may wait (`net.core.somaxconn` bounds it).
const BACKLOG: i32 = 4096;
/// How often a port is looked for that is free for both families.
const ATTEMPTS: usize = 32;

/// Opens what is asked for: all of it, or nothing.
pub fn open(requests: &[PortRequest]) -> Result<Publications, Error> {
    let mut publications = Publications::default();
    for request in requests {
        publications.open(request)?;
    }
    Ok(publications)
}

impl Publications {
    fn open(&mut self, request: &PortRequest) -> Result<(), Error> {
        let PortRequest { host, container, protocol, .. } = *request;
        match host {
            None => {
                for attempt in 1..=ATTEMPTS {
                    match self.open_at(request, 0) {
                        Err(Error::PortTaken { .. }) if attempt < ATTEMPTS => {}
                        other => return other,
                    }
                }
                Ok(())
            }
            Some((first, last)) if first == last => self.open_at(request, first),
            Some((first, last)) => {
                for port in first..=last {
                    match self.open_at(request, port) {
                        Err(Error::PortTaken { .. }) => {}
                        other => return other,
                    }
                }
                Err(Error::NoFreePort { container, protocol, first, last })
            }
        }
    }

    /// On the address that was asked for, or on all of both families.
    fn open_at(&mut self, request: &PortRequest, port: u16) -> Result<(), Error> {
        let PortRequest { host_ip, container, protocol, .. } = *request;
        let first = host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        let (socket, address) = listen(SocketAddr::new(first, port), protocol)?;
        #[allow(clippy::single_match_else)] // two cases, side by side
        let second = match host_ip {
            Some(_) => None,
            None => {
                let all = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), address.port());
                match listen(all, protocol) {
                    Ok(both) => Some(both),
                    // A host without IPv6.
                    Err(Error::Publish {
                        errno: Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL, ..
                    }) => None,
                    Err(error) => return Err(error),
                }
            }
        };
        for (socket, address) in std::iter::once((socket, address)).chain(second) {
            let (host_ip, host_port) = (address.ip(), address.port());
            self.list.push(Published { host_ip, host_port, container, protocol });
            self.sockets.push(Opened { socket, container, protocol });
        }
        Ok(())
    }
}

fn listen(address: SocketAddr, protocol: Protocol) -> Result<(OwnedFd, SocketAddr), Error> {
    let open = || -> Result<_, Errno> {
        let kind = match protocol {
            Protocol::Tcp => SocketType::STREAM,
            Protocol::Udp => SocketType::DGRAM,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family(address), kind, flags, None)?;
        if address.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        if protocol == Protocol::Tcp {
            // What is left of a container that ended just now does not hold its port.
            sockopt::set_socket_reuseaddr(&socket, true)?;
        }
        rustix::net::bind(&socket, &address)?;
        if protocol == Protocol::Tcp {
            rustix::net::listen(&socket, BACKLOG)?;
        }
        let bound = SocketAddr::try_from(rustix::net::getsockname(&socket)?)?;
        Ok((socket, bound))
    };
    open().map_err(|errno| match errno {
        Errno::ADDRINUSE => Error::PortTaken { address, protocol, holder: None },
        Errno::ACCESS if address.port() < 1024 => {
            let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
            let first = text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1024);
            Error::PrivilegedPort { address, protocol, first }
        }
        errno => Error::Publish { address, protocol, errno },
    })
}

/// How the container sees a stranger who comes by a published port: by its own address where that is
/// one for others too, else as the gateway.
pub(super) fn face(peer: SocketAddr, gateway: IpAddr, link: &Addresses) -> SocketAddr {
    let keeps = super::policy::is_outside(peer.ip())
        && !link.is_on_link(peer.ip())
        && peer.is_ipv6() == gateway.is_ipv6();
    if keeps {
        SocketAddr::new(peer.ip(), peer.port())
    } else {
        SocketAddr::new(gateway, peer.port())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Vec<PortRequest> {
        PortRequest::parse(text).expect("valid")
    }

    #[test]
    fn any_port_is_the_same_for_both_families() {
        let open = open(&request("80")).expect("a port");
        let ports: Vec<_> = open.list.iter().map(|it| (it.host_port, it.container)).collect();
        assert!(ports[0].0 > 0 && ports.iter().all(|pair| *pair == ports[0]));
    }

    #[test]
    fn a_taken_port_is_told_and_a_range_goes_on() {
        let first = open(&request("127.0.0.1::80")).expect("a port");
        let taken = first.list[0].host_port;
        let error = open(&request(&format!("127.0.0.1:{taken}:80"))).expect_err("taken");
        assert!(error.to_string().contains("port is already allocated"), "{error}");
        let last = taken.saturating_add(20);
        let next = open(&request(&format!("127.0.0.1:{taken}-{last}:80"))).expect("another");
        assert_ne!(next.list[0].host_port, taken);
    }

    #[test]
    fn who_comes_from_the_host_itself_is_the_gateway() {
        let gateway = IpAddr::from([10, 0, 2, 2]);
        let link = Addresses::new(&crate::network::Settings::default());
        let face = |peer: &str| face(peer.parse().expect("an address"), gateway, &link).to_string();
        assert_eq!(face("192.168.1.9:4000"), "192.168.1.9:4000");
        assert_eq!(face("127.0.0.1:4000"), "10.0.2.2:4000");
        assert_eq!(face("10.0.2.100:4000"), "10.0.2.2:4000");
        assert_eq!(face("[2001:db8::1]:4000"), "10.0.2.2:4000");
    }
}
