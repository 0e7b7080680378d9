//! The fast path: which connections of a container's are made by a socket of the host's.
//!
//! ```text
//! program ── connect(2) ─ seccomp ─► supervisor: the address, copied ─ leads outside? ─ by the tap?
//!    │                                  └─ a socket of the host's, with the options of the program's,
//!    │                                     bound to the host's device, connected by the supervisor
//!    └─ its descriptor is that socket now: bytes pass no tap and no server
//! ```
//!
//! The tap's own policy decides, so that nothing is reached this way that is not reached by the tap;
//! and the container's own routes, so that whatever it has made besides (a tunnel, another network)
//! has its traffic. All else is the kernel's to carry out, and so goes by the tap.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};

use super::netlink::{
    HEADER, Message, NEW_ROUTE, OUT_DEVICE, changes_socket, family, route_socket,
};
use super::policy::Policy;
use super::{Error, LinkPlan};
use crate::sys;

/// What a container with a fast path may reach by it.
#[derive(Clone, Debug)]
pub struct Switch {
    policy: Policy,
    /// Where the tap's device stands in the container.
    device: String,
}

impl Switch {
    /// The fast path beside a link, where one of them is to have it.
    pub fn of(links: &[LinkPlan]) -> Option<Self> {
        let plan = links.iter().find(|link| link.fast)?;
        let policy = Policy {
            addresses: plan.addresses.clone(),
            host_loopback: plan.host_loopback,
            resolvers: Vec::new(),
            asked: 0,
            internal: plan.internal,
        };
        Some(Self { policy, device: plan.device.clone() })
    }

    /// Whether an address is outside, and is itself there: what the server translates stays with it.
    pub fn leads_outside(&self, target: SocketAddr) -> bool {
        self.policy.way(target, |_| None) == Some(target)
    }

    /// Whether the host's own addresses may be reached by sockets of the host's, and so its loopback.
    pub fn may_stay(&self) -> bool {
        self.policy.host_loopback
    }

    /// Whether there can be a fast path on this kernel.
    pub fn usable() -> Result<(), Error> {
        let missing = |what| Err(Error::NoSwitch { what });
        if !sys::notify::is_available() {
            return missing("seccomp notification (Linux 5.0, CONFIG_SECCOMP_FILTER)");
        }
        let flags = SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None);
        let Ok(socket) = socket else { return missing("sockets of IP (CONFIG_INET)") };
        if sys::socket::namespace(socket.as_fd()).is_err() {
            return missing("sockets that tell their namespace (SO_NETNS_COOKIE, Linux 5.14)");
        }
        let number = socket.as_raw_fd().cast_unsigned();
        match sys::compare::Own::of_this_process().is_same(
            std::process::id(),
            number,
            socket.as_fd(),
        ) {
            Ok(_) => Ok(()),
            Err(_) => missing("descriptors that can be compared (kcmp, CONFIG_KCMP)"),
        }
    }
}

/// A namespace's routes, as they are at the moment of a question.
#[derive(Debug)]
pub struct Routes {
    sockets: RouteSockets,
    /// Those who were asked about, as long as nothing has changed.
    known: HashMap<IpAddr, (Option<Lead>, Instant)>,
}

/// What a namespace's routes are asked by: made inside of it.
#[derive(Debug)]
pub struct RouteSockets {
    /// For questions and answers.
    pub questions: OwnedFd,
    /// For words of changes.
    pub changes: OwnedFd,
}

/// Those of the namespace that this process is in.
pub fn route_sockets() -> Result<RouteSockets, Errno> {
    Ok(RouteSockets { questions: route_socket()?, changes: changes_socket()? })
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lead {
    /// Out, by the device of this number.
    Out(u32),
    /// To the host that has it.
    Here,
}

/// `struct rtmsg` behind the header.
const BODY: usize = 12;

/// How many answers are kept, and how long: the kernel tells of no change to a few things that it looks
/// at besides (sysctls, which router answers).
const MOST_KNOWN: usize = 256;
const KEPT: Duration = Duration::from_secs(1);

impl Routes {
    /// Those that these sockets ask about.
    pub fn new(sockets: RouteSockets) -> Self {
        Self { sockets, known: HashMap::new() }
    }

    /// The number of the tap's device there.
    pub fn tap(&self, switch: &Switch) -> Result<u32, Errno> {
        rustix::net::netdevice::name_to_index(&self.sockets.questions, &switch.device)
    }

    /// A socket of the namespace.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.sockets.questions.as_fd()
    }

    /// Where packets for an address go; `None` where they do not.
    pub fn lead(&mut self, ip: IpAddr) -> Option<Lead> {
        // The word of a change is there before the call that made it is over.
        if self.have_changed() || self.known.len() >= MOST_KNOWN {
            self.known.clear();
        }
        let now = Instant::now();
        if let Some((lead, asked)) = self.known.get(&ip)
            && now.duration_since(*asked) < KEPT
        {
            return *lead;
        }
        let mut room = [0; 1024];
        let lead = question(ip).ask(&self.sockets.questions, &mut room).ok().and_then(read);
        self.known.insert(ip, (lead, now));
        lead
    }

    /// Whether there was any word since the last time. Too many of them, or words that were lost, are a
    /// change too.
    fn have_changed(&self) -> bool {
        /// What is taken at once, so that who changes things without end holds up nobody else.
        const MOST: usize = 64;
        let word =
            || rustix::net::recv(&self.sockets.changes, &mut [0; 64][..], RecvFlags::empty());
        for taken in 0..MOST {
            if word().is_err_and(|errno| errno == Errno::AGAIN) {
                return taken != 0;
            }
        }
        true
    }
}

