//! Why there is no network of one's own, or no port.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use rustix::io::Errno;

use super::{Protocol, Subnet};
use crate::diagnose::{Diagnose, Hint};

/// Why.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The device that packets pass through.
    #[error("cannot make a private network: /dev/net/tun: {errno}")]
    NoTun {
        /// Why it does not open.
        errno: Errno,
    },
    /// What the fast path takes is not there.
    #[error("cannot make a fast network: this kernel has no {what}")]
    NoSwitch {
        /// What.
        what: &'static str,
    },
    /// Somebody listens there. The first words are docker's.
    #[error(
        "Bind for {address} failed: port is already allocated ({protocol}{})",
        holder.as_ref().map_or_else(String::new, |holder| format!(", by {holder}"))
    )]
    PortTaken {
        /// Where.
        address: SocketAddr,
        /// Of which protocol.
        protocol: Protocol,
        /// Who has it, where that is known.
        holder: Option<String>,
    },
    /// A port that is the administrator's.
    #[error("cannot publish {address}/{protocol}: ports below {first} are root's on this host")]
    PrivilegedPort {
        /// Where.
        address: SocketAddr,
        /// Of which protocol.
        protocol: Protocol,
        /// `net.ipv4.ip_unprivileged_port_start`
        first: u16,
    },
    /// An address of another host, or none at all.
    #[error("cannot publish {address}/{protocol}: {errno}")]
    Publish {
        /// Where.
        address: SocketAddr,
        /// Of which protocol.
        protocol: Protocol,
        /// Why not.
        errno: Errno,
    },
    /// No free port among those that were allowed.
    #[error("cannot publish {container}/{protocol}: no port from {first} to {last} is free")]
    NoFreePort {
        /// The container's.
        container: u16,
        /// Of which protocol.
        protocol: Protocol,
        /// The first.
        first: u16,
        /// The last.
        last: u16,
    },
    /// No network of that name or ID. The words are docker's.
    #[error("network {query} not found")]
    NoSuchNetwork {
        /// What was asked for.
        query: String,
    },
    /// Several IDs begin so.
    #[error("network {query} is ambiguous: several IDs begin with it")]
    AmbiguousNetwork {
        /// What was asked for.
        query: String,
    },
    /// The name is taken.
    #[error("network with name {name} already exists")]
    NetworkExists {
        /// The name.
        name: String,
    },
    /// A name that stands for something else.
    #[error("operation is not permitted on predefined {name} network")]
    ReservedNetwork {
        /// The name.
        name: String,
    },
    /// A text that is no name.
    #[error("invalid network name {name:?}: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
    NetworkName {
        /// The text.
        name: String,
    },
    /// Containers are in it.
    #[error("error while removing network: network {name} has containers: {}", containers.join(", "))]
    NetworkInUse {
        /// Its name.
        name: String,
        /// Their names.
        containers: Vec<String>,
    },
    /// No address is left.
    #[error("no available IPv4 addresses on this network's address pools: {name}")]
    NetworkFull {
        /// Its name.
        name: String,
    },
    /// Another container has the address.
    #[error("address {address} is already in use on network {name}")]
    AddressInUse {
        /// The address.
        address: IpAddr,
        /// The network's name.
        name: String,
    },
    /// No address of the network's containers.
    #[error(
        "no configured subnet of network {name} has {address} for a container (it has {subnets})"
    )]
    NotInNetwork {
        /// The address.
        address: IpAddr,
        /// The network's name.
        name: String,
        /// Its ranges.
        subnets: String,
    },
    /// One range of a family is all that a network has.
    #[error("a network has one range of IPv4 and one of IPv6: {subnet} is another one")]
    TwoSubnets {
        /// The second.
        subnet: Subnet,
    },
    /// A range that no container can live in.
    #[error("no container can have an address in {subnet}")]
    UselessSubnet {
        /// The range.
        subnet: Subnet,
    },
    /// Another network has addresses of it.
    #[error(
        "invalid pool request: Pool overlaps with other one on this address space: {subnet} and {other}"
    )]
    SubnetInUse {
        /// The range.
        subnet: Subnet,
        /// The other network's.
        other: Subnet,
    },
    /// All ranges are taken.
    #[error("all predefined address pools have been fully subnetted: 10.89.0.0 to 10.255.255.255")]
    NoFreeSubnet,
    /// An address of a family that the network does not have.
    #[error("no matching subnet for {address}: it takes a --subnet of its family")]
    NoSubnetFor {
        /// The address.
        address: IpAddr,
    },
    /// A gateway or range outside.
    #[error("{what} not in subnet {subnet}")]
    NotInSubnet {
        /// What.
        what: String,
        /// The range.
        subnet: Subnet,
    },
    /// A record that cannot be read.
    #[error("the record {} is damaged: {source}", path.display())]
    Damaged {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl Diagnose for Error {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::NoSwitch { .. } => Some(Hint::new("--network private does the same without")),
            Self::NoTun { errno: Errno::NOENT } => Some(Hint::new(
                "an administrator can make it: mkdir -p /dev/net && mknod -m 0666 /dev/net/tun c 10 200; \
                 --network host and --network none work without",
            )),
            Self::NoTun { errno: Errno::ACCESS | Errno::PERM } => Some(Hint::new(
                "an administrator can open it to users: chmod 0666 /dev/net/tun; \
                 --network host and --network none work without",
            )),
            Self::NoTun { errno: Errno::NODEV | Errno::NXIO } => Some(Hint::new(
                "an administrator can load the module: modprobe tun; \
                 --network host and --network none work without",
            )),
            Self::PrivilegedPort { address, first, .. } => {
                let above = address.port().saturating_add(8000).max(*first);
                Some(Hint::new(format!(
                    "publish a higher one, such as {above}; an administrator can open them to users: \
                     sysctl net.ipv4.ip_unprivileged_port_start={}",
                    address.port()
                )))
            }
            Self::Publish { errno: Errno::ADDRNOTAVAIL, .. } => {
                Some(Hint::new("the address is none of this host's: ip address shows those"))
            }
            Self::NoSuchNetwork { .. } => {
                Some(Hint::new("coracle network ls shows those that are there"))
            }
            Self::NetworkInUse { name, containers } => Some(Hint::new(match &containers[..] {
                [one] => format!("coracle network disconnect {name} {one}"),
                _ => format!("coracle network disconnect {name} CONTAINER, for each of them"),
            })),
            Self::NetworkFull { .. } => Some(Hint::new("one with a larger --subnet has more")),
            Self::AmbiguousNetwork { .. }
            | Self::NetworkExists { .. }
            | Self::ReservedNetwork { .. }
            | Self::NetworkName { .. }
            | Self::AddressInUse { .. }
            | Self::NotInNetwork { .. }
            | Self::TwoSubnets { .. }
            | Self::UselessSubnet { .. }
            | Self::SubnetInUse { .. }
            | Self::NoFreeSubnet
            | Self::NoSubnetFor { .. }
            | Self::NotInSubnet { .. }
            | Self::Damaged { .. }
            | Self::Io { .. }
            | Self::NoTun { .. }
            | Self::PortTaken { .. }
            | Self::Publish { .. }
            | Self::NoFreePort { .. } => None,
        }
    }
}
