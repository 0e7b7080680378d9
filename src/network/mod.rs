//! A network of one's own, without root and without a helper: `--network private`, and networks with
//! names that containers share.
//!
//! ```text
//! first process: /dev/net/tun ─ eth0, addresses, routes (device) ─ the tap by SCM_RIGHTS ─► server
//! container ── eth0 ── frames of up to 64 KiB, virtio-net header ──► server ── a socket a flow ──► outside
//!                                                                       ▲ listeners of published ports
//! ```
//!
//! - `settings`, `port`, `subnet`: what is asked for; `addresses`: who has which address on a link;
//!   `plan`: all that the two ends of it agree on.
//! - `device` is the container's end, `start` the server's process, `confine` what that may not do.
//! - `serve` is the loop, with what comes from the container (`packets`), by published ports (`ports`) and to
//!   links that come and go (`links`); `frame` the bytes of the link; `policy` says where a destination leads.
//! - `tcp` ends the container's connections and carries their bytes: what comes from it waits in a `ring`, what
//!   goes to it is `unread` in the host's sockets, and leaves by an `outbox`; `datagram` does the same for
//!   UDP and echo.
//! - `publish` opens ports on the host, before anything else is done; `holder` says who has one.
//! - `abort` ends what nothing carries any more, when a server was killed.
//! - `switch` says which connections need none of this (`--network fast`).
//! - `named` are networks on disk and how one is joined, `peers` the others there, `names` what they are
//!   called; `control` tells a server that runs of links that come and go, by `messages`.
//!
//! The link is a queue in memory, and its other end a Linux kernel: nothing is lost but where a queue
//! is full. So `tcp` needs no congestion control and no reassembly; it does need retransmission,
//! windows and all that a hostile container may send. Segments of 64 KiB with the checksum left out
//! (`TUN_F_TSO4`, `TUN_F_CSUM`) are what makes it fast: a packet costs the same whatever its length.
//!
//! The server lives in the network of its caller and opens ordinary sockets, so that a flow is to the
//! host what a flow of the caller's would be.

mod abort;
mod addresses;
mod confine;
mod control;
mod datagram;
mod device;
mod error;
mod fragments;
mod frame;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod holder;
mod messages;
mod named;
mod names;
mod netlink;
mod outbox;
mod peers;
mod plan;
mod policy;
mod port;
mod publish;
mod resolvers;
mod ring;
mod serve;
mod settings;
mod start;
mod subnet;
mod switch;
mod tcp;
mod unread;

pub use abort::abort_connections;
pub use addresses::{Addresses, Six};
pub use control::{join, leave, listen, rename};
pub use device::{Entrance, may_ping, usable};
pub use error::Error;
pub use holder::holder;
pub use named::{Draft, Network, Networks, PATIENCE, Pool, Range, Taken, Wanted};
pub use plan::{FAST, LinkOptions, LinkPlan, Membership, PRIVATE, PRIVATE_NAMES};
pub(crate) use policy::is_outside;
pub use port::{Expose, InvalidPort, PortRequest, Protocol, Published, plan as plan_ports};
pub use publish::{Publications, open as publish};
pub use resolvers::{Resolvers, read as read_resolvers};
pub use settings::{InvalidMac, Mac, Settings};
pub use start::{Meeting, Options, Server};
pub use subnet::{InvalidSubnet, Subnet};
pub use switch::{Lead, RouteSockets, Routes, Switch, route_sockets};
