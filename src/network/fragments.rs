//! Datagrams that the container has cut to pieces, put together again.
//!
//! Pieces of a hostile container take 16 times 64 KiB and no more; the oldest whole gives way.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use smoltcp::wire::IpProtocol;

use super::frame::{Packet, Part};

/// RFC 8200, section 4.5; net.ipv4.ipfrag_time
const PATIENCE: Duration = Duration::from_secs(30);
const MOST: usize = 16;
const LONGEST: usize = 65_535;
/// Pieces of one datagram: as many as the shortest packets make of the longest.
const MOST_PIECES: usize = 128;

type Name = (IpAddr, IpAddr, u8, u32);

/// What is not whole yet.
#[derive(Debug, Default)]
pub(super) struct Fragments(VecDeque<Partial>);

#[derive(Debug)]
struct Partial {
    name: Name,
    until: Instant,
    bytes: Vec<u8>,
    /// Where each piece lies: start and end.
    pieces: Vec<(usize, usize)>,
    length: Option<usize>,
}

impl Fragments {
    /// Takes a piece; gives the payload when that was the last that was missing.
    pub(super) fn take(
        &mut self,
        packet: &Packet<'_>,
        part: Part,
        now: Instant,
    ) -> Option<Vec<u8>> {
        self.0.retain(|partial| partial.until > now);
        let name = (packet.source, packet.target, u8::from(packet.protocol), part.ident);
        let end = part.offset + packet.payload.len();
        if end > LONGEST || packet.payload.is_empty() || packet.protocol == IpProtocol::Tcp {
            return None;
        }
        let place = self.0.iter().position(|partial| partial.name == name).unwrap_or_else(|| {
            if self.0.len() == MOST {
                self.0.pop_front();
            }
            let until = now + PATIENCE;
            self.0.push_back(Partial {
                name,
                until,
                bytes: Vec::new(),
                pieces: Vec::new(),
                length: None,
            });
            self.0.len() - 1
        });
        let partial = &mut self.0[place];
        // Pieces that overlap are an attack (RFC 5722): all of it goes.
        let overlaps =
            partial.pieces.iter().any(|(start, known)| part.offset < *known && *start < end);
        let beyond = partial.length.is_some_and(|length| end > length || !part.more);
        if overlaps || beyond || partial.pieces.len() == MOST_PIECES {
            self.0.remove(place);
            return None;
        }
        if partial.bytes.len() < end {
            partial.bytes.resize(end, 0);
        }
        partial.bytes[part.offset..end].copy_from_slice(packet.payload);
        partial.pieces.push((part.offset, end));
        if !part.more {
            partial.length = Some(end);
        }
        let have: usize = partial.pieces.iter().map(|(start, end)| end - start).sum();
        let whole = partial.length == Some(have) && partial.bytes.len() == have;
        if whole { self.0.remove(place).map(|partial| partial.bytes) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(payload: &[u8]) -> Packet<'_> {
        let address = IpAddr::from([10, 0, 2, 100]);
        Packet {
            source: address,
            target: address,
            protocol: IpProtocol::Udp,
            payload,
            whole: &[],
            part: None,
        }
    }

    fn part(ident: u32, offset: usize, more: bool) -> Part {
        Part { ident, offset, more }
    }

    #[test]
    fn pieces_in_any_order_make_a_whole() {
        let (mut fragments, now) = (Fragments::default(), Instant::now());
        assert_eq!(fragments.take(&packet(b"ef"), part(1, 16, false), now), None);
        assert_eq!(fragments.take(&packet(b"other..."), part(2, 0, true), now), None);
        assert_eq!(fragments.take(&packet(b"-second-"), part(1, 8, true), now), None);
        let whole = fragments.take(&packet(b"-first--"), part(1, 0, true), now);
        assert_eq!(whole.as_deref(), Some(&b"-first---second-ef"[..]));
    }

    #[test]
    fn attacks_and_the_past_leave_nothing() {
        let (mut fragments, now) = (Fragments::default(), Instant::now());
        assert_eq!(fragments.take(&packet(b"-first--"), part(1, 0, true), now), None);
        assert_eq!(fragments.take(&packet(b"overlaps"), part(1, 4, true), now), None);
        assert!(fragments.0.is_empty());
        assert_eq!(fragments.take(&packet(&[0; 100]), part(1, 65_528, false), now), None);
        for ident in 0..100 {
            assert_eq!(fragments.take(&packet(&[0; 8]), part(ident, 65_000, true), now), None);
        }
        assert_eq!(fragments.0.len(), MOST);
        assert_eq!(fragments.take(&packet(b"x"), part(200, 8, true), now + PATIENCE), None);
        assert_eq!(fragments.0.len(), 1);
    }
}
