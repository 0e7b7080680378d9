//! What the container has yet to acknowledge: it stays in the host's socket, and is read there as often
//! as it is sent (`MSG_PEEK`).
//!
//! ```text
//! socket: │ acknowledged, to be dropped │ under way │ yet to be sent │
//!         └──────────── done ───────────┘           ▲ the next look
//! ```
//!
//! For that the kernel must keep the place of the next look (`SO_PEEK_OFF`, for TCP since Linux 6.9, over
//! IPv6 since 6.11): without it each look copies all again that is under way. An older one's bytes are read
//! once, into a ring.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::ring::{Budget, Ring};
use crate::sys;

/// The bytes in front of a socket's queue.
#[derive(Debug)]
pub(super) enum Unread {
    /// They are there: as many were acknowledged, and the next look begins so many bytes behind the front.
    There { done: usize, place: usize },
    /// They were read.
    Here(Ring),
}

impl Unread {
    pub(super) fn new(socket: &OwnedFd) -> Self {
        match keep_place(socket, 0) {
            Ok(()) => Self::There { done: 0, place: 0 },
            Err(_) => Self::Here(Ring::default()),
        }
    }

    /// Copies what stands `offset` bytes behind what was acknowledged, and at most as far behind it as
    /// has been looked at; how much that is, and whether there is no more. Nothing is the end.
    pub(super) fn look(
        &mut self,
        socket: &OwnedFd,
        offset: usize,
        room: &mut [u8],
        budget: &mut Budget,
    ) -> Result<(usize, bool), Errno> {
        match self {
            Self::There { done, place } => {
                let start = *done + offset;
                if *place != start {
                    keep_place(socket, start)?;
                    *place = start;
                }
                let (_, count) = rustix::net::recv(socket, &mut *room, RecvFlags::PEEK)?;
                *place += count;
                Ok((count, count < room.len()))
            }
            Self::Here(ring) => {
                let is_all = offset == ring.len() && read(socket, ring, room.len(), budget)?;
                let mut count = 0;
                for part in ring.slices(offset, room.len()) {
                    room[count..][..part.len()].copy_from_slice(part);
                    count += part.len();
                }
                Ok((count, is_all))
            }
        }
    }

    /// The next `count` bytes were acknowledged.
    pub(super) fn acknowledge(&mut self, count: usize, budget: &mut Budget) {
        match self {
            Self::There { done, .. } => *done += count,
            Self::Here(ring) => ring.consume(count.min(ring.len()), budget),
        }
    }

    /// Takes from the socket what was acknowledged. `scratch` is room for bytes of a socket that does not
    /// drop them unseen (`MSG_TRUNC`, tcp(7)).
    pub(super) fn drop_acknowledged(&mut self, socket: &OwnedFd, scratch: &mut [u8]) {
        let Self::There { done, place } = self else { return };
        while *done > 0 {
            let most = (*done).min(scratch.len());
            match rustix::net::recv(socket, &mut scratch[..most], RecvFlags::TRUNC) {
                Ok((_, count)) if count > 0 => {
                    // The kernel moves its place by as much.
                    (*done, *place) = (done.saturating_sub(count), place.saturating_sub(count));
                }
                Err(Errno::INTR) => {}
                // A socket that has none of it any more says what became of it at the next look.
                _ => break,
            }
        }
    }

    /// Gives its memory back.
    pub(super) fn clear(&mut self, budget: &mut Budget) {
        if let Self::Here(ring) = self {
            ring.clear(budget);
        }
    }
}

/// Reads at most `most` bytes, as far as there is room (`ENOBUFS`). Whether that was all.
fn read(
    socket: &OwnedFd,
    ring: &mut Ring,
    most: usize,
    budget: &mut Budget,
) -> Result<bool, Errno> {
    let mut parts = ring.room(most, budget);
    let asked = parts[0].len() + parts[1].len();
    if asked == 0 {
        return Err(Errno::NOBUFS);
    }
    let read = rustix::io::readv(socket, &mut parts);
    ring.filled(read.unwrap_or(0));
    if ring.is_empty() {
        ring.clear(budget); // room was made for nothing
    }
    read.map(|count| count < asked)
}

