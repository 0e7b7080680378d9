//! The bytes on the link: a virtio-net header, Ethernet, IP.
//!
//! The header says what was left undone (Documentation/networking/tuntap.rst, virtio 1.2, 5.1.6): a
//! checksum that covers the pseudo-header only, a segment that stands for many.

use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    EthernetRepr, Icmpv4DstUnreachable, Icmpv4Packet, Icmpv4Repr, Icmpv6DstUnreachable,
    Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr,
    NdiscNeighborFlags, NdiscRepr, RawHardwareAddress, TcpPacket, TcpRepr,
};

use super::Mac;

/// `struct virtio_net_hdr`
pub(super) const VNET: usize = 10;
const ETHERNET: usize = 14;
/// Room for any frame that the kernel gives: 64 KiB of IP, and IPv6's header beside its payload.
pub(super) const LONGEST: usize = VNET + ETHERNET + 40 + (64 << 10);
/// The longest payload of one frame, for either family and with all that TCP puts before it.
pub(super) const PAYLOAD: usize = 65_535 - 40 - 60;
/// What stands before the payload of a segment that has no options.
pub(super) const fn before_payload(six: bool) -> usize {
    VNET + ETHERNET + if six { 40 } else { 20 } + 20
}

/// Room for all headers that are made here.
const HEADERS: usize = VNET + ETHERNET + 40 + 60;

const NEEDS_CHECKSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const GSO_TCP4: u8 = 1;
const GSO_TCP6: u8 = 4;

/// The server's own hardware address, which all that is not the container has.
const OWN: EthernetAddress = EthernetAddress([0x02, 0x42, 0x0a, 0x00, 0x02, 0x02]);

/// What came from the container, as far as anybody is interested.
#[derive(Debug)]
pub(super) enum Frame<'a> {
    /// Who has this address?
    Arp(ArpRepr),
    Ip(Packet<'a>),
}

/// A packet, whole or part of one.
#[derive(Debug)]
pub(super) struct Packet<'a> {
    pub(super) source: IpAddr,
    pub(super) target: IpAddr,
    pub(super) protocol: IpProtocol,
    pub(super) payload: &'a [u8],
    /// All of it, for who is to be told that it went nowhere.
    pub(super) whole: &'a [u8],
    /// What it is a part of, and where.
    pub(super) part: Option<Part>,
}

/// Which part of a fragmented packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Part {
    pub(super) ident: u32,
    pub(super) offset: usize,
    pub(super) more: bool,
}

/// Reads a frame. Anything malformed is nothing.
pub(super) fn read(bytes: &[u8]) -> Option<Frame<'_>> {
    let frame = EthernetFrame::new_checked(bytes.get(VNET..)?).ok()?;
    let payload = &bytes[VNET + ETHERNET..];
    match frame.ethertype() {
        EthernetProtocol::Arp => {
            ArpRepr::parse(&ArpPacket::new_checked(payload).ok()?).ok().map(Frame::Arp)
        }
        EthernetProtocol::Ipv4 => read_v4(payload).map(Frame::Ip),
        EthernetProtocol::Ipv6 => read_v6(payload).map(Frame::Ip),
        EthernetProtocol::Unknown(_) => None,
    }
}

fn read_v4(bytes: &[u8]) -> Option<Packet<'_>> {
    let packet = Ipv4Packet::new_checked(bytes).ok()?;
    if packet.version() != 4 || packet.header_len() < 20 {
        return None;
    }
    let (offset, more) = (usize::from(packet.frag_offset()), packet.more_frags());
    let (header, total) = (usize::from(packet.header_len()), usize::from(packet.total_len()));
    Some(Packet {
        source: packet.src_addr().into(),
        target: packet.dst_addr().into(),
        protocol: packet.next_header(),
        payload: &bytes[header..total],
        whole: &bytes[..total],
        part: (more || offset != 0).then(|| Part { ident: packet.ident().into(), offset, more }),
    })
}

