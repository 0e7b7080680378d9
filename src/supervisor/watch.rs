//! An epoll's wait for a socket, which is to go on for the socket that takes its place (epoll(7)).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::status::Told;
use crate::sys::{compare, socket};

/// The events that poll(2) has too.
const EVENTS: u32 = 0x27df;
/// What an epoll does with them: `EPOLLET`, `EPOLLONESHOT`. `EPOLLEXCLUSIVE` and `EPOLLWAKEUP` ask for more
/// than can be given again by another.
const MANNERS: u32 = 1 << 31 | 1 << 30;

/// A place in an epoll's set.
#[derive(Debug)]
pub(super) struct Watch {
    epoll: OwnedFd,
    wait: Wait,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wait {
    events: u32,
    data: u64,
}

impl Watch {
    /// What the epoll that is a thread's descriptor waits for at the socket that is its descriptor
    /// `number`, `own` here. An error where it could not be the same at another.
    pub(super) fn read(
        thread: u32,
        pidfd: BorrowedFd<'_>,
        epoll: u32,
        number: u32,
        own: BorrowedFd<'_>,
    ) -> Result<Self, Errno> {
        let inode = rustix::fs::fstat(own)?.st_ino;
        let text = Told::open(&format!("{thread}/fdinfo/{epoll}"))?.all()?;
        let wait = find(&String::from_utf8_lossy(&text), number, inode).ok_or(Errno::OPNOTSUPP)?;
        Ok(Self { epoll: socket::take(pidfd, epoll.cast_signed())?, wait })
    }

    /// Waits for `new`, which has `number` by now.
    pub(super) fn go_on(&self, new: BorrowedFd<'_>, number: i32) -> Result<(), Errno> {
        let Wait { events, data } = self.wait;
        match compare::add_as(self.epoll.as_fd(), new, number, events, data) {
            // The process has the same set twice.
            Err(Errno::EXIST) => Ok(()),
            other => other,
        }
    }
}

/// The one wait for a file in what is told of an epoll (proc_pid_fdinfo(5)), where it is plain and has not
/// come to its end.
fn find(text: &str, number: u32, inode: u64) -> Option<Wait> {
    let number = number.to_string();
    let inode = format!("ino:{inode:x}");
    let mut found = text.lines().filter_map(|line| {
        // tfd: N events: HEX data: HEX pos:N ino:HEX sdev:HEX
        let mut words = line.split_whitespace();
        let mut after = |name| (words.next() == Some(name)).then(|| words.next()).flatten();
        let place = [after("tfd:")?, after("events:")?, after("data:")?];
        words.any(|word| word == inode).then_some(place)
    });
    let [at, events, data] = found.next().filter(|_| found.next().is_none())?;
    let events = u32::from_str_radix(events, 16).ok()?;
    let is_plain = events & !(EVENTS | MANNERS) == 0 && events & EVENTS != 0 && at == number;
    is_plain.then_some(Wait { events, data: u64::from_str_radix(data, 16).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_read_where_it_can_be_given_again() {
        let text = |events: &str| {
            format!(
                "pos:\t0\nflags:\t02\nmnt_id:\t15\nino:\t1057\n\
                 tfd:        7 events: {events} data: ffffffff00000007  pos:0 ino:2f sdev:8\n\
                 tfd:        8 events:       1b data:                8  pos:0 ino:30 sdev:8\n"
            )
        };
        let wait = |events: &str| find(&text(events), 7, 0x2f).map(|wait| (wait.events, wait.data));
        assert_eq!(wait("80002019"), Some((0x8000_2019, 0xffff_ffff_0000_0007)));
        assert_eq!(wait("4000001c"), Some((0x4000_001c, 0xffff_ffff_0000_0007)));
        assert_eq!(wait("40000000"), None, "it has told once, and is to tell no more");
        assert_eq!(wait("10000019"), None, "EPOLLEXCLUSIVE");
        assert_eq!(find(&text("1b"), 7, 0x30), None, "under another number");
        assert_eq!(find(&text("1b"), 7, 0x31), None);
        let twice = [text("1b"), text("1b")].concat();
        assert_eq!(find(&twice, 7, 0x2f), None, "in two ways");
    }
}