/// Has the next look begin `start` bytes behind the front.
fn keep_place(socket: &OwnedFd, start: usize) -> Result<(), Errno> {
    #[cfg(test)]
    tests::refuse_where_old()?;
    let value = i32::try_from(start).unwrap_or(i32::MAX).to_ne_bytes();
    sys::socket::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_PEEK_OFF, &value)
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use super::*;

    thread_local! {
        /// Whether this thread's kernel is one that keeps no places.
        static OLD: Cell<bool> = const { Cell::new(false) };
    }

    pub(super) fn refuse_where_old() -> Result<(), Errno> {
        if OLD.get() { Err(Errno::OPNOTSUPP) } else { Ok(()) }
    }

    /// Does it on this kernel, and on one that keeps no places.
    pub(in crate::network) fn on_both_kernels(test: impl Fn()) {
        for old in [false, true] {
            OLD.set(old);
            test();
        }
    }

    /// Whether this kernel keeps places for TCP.
    pub(in crate::network) fn is_new() -> bool {
        let (_, socket) = pair();
        keep_place(&socket, 0).is_ok()
    }

    fn pair() -> (TcpStream, OwnedFd) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (other, _) = listener.accept().expect("accepted");
        stream.set_nodelay(true).expect("set");
        other.set_nonblocking(true).expect("set");
        (stream, other.into())
    }

    /// Looks until there is something to see.
    fn look(
        unread: &mut Unread,
        socket: &OwnedFd,
        offset: usize,
        most: usize,
        budget: &mut Budget,
    ) -> Vec<u8> {
        let mut room = vec![0; most];
        loop {
            match unread.look(socket, offset, &mut room, budget) {
                Ok((count, _)) => return room[..count].to_vec(),
                Err(Errno::AGAIN) => std::thread::sleep(std::time::Duration::from_millis(1)),
                Err(errno) => panic!("{errno}"),
            }
        }
    }

    #[test]
    fn what_is_not_acknowledged_is_seen_again_and_the_rest_is_dropped() {
        on_both_kernels(|| {
            let (stream, socket) = pair();
            let (local, other) = UnixStream::pair().expect("a pair");
            other.set_nonblocking(true).expect("set");
            check(stream, &socket);
            check(local, &other.into());
        });
    }

    fn check(mut stream: impl Write, socket: &OwnedFd) {
        let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        let (mut unread, mut budget) = (Unread::new(socket), Budget::default());
        // Ends of what was written, looked at, acknowledged.
        let (mut written, mut seen, mut first) = (0, 0, 0);
        for step in 0..1000_usize {
            if written - first < 20_000 && written < bytes.len() {
                stream.write_all(&bytes[written..written + 500]).expect("written");
                written += 500;
            }
            // From any place on that was looked at, the newest most of all.
            let back = if step % 4 == 0 { (step * 3571) % (seen - first + 1) } else { 0 };
            let start = seen - back;
            if start < written {
                let most = 1 + (step * 911) % 3000;
                let found = look(&mut unread, socket, start - first, most, &mut budget);
                assert!(!found.is_empty());
                assert!(found == bytes[start..][..found.len()], "{step}");
                seen = seen.max(start + found.len());
            }
            let count = (step * 1237) % (seen - first + 1);
            unread.acknowledge(count, &mut budget);
            first += count;
            if step % 3 == 0 {
                unread.drop_acknowledged(socket, &mut [0; 700]);
            }
        }
        assert!(first > 50_000, "{first}");
        unread.acknowledge(seen - first, &mut budget);
        unread.drop_acknowledged(socket, &mut [0; 700]);
        let left = rustix::io::ioctl_fionread(socket).expect("told");
        assert!(left <= (written - seen) as u64, "{left}");
        unread.clear(&mut budget);
        assert_eq!(budget.given(), 0);
    }

    #[test]
    fn an_end_and_a_reset_are_told_behind_all_that_came_before() {
        on_both_kernels(|| {
            for reset in [false, true] {
                let (mut stream, socket) = pair();
                stream.write_all(b"last words").expect("written");
                let (mut unread, budget) = (Unread::new(&socket), &mut Budget::default());
                assert_eq!(look(&mut unread, &socket, 0, 4, budget), b"last");
                if reset {
                    rustix::net::sockopt::set_socket_linger(
                        &stream,
                        Some(std::time::Duration::ZERO),
                    )
                    .expect("set");
                }
                drop(stream);
                let mut poll = [rustix::event::PollFd::new(
                    &socket,
                    rustix::event::PollFlags::RDHUP | rustix::event::PollFlags::HUP,
                )];
                rustix::event::poll(&mut poll, None).expect("polled");
                assert_eq!(look(&mut unread, &socket, 4, 100, budget), b" words");
                unread.acknowledge(4, budget);
                let last = unread.look(&socket, 6, &mut [0; 9], budget).map(|(count, _)| count);
                assert_eq!(last, if reset { Err(Errno::CONNRESET) } else { Ok(0) });
            }
        });
    }
}
