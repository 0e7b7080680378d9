//! What a hostile container reaches first, for `fuzz/`.

use std::net::IpAddr;
use std::time::Instant;

use super::fragments::Fragments;
use super::frame::{self, Frame};
use super::names::{self, Directory};

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
