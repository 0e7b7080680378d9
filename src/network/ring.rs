//! Bytes under way, and how much memory all of them may take together.

use std::io::{IoSlice, IoSliceMut};

/// A ring that a busy flow gets: as much as is under way at once.
pub(super) const LARGE: usize = 512 << 10;
/// A ring that can always be had.
const SMALL: usize = 4 << 10;
/// Large rings at most, so that a container with thousands of stalled flows takes 32 MiB and 4 KiB a
/// flow and direction.
const MOST_LARGE: usize = 64;
/// Who has the large rings.
#[derive(Debug, Default)]
pub(super) struct Budget {
    given: usize,
    /// Those that were in use a moment ago: the last first, as its memory is likely to be near.
    spare: Vec<Box<[u8]>>,
}

impl Budget {
    fn large(&mut self) -> Option<Box<[u8]>> {
        if self.given == MOST_LARGE {
            return None;
        }
        self.given += 1;
        Some(self.spare.pop().unwrap_or_else(|| vec![0; LARGE].into_boxed_slice()))
    }

    /// Gives the memory back that nobody uses.
    pub(super) fn rest(&mut self) {
        self.spare = Vec::new();
    }

    /// Large rings that somebody has.
    #[cfg(test)]
    pub(super) fn given(&self) -> usize {
        self.given
    }

    fn take_back(&mut self, ring: Box<[u8]>) {
        if ring.len() == LARGE {
            self.given -= 1;
            self.spare.push(ring);
        }
    }
}

/// A queue of bytes. It has memory only while it holds any.
#[derive(Debug, Default)]
pub(super) struct Ring {
    bytes: Box<[u8]>,
    head: usize,
    length: usize,
}

impl Ring {
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// `count` bytes from `offset` on.
    pub(super) fn slices(&self, offset: usize, count: usize) -> [&[u8]; 2] {
        let count = count.min(self.length.saturating_sub(offset));
        if count == 0 {
            return [&[], &[]];
        }
        let start = (self.head + offset) % self.bytes.len();
        let first = count.min(self.bytes.len() - start);
        [&self.bytes[start..start + first], &self.bytes[..count - first]]
    }

    /// All of it, to be written.
    pub(super) fn parts(&self) -> [IoSlice<'_>; 2] {
        self.slices(0, self.length).map(IoSlice::new)
    }

    /// Room behind what it holds, `most` bytes at most; nothing where it is full.
    pub(super) fn room(&mut self, most: usize, budget: &mut Budget) -> [IoSliceMut<'_>; 2] {
        if self.length == self.bytes.len() && self.bytes.len() < LARGE {
            self.grow(budget);
        }
        let capacity = self.bytes.len();
        let count = most.min(capacity - self.length);
        if count == 0 {
            return [IoSliceMut::new(&mut []), IoSliceMut::new(&mut [])];
        }
        let start = (self.head + self.length) % capacity;
        let first = count.min(capacity - start);
        let (front, back) = self.bytes.split_at_mut(start);
        [IoSliceMut::new(&mut back[..first]), IoSliceMut::new(&mut front[..count - first])]
    }

    fn grow(&mut self, budget: &mut Budget) {
        let large = budget.large();
        let mut bytes = match large {
            Some(bytes) => bytes,
            None if self.bytes.is_empty() => vec![0; SMALL].into_boxed_slice(),
            None => return,
        };
        let [first, second] = self.slices(0, self.length);
        bytes[..first.len()].copy_from_slice(first);
        bytes[first.len()..self.length].copy_from_slice(second);
        budget.take_back(std::mem::replace(&mut self.bytes, bytes));
        self.head = 0;
    }

    /// `count` bytes were put where there was room.
    pub(super) fn filled(&mut self, count: usize) {
        self.length += count;
    }

    /// Copies in what there is room for; gives how much that was.
    pub(super) fn push(&mut self, bytes: &[u8], budget: &mut Budget) -> usize {
        let mut copied = 0;
        // A second time where the first had but the rest of a small one.
        for _ in 0..2 {
            let rest = &bytes[copied..];
            if rest.is_empty() {
                break; // and takes no memory
            }
            let mut now = 0;
            for part in &mut self.room(rest.len(), budget) {
                let length = part.len();
                part.copy_from_slice(&rest[now..now + length]);
                now += length;
            }
            self.filled(now);
            copied += now;
        }
        copied
    }

    /// Lets go of the first `count` bytes.
    pub(super) fn consume(&mut self, count: usize, budget: &mut Budget) {
        self.length -= count;
        if self.length == 0 {
            self.clear(budget);
        } else {
            self.head = (self.head + count) % self.bytes.len();
        }
    }

    /// Lets go of everything.
    pub(super) fn clear(&mut self, budget: &mut Budget) {
        budget.take_back(std::mem::take(&mut self.bytes));
        (self.head, self.length) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order() {
        let mut budget = Budget::default();
        let mut ring = Ring::default();
        let (mut next_in, mut next_out) = (0_u32, 0_u32);
        for step in 1..2000_usize {
            let words = (step * 37) % 90;
            let bytes: Vec<u8> = (0..words)
                .flat_map(|_| {
                    next_in += 1;
                    next_in.to_ne_bytes()
                })
                .collect();
            assert_eq!(ring.push(&bytes, &mut budget), bytes.len());
            let count = ((step * 53) % 90).min(ring.len() / 4) * 4;
            let [first, second] = ring.slices(0, count);
            for word in [first, second].concat().chunks_exact(4) {
                next_out += 1;
                assert_eq!(word, next_out.to_ne_bytes());
            }
            ring.consume(count, &mut budget);
        }
    }

    #[test]
    fn memory_has_an_end() {
        let mut budget = Budget::default();
        let mut rings: Vec<Ring> = (0..MOST_LARGE + 2).map(|_| Ring::default()).collect();
        let much = vec![7; LARGE + 1];
        let taken: Vec<usize> =
            rings.iter_mut().map(|ring| ring.push(&much, &mut budget)).collect();
        assert_eq!(taken[MOST_LARGE - 1..], [LARGE, SMALL, SMALL]);
        rings[0].consume(LARGE, &mut budget);
        assert_eq!(rings[0].push(&[], &mut budget), 0);
        assert_eq!(budget.given(), MOST_LARGE - 1, "nothing takes nothing");
        assert_eq!(rings[MOST_LARGE].push(&[7; 10], &mut budget), 10, "what is let go of is given");
        assert_eq!(rings[MOST_LARGE].len(), SMALL + 10);
    }
}