/// The question for the route to one address.
fn question(ip: IpAddr) -> Message {
    const GET_ROUTE: u16 = 26;
    const DESTINATION: u16 = 1;
    let mut body = [0; BODY];
    body[0] = family(ip);
    match ip {
        IpAddr::V4(ip) => {
            body[1] = 32;
            Message::question(GET_ROUTE, &body).with(DESTINATION, &ip.octets())
        }
        IpAddr::V6(ip) => {
            body[1] = 128;
            Message::question(GET_ROUTE, &body).with(DESTINATION, &ip.octets())
        }
    }
}

/// Reads an answer; `None` where it is no route.
fn read(answer: &[u8]) -> Option<Lead> {
    // In every namespace lo is the first.
    const LOOPBACK: u32 = 1;
    let half = |at: usize| Some(u16::from_ne_bytes(answer.get(at..at + 2)?.try_into().ok()?));
    let kind = *answer.get(HEADER + 7)?;
    match kind {
        _ if half(4)? != NEW_ROUTE => return None,
        libc::RTN_LOCAL => return Some(Lead::Here),
        libc::RTN_UNICAST => {}
        _ => return None,
    }
    let mut at = HEADER + BODY;
    loop {
        let (length, attribute) = (usize::from(half(at)?), half(at + 2)?);
        if attribute == OUT_DEVICE {
            let device = u32::from_ne_bytes(answer.get(at + 4..at + 8)?.try_into().ok()?);
            return Some(if device == LOOPBACK { Lead::Here } else { Lead::Out(device) });
        }
        at += length.max(4).next_multiple_of(4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Settings;

    fn switch(settings: &Settings) -> Option<Switch> {
        Switch::of(&[LinkPlan::private(settings, 0)])
    }

    #[test]
    fn only_what_is_outside_and_itself_there_is_switched() {
        assert!(switch(&Settings::default()).is_none(), "not asked for");
        for host_loopback in [false, true] {
            let settings = Settings { fast: true, host_loopback, ..Settings::default() };
            let switch = switch(&settings).expect("asked for");
            let leads = |text: &str| switch.leads_outside(text.parse().expect("an address"));
            for text in ["1.1.1.1:443", "[2001:db8::1]:443", "192.168.1.5:22", "10.0.3.1:80"] {
                assert!(leads(text), "{text}");
            }
            for text in [
                "127.0.0.1:22",
                "127.9.9.9:22",
                "0.0.0.0:22",
                "[::1]:22",
                "[::]:22",
                "[::ffff:127.0.0.1]:22",
                "[::127.0.0.1]:22",
                "[fe80::1]:22",
                "224.0.0.1:22",
                "255.255.255.255:22",
                "[ff02::1]:22",
                "1.1.1.1:0",
                // The gateway, its other face, resolvers, the container itself, others on the link.
                "10.0.2.2:80",
                "[fd00::2]:80",
                "10.0.2.3:53",
                "10.0.2.100:80",
                "[fd00::100]:80",
                "10.0.2.7:1",
                "[fd00::7]:1",
            ] {
                assert!(!leads(text), "{text}");
            }
        }
    }

    #[test]
    fn a_route_is_read_to_its_device() {
        let mut routes = Routes::new(route_sockets().expect("sockets"));
        assert_eq!(routes.lead(IpAddr::from([127, 0, 0, 1])), Some(Lead::Here));
        assert_eq!(routes.known.len(), 1);
        assert_eq!(routes.lead(IpAddr::from([127, 0, 0, 1])), Some(Lead::Here), "from memory");
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[0; 28]), None);
        let mut answer = vec![0; 28];
        answer[4..6].copy_from_slice(&24_u16.to_ne_bytes());
        answer[23] = libc::RTN_UNICAST;
        answer.extend([8, 0, 1, 0, 1, 1, 1, 1, 8, 0, 4, 0, 7, 0, 0, 0]);
        assert_eq!(read(&answer), Some(Lead::Out(7)));
        answer[40] = 1;
        assert_eq!(read(&answer), Some(Lead::Here), "by lo");
        answer[23] = libc::RTN_UNREACHABLE;
        assert_eq!(read(&answer), None);
    }
}