fn read_v6(bytes: &[u8]) -> Option<Packet<'_>> {
    let packet = Ipv6Packet::new_checked(bytes).ok()?;
    if packet.version() != 6 {
        return None;
    }
    let total = 40 + usize::from(packet.payload_len());
    let (mut protocol, mut payload, mut part) = (packet.next_header(), &bytes[40..total], None);
    if protocol == IpProtocol::Ipv6Frag {
        // RFC 8200, section 4.5
        let (header, rest) = payload.split_at_checked(8)?;
        let place = u16::from_be_bytes([header[2], header[3]]);
        let ident = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        let (offset, more) = (usize::from(place & !7), place & 1 == 1);
        (protocol, payload) = (header[0].into(), rest);
        part = (more || offset != 0).then_some(Part { ident, offset, more });
    }
    Some(Packet {
        source: packet.src_addr().into(),
        target: packet.dst_addr().into(),
        protocol,
        payload,
        whole: &bytes[..total],
        part,
    })
}

/// Reads a segment. Its checksum was most likely never made.
pub(super) fn read_tcp<'a>(packet: &Packet<'a>) -> Option<TcpRepr<'a>> {
    let segment = TcpPacket::new_checked(packet.payload).ok()?;
    let (source, target) = (packet.source.into(), packet.target.into());
    TcpRepr::parse(&segment, &source, &target, &ChecksumCapabilities::ignored()).ok()
}

/// The way to the container.
#[derive(Debug)]
pub(super) struct Link {
    tap: OwnedFd,
    guest: EthernetAddress,
    mtu: usize,
    /// Numbers of packets that are cut to pieces.
    ident: std::cell::Cell<u32>,
}

/// Bytes of a header, as they are put together.
#[derive(Debug)]
pub(super) struct Head {
    bytes: [u8; HEADERS],
    length: usize,
}

impl Head {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn room(&mut self, length: usize) -> &mut [u8] {
        let start = self.length;
        self.length += length;
        &mut self.bytes[start..self.length]
    }
}

impl Link {
    pub(super) fn new(tap: OwnedFd, guest: Mac, mtu: u16) -> Self {
        let ident = std::cell::Cell::new(0);
        Self { tap, guest: EthernetAddress(guest.0), mtu: usize::from(mtu), ident }
    }

    /// The container's device itself, for others on the link.
    pub(super) fn tap(&self) -> &OwnedFd {
        &self.tap
    }

    /// The next frame; `None` where there is none yet.
    pub(super) fn receive(&self, room: &mut [u8]) -> rustix::io::Result<usize> {
        rustix::io::read(&self.tap, room)
    }

    /// The longest segment that fits into a packet.
    pub(super) fn segment(&self, six: bool) -> u16 {
        let headers = if six { 60 } else { 40 };
        u16::try_from(self.mtu - headers).unwrap_or(u16::MAX)
    }

    /// Sends a whole frame. What a full queue or a device that goes down does to it is what a bad cable
    /// does.
    pub(super) fn write(&self, frame: &[u8]) {
        let _ = rustix::io::write(&self.tap, frame);
    }

    fn put(&self, head: &Head, payload: [&[u8]; 2]) {
        let parts =
            [IoSlice::new(head.bytes()), IoSlice::new(payload[0]), IoSlice::new(payload[1])];
        let _ = rustix::io::writev(&self.tap, &parts);
    }

    fn head(&self, protocol: EthernetProtocol) -> Head {
        let mut head = Head { bytes: [0; HEADERS], length: VNET };
        let ethernet = EthernetRepr { src_addr: OWN, dst_addr: self.guest, ethertype: protocol };
        ethernet.emit(&mut EthernetFrame::new_unchecked(head.room(ETHERNET)));
        head
    }

    fn ip_head(
        &self,
        source: IpAddr,
        target: IpAddr,
        protocol: IpProtocol,
        length: usize,
    ) -> Option<Head> {
        Some(match (source, target) {
            (IpAddr::V4(src_addr), IpAddr::V4(dst_addr)) => {
                let mut head = self.head(EthernetProtocol::Ipv4);
                let repr = Ipv4Repr {
                    src_addr,
                    dst_addr,
                    next_header: protocol,
                    payload_len: length,
                    hop_limit: 64,
                };
                repr.emit(
                    &mut Ipv4Packet::new_unchecked(head.room(20)),
                    &ChecksumCapabilities::default(),
                );
                head
            }
            (IpAddr::V6(src_addr), IpAddr::V6(dst_addr)) => {
                let mut head = self.head(EthernetProtocol::Ipv6);
                let repr = Ipv6Repr {
                    src_addr,
                    dst_addr,
                    next_header: protocol,
                    payload_len: length,
                    hop_limit: 64,
                };
                repr.emit(&mut Ipv6Packet::new_unchecked(head.room(40)));
                head
            }
            _ => return None,
        })
    }

