//! Why there is no network of one's own, or no port.

use std::net::SocketAddr;

use rustix::io::Errno;

use super::Protocol;
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
}

impl Diagnose for Error {
    fn hint(&self) -> Option<Hint> {
        match self {
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
            Self::NoTun { .. }
            | Self::PortTaken { .. }
            | Self::Publish { .. }
            | Self::NoFreePort { .. } => None,
        }
    }
}
