//! Ends connections that nothing carries any more: those of a container whose server was killed. Who
//! waits for something to read there would wait for ever, as a device that is gone is told to nobody.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

// Kinds of linux/sock_diag.h and linux/netlink.h.
const BY_FAMILY: u16 = 20;
const DESTROY: u16 = 21;
const ERROR: u16 = 2;
const DONE: u16 = 3;

const HEADER: usize = 16;
/// `struct inet_diag_req_v2`: family, protocol, two bytes, states, and who it is about.
const REQUEST: usize = 8 + ID;
/// `struct inet_diag_sockid`: ports, addresses, device, cookie.
const ID: usize = 48;
/// All of TCP's (net/tcp_states.h) but those that have no other end: TIME_WAIT, CLOSE, LISTEN.
const STATES: u32 = 0x1fff & !(1 | 1 << 6 | 1 << 7 | 1 << 10);

/// Ends all TCP connections of this network namespace with ECONNABORTED, but for those of its own
/// loopback (`SOCK_DESTROY`, Linux 4.5 with `CONFIG_INET_DIAG_DESTROY`). Takes `CAP_NET_ADMIN` over
/// it. Allocates nothing.
pub fn abort_connections() -> Result<(), Errno> {
    // One to ask, and one to tell: what is refused there is not read.
    let (asking, telling) = (diagnosis()?, diagnosis()?);
    let mut room = [0; 16 << 10];
    for family in [libc::AF_INET, libc::AF_INET6] {
        let family = u8::try_from(family).unwrap_or(0);
        let dump = u16::try_from(libc::NLM_F_REQUEST | libc::NLM_F_DUMP).unwrap_or(0);
        let none = [0; ID];
        rustix::net::send(&asking, &request(BY_FAMILY, dump, family, &none), SendFlags::empty())?;
        loop {
            let (length, _) = rustix::net::recv(&asking, &mut room[..], RecvFlags::empty())?;
            let more = each(&room[..length], |id| {
                let only = u16::try_from(libc::NLM_F_REQUEST).unwrap_or(0);
                let message = request(DESTROY, only, family, id);
                let _ = rustix::net::send(&telling, &message, SendFlags::empty());
            });
            if !more {
                break;
            }
        }
    }
    Ok(())
}

fn diagnosis() -> Result<OwnedFd, Errno> {
    let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
    rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))
}

fn request(kind: u16, flags: u16, family: u8, id: &[u8; ID]) -> [u8; HEADER + REQUEST] {
    #[allow(clippy::cast_possible_truncation)] // 72
    const LENGTH: u32 = (HEADER + REQUEST) as u32;
    let mut bytes = [0; HEADER + REQUEST];
    bytes[..4].copy_from_slice(&LENGTH.to_ne_bytes());
    bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
    bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
    bytes[HEADER] = family;
    bytes[HEADER + 1] = u8::try_from(libc::IPPROTO_TCP).unwrap_or(0);
    bytes[HEADER + 4..HEADER + 8].copy_from_slice(&STATES.to_ne_bytes());
    bytes[HEADER + 8..].copy_from_slice(id);
    bytes
}

/// Shows who is told of in an answer, but for who is on a loopback. Whether there is more to come.
fn each(mut answer: &[u8], mut show: impl FnMut(&[u8; ID])) -> bool {
    while let Some((header, _)) = answer.split_first_chunk::<HEADER>() {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let Some(message) = answer.get(HEADER..length) else { return false };
        match u16::from_ne_bytes([header[4], header[5]]) {
            DONE | ERROR => return false,
            // `struct inet_diag_msg`: family, state, timer, tries, and who it is about.
            BY_FAMILY => {
                if let Some((head, rest)) = message.split_first_chunk::<4>()
                    && let Some(id) = rest.first_chunk::<ID>()
                    && !is_on_loopback(head[0], id)
                {
                    show(id);
                }
            }
            _ => {}
        }
        answer = answer.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    true
}

/// Whether its own address is one: the loopback lives on.
fn is_on_loopback(family: u8, id: &[u8; ID]) -> bool {
    let address = &id[4..20];
    if i32::from(family) == libc::AF_INET {
        return address[0] == 127;
    }
    let mapped = address[..12] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
    (mapped && address[12] == 127)
        || (address[..15].iter().all(|byte| *byte == 0) && address[15] == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer of the kernel's: messages with what they are about.
    fn answer(messages: &[(u16, u8, [u8; ID])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, family, id) in messages {
            bytes.extend((72_u32).to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend([*family, 1, 0, 0]);
            bytes.extend(id);
            bytes.extend([0; 4]);
        }
        bytes
    }

    fn id(port: u8, address: &[u8]) -> [u8; ID] {
        let mut id = [0; ID];
        id[1] = port;
        id[4..4 + address.len()].copy_from_slice(address);
        id
    }

    #[test]
    fn all_are_shown_but_the_loopbacks() {
        let mut six = [0; 16];
        six[15] = 1;
        let mut mapped = [0; 16];
        (mapped[10], mapped[11], mapped[12], mapped[15]) = (0xff, 0xff, 127, 1);
        let mut outer = six;
        outer[0] = 0xfd;
        let mut bytes = answer(&[
            (BY_FAMILY, 2, id(1, &[10, 0, 2, 100])),
            (BY_FAMILY, 2, id(2, &[127, 0, 0, 1])),
            (BY_FAMILY, 10, id(3, &six)),
            (BY_FAMILY, 10, id(4, &mapped)),
            (BY_FAMILY, 10, id(5, &outer)),
        ]);
        let mut shown = Vec::new();
        assert!(each(&bytes, |id| shown.push(id[1])));
        assert_eq!(shown, [1, 5]);
        bytes.extend(answer(&[(DONE, 0, [0; ID]), (BY_FAMILY, 2, id(6, &[10]))]));
        assert!(!each(&bytes, |_| ()));
        for length in 0..bytes.len() {
            each(&bytes[..length], |_| ());
        }
    }
}