    /// Sends a segment without a payload.
    pub(super) fn tcp(&self, source: SocketAddr, target: SocketAddr, repr: &TcpRepr<'_>) {
        if let Some(head) = self.tcp_head(source, target, repr, 0, u16::MAX) {
            self.write(head.bytes());
        }
    }

    /// All that stands before the payload of a segment, `data` bytes. The receiver takes it for as many
    /// as `segment` bytes make.
    pub(super) fn tcp_head(
        &self,
        source: SocketAddr,
        target: SocketAddr,
        repr: &TcpRepr<'_>,
        data: usize,
        segment: u16,
    ) -> Option<Head> {
        let header = repr.header_len();
        let mut head = self.ip_head(source.ip(), target.ip(), IpProtocol::Tcp, header + data)?;
        let start = head.length;
        let mut packet = TcpPacket::new_unchecked(head.room(header));
        // The addresses are for the checksum, which the kernel finishes where it is needed.
        repr.emit(
            &mut packet,
            &source.ip().into(),
            &target.ip().into(),
            &ChecksumCapabilities::ignored(),
        );
        packet.set_checksum(pseudo_sum(source.ip(), target.ip(), IpProtocol::Tcp, header + data));
        let gso = match (data > usize::from(segment), source.is_ipv6()) {
            (false, _) => GSO_NONE,
            (true, false) => GSO_TCP4,
            (true, true) => GSO_TCP6,
        };
        vnet(&mut head, start, 16, gso, if gso == GSO_NONE { 0 } else { segment });
        Some(head)
    }

    /// Sends a datagram, in pieces where it is longer than a packet may be.
    pub(super) fn udp(&self, source: SocketAddr, target: SocketAddr, payload: &[u8]) {
        let length = 8 + payload.len();
        let mut header = [0; 8];
        header[..2].copy_from_slice(&source.port().to_be_bytes());
        header[2..4].copy_from_slice(&target.port().to_be_bytes());
        header[4..6].copy_from_slice(&u16::try_from(length).unwrap_or(0).to_be_bytes());
        let pseudo = pseudo_sum(source.ip(), target.ip(), IpProtocol::Udp, length);
        if length + if source.is_ipv6() { 40 } else { 20 } > self.mtu {
            let sum = !fold(sum(payload, sum(&header, u64::from(pseudo))));
            header[6..].copy_from_slice(&(if sum == 0 { 0xffff } else { sum }).to_be_bytes());
            return self.in_pieces(source.ip(), target.ip(), IpProtocol::Udp, [&header, payload]);
        }
        header[6..].copy_from_slice(&pseudo.to_be_bytes());
        let Some(mut head) = self.ip_head(source.ip(), target.ip(), IpProtocol::Udp, length) else {
            return;
        };
        let start = head.length;
        head.room(8).copy_from_slice(&header);
        vnet(&mut head, start, 6, GSO_NONE, 0);
        self.put(&head, [payload, &[]]);
    }

    /// Sends a packet as fragments (RFC 791, RFC 8200 section 4.5).
    fn in_pieces(&self, source: IpAddr, target: IpAddr, protocol: IpProtocol, parts: [&[u8]; 2]) {
        let whole = parts.concat();
        let ident = self.ident.get().wrapping_add(1);
        self.ident.set(ident);
        let six = source.is_ipv6();
        let step = (self.mtu - if six { 48 } else { 20 }) & !7;
        for (place, piece) in whole.chunks(step).enumerate() {
            let (offset, more) = (place * step, place * step + piece.len() < whole.len());
            let wanted = if six { IpProtocol::Ipv6Frag } else { protocol };
            let length = piece.len() + if six { 8 } else { 0 };
            let Some(mut head) = self.ip_head(source, target, wanted, length) else { return };
            if six {
                let offset = u16::try_from(offset).unwrap_or(0) | u16::from(more);
                let header = head.room(8);
                header[0] = protocol.into();
                header[2..4].copy_from_slice(&offset.to_be_bytes());
                header[4..].copy_from_slice(&ident.to_be_bytes());
            } else {
                let mut packet = Ipv4Packet::new_unchecked(
                    &mut head.bytes[VNET + ETHERNET..VNET + ETHERNET + 20],
                );
                packet.set_ident((ident & 0xffff) as u16);
                packet.set_dont_frag(false);
                packet.set_more_frags(more);
                packet.set_frag_offset(u16::try_from(offset).unwrap_or(0));
                packet.fill_checksum();
            }
            self.put(&head, [piece, &[]]);
        }
    }

