//! What a link is to be: agreed on before the container is there.

use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

use super::{Addresses, Mac, Settings};

/// A device of a container's, as its server and the container's end have to agree on. Kept in the
/// container's record while it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkPlan {
    /// The network's name: `private`, or a named one's.
    pub network: String,
    /// What the device is called in the container.
    pub device: String,
    /// Who has which address on the link.
    pub addresses: Addresses,
    /// The container's hardware address.
    pub mac: Mac,
    /// The longest packet in bytes.
    pub mtu: u16,
    /// Whether the gateway's address leads to the host's loopback.
    pub host_loopback: bool,
    /// Whether connections to the outside need not pass it.
    #[serde(default)]
    pub fast: bool,
    /// Whether nothing but the link is reached by it.
    pub internal: bool,
    /// What the way out by it costs: the cheapest is taken.
    pub metric: u32,
    /// What others on the link call the container.
    pub names: Vec<String>,
}

/// A link, and how others on it are met.
#[derive(Debug)]
pub struct LinkOptions {
    /// What it is.
    pub plan: LinkPlan,
    /// Of a named network.
    pub membership: Option<Membership>,
}

/// A container's way to the others in a network.
#[derive(Debug)]
pub struct Membership {
    /// Where those who come later will meet it.
    pub(super) listener: OwnedFd,
    /// Connections to those who are there.
    pub(super) peers: Vec<OwnedFd>,
}

/// The name of the network that a container has alone.
pub const PRIVATE: &str = "private";
/// What one is called whose connections to the outside are made by sockets of the host's.
pub const FAST: &str = "fast";
/// What docker and podman call a network of one's own with a way out, and what it is called here.
pub const PRIVATE_NAMES: [&str; 6] = [PRIVATE, "bridge", "default", "pasta", "slirp4netns", FAST];

impl LinkPlan {
    /// The link of a private network, the container's device number `place`.
    pub fn private(settings: &Settings, place: usize) -> Self {
        Self {
            network: PRIVATE.to_owned(),
            device: device(place),
            addresses: Addresses::new(settings),
            mac: settings.mac(),
            mtu: settings.mtu(),
            host_loopback: settings.host_loopback,
            fast: settings.fast,
            internal: false,
            metric: metric(place),
            names: Vec::new(),
        }
    }
}

/// What a container's device is called.
pub(super) fn device(place: usize) -> String {
    format!("eth{place}")
}

/// The first network leads out, and the next if that one goes.
pub(super) fn metric(place: usize) -> u32 {
    u32::try_from(place).map_or(0, |place| 100 * place)
}
