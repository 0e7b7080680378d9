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