    /// Answers an echo request with what the one that was asked has answered.
    pub(super) fn echo_reply(
        &self,
        source: IpAddr,
        target: IpAddr,
        ident: u16,
        number: u16,
        data: &[u8],
    ) {
        let mut bytes = vec![0; 8 + data.len()];
        #[allow(clippy::single_match_else)] // two families, side by side
        let protocol = match (source, target) {
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let repr = Icmpv6Repr::EchoReply { ident, seq_no: number, data };
                repr.emit(
                    &from,
                    &to,
                    &mut Icmpv6Packet::new_unchecked(&mut bytes),
                    &ChecksumCapabilities::default(),
                );
                IpProtocol::Icmpv6
            }
            _ => {
                let repr = Icmpv4Repr::EchoReply { ident, seq_no: number, data };
                repr.emit(
                    &mut Icmpv4Packet::new_unchecked(&mut bytes),
                    &ChecksumCapabilities::default(),
                );
                IpProtocol::Icmp
            }
        };
        if bytes.len() + 40 > self.mtu {
            return self.in_pieces(source, target, protocol, [&bytes, &[]]);
        }
        let Some(head) = self.ip_head(source, target, protocol, bytes.len()) else { return };
        self.put(&head, [&bytes, &[]]);
    }

    /// Tells that a packet of the container's went nowhere. `whole` is the packet.
    pub(super) fn unreachable(&self, from: IpAddr, to: IpAddr, whole: &[u8], why: Unreachable) {
        // The header and as much of the rest as names the flow (RFC 792, RFC 4443).
        let quoted = &whole[..whole.len().min(128)];
        match (from, to) {
            (IpAddr::V4(source), IpAddr::V4(target)) => {
                let Ok(packet) = Ipv4Packet::new_checked(whole) else { return };
                let header = Ipv4Repr {
                    src_addr: packet.src_addr(),
                    dst_addr: packet.dst_addr(),
                    next_header: packet.next_header(),
                    payload_len: usize::from(packet.total_len()) - usize::from(packet.header_len()),
                    hop_limit: packet.hop_limit(),
                };
                let data = quoted.get(usize::from(packet.header_len())..).unwrap_or(&[]);
                let repr = Icmpv4Repr::DstUnreachable { reason: why.v4(), header, data };
                let mut bytes = vec![0; repr.buffer_len()];
                repr.emit(
                    &mut Icmpv4Packet::new_unchecked(&mut bytes),
                    &ChecksumCapabilities::default(),
                );
                let Some(head) =
                    self.ip_head(source.into(), target.into(), IpProtocol::Icmp, bytes.len())
                else {
                    return;
                };
                self.put(&head, [&bytes, &[]]);
            }
            (IpAddr::V6(source), IpAddr::V6(target)) => {
                let Ok(packet) = Ipv6Packet::new_checked(whole) else { return };
                let header = Ipv6Repr {
                    src_addr: packet.src_addr(),
                    dst_addr: packet.dst_addr(),
                    next_header: packet.next_header(),
                    payload_len: usize::from(packet.payload_len()),
                    hop_limit: packet.hop_limit(),
                };
                let repr = Icmpv6Repr::DstUnreachable {
                    reason: why.v6(),
                    header,
                    data: quoted.get(40..).unwrap_or(&[]),
                };
                let mut bytes = vec![0; repr.buffer_len()];
                repr.emit(
                    &source,
                    &target,
                    &mut Icmpv6Packet::new_unchecked(&mut bytes),
                    &ChecksumCapabilities::default(),
                );
                let Some(head) =
                    self.ip_head(source.into(), target.into(), IpProtocol::Icmpv6, bytes.len())
                else {
                    return;
                };
                self.put(&head, [&bytes, &[]]);
            }
            _ => {}
        }
    }

    /// Tells that a connection goes nowhere that `guest` asked `remote` for: the request's number is
    /// `sequence`, which its kernel compares.
    pub(super) fn unreachable_tcp(
        &self,
        guest: SocketAddr,
        remote: SocketAddr,
        sequence: u32,
        why: Unreachable,
    ) {
        let mut segment = [0; 20];
        segment[4..8].copy_from_slice(&sequence.to_be_bytes());
        segment[12] = 5 << 4;
        self.unreachable_flow(guest, remote, IpProtocol::Tcp, &mut segment, why);
    }

    /// Tells that datagrams go nowhere that `guest` sends to `remote`.
    pub(super) fn unreachable_udp(&self, guest: SocketAddr, remote: SocketAddr, why: Unreachable) {
        self.unreachable_flow(guest, remote, IpProtocol::Udp, &mut [0, 0, 0, 0, 0, 8, 0, 0], why);
    }

    /// Quotes a packet that is no longer there, as far as it names the flow.
    fn unreachable_flow(
        &self,
        guest: SocketAddr,
        remote: SocketAddr,
        protocol: IpProtocol,
        start: &mut [u8],
        why: Unreachable,
    ) {
        start[..2].copy_from_slice(&guest.port().to_be_bytes());
        start[2..4].copy_from_slice(&remote.port().to_be_bytes());
        let Some(head) = self.ip_head(guest.ip(), remote.ip(), protocol, start.len()) else {
            return;
        };
        let whole = [&head.bytes[VNET + ETHERNET..head.length], start].concat();
        self.unreachable(remote.ip(), guest.ip(), &whole, why);
    }

    /// Answers who asks for the hardware address of anybody but itself. `owner` knows those of others
    /// on the link.
    pub(super) fn arp(&self, request: &ArpRepr, owner: impl Fn(IpAddr) -> Option<Mac>) {
        let ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Request,
            source_hardware_addr,
            source_protocol_addr,
            target_protocol_addr,
            ..
        } = *request
        else {
            return;
        };
        // Who asks whether its own address is taken has it (RFC 5227).
        if source_protocol_addr.is_unspecified() || source_protocol_addr == target_protocol_addr {
            return;
        }
        let reply = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Reply,
            source_hardware_addr: hardware(owner(target_protocol_addr.into())),
            source_protocol_addr: target_protocol_addr,
            target_hardware_addr: source_hardware_addr,
            target_protocol_addr: source_protocol_addr,
        };
        let mut head = self.head(EthernetProtocol::Arp);
        reply.emit(&mut ArpPacket::new_unchecked(head.room(reply.buffer_len())));
        self.put(&head, [&[], &[]]);
    }

    /// The same for IPv6 (RFC 4861).
    pub(super) fn neighbour(&self, packet: &Packet<'_>, owner: impl Fn(IpAddr) -> Option<Mac>) {
        let (IpAddr::V6(source), IpAddr::V6(target)) = (packet.source, packet.target) else {
            return;
        };
        let Ok(message) = Icmpv6Packet::new_checked(packet.payload) else { return };
        let parsed =
            Icmpv6Repr::parse(&source, &target, &message, &ChecksumCapabilities::ignored());
        let Ok(Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit { target_addr, .. })) = parsed else {
            return;
        };
        if source.is_unspecified() || source == target_addr {
            return;
        }
        let owner = owner(target_addr.into());
        let router =
            if owner.is_none() { NdiscNeighborFlags::ROUTER } else { NdiscNeighborFlags::empty() };
        let reply = Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert {
            flags: NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::OVERRIDE | router,
            target_addr,
            lladdr: Some(RawHardwareAddress::from_bytes(hardware(owner).as_bytes())),
        });
        let mut bytes = vec![0; reply.buffer_len()];
        reply.emit(
            &target_addr,
            &source,
            &mut Icmpv6Packet::new_unchecked(&mut bytes),
            &ChecksumCapabilities::default(),
        );
        let Some(mut head) =
            self.ip_head(target_addr.into(), source.into(), IpProtocol::Icmpv6, bytes.len())
        else {
            return;
        };
        // Neighbours are told from strangers by the hops that are left (RFC 4861, section 7.1).
        head.bytes[VNET + ETHERNET + 7] = 255;
        self.put(&head, [&bytes, &[]]);
    }
}

