//! The container's end of the link: a tap in its network namespace, with addresses and routes.

use std::ffi::CString;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::netlink::{self, Message, NEW_LINK, NEW_ROUTE, OUT_DEVICE, family};
use super::{Error, LinkPlan, messages};
use crate::sys;

/// Frames that may wait for the server.
const QUEUE: u32 = 8192;

/// Whether a private network can be made here, and why not.
pub fn usable() -> Result<(), Error> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open("/dev/net/tun", flags, Mode::empty()) {
        Ok(_) => Ok(()),
        Err(errno) => Err(Error::NoTun { errno }),
    }
}

/// Whether this process may send echo requests, and so a container's server (icmp(7)).
pub fn may_ping() -> bool {
    let echo = Some(rustix::net::ipproto::ICMP);
    rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, echo)
        .is_ok()
}

/// The container's end, made before the clone: what is to be said to the kernel, and where the server
/// waits.
#[derive(Debug)]
pub struct Entrance {
    pub(super) socket: OwnedFd,
    pub(super) devices: Vec<Device>,
}

/// A device that is yet to be made.
#[derive(Debug)]
pub(super) struct Device {
    name: CString,
    messages: Vec<Message>,
}

impl Entrance {
    /// What it is met by.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Makes the devices in this process's network namespace, and hands them to the server. Takes
    /// `CAP_NET_ADMIN` there, and the host's /dev in sight.
    pub fn enter(&mut self) -> Result<(), Errno> {
        for device in &mut self.devices {
            let tap = device.make()?;
            messages::send(&self.socket, b"t", &[tap.as_fd()])?;
        }
        Ok(())
    }
}

impl Device {
    /// The device of a link, up and with a way out.
    pub(super) fn new(plan: &LinkPlan) -> Self {
        // One with a NUL in it is nobody's: the kernel refuses the empty name.
        Self { name: CString::new(plan.device.as_str()).unwrap_or_default(), messages: link(plan) }
    }

    /// Makes it in this process's network namespace. Allocates nothing.
    pub(super) fn make(&mut self) -> Result<OwnedFd, Errno> {
        let tap = sys::network::open_tap(&self.name)?;
        let kernel = netlink::route_socket()?;
        let index = sys::network::index_of(&self.name)?;
        for message in &mut self.messages {
            message.name_device(index);
            match message.perform(&kernel) {
                Err(_) if message.optional => {}
                other => other?,
            }
        }
        Ok(tap)
    }
}

// Kinds and attributes of linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h.
const NEW_ADDRESS: u16 = 20;
const LINK_ADDRESS: u16 = 1;
const LINK_MTU: u16 = 4;
const LINK_QUEUE: u16 = 13;
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
const BROADCAST: u16 = 4;
const ADDRESS_FLAGS: u16 = 8;
const GATEWAY: u16 = 5;
const PRIORITY: u16 = 6;

/// The device up, with addresses and a way out.
fn link(plan: &LinkPlan) -> Vec<Message> {
    let LinkPlan { addresses, mac, mtu, internal, metric, .. } = plan;
    let up = (libc::IFF_UP.cast_unsigned()).to_ne_bytes();
    // `struct ifinfomsg`: family, type, index, flags, and which of those are meant.
    let link = [&[0; 8][..], &up, &up].concat();
    let mut messages = vec![
        Message::new(NEW_LINK, &link, 4)
            .with(LINK_ADDRESS, &mac.0)
            .with(LINK_MTU, &u32::from(*mtu).to_ne_bytes())
            .with(LINK_QUEUE, &QUEUE.to_ne_bytes()),
        address(addresses.guest.into(), addresses.prefix),
    ];
    if !internal {
        messages.push(route(addresses.gateway.into(), *metric));
    }
    if let Some(six) = &addresses.six {
        messages.push(address(six.guest.into(), six.prefix).optional());
        if !internal {
            messages.push(route(six.gateway.into(), *metric).optional());
        }
    }
    messages
}

fn address(ip: IpAddr, prefix: u8) -> Message {
    // `struct ifaddrmsg`: family, prefix, flags, scope, index.
    let message = Message::new(NEW_ADDRESS, &[family(ip), prefix, 0, 0, 0, 0, 0, 0], 4);
    match ip {
        IpAddr::V4(ip) => message
            .with(LOCAL, &ip.octets())
            .with(ADDRESS, &ip.octets())
            .with(BROADCAST, &broadcast(ip, prefix).octets()),
        // Nobody else on the link can have it, so nobody is asked (IFA_F_NODAD).
        IpAddr::V6(ip) => message
            .with(ADDRESS, &ip.octets())
            .with(ADDRESS_FLAGS, &libc::IFA_F_NODAD.to_ne_bytes()),
    }
}

fn broadcast(ip: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(ip) | u32::MAX.checked_shr(prefix.into()).unwrap_or(0))
}

fn route(gateway: IpAddr, metric: u32) -> Message {
    const MAIN: u8 = libc::RT_TABLE_MAIN;
    const BOOT: u8 = libc::RTPROT_BOOT;
    const UNICAST: u8 = libc::RTN_UNICAST;
    // `struct rtmsg`: family, both prefixes, service, table, protocol, scope, type, flags.
    let body = [family(gateway), 0, 0, 0, MAIN, BOOT, libc::RT_SCOPE_UNIVERSE, UNICAST, 0, 0, 0, 0];
    // The device's number is the value of the first attribute.
    let message = Message::new(NEW_ROUTE, &body, body.len() + 4).with(OUT_DEVICE, &[0; 4]);
    let message = match gateway {
        IpAddr::V4(ip) => message.with(GATEWAY, &ip.octets()),
        IpAddr::V6(ip) => message.with(GATEWAY, &ip.octets()),
    };
    match metric {
        0 => message,
        metric => message.with(PRIORITY, &metric.to_ne_bytes()),
    }
}
