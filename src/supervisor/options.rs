//! What a program has set on a socket before it connects, set on the one that takes its place.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use crate::sys::socket;

/// `SO_BUF_LOCK` of linux/asm-generic/socket.h (5.14): which buffers were sized by hand.
const BUFFERS_SET: i32 = 72;
const SEND_BUFFER_SET: i32 = 1;
const RECEIVE_BUFFER_SET: i32 = 2;

/// Options that are set as they are read, and that programs often set.
const USUAL: &[Name] = &[
    (libc::SOL_SOCKET, libc::SO_REUSEADDR),
    (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
    (libc::SOL_SOCKET, libc::SO_LINGER),
    (libc::SOL_SOCKET, libc::SO_RCVTIMEO),
    (libc::SOL_SOCKET, libc::SO_SNDTIMEO),
    (libc::IPPROTO_TCP, libc::TCP_NODELAY),
    (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
    (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
    (libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
    (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
    (libc::IPPROTO_IP, libc::IP_RECVERR),
];

/// The same of IPv6 sockets.
const USUAL6: &[Name] =
    &[(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY), (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)];

/// Options that hardly any program sets on a socket that it connects. The filter tells of it, so that they
/// are read only where somebody did; a call to read one takes half a microsecond.
pub(super) const RARE: &[Name] = &[
    (libc::SOL_SOCKET, libc::SO_REUSEPORT),
    (libc::SOL_SOCKET, libc::SO_RCVLOWAT),
    (libc::SOL_SOCKET, libc::SO_OOBINLINE),
    (libc::SOL_SOCKET, libc::SO_DONTROUTE),
    (libc::SOL_SOCKET, libc::SO_ZEROCOPY),
    (libc::SOL_SOCKET, libc::SO_TIMESTAMP),
    (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS),
    (libc::SOL_SOCKET, libc::SO_TIMESTAMPING),
    (libc::SOL_SOCKET, libc::SO_MARK),
    (libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE),
    FILTER,
    DEVICE,
    (libc::IPPROTO_TCP, libc::TCP_CORK),
    (libc::IPPROTO_TCP, libc::TCP_MAXSEG),
    (libc::IPPROTO_TCP, libc::TCP_SYNCNT),
    (libc::IPPROTO_TCP, libc::TCP_LINGER2),
    (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT),
    (libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP),
    (libc::IPPROTO_TCP, libc::TCP_CONGESTION),
    (libc::IPPROTO_TCP, libc::TCP_INQ),
    (libc::IPPROTO_IP, libc::IP_TOS),
    (libc::IPPROTO_IP, libc::IP_TTL),
    (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER),
    (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
    (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS),
    (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER),
    // After what changes it too.
    (libc::SOL_SOCKET, libc::SO_PRIORITY),
];

/// These two keep a socket where it is.
const FILTER: Name = (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER);
const DEVICE: Name = (libc::SOL_SOCKET, libc::SO_BINDTODEVICE);

/// Other names of theirs, and what is the same under another.
pub(super) const ALSO: &[(Name, Name)] = &[
    ((libc::SOL_SOCKET, libc::SO_ATTACH_BPF), FILTER),
    ((libc::SOL_SOCKET, BIND_TO_INDEX), DEVICE),
];
const BIND_TO_INDEX: i32 = 62;

/// Level and name.
pub(super) type Name = (i32, i32);

/// Which of the rare options somebody has set, by their places.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Set(u64);

impl Set {
    /// Remembers an option by setsockopt(2)'s arguments, of which the kernel takes the low halves.
    pub(super) fn remember(&mut self, level: u64, name: u64) {
        let is = |known: i32, given: u64| u64::from(known.cast_unsigned()) == given & 0xffff_ffff;
        let given = |known: &Name| is(known.0, level) && is(known.1, name);
        let known = ALSO.iter().find(|(also, _)| given(also)).map(|(_, known)| known);
        let place = RARE.iter().position(|rare| given(rare) || known == Some(rare));
        self.0 |= place.map_or(0, |place| 1 << place);
    }

    fn has(self, place: usize) -> bool {
        self.0 & 1 << place != 0
    }

    fn has_name(self, name: Name) -> bool {
        RARE.iter().position(|rare| *rare == name).is_some_and(|place| self.has(place))
    }
}

/// The value of each option, in order; of sockets that nobody has set anything on.
#[derive(Debug)]
pub(super) struct Options(Vec<Value>);

/// No value of the lists is longer: `TCP_CA_NAME_MAX`, two of `struct timeval`'s.
type Value = ([u8; 16], usize);

fn read(socket: BorrowedFd<'_>, (level, name): Name) -> Value {
    let mut room = [0; 16];
    // What this kernel does not know is not set on either.
    let length = socket::option(socket, level, name, &mut room).unwrap_or(0);
    (room, length)
}

/// All that are carried, and the places of those that are rare.
fn names(six: bool) -> impl Iterator<Item = (Name, Option<usize>)> {
    let usual = USUAL.iter().chain(if six { USUAL6 } else { &[] });
    let rare =
        RARE.iter().enumerate().filter(move |(_, (level, _))| six || *level != libc::IPPROTO_IPV6);
    let rare = rare.filter(|(_, name)| ![FILTER, DEVICE].contains(name));
    usual.map(|name| (*name, None)).chain(rare.map(|(place, name)| (*name, Some(place))))
}

impl Options {
    /// Those of a socket.
    pub(super) fn of(socket: BorrowedFd<'_>, six: bool) -> Self {
        Self(names(six).map(|(name, _)| read(socket, name)).collect())
    }

    /// Sets on `new`, which has these, what `old` has otherwise, of the rare ones those in `set`. An error
    /// where it cannot be.
    pub(super) fn carry(
        &self,
        old: BorrowedFd<'_>,
        new: BorrowedFd<'_>,
        six: bool,
        is_switched: bool,
        set: Set,
    ) -> Result<(), Errno> {
        let mut device = [0; libc::IFNAMSIZ];
        let mut is_bound =
            || socket::option(old, DEVICE.0, DEVICE.1, &mut device).is_ok_and(|length| length > 0);
        // One of ours is bound by us.
        if set.has_name(FILTER) && socket::is_filtered(old)
            || !is_switched && set.has_name(DEVICE) && is_bound()
        {
            return Err(Errno::OPNOTSUPP);
        }
        for (((level, name), rare), known) in names(six).zip(&self.0) {
            if rare.is_some_and(|place| !set.has(place)) {
                continue;
            }
            let value = read(old, (level, name));
            if value != *known {
                socket::set_option(new, level, name, &value.0[..value.1])?;
            }
        }
        let sized = socket::number(old, libc::SOL_SOCKET, BUFFERS_SET).unwrap_or(0);
        for (bit, name) in
            [(SEND_BUFFER_SET, libc::SO_SNDBUF), (RECEIVE_BUFFER_SET, libc::SO_RCVBUF)]
        {
            if sized & bit != 0 {
                // The kernel doubles what it is given (socket(7)).
                let size = socket::number(old, libc::SOL_SOCKET, name)? / 2;
                socket::set_option(new, libc::SOL_SOCKET, name, &size.to_ne_bytes())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, OwnedFd};

    use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

    use super::*;

    fn fresh(six: bool) -> OwnedFd {
        let family = if six { AddressFamily::INET6 } else { AddressFamily::INET };
        rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .expect("a socket")
    }

    fn told(names: &[Name]) -> Set {
        let mut set = Set::default();
        for (level, name) in names {
            set.remember(level.cast_unsigned().into(), name.cast_unsigned().into());
        }
        set
    }

    #[test]
    fn what_was_set_is_set_again() {
        for six in [false, true] {
            let (old, new) = (fresh(six), fresh(six));
            let known = Options::of(new.as_fd(), six);
            sockopt::set_tcp_nodelay(&old, true).expect("an option");
            sockopt::set_ip_tos(&old, 0x10).expect("an option");
            sockopt::set_socket_keepalive(&old, true).expect("an option");
            sockopt::set_tcp_keepintvl(&old, std::time::Duration::from_secs(9)).expect("an option");
            sockopt::set_socket_recv_buffer_size(&old, 30_000).expect("an option");
            let patience = Some(std::time::Duration::from_millis(1500));
            sockopt::set_socket_timeout(&old, sockopt::Timeout::Send, patience).expect("an option");
            if six {
                sockopt::set_ipv6_v6only(&old, true).expect("an option");
            }
            let set = told(&[(libc::IPPROTO_IP, libc::IP_TOS)]);
            known.carry(old.as_fd(), new.as_fd(), six, false, set).expect("carried");
            assert_eq!(Options::of(new.as_fd(), six).0, Options::of(old.as_fd(), six).0);
            assert_eq!(sockopt::socket_recv_buffer_size(&new), Ok(60_000));
            assert_eq!(socket::number(new.as_fd(), libc::SOL_SOCKET, BUFFERS_SET), Ok(2));
        }
    }

    #[test]
    fn a_device_that_it_is_bound_to_is_not_carried() {
        let (old, new) = (fresh(false), fresh(false));
        let known = Options::of(new.as_fd(), false);
        socket::bind_to_device(old.as_fd(), 1).expect("a device"); // lo
        let set = told(&[(libc::SOL_SOCKET, BIND_TO_INDEX)]);
        let refused = known.carry(old.as_fd(), new.as_fd(), false, false, set);
        assert_eq!(refused, Err(Errno::OPNOTSUPP));
        assert_eq!(known.carry(old.as_fd(), new.as_fd(), false, true, set), Ok(()));
    }

    #[test]
    fn the_kernel_takes_the_low_half_of_a_name() {
        let mut set = Set::default();
        set.remember(7 << 32 | 6, 1 << 32 | 3);
        assert!(set.has_name((libc::IPPROTO_TCP, libc::TCP_CORK)));
        assert_eq!(set.0.count_ones(), 1);
        assert!(RARE.len() <= 64);
    }
}