fn hardware(owner: Option<Mac>) -> EthernetAddress {
    owner.map_or(OWN, |mac| EthernetAddress(mac.0))
}

/// Passes a frame on as it came, to the device of another container on the link: `to` is whose
/// that is, where it is one's and not everybody's. What it has no room for is lost, as on a cable.
pub(super) fn pass(frame: &[u8], from: Mac, to: Option<Mac>, device: &OwnedFd) {
    let Some((head, rest)) = frame.split_at_checked(VNET + ETHERNET) else { return };
    let mut addresses = [0; 12];
    match to {
        Some(mac) => addresses[..6].copy_from_slice(&mac.0),
        None => addresses[..6].copy_from_slice(&head[VNET..VNET + 6]),
    }
    addresses[6..].copy_from_slice(&from.0);
    let parts = [
        IoSlice::new(&head[..VNET]),
        IoSlice::new(&addresses),
        IoSlice::new(&head[VNET + 12..]),
        IoSlice::new(rest),
    ];
    let _ = rustix::io::writev(device, &parts);
}

/// Why a packet went nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreachable {
    Network,
    Host,
    Port,
    Forbidden,
}

impl Unreachable {
    pub(super) fn errno(self) -> Errno {
        match self {
            Self::Network => Errno::NETUNREACH,
            Self::Host => Errno::HOSTUNREACH,
            Self::Port => Errno::CONNREFUSED,
            Self::Forbidden => Errno::ACCESS,
        }
    }

