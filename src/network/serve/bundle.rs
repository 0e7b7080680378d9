//! Datagrams of the container's that follow each other on the same way: they go on in one call.

use std::mem;

/// Datagrams at most (`UDP_MAX_SEGMENTS` of kernels before 6.9), and bytes.
const MOST: usize = 64;
const LONGEST: usize = 60_000;
/// Longer ones are likely to be longer than a packet on their way, and go alone: the kernel cuts nothing
/// that is a bundle.
const PIECE: usize = 1472;

/// What has been put together so far: datagrams of one length, but for the last, which may be shorter.
#[derive(Debug, Default)]
pub(super) struct Bundle {
    bytes: Vec<u8>,
    size: usize,
    count: usize,
    /// Whose they are.
    id: usize,
}

impl Bundle {
    /// Adds a datagram of a flow's. Whether it fits: if not, the bundle is to be sent first.
    pub(super) fn push(&mut self, id: usize, datagram: &[u8]) -> bool {
        if self.count == 0 {
            (self.id, self.size) = (id, datagram.len());
        }
        let follows = self.id == id
            && datagram.len() <= self.size
            // The last one was the last.
            && self.bytes.len() == self.size * self.count
            && self.count < MOST
            && self.bytes.len() + datagram.len() <= LONGEST
            && (1..=PIECE).contains(&datagram.len());
        if follows || self.count == 0 {
            self.bytes.extend_from_slice(datagram);
            self.count += 1;
            return true;
        }
        false
    }

    /// Takes what was put together, for `give_back`: whose it is, the bytes, the length of a datagram.
    pub(super) fn take(&mut self) -> Option<(usize, Vec<u8>, usize)> {
        if mem::take(&mut self.count) == 0 {
            return None;
        }
        Some((self.id, mem::take(&mut self.bytes), self.size))
    }

    /// The memory of what was taken serves the next.
    pub(super) fn give_back(&mut self, mut bytes: Vec<u8>) {
        bytes.clear();
        self.bytes = bytes;
    }

    /// Gives back memory.
    pub(super) fn rest(&mut self) {
        if self.count == 0 {
            self.bytes = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_length_one_flow_and_a_shorter_last() {
        let mut bundle = Bundle::default();
        assert!(bundle.take().is_none());
        for datagram in ["one.", "two.", "end"] {
            assert!(bundle.push(3, datagram.as_bytes()), "{datagram}");
        }
        assert!(!bundle.push(3, b"next"), "behind a shorter one");
        let (id, bytes, size) = bundle.take().expect("a bundle");
        assert_eq!((id, &*bytes, size), (3, &b"one.two.end"[..], 4));
        bundle.give_back(bytes);
        assert!(bundle.push(3, b"four") && !bundle.push(4, b"four") && !bundle.push(3, b"five5"));
        assert!(!bundle.push(3, b""), "nothing is no piece");
        assert_eq!(bundle.take().map(|(_, bytes, _)| bytes), Some(b"four".to_vec()));
        // One that is long or empty goes alone.
        for alone in [&[0; PIECE + 1][..], &[]] {
            assert!(bundle.push(1, alone) && !bundle.push(1, alone));
            assert_eq!(
                bundle.take().map(|(_, bytes, size)| (bytes.len(), size)),
                Some((alone.len(), alone.len()))
            );
        }
        let mut count = 0;
        while bundle.push(1, &[0; 1400]) {
            count += 1;
        }
        assert_eq!(count, LONGEST / 1400);
    }
}
