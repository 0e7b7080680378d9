//! What is said to the kernel of a network namespace's devices, addresses and routes (rtnetlink(7)).

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

// Kinds and an attribute of linux/rtnetlink.h.
pub(super) const NEW_LINK: u16 = 16;
pub(super) const NEW_ROUTE: u16 = 24;
pub(super) const OUT_DEVICE: u16 = 4;

/// A socket for that of a network namespace: made inside of it.
pub(super) fn route_socket() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None) // NETLINK_ROUTE
}

/// One that is told of each change by which a route may lead elsewhere, and does not wait for it.
pub(super) fn changes_socket() -> Result<OwnedFd, Errno> {
    // `RTNLGRP_*` of linux/rtnetlink.h: devices; of both families addresses, routes, rules; next hops.
    const GROUPS: [u32; 8] = [1, 5, 7, 8, 9, 11, 19, 32];
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    let groups = GROUPS.iter().fold(0, |groups, group| groups | 1 << (group - 1));
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

/// A request to the kernel (rtnetlink(7)).
#[derive(Debug)]
pub(super) struct Message {
    bytes: Vec<u8>,
    /// Where the device's number stands.
    index_at: usize,
    /// Whether the network does without: a kernel without IPv6.
    pub(super) optional: bool,
}

/// Bytes before what a message says.
pub(super) const HEADER: usize = 16;

impl Message {
    /// `body` with the device's number at `index_at`.
    pub(super) fn new(kind: u16, body: &[u8], index_at: usize) -> Self {
        let create = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        let create = if kind == NEW_LINK { 0 } else { create };
        Self::of(kind, libc::NLM_F_REQUEST | libc::NLM_F_ACK | create, body, index_at)
    }

    /// One that asks for something, whose answer is that and no mere word.
    pub(super) fn question(kind: u16, body: &[u8]) -> Self {
        Self::of(kind, libc::NLM_F_REQUEST, body, 0)
    }

    fn of(kind: u16, flags: i32, body: &[u8], index_at: usize) -> Self {
        let flags = u16::try_from(flags).unwrap_or(0);
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.extend(body);
        let mut message = Self { bytes, index_at: HEADER + index_at, optional: false };
        message.close();
        message
    }

    pub(super) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).unwrap_or(4);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.close();
        self
    }

    pub(super) fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    fn close(&mut self) {
        let length = u32::try_from(self.bytes.len()).unwrap_or(0);
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
    }

    pub(super) fn name_device(&mut self, index: u32) {
        self.bytes[self.index_at..self.index_at + 4].copy_from_slice(&index.to_ne_bytes());
    }

    /// Sends it and waits for the answer, which goes to the beginning of `room`.
    pub(super) fn ask<'a>(&self, kernel: &OwnedFd, room: &'a mut [u8]) -> Result<&'a [u8], Errno> {
        rustix::net::send(kernel, &self.bytes, SendFlags::empty())?;
        let (length, _) = rustix::net::recv(kernel, &mut *room, RecvFlags::empty())?;
        Ok(&room[..length])
    }

    /// Sends it and waits for the word that it is done.
    pub(super) fn perform(&self, kernel: &OwnedFd) -> Result<(), Errno> {
        let mut room = [0; 1024];
        let answer = self.ask(kernel, &mut room)?;
        // `struct nlmsgerr` behind the header: zero, or the negated errno.
        let code = answer.get(HEADER..HEADER + 4);
        let code =
            code.and_then(|code| code.try_into().ok()).map_or(-libc::EBADMSG, i32::from_ne_bytes);
        if code == 0 { Ok(()) } else { Err(Errno::from_raw_os_error(-code)) }
    }
}

/// The number of an address's family.
pub(super) fn family(ip: IpAddr) -> u8 {
    let family = if ip.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET };
    u8::try_from(family).unwrap_or(0)
}