    fn v4(self) -> Icmpv4DstUnreachable {
        match self {
            Self::Network => Icmpv4DstUnreachable::NetUnreachable,
            Self::Host => Icmpv4DstUnreachable::HostUnreachable,
            Self::Port => Icmpv4DstUnreachable::PortUnreachable,
            Self::Forbidden => Icmpv4DstUnreachable::CommProhibited,
        }
    }

    fn v6(self) -> Icmpv6DstUnreachable {
        match self {
            Self::Network => Icmpv6DstUnreachable::NoRoute,
            Self::Host => Icmpv6DstUnreachable::AddrUnreachable,
            Self::Port => Icmpv6DstUnreachable::PortUnreachable,
            Self::Forbidden => Icmpv6DstUnreachable::AdminProhibit,
        }
    }
}

/// Fills in the virtio-net header: what starts at `start` has a checksum `offset` bytes on that
/// covers the pseudo-header only.
fn vnet(head: &mut Head, start: usize, offset: u16, gso: u8, segment: u16) {
    let small = |number: usize| u16::try_from(number).unwrap_or(u16::MAX).to_ne_bytes();
    let (headers, place) = (small(head.length - VNET), small(start - VNET));
    head.bytes[0] = NEEDS_CHECKSUM;
    head.bytes[1] = gso;
    head.bytes[2..4].copy_from_slice(&headers);
    head.bytes[4..6].copy_from_slice(&segment.to_ne_bytes());
    head.bytes[6..8].copy_from_slice(&place);
    head.bytes[8..10].copy_from_slice(&offset.to_ne_bytes());
}

/// The sum over what a transport's checksum covers of the network's header (RFC 9293, 3.1).
fn pseudo_sum(source: IpAddr, target: IpAddr, protocol: IpProtocol, length: usize) -> u16 {
    let mut total = u64::from(u8::from(protocol)) + length as u64;
    for address in [source, target] {
        total = match address {
            IpAddr::V4(address) => sum(&address.octets(), total),
            IpAddr::V6(address) => sum(&address.octets(), total),
        };
    }
    fold(total)
}

/// The sum of 16-bit words (RFC 1071), not yet folded.
fn sum(bytes: &[u8], start: u64) -> u64 {
    let words = bytes.chunks_exact(2);
    let last = words.remainder().first().map_or(0, |last| u64::from(*last) << 8);
    words.fold(start + last, |sum, word| sum + u64::from(u16::from_be_bytes([word[0], word[1]])))
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(u16::MAX)
}
