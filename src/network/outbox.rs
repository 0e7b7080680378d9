//! Segments on their way to the container. They wait for each other, so that who reads there wakes once
//! for many.

use std::ops::Range;

use super::frame::{Head, LONGEST, Link};

/// Bytes that may wait, and those behind them that never hold any.
const ROOM: usize = 8 * LONGEST.next_multiple_of(64);
const SPARE: usize = 4 << 10;

/// Segments, in order.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    room: Box<[u8]>,
    used: usize,
    frames: Vec<Range<usize>>,
}

impl Outbox {
    /// Room for `count` bytes behind a head of `head` bytes. What waits goes first where there is none beside
    /// it.
    pub(super) fn room(&mut self, head: usize, count: usize, link: &Link) -> &mut [u8] {
        self.open();
        if ROOM - self.used < head + count {
            self.flush(link);
        }
        &mut self.room[self.used + head..][..count]
    }

    fn open(&mut self) {
        if self.room.is_empty() {
            self.room = vec![0; ROOM + SPARE].into_boxed_slice();
        }
    }

    /// Adds a segment: its head, and the `count` bytes that stand in the room behind it.
    pub(super) fn push(&mut self, head: &Head, count: usize, link: &Link) {
        let bytes = head.bytes();
        self.room(bytes.len(), count, link);
        let frame = self.used..self.used + bytes.len() + count;
        self.room[self.used..][..bytes.len()].copy_from_slice(bytes);
        self.used = frame.end.next_multiple_of(64);
        self.frames.push(frame);
    }

    /// Sends all of it.
    pub(super) fn flush(&mut self, link: &Link) {
        for frame in self.frames.drain(..) {
            link.write(&self.room[frame]);
        }
        self.used = 0;
    }

    /// Room that holds nothing.
    pub(super) fn scratch(&mut self) -> &mut [u8] {
        self.open();
        &mut self.room[self.used..]
    }

    /// Gives its memory back.
    pub(super) fn rest(&mut self) {
        if self.frames.is_empty() {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use rustix::net::{AddressFamily, SocketFlags, SocketType};
    use smoltcp::wire::{TcpControl, TcpRepr, TcpSeqNumber};

    use super::*;
    use crate::network::Mac;
    use crate::network::frame::before_payload;
    use crate::network::tcp::empty;

    const PAYLOAD: usize = 60_000;

    #[test]
    fn segments_go_in_order_however_many_there_is_room_for() {
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .expect("a pair");
        let link = Link::new(theirs, Mac([2; 6]), 1500);
        let reader = std::thread::spawn(move || {
            let mut room = vec![0; LONGEST];
            std::iter::from_fn(|| {
                let length = rustix::io::read(&ours, &mut *room).expect("read");
                let head = before_payload(false);
                (length > 0).then(|| {
                    assert_eq!(length, head + PAYLOAD);
                    assert!(room[head..length].iter().all(|byte| *byte == room[head]));
                    room[head]
                })
            })
            .collect::<Vec<u8>>()
        });
        let (remote, guest): (SocketAddr, SocketAddr) =
            (([10, 0, 2, 2], 80).into(), ([10, 0, 2, 100], 4000).into());
        let repr = TcpRepr {
            src_port: 80,
            dst_port: 4000,
            seq_number: TcpSeqNumber(1),
            ack_number: Some(TcpSeqNumber(1)),
            window_len: 100,
            ..empty(TcpControl::Psh)
        };
        let mut outbox = Outbox::default();
        for number in 0..20 {
            outbox.room(before_payload(false), PAYLOAD, &link).fill(number);
            let head = link.tcp_head(remote, guest, &repr, PAYLOAD, 1460).expect("one family");
            outbox.push(&head, PAYLOAD, &link);
            assert!(!outbox.scratch().is_empty());
        }
        assert!(!outbox.frames.is_empty(), "some wait");
        outbox.rest();
        outbox.flush(&link);
        outbox.rest();
        assert!(outbox.room.is_empty());
        drop(link);
        assert_eq!(reader.join().expect("joined"), (0..20).collect::<Vec<u8>>());
    }
}
