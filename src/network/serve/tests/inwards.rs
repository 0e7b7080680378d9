//! What comes from outside stays there until the container has acknowledged it.

use super::*;
use crate::network::unread::tests::{is_new, on_both_kernels};

/// The container's side of a stream: takes what is next, and acknowledges whatever comes.
struct Taker {
    port: u16,
    next: u32,
    taken: Vec<u8>,
    has_ended: bool,
    arrived: usize,
}

impl Taker {
    fn new(port: u16, next: u32) -> Self {
        Self { port, next, taken: Vec::new(), has_ended: false, arrived: 0 }
    }

    /// Takes what has come, but loses each frame of which `loses` says so.
    fn take(&mut self, guest: &mut Guest, loses: impl Fn(usize) -> bool) {
        let seen = guest.seen();
        if seen.is_empty() {
            guest.pass(Duration::from_millis(500));
        }
        for segment in seen {
            self.arrived += 1;
            if loses(self.arrived) {
                continue;
            }
            let known = self.next.wrapping_sub(segment.sequence) as usize;
            if let Some(new) = segment.payload.get(known..) {
                self.taken.extend(new);
                self.next = self.next.wrapping_add(new.len() as u32);
                if segment.control == TcpControl::Fin {
                    self.next = self.next.wrapping_add(1);
                    self.has_ended = true;
                }
            }
            guest.send_with(self.port, TcpControl::None, 1001, Some(self.next), b"", 60_000);
        }
    }
}

#[test]
fn a_stream_arrives_whole_over_a_link_that_loses() {
    on_both_kernels(|| {
        let mut guest = Guest::new("");
        let (mut stream, port, next) = connected(&mut guest);
        let bytes: Vec<u8> = (0..400_000_u32).flat_map(u32::to_le_bytes).collect();
        let sent = bytes.clone();
        let sender = std::thread::spawn(move || {
            stream.write_all(&sent).expect("written");
            stream.shutdown(std::net::Shutdown::Write).expect("ended");
            // Whether the other side ends as well, and is not reset.
            stream.read(&mut [0; 1]).expect("read")
        });
        let mut taker = Taker::new(port, next);
        while !taker.has_ended {
            taker.take(&mut guest, |number| number % 5 == 3 || number % 7 == 5);
        }
        assert!(taker.taken == bytes);
        guest.send(port, TcpControl::Fin, 1001, Some(taker.next), b"");
        assert_eq!(guest.server.count(), 0);
        assert_eq!(sender.join().expect("joined"), 0);
    });
}

#[test]
fn no_more_is_taken_from_the_outside_than_was_acknowledged() {
    if !is_new() {
        return;
    }
    let mut guest = Guest::new("");
    let (mut stream, port, next) = connected(&mut guest);
    stream.write_all(&[5; 9000]).expect("written");
    guest.turn();
    assert_eq!(guest.seen().iter().map(|seen| seen.payload.len()).sum::<usize>(), 4096);
    let waiting = |guest: &mut Guest| {
        let flow = guest.server.slots.iter().find_map(|slot| slot.flow.as_ref());
        let Some((_, Flow::Tcp(connection))) = flow else { panic!("a connection") };
        rustix::io::ioctl_fionread(connection.socket()).expect("told")
    };
    assert_eq!(waiting(&mut guest), 9000);
    guest.send(port, TcpControl::None, 1001, Some(next.wrapping_add(1000)), b"");
    assert_eq!(waiting(&mut guest), 8000);
    // And none of it is here.
    assert_eq!(guest.server.budget.given(), 0);
}

#[test]
fn an_urgent_byte_is_one_among_others() {
    on_both_kernels(|| {
        let mut guest = Guest::new("");
        let (mut stream, port, next) = connected(&mut guest);
        stream.write_all(b"before").expect("written");
        rustix::net::send(&stream, b"!", rustix::net::SendFlags::OOB).expect("sent");
        stream.write_all(b"behind").expect("written");
        guest.turn();
        let mut taker = Taker::new(port, next);
        for _ in 0..4 {
            taker.take(&mut guest, |_| false);
        }
        assert_eq!(taker.taken, b"before!behind");
        stream.write_all(b", and on").expect("written");
        drop(stream);
        while !taker.has_ended {
            taker.take(&mut guest, |_| false);
        }
        assert_eq!(taker.taken, b"before!behind, and on");
    });
}

#[test]
fn a_reset_from_outside_comes_behind_what_was_said() {
    on_both_kernels(|| {
        let mut guest = Guest::new("");
        let (mut stream, port, _) = connected(&mut guest);
        stream.write_all(&[1; 6000]).expect("written");
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).expect("set");
        guest.turn();
        drop(stream);
        guest.turn();
        let seen = guest.seen();
        assert_eq!(seen.iter().map(|seen| seen.payload.len()).sum::<usize>(), 4096);
        // The rest is for who makes room.
        let next = seen[0].sequence.wrapping_add(4096);
        guest.send(port, TcpControl::None, 1001, Some(next), b"");
        let seen = guest.seen();
        assert_eq!(seen.iter().map(|seen| seen.payload.len()).sum::<usize>(), 6000 - 4096);
        assert_eq!(seen.last().map(|seen| seen.control), Some(TcpControl::Rst));
        assert_eq!(guest.server.count(), 0);
    });
}
