//! What a hostile container reaches first, for `fuzz/`.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::fragments::Fragments;
use super::frame::{self, Frame, LONGEST, VNET};
use super::names::{self, Directory};
use super::serve::{Joining, Parts, Server};
use super::{LinkPlan, Settings};

/// Frames of a session that are looked at.
const MOST: usize = 64;

/// Reads a frame, and what is in it.
pub fn frame(bytes: &[u8]) {
    let Some(Frame::Ip(packet)) = frame::read(bytes) else { return };
    let _ = frame::read_tcp(&packet);
    if let Some(part) = packet.part {
        let _ = Fragments::default().take(&packet, part, Instant::now());
    }
}

/// Answers a question for a name.
pub fn question(bytes: &[u8]) {
    let _ = names::answer(bytes, &One);
    let _ = names::deny(bytes);
}

/// Plays a whole session with a server: frames, each behind its length in two bytes; one of length 0
/// stands for some seconds that pass. What the frames name must lead nowhere: in a network of its own.
///
/// # Panics
///
/// Where the server answers with what is no frame.
pub fn session(mut bytes: &[u8]) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let kind = SocketType::SEQPACKET;
    let (ours, tap) =
        rustix::net::socketpair(AddressFamily::UNIX, kind, flags, None).expect("a pair");
    let parts = Parts { resolvers: Vec::new(), ports: Vec::new(), control: None, descriptors: 64 };
    let mut server = Server::new(parts).expect("a server");
    let settings = Settings { host_loopback: true, ..Settings::default() };
    let plan = LinkPlan::private(&settings, 0);
    server.join(Joining { plan, tap, membership: None }).expect("a link");
    let (mut room, mut now) = (vec![0; LONGEST], Instant::now());
    for _ in 0..MOST {
        let Some((length, rest)) = bytes.split_first_chunk() else { break };
        let length = usize::from(u16::from_le_bytes(*length));
        let frame = &rest[..length.min(rest.len())];
        bytes = &rest[frame.len()..];
        match frame {
            [] => now += Duration::from_secs(7),
            frame => {
                let _ = rustix::io::write(&ours, &[&[0; VNET], frame].concat());
            }
        }
        server.turn(Some(Duration::ZERO), Some(now)).expect("a turn");
        while let Ok(length) = rustix::io::read(&ours, &mut *room) {
            assert!(frame::read(&room[..length]).is_some(), "{:?}", &room[..length]);
        }
    }
}

/// Somebody who is called "one".
struct One;

impl Directory for One {
    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        (name == "one").then(|| vec![IpAddr::from([10, 89, 0, 2])])
    }

    fn name(&self, address: IpAddr) -> Option<String> {
        (address == IpAddr::from([10, 89, 0, 2])).then(|| "one".to_owned())
    }
}
