//! The command line of this process, as everybody sees it in `/proc/PID/cmdline`.
#![allow(unsafe_code)]

/// Where the kernel has laid the arguments.
#[derive(Clone, Copy, Debug)]
pub struct Arguments {
    start: usize,
    length: usize,
}

impl Arguments {
    /// Those of this process and of every fork of it. Ask before anybody else's /proc is mounted.
    pub fn of_this_process() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let (start, end) = read(&stat)?;
        Some(Self { start, length: end.checked_sub(start).filter(|_| start != 0)? })
    }

    /// Shows `name` in their place, in this process alone.
    ///
    /// Nobody in it may ask for the arguments afterwards (`std::env::args`): they say the same.
    pub fn show(self, name: &[u8]) {
        // The last byte stays zero, or the kernel takes the environment behind it for arguments too.
        let name = &name[..name.len().min(self.length.saturating_sub(1))];
        let place = std::ptr::with_exposed_provenance_mut::<u8>(self.start);
        // SAFETY: the kernel laid `length` bytes there, on the writable stack, when this program or the one it
        // was forked from was executed; they stay until the next exec. No reference to them exists: std reads
        // them when it is asked and copies.
        unsafe { std::ptr::write_bytes(place, 0, self.length) };
        // SAFETY: as above; `name` is shorter, and memory of ours that lies elsewhere.
        unsafe { std::ptr::copy_nonoverlapping(name.as_ptr(), place, name.len()) };
    }
}

/// `arg_start` and `arg_end` (proc_pid_stat(5)), the 48th and 49th field.
fn read(stat: &str) -> Option<(usize, usize)> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_ascii_whitespace().skip(45);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fork;

    #[test]
    fn another_name_is_shown() {
        let arguments = Arguments::of_this_process().expect("a place");
        let shows = || std::fs::read("/proc/self/cmdline").unwrap_or_default();
        let before = shows();
        let child = fork::in_child(|| {
            arguments.show(b"shown");
            let now = shows();
            u8::from(now.strip_prefix(b"shown").is_none_or(|rest| rest.iter().any(|b| *b != 0)))
        });
        assert_eq!(child.expect("a child").wait(), Ok(0));
        assert_eq!(shows(), before);
    }

    #[test]
    fn a_name_may_hold_anything() {
        let fields: Vec<String> = (3..=52).map(|field| field.to_string()).collect();
        let stat = format!("7 (a) S b) {}", fields.join(" "));
        assert_eq!(read(&stat), Some((48, 49)));
        assert_eq!(read("7 (a) S 1"), None);
    }
}
