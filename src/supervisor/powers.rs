//! Calls about capabilities: the kernel's are root's as long as a process lives, whoever it says it is.
//!
//! Who is nobody but a user, and kept nothing, is told that it has none, and gets none. The kernel's stay:
//! nobody can take them from another process, and they open no file that one id does not open anyway.

use rustix::io::Errno;

use super::execute::pid_inside;
use super::serve::{CONTINUE, Done, Server, refuse};
use super::status::{field, status};
use crate::sys::notify::{self, Notification};

/// Versions of linux/capability.h with 64 bits of each set.
const VERSIONS: [u32; 2] = [0x2007_1026, 0x2008_0522];
/// Three sets of 32 bits, twice: effective, permitted, inheritable.
const DATA: usize = 24;

/// What the kernel says that a thread has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    effective: u64,
    inheritable: u64,
    ambient: u64,
}

impl Held {
    pub(super) fn of(thread: u32) -> Option<Self> {
        Self::read(&status(thread)?)
    }

    fn read(text: &[u8]) -> Option<Self> {
        let set = |name| u64::from_str_radix(field(text, name)?, 16).ok();
        Some(Self {
            effective: set("CapEff")?,
            inheritable: set("CapInh")?,
            ambient: set("CapAmb")?,
        })
    }

    pub(super) fn is_effective(self, capability: u32) -> bool {
        self.effective >> capability & 1 != 0
    }
}

impl Server {
    /// capget(2)
    pub(super) fn get_powers(&mut self, call: &Notification) -> Done {
        let Some(held) = self.held_by_nobody(call) else { return CONTINUE };
        let [low, high] = halves(held.inheritable);
        let mut data = [0; DATA];
        data[8..12].copy_from_slice(&low.to_ne_bytes());
        data[20..].copy_from_slice(&high.to_ne_bytes());
        self.write(call, call.arguments[1], &data)
    }

    /// capset(2): what is given up the kernel takes.
    pub(super) fn set_powers(&mut self, call: &Notification) -> Done {
        if self.held_by_nobody(call).is_none() {
            return CONTINUE;
        }
        let mut data = [0; DATA];
        if notify::read_memory(call.thread, call.arguments[1], &mut data) != Ok(DATA) {
            return CONTINUE;
        }
        let asks = data.chunks_exact(DATA / 2).any(|half| half[..8].iter().any(|byte| *byte != 0));
        if asks { refuse(Errno::PERM) } else { CONTINUE }
    }

    /// What the kernel has of a caller that asks about itself and is said to have nothing. What its program's
    /// file gives it, or what is ambient, it has.
    fn held_by_nobody(&mut self, call: &Notification) -> Option<Held> {
        let (tag, _) = Self::tag(call).ok().filter(|(tag, _)| tag.credentials != 0)?;
        if !self.people.get(tag).has_no_powers() || call.arguments[1] == 0 {
            return None;
        }
        let mut header = [0; 8];
        let read = notify::read_memory(call.thread, call.arguments[0], &mut header);
        let (version, pid) = header.split_at(4);
        let number = |bytes: &[u8]| bytes.try_into().map(u32::from_ne_bytes).unwrap_or_default();
        let (version, pid) = (number(version), number(pid));
        if read != Ok(8) || !VERSIONS.contains(&version) {
            return None;
        }
        if pid != 0 && pid_inside(call.thread) != Some(pid) {
            return None;
        }
        let of_file = rustix::fs::getxattr(
            format!("{}/exe", call.thread),
            c"security.capability",
            &mut [0_u8; 0][..],
        );
        Held::of(call.thread).filter(|held| held.ambient == 0 && of_file.is_err())
    }
}

/// The lower 32 bits, and the upper.
fn halves(set: u64) -> [u32; 2] {
    [set & 0xffff_ffff, set >> 32].map(|half| u32::try_from(half).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_read_as_the_kernel_tells_them() {
        let text =
            b"CapInh:\t0000000000000002\nCapPrm:\t00000000a80425fb\nCapEff:\t0000000000000080\n\
            CapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\n";
        let held = Held::read(text).expect("sets");
        assert_eq!(held, Held { effective: 0x80, inheritable: 2, ambient: 0 });
        assert!(held.is_effective(7) && !held.is_effective(6));
        assert_eq!(halves(0x1_0000_0002), [2, 1]);
    }
}
