//! What a program has set on a socket before it connects, set on the one that takes its place.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use crate::sys::socket;

/// `SO_BUF_LOCK` of linux/asm-generic/socket.h (5.14): which buffers were sized by hand.
const BUFFERS_SET: i32 = 72;
const SEND_BUFFER_SET: i32 = 1;
const RECEIVE_BUFFER_SET: i32 = 2;

/// Options that are set as they are read.
const PLAIN: &[(i32, i32)] = &[
    (libc::SOL_SOCKET, libc::SO_REUSEADDR),
    (libc::SOL_SOCKET, libc::SO_REUSEPORT),
    (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
    (libc::SOL_SOCKET, libc::SO_LINGER),
    (libc::SOL_SOCKET, libc::SO_RCVTIMEO),
    (libc::SOL_SOCKET, libc::SO_SNDTIMEO),
    (libc::SOL_SOCKET, libc::SO_RCVLOWAT),
    (libc::SOL_SOCKET, libc::SO_OOBINLINE),
    (libc::SOL_SOCKET, libc::SO_PRIORITY),
    (libc::SOL_SOCKET, libc::SO_DONTROUTE),
    (libc::SOL_SOCKET, libc::SO_ZEROCOPY),
    (libc::SOL_SOCKET, libc::SO_TIMESTAMP),
    (libc::SOL_SOCKET, libc::SO_TIMESTAMPING),
    (libc::SOL_SOCKET, libc::SO_MARK),
    (libc::IPPROTO_TCP, libc::TCP_NODELAY),
    (libc::IPPROTO_TCP, libc::TCP_CORK),
    (libc::IPPROTO_TCP, libc::TCP_MAXSEG),
    (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
    (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
    (libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
    (libc::IPPROTO_TCP, libc::TCP_SYNCNT),
    (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
    (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT),
    (libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP),
    (libc::IPPROTO_TCP, libc::TCP_CONGESTION),
    (libc::IPPROTO_IP, libc::IP_TOS),
    (libc::IPPROTO_IP, libc::IP_TTL),
    (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER),
    (libc::IPPROTO_IP, libc::IP_RECVERR),
];

/// The same of IPv6 sockets.
const PLAIN6: &[(i32, i32)] = &[
    (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
    (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
    (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS),
    (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER),
    (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
];

/// The value of each option, in order; of sockets that nobody has set anything on.
#[derive(Debug)]
pub(super) struct Options(Vec<Value>);

/// No value of the lists is longer: `TCP_CA_NAME_MAX`, two of `struct timeval`'s.
type Value = ([u8; 16], usize);

fn read(socket: BorrowedFd<'_>, (level, name): (i32, i32)) -> Value {
    let mut room = [0; 16];
    // What this kernel does not know is not set on either.
    let length = socket::option(socket, level, name, &mut room).unwrap_or(0);
    (room, length)
}

fn names(six: bool) -> impl Iterator<Item = (i32, i32)> {
    PLAIN.iter().chain(if six { PLAIN6 } else { &[] }).copied()
}

impl Options {
    /// Those of a socket.
    pub(super) fn of(socket: BorrowedFd<'_>, six: bool) -> Self {
        Self(names(six).map(|name| read(socket, name)).collect())
    }

    /// Sets on `new`, which has these, what `old` has otherwise. An error where it cannot be.
    pub(super) fn carry(
        &self,
        old: BorrowedFd<'_>,
        new: BorrowedFd<'_>,
        six: bool,
        is_switched: bool,
    ) -> Result<(), Errno> {
        let mut device = [0; libc::IFNAMSIZ];
        let bound = socket::option(old, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, &mut device);
        // One of ours is bound by us.
        if socket::is_filtered(old) || !is_switched && bound.is_ok_and(|length| length > 0) {
            return Err(Errno::OPNOTSUPP);
        }
        for ((level, name), known) in names(six).zip(&self.0) {
            let value = read(old, (level, name));
            if value != *known {
                socket::set_option(new, level, name, &value.0[..value.1])?;
            }
        }
        let set = socket::number(old, libc::SOL_SOCKET, BUFFERS_SET).unwrap_or(0);
        for (bit, name) in
            [(SEND_BUFFER_SET, libc::SO_SNDBUF), (RECEIVE_BUFFER_SET, libc::SO_RCVBUF)]
        {
            if set & bit != 0 {
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

    #[test]
    fn what_was_set_is_set_again() {
        for six in [false, true] {
            let (old, new) = (fresh(six), fresh(six));
            let known = Options::of(new.as_fd(), six);
            sockopt::set_tcp_nodelay(&old, true).expect("an option");
            sockopt::set_socket_keepalive(&old, true).expect("an option");
            sockopt::set_tcp_keepintvl(&old, std::time::Duration::from_secs(9)).expect("an option");
            sockopt::set_socket_recv_buffer_size(&old, 30_000).expect("an option");
            let patience = Some(std::time::Duration::from_millis(1500));
            sockopt::set_socket_timeout(&old, sockopt::Timeout::Send, patience).expect("an option");
            if six {
                sockopt::set_ipv6_v6only(&old, true).expect("an option");
            }
            known.carry(old.as_fd(), new.as_fd(), six, false).expect("carried");
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
        let refused = known.carry(old.as_fd(), new.as_fd(), false, false);
        assert_eq!(refused, Err(Errno::OPNOTSUPP));
        assert_eq!(known.carry(old.as_fd(), new.as_fd(), false, true), Ok(()));
    }
}
