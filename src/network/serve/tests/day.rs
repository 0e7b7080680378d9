//! A day passes for more than a thousand flows: who lives stays, and of all others nothing.

use super::*;
use crate::sys::process::raise_descriptors;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// As many as queue between two looks, with what is answered.
const AT_ONCE: usize = 4;

/// Connections of the container's, by its port.
struct Town {
    guest: Guest,
    ends: HashMap<u16, End>,
    next: u16,
}

struct End {
    to: u16,
    /// The next number of the other side.
    theirs: Option<u32>,
    /// Whether it answers who asks whether it is still there.
    lives: bool,
}

impl Town {
    fn put(&mut self, port: u16, control: TcpControl, sequence: u32, payload: &[u8]) {
        let end = &self.ends[&port];
        let ack = end.theirs.filter(|_| control != TcpControl::Syn);
        let frame = Guest::segment((port, end.to), control, sequence, ack, payload, 4096);
        rustix::io::write(&self.guest.tap, &frame).expect("sent");
    }

    /// Lets the server go on, and hears what it says.
    fn hear(&mut self) {
        let patience = Some(Duration::ZERO);
        self.guest.server.turn(patience, Some(self.guest.now)).expect("a turn");
        for seen in self.guest.seen() {
            let Some(end) = self.ends.get_mut(&seen.to) else { continue };
            let after = u32::from(seen.control == TcpControl::Syn);
            let asks = end.theirs == Some(seen.sequence.wrapping_add(1));
            if end.theirs.is_none() {
                end.theirs = Some(seen.sequence.wrapping_add(after));
            }
            if asks && end.lives {
                self.put(seen.to, TcpControl::None, 1001, b"");
            }
        }
    }

    /// Connections to a port of the host's that are asked for, a while after those before.
    fn ask(&mut self, to: u16, lives: bool) -> Vec<u16> {
        self.guest.now += Duration::from_millis(50);
        let ports: Vec<u16> = (0..AT_ONCE).map(|_| self.port()).collect();
        for port in &ports {
            self.ends.insert(*port, End { to, theirs: None, lives });
            self.put(*port, TcpControl::Syn, 1000, b"");
        }
        self.hear();
        ports
    }

    /// The same when they are there.
    fn connect(&mut self, listener: &TcpListener, lives: bool) -> Vec<(u16, TcpStream)> {
        let ports = self.ask(listener.local_addr().expect("an address").port(), lives);
        while ports.iter().any(|port| self.ends[port].theirs.is_none()) {
            self.guest.now += Duration::from_millis(1);
            self.hear();
        }
        for port in &ports {
            self.put(*port, TcpControl::None, 1001, b"");
        }
        self.hear();
        ports.into_iter().map(|port| (port, listener.accept().expect("a stream").0)).collect()
    }

    fn port(&mut self) -> u16 {
        self.next += 1;
        self.next
    }

    /// Lets time pass, from one thing that is due to the next.
    fn pass(&mut self, time: Duration) {
        let end = self.guest.now + time;
        while let Some(Reverse((at, ..))) = self.guest.server.alarms.peek()
            && *at <= end
        {
            self.guest.now = (*at).max(self.guest.now);
            self.hear();
        }
        self.guest.now = end;
        self.hear();
    }
}

/// A listener that nobody takes connections from, and its port.
fn listening(backlog: i32) -> (OwnedFd, u16) {
    let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
    let socket = rustix::net::socket(family, kind, None).expect("a socket");
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    rustix::net::bind(&socket, &any).expect("bound");
    rustix::net::listen(&socket, backlog).expect("listens");
    let bound = rustix::net::getsockname(&socket).expect("bound");
    let port = SocketAddr::try_from(bound).expect("an address").port();
    (socket, port)
}

#[test]
fn a_day_leaves_nothing_but_who_lives() {
    let descriptors = raise_descriptors();
    let rounds = (descriptors / 100).min(50);
    let settings = Settings { host_loopback: true, ..Settings::default() };
    let guest = Guest::with("", &settings, descriptors);
    let mut town = Town { guest, ends: HashMap::new(), next: 10_000 };
    let (listener, _) = listener();
    // One that takes nobody in: what it is asked is never answered. And one that takes in all.
    let ((_deaf, deaf), (_lobby, lobby)) = (listening(0), listening(4096));
    let _crowd: Vec<TcpStream> = std::iter::from_fn(|| {
        TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, deaf).into(), Duration::from_millis(50))
            .ok()
    })
    .collect();
    let peer = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let peer_port = peer.local_addr().expect("an address").port();

    let mut streams = Vec::new();
    for _ in 0..rounds {
        streams.extend(town.connect(&listener, true));
        // Forgotten by the container.
        streams.extend(town.connect(&listener, false));
        // The container has ended its side, and no more is heard of it.
        let half = town.connect(&listener, false);
        for (port, _) in &half {
            town.put(*port, TcpControl::Fin, 1001, b"");
        }
        town.hear();
        streams.extend(half);
        // Something is said that the container never hears of.
        let mut unheard = town.connect(&listener, false);
        for (_, stream) in &mut unheard {
            stream.write_all(b"word").expect("written");
        }
        town.hear();
        streams.extend(unheard);
        // The other side is gone, and the container does not mind.
        drop(town.connect(&listener, false));
        town.hear();
        // Asked for, and left; asked for where nobody answers.
        town.ask(lobby, false);
        town.ask(deaf, false);
        for answered in [false, true] {
            let port = town.port();
            let mut frame = datagram(GUEST.octets(), GATEWAY.octets(), peer_port, b"word");
            frame[VNET + 34..VNET + 36].copy_from_slice(&port.to_be_bytes());
            rustix::io::write(&town.guest.tap, &frame).expect("sent");
            town.hear();
            let (_, from) = peer.recv_from(&mut [0; 8]).expect("received");
            if answered {
                peer.send_to(b"answer", from).expect("sent");
                town.hear();
            }
        }
    }
    let all = town.guest.server.count();
    assert!(all > rounds * AT_ONCE * 5, "{all} of {rounds} rounds");
    assert_eq!(town.guest.server.flows.len(), all);

    // Datagrams that were not answered go first, then who is half gone.
    town.pass(Duration::from_secs(30 * 60));
    assert_eq!(town.guest.server.count(), rounds * AT_ONCE * 2);
    town.pass(DAY);
    let server = &town.guest.server;
    let living = rounds * AT_ONCE;
    assert_eq!((server.count(), server.connections), (living, living));
    assert_eq!(server.budget.given(), 0);
    assert!(server.alarms.len() <= 2 * living, "{}", server.alarms.len());

    // Those still carry bytes, and end.
    let living: Vec<u16> =
        town.ends.iter().filter(|(_, end)| end.lives).map(|(port, _)| *port).collect();
    for (port, stream) in &mut streams {
        if living.contains(port) {
            town.put(*port, TcpControl::Psh, 1001, b"still here");
            town.hear();
            let mut room = [0; 10];
            stream.read_exact(&mut room).expect("read");
            assert_eq!(&room, b"still here");
            town.put(*port, TcpControl::Rst, 1011, b"");
            town.hear();
        }
    }
    town.pass(DAY);
    let server = &town.guest.server;
    assert_eq!((server.count(), server.connections, server.alarms.len()), (0, 0, 0));
    assert!(server.ready.is_empty() && server.owing.is_empty());
    assert_eq!(server.free.len(), server.slots.len());
}
