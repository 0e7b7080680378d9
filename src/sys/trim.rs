//! Gives memory back that a process will hardly need again: for monitors, which wait for weeks.
#![allow(unsafe_code)]

use rustix::event::{PollFd, Timespec};
use rustix::mm::{Advice, madvise};

/// What a process can give back each time that it has nothing to do.
#[derive(Debug, Default)]
pub struct Trimmer {
    /// Clean pages of the program's file, and the unused part of the stack.
    ranges: Vec<(usize, usize)>,
}

impl Trimmer {
    /// Looks at what this process has mapped.
    pub fn new() -> Self {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
        let marker = 0_u8;
        Self { ranges: disposable(&maps, std::ptr::from_ref(&marker).addr()) }
    }

    /// Gives back the heap's free pages, the unused part of the stack, and the pages of the
    /// program's file that nothing was written to, and waits by poll(2). These pages come again when
    /// they are touched, with their neighbours, so that the last to go is the code, and nothing but
    /// the wait comes after that.
    ///
    /// Call it from the depth of the stack at which this was made, or above: what lies deeper goes.
    #[inline(never)]
    pub fn trim_and_poll(
        &self,
        polled: &mut [PollFd<'_>],
        timeout: Option<&Timespec>,
    ) -> rustix::io::Result<usize> {
        // SAFETY: malloc_trim(3) takes any number.
        unsafe {
            libc::malloc_trim(0);
        }
        let marker = 0_u8;
        let here = std::ptr::from_ref(&marker).addr();
        for (start, end) in &self.ranges {
            // Nothing of the frames that are there now.
            if (*start..*end).contains(&here) {
                continue;
            }
            // SAFETY: the range is a mapping of this process. Of the program's file it is clean, so
            // that the same bytes come back from there; of the stack it lies below all frames, by
            // the check above and by two pages more, which is what this function calls.
            unsafe {
                let start = std::ptr::with_exposed_provenance_mut(*start);
                // Not libc's: that one is code elsewhere.
                let _ = madvise(start, end - start.addr(), Advice::LinuxDontNeed);
            }
        }
        rustix::event::poll(polled, timeout)
    }
}

const PAGE: usize = 4096;

/// The ranges of proc_pid_smaps(5) that can go; `here` is an address in the lowest frame of the
/// stack.
fn disposable(smaps: &str, here: usize) -> Vec<(usize, usize)> {
    let (mut ranges, mut code) = (Vec::new(), Vec::new());
    let mut current: Option<(usize, usize, bool)> = None;
    for line in smaps.lines() {
        if let Some((start, end, rest)) = heading(line) {
            let mut fields = rest.split_whitespace();
            let mode = fields.next().unwrap_or_default();
            let name = fields.nth(3).unwrap_or_default();
            current = None;
            if name == "[stack]" {
                let lowest = (here & !(PAGE - 1)).saturating_sub(2 * PAGE);
                if start < lowest && lowest < end {
                    ranges.push((start, lowest));
                }
            } else if name.starts_with('/') && mode.as_bytes().get(1) == Some(&b'-') {
                current = Some((start, end, mode.contains('x')));
            }
        } else if let (Some((start, end, is_code)), Some(rest)) =
            (current, line.strip_prefix("Anonymous:"))
        {
            // Relocated data that was made read-only has pages of its own, which are in no file.
            if rest.trim() == "0 kB" {
                if is_code { &mut code } else { &mut ranges }.push((start, end));
            }
        }
    }
    ranges.extend(code);
    ranges
}

/// `START-END MODE …`
fn heading(line: &str) -> Option<(usize, usize, &str)> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_to_stays() {
        let smaps = "\
1000-3000 r--p 00000000 08:01 42 /bin/coracle\nRss: 8 kB\nAnonymous:             0 kB\n\
3000-9000 r-xp 00002000 08:01 42 /bin/coracle\nAnonymous:             0 kB\n\
9000-a000 r--p 00008000 08:01 42 /bin/coracle\nAnonymous:             4 kB\n\
a000-b000 rw-p 00009000 08:01 42 /bin/coracle\nAnonymous:             0 kB\n\
b000-f000 rw-p 00000000 00:00 0 [heap]\nAnonymous:             0 kB\n\
20000-40000 rw-p 00000000 00:00 0 [stack]\nAnonymous:            12 kB\n\
50000-52000 r-xp 00000000 00:00 0 [vdso]\nAnonymous:             0 kB\n";
        assert_eq!(
            disposable(smaps, 0x3_0123),
            [(0x1000, 0x3000), (0x20000, 0x2e000), (0x3000, 0x9000)],
            "the code is the last"
        );
    }

    #[test]
    fn a_trimmed_process_goes_on() {
        let text = "kept".repeat(10_000);
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        assert_eq!(Trimmer::new().trim_and_poll(&mut [], Some(&at_once)), Ok(0));
        assert_eq!(text.len(), 40_000);
    }
}
