//! Frames that no kernel makes: whatever stands in them, the server goes on, and keeps no more than its
//! limits.

use super::*;

/// Numbers that are the same in every run.
struct Dice(u32);

impl Dice {
    fn next(&mut self) -> usize {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 16) as usize
    }

    fn byte(&mut self) -> u8 {
        (self.next() & 0xff) as u8
    }
}

#[test]
fn segments_of_a_connection_that_are_no_segments() {
    let mut guest = Guest::new("");
    let (_stream, port, _) = connected(&mut guest);
    let repr_frame = |length| Guest::frame(IpProtocol::Tcp, length);
    let mut dice = Dice(7);
    for round in 0..20_000 {
        let mut bytes = repr_frame(20 + dice.next() % 60);
        bytes[VNET + 34..VNET + 36].copy_from_slice(&PORT.to_be_bytes());
        bytes[VNET + 36..VNET + 38].copy_from_slice(&port.to_be_bytes());
        bytes[VNET + 46] = 5 << 4;
        for _ in 0..dice.next() % 12 {
            // Not the destination: the test asks nobody outside.
            let place = dice.next() % bytes.len();
            if !(VNET + 30..VNET + 34).contains(&place) && place != VNET + 12 && place != VNET + 13
            {
                bytes[place] = dice.byte();
            }
        }
        bytes.truncate(bytes.len() - dice.next() % 8 * (round % 2));
        guest.server.take_frame(0, &bytes);
        guest.server.acknowledge();
        guest.seen();
    }
    guest.turn();
    assert!(guest.server.count() <= 512);
    while !guest.seen().is_empty() {
        guest.turn();
    }
    // Whatever became of that one, the next is as good as ever.
    let (mut stream, port, next) = connected(&mut guest);
    guest.send(port, TcpControl::Psh, 1001, Some(next), b"word");
    let mut room = [0; 4];
    stream.read_exact(&mut room).expect("read");
    assert_eq!(&room, b"word");
}

/// Well-formed frames of every kind that the server reads.
fn seeds() -> Vec<Vec<u8>> {
    let four = |protocol, payload: &[u8]| {
        let mut bytes = Guest::frame(protocol, payload.len());
        bytes[VNET + 34..].copy_from_slice(payload);
        bytes
    };
    let six = |next: u8, target: [u8; 16], payload: &[u8]| {
        let mut bytes = vec![0; VNET];
        bytes.extend([2; 6]);
        bytes.extend(Settings::default().mac().0);
        bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        bytes.extend(u16::try_from(payload.len()).expect("short").to_be_bytes());
        bytes.extend([next, 255]);
        bytes.extend("fd00::100".parse::<Ipv6Addr>().expect("an address").octets());
        bytes.extend(target);
        bytes.extend(payload);
        bytes
    };
    let gateway6 = "fd00::2".parse::<Ipv6Addr>().expect("an address").octets();
    let syn: &[u8] = &[
        0x9c, 0x40, 0, 80, 0, 0, 3, 0xe8, 0, 0, 0, 0, 0xa0, 2, 0xfa, 0xf0, 0, 0, 0, 0, 2, 4, 5,
        0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7,
    ];
    let question =
        b"\x9c\x40\0\x35\0\x21\0\0\0\x01\x01\0\0\x01\0\0\0\0\0\0\x03web\0\0\x01\0\x01....";
    let piece = [&[17, 0, 0, 1, 0, 0, 0, 9][..], question].concat();
    let mut arp = vec![0; VNET];
    arp.extend([0xff; 6]);
    arp.extend(Settings::default().mac().0);
    arp.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    arp.extend(Settings::default().mac().0);
    arp.extend(GUEST.octets());
    arp.extend([0; 6]);
    arp.extend(GATEWAY.octets());
    let solicitation =
        [&[135, 0, 0, 0, 0, 0, 0, 0][..], &gateway6, &[1, 1, 2, 2, 2, 2, 2, 2]].concat();
    let echo = [8, 0, 0, 0, 0, 7, 0, 1, 1, 2, 3, 4];
    let mut fragment = four(IpProtocol::Udp, question);
    fragment[VNET + 20] = 0x20;
    vec![
        arp,
        four(IpProtocol::Tcp, syn),
        four(IpProtocol::Udp, question),
        four(IpProtocol::Icmp, &echo),
        fragment,
        six(6, gateway6, syn),
        six(17, gateway6, question),
        six(44, gateway6, &piece),
        six(58, gateway6, &solicitation),
        six(58, gateway6, &[128, 0, 0, 0, 0, 7, 0, 1, 1, 2, 3, 4]),
    ]
}

/// A network from which nothing leads outside, so that no frame can ask anybody there.
fn shut() -> (OwnedFd, Server) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let kind = SocketType::SEQPACKET;
    let (ours, tap) =
        rustix::net::socketpair(AddressFamily::UNIX, kind, flags, None).expect("a pair");
    let parts = Parts { resolvers: Vec::new(), ports: Vec::new(), control: None, descriptors: 512 };
    let mut server = Server::new(parts).expect("a server");
    let plan = LinkPlan { internal: true, ..LinkPlan::private(&Settings::default(), 0) };
    server.join(Joining { plan, tap, membership: None }).expect("a link");
    (ours, server)
}

#[test]
fn frames_that_are_no_frames_do_nothing() {
    let (tap, mut server) = shut();
    let (seeds, mut dice) = (seeds(), Dice(11));
    let mut room = vec![0; LONGEST];
    let mut answered = 0;
    let mut take = |server: &mut Server, bytes: &[u8]| {
        server.take_frame(0, bytes);
        server.acknowledge();
        while let Ok(length) = rustix::io::read(&tap, &mut *room) {
            answered += 1;
            assert!(frame::read(&room[..length]).is_some(), "{bytes:?}: {:?}", &room[..length]);
        }
    };
    for seed in &seeds {
        // Every length of it, and every byte of it another.
        for length in 0..seed.len() {
            take(&mut server, &seed[..length]);
            for byte in [0, 0xff, seed[length] ^ 1, seed[length].wrapping_add(16)] {
                let mut bytes = seed.clone();
                bytes[length] = byte;
                take(&mut server, &bytes);
            }
        }
    }
    for round in 0..60_000_usize {
        let mut bytes = seeds[round % seeds.len()].clone();
        match round % 3 {
            // Some bytes of another kind, or of none.
            0 => {
                for _ in 0..=dice.next() % 8 {
                    let place = dice.next() % bytes.len();
                    bytes[place] = dice.byte();
                }
            }
            // The head of one and the tail of another.
            1 => {
                let other = &seeds[dice.next() % seeds.len()];
                bytes.truncate(dice.next() % bytes.len());
                bytes.extend(&other[dice.next() % other.len()..]);
            }
            _ => bytes = (0..dice.next() % 200).map(|_| dice.byte()).collect(),
        }
        take(&mut server, &bytes);
    }
    assert!(answered > 1000, "{answered}");
    assert_eq!((server.count(), server.connections), (0, 0));
}
