//! Gives memory back that a process will hardly need again: for monitors, which wait for weeks.
#![allow(unsafe_code)]

use rustix::event::{PollFd, Timespec};
use rustix::io::Errno;

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
        Self { ranges: disposable(&maps, std::ptr::from_ref(&marker).addr(), Self::kept()) }
    }

    /// Gives back the heap's free pages, the unused part of the stack, and the pages of the
    /// program's file that nothing was written to, and waits by ppoll(2). These pages come again when
    /// they are touched, each with fifteen neighbours: so the code that does this and waits stays, and
    /// nothing but that is called from then on.
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
        // The kernel writes what is left of it.
        let mut timeout = timeout.copied();
        let timeout = timeout.as_mut().map_or(std::ptr::null_mut(), std::ptr::from_mut);
        for (start, end) in &self.ranges {
            // Nothing of the frames that are there now.
            if (*start..*end).contains(&here) {
                continue;
            }
            // SAFETY: the range is a mapping of this process. Of the program's file it is clean, so
            // that the same bytes come back from there; of the stack it lies below all frames, by
            // the check above and by two pages more, which is what this function calls.
            unsafe {
                libc::syscall(libc::SYS_madvise, *start, end - start, libc::MADV_DONTNEED);
            }
        }
        let none = std::ptr::null::<libc::sigset_t>();
        // SAFETY: the descriptors are borrowed in `polled`, as long as it says; the time is this
        // frame's, or none; without a mask its size means nothing.
        let ready = unsafe {
            let (first, count) = (polled.as_mut_ptr(), polled.len());
            libc::syscall(libc::SYS_ppoll, first, count, timeout, none, 0_usize)
        };
        usize::try_from(ready).map_err(|_| {
            Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
        })
    }

    /// Where the code is that runs while nothing is left, by page: each function has no more than
    /// two.
    fn kept() -> [(usize, usize); 2] {
        type Trim = fn(&Trimmer, &mut [PollFd<'_>], Option<&Timespec>) -> rustix::io::Result<usize>;
        let trim: Trim = Self::trim_and_poll;
        let call: unsafe extern "C" fn(libc::c_long, ...) -> libc::c_long = libc::syscall;
        [trim as *const (), call as *const ()].map(|code| {
            let page = code.addr() & !(PAGE - 1);
            (page, page + 2 * PAGE)
        })
    }
}

const PAGE: usize = 4096;

/// The ranges of proc_pid_smaps(5) that can go; `here` is an address in the lowest frame of the
/// stack, and `kept` is what stays of the code.
fn disposable(smaps: &str, here: usize, mut kept: [(usize, usize); 2]) -> Vec<(usize, usize)> {
    kept.sort_unstable();
    let mut ranges = Vec::new();
    let mut current: Option<(usize, usize)> = None;
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
                current = Some((start, end));
            }
        } else if let (Some((mut start, end)), Some(rest)) =
            (current, line.strip_prefix("Anonymous:"))
        {
            // Relocated data that was made read-only has pages of its own, which are in no file.
            if rest.trim() != "0 kB" {
                continue;
            }
            for (first, last) in kept {
                if start < first && first < end {
                    ranges.push((start, first));
                }
                if start < last && first < end {
                    start = last;
                }
            }
            if start < end {
                ranges.push((start, end));
            }
        }
    }
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
3000-c000 r-xp 00002000 08:01 42 /bin/coracle\nAnonymous:             0 kB\n\
c000-d000 r--p 0000b000 08:01 42 /bin/coracle\nAnonymous:             4 kB\n\
d000-e000 rw-p 0000c000 08:01 42 /bin/coracle\nAnonymous:             0 kB\n\
e000-f000 rw-p 00000000 00:00 0 [heap]\nAnonymous:             0 kB\n\
20000-40000 rw-p 00000000 00:00 0 [stack]\nAnonymous:            12 kB\n\
50000-52000 r-xp 00000000 00:00 0 [vdso]\nAnonymous:             0 kB\n";
        assert_eq!(
            disposable(smaps, 0x3_0123, [(0x8000, 0xa000), (0x3000, 0x5000)]),
            [(0x1000, 0x3000), (0x5000, 0x8000), (0xa000, 0xc000), (0x20000, 0x2e000)],
        );
        let at_the_end = disposable(smaps, 0x3_0123, [(0x4000, 0x6000), (0xb000, 0xd000)]);
        assert_eq!(at_the_end[1..3], [(0x3000, 0x4000), (0x6000, 0xb000)]);
    }

    #[test]
    fn descriptors_that_are_ready_and_mistakes_are_told() {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        let poll = |tv_sec| {
            let mut polled = [PollFd::new(&reader, rustix::event::PollFlags::IN)];
            let timeout = Timespec { tv_sec, tv_nsec: 0 };
            Trimmer::default().trim_and_poll(&mut polled, Some(&timeout))
        };
        assert_eq!(poll(0), Ok(0));
        std::io::Write::write_all(&mut writer, b"x").expect("room");
        assert_eq!(poll(0), Ok(1));
        assert_eq!(poll(-1), Err(Errno::INVAL));
    }

    #[test]
    fn a_trimmed_process_goes_on() {
        let text = "kept".repeat(10_000);
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        assert_eq!(Trimmer::new().trim_and_poll(&mut [], Some(&at_once)), Ok(0));
        assert_eq!(text.len(), 40_000);
    }
}
