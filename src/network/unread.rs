//! What the container has yet to acknowledge: it stays in the host's socket, and is read there as often
//! as it is sent (`MSG_PEEK`).
//!
//! ```text
//! socket: │ acknowledged, to be dropped │ under way │ yet to be sent │
//!         └──────────── done ───────────┘           ▲ where the next look begins
//! ```
//!
//! Where the kernel keeps the place of the next look (`SO_PEEK_OFF`, for TCP since Linux 6.9, over IPv6
//! since 6.11), nothing is walked or copied twice. Elsewhere each look begins in front, and what is under
//! way is copied once more, to a place that nobody reads.

use std::io::IoSliceMut;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvFlags};

use crate::sys;

/// Where the next look begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In front, as nothing else was asked for yet.
    Front,
    /// This many bytes behind that; and each look moves it.
    Kept(usize),
    /// In front, as this kernel keeps none.
    Never,
}

/// The bytes in front of a socket's queue.
#[derive(Debug)]
pub(super) struct Unread {
    /// Those that were acknowledged.
    done: usize,
    place: Place,
}

impl Default for Unread {
    fn default() -> Self {
        Self { done: 0, place: Place::Front }
    }
}

impl Unread {
    /// Copies what stands `offset` bytes behind what was acknowledged; how much that is. Nothing is the
    /// end, which the other side has told where it `has_ended`. `aside` is room for what nobody reads.
    pub(super) fn look(
        &mut self,
        socket: &OwnedFd,
        offset: usize,
        room: &mut [u8],
        aside: &mut Vec<u8>,
        has_ended: bool,
    ) -> Result<usize, Errno> {
        let start = self.done + offset;
        self.go_to(socket, start);
        if self.place != Place::Never || start == 0 {
            let (_, count) = rustix::net::recv(socket, &mut *room, RecvFlags::PEEK)?;
            if let Place::Kept(place) = &mut self.place {
                *place += count;
            }
            return Ok(count);
        }
        if aside.len() < start {
            aside.resize(start, 0);
        }
        let mut parts = [IoSliceMut::new(&mut aside[..start]), IoSliceMut::new(room)];
        let mut control = RecvAncillaryBuffer::default();
        let looked = rustix::net::recvmsg(socket, &mut parts, &mut control, RecvFlags::PEEK)?;
        match looked.bytes.saturating_sub(start) {
            // What is there is looked at before an end or an error is told.
            0 if has_ended => rustix::net::sockopt::socket_error(socket)?.map(|()| 0),
            0 => Err(Errno::AGAIN),
            count => Ok(count),
        }
    }

    /// Has the next look begin `start` bytes behind the front.
    fn go_to(&mut self, socket: &OwnedFd, start: usize) {
        match self.place {
            Place::Front if start == 0 => return,
            Place::Kept(place) if start == place => return,
            Place::Never => return,
            Place::Front | Place::Kept(_) => {}
        }
        let value = i32::try_from(start).unwrap_or(i32::MAX).to_ne_bytes();
        let is_kept = keeps_places()
            && sys::socket::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_PEEK_OFF, &value)
                .is_ok();
        self.place = if is_kept { Place::Kept(start) } else { Place::Never };
    }

    /// The next `count` bytes were acknowledged.
    pub(super) fn acknowledge(&mut self, count: usize) {
        self.done += count;
    }

    /// Takes from the socket what was acknowledged. `scratch` is room for bytes of a socket that does not
    /// drop them unseen (`MSG_TRUNC`, tcp(7)).
    pub(super) fn drop_acknowledged(&mut self, socket: &OwnedFd, scratch: &mut [u8]) {
        while self.done > 0 {
            let most = self.done.min(scratch.len());
            match rustix::net::recv(socket, &mut scratch[..most], RecvFlags::TRUNC) {
                Ok((_, count)) if count > 0 => {
                    self.done = self.done.saturating_sub(count);
                    if let Place::Kept(place) = &mut self.place {
                        *place = place.saturating_sub(count);
                    }
                }
                Err(Errno::INTR) => {}
                // A socket that has none of it any more says what became of it at the next look.
                _ => break,
            }
        }
    }
}

#[cfg(not(test))]
fn keeps_places() -> bool {
    true
}

#[cfg(test)]
use tests::keeps_places;

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

    pub(super) fn keeps_places() -> bool {
        !OLD.get()
    }

    /// Does it on this kernel, and on one that keeps no places.
    pub(in crate::network) fn on_both_kernels(test: impl Fn()) {
        for old in [false, true] {
            OLD.set(old);
            test();
        }
    }

    fn pair() -> (TcpStream, OwnedFd) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (other, _) = listener.accept().expect("accepted");
        stream.set_nodelay(true).expect("set");
        other.set_nonblocking(true).expect("set");
        (stream, other.into())
    }

    /// Looks until there is something to see, or an error.
    fn look(unread: &mut Unread, socket: &OwnedFd, offset: usize, most: usize) -> Vec<u8> {
        let mut room = vec![0; most];
        loop {
            match unread.look(socket, offset, &mut room, &mut Vec::new(), false) {
                Ok(count) => return room[..count].to_vec(),
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
        let mut unread = Unread::default();
        let mut written = 0;
        let mut first = 0;
        for step in 0..1000_usize {
            if written - first < 20_000 && written < bytes.len() {
                stream.write_all(&bytes[written..written + 500]).expect("written");
                written += 500;
            }
            let offset = (step * 3571) % (written - first).max(1);
            let most = 1 + (step * 911) % 3000;
            if first + offset < written {
                let seen = look(&mut unread, socket, offset, most);
                assert!(!seen.is_empty());
                assert_eq!(seen, bytes[first + offset..][..seen.len()], "{step}");
            }
            let count = (step * 1237) % (written - first + 1);
            unread.acknowledge(count);
            first += count;
            if step % 3 == 0 {
                unread.drop_acknowledged(socket, &mut [0; 700]);
                assert_eq!(unread.done, 0);
            }
        }
    }

    #[test]
    fn an_end_and_a_reset_are_told_behind_all_that_came_before() {
        on_both_kernels(|| {
            for reset in [false, true] {
                let (mut stream, socket) = pair();
                stream.write_all(b"last words").expect("written");
                let mut unread = Unread::default();
                assert_eq!(look(&mut unread, &socket, 0, 4), b"last");
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
                assert_eq!(look(&mut unread, &socket, 4, 100), b" words");
                unread.acknowledge(4);
                let last = unread.look(&socket, 6, &mut [0; 9], &mut Vec::new(), true);
                assert_eq!(last, if reset { Err(Errno::CONNRESET) } else { Ok(0) });
            }
        });
    }
}
