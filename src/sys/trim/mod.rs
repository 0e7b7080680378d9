//! Gives memory back that a process will hardly need again: for monitors, which wait for weeks.
//!
//! ```text
//! heap             free pages                       malloc_trim(3)
//! program's file   pages nobody wrote to ┐ dropped; they come from the file when they are touched
//! stack            what lies below       ┘
//! program's file   relocated data          dropped, and made again before anything else runs
//! ```

mod doze;
mod relocated;
#[cfg(test)]
mod tests;

use rustix::event::{PollFd, Timespec};

use doze::Range;
use relocated::Relocated;

/// What a process can give back each time that it has nothing to do.
#[derive(Debug, Default)]
pub struct Trimmer {
    /// Clean pages of the program's file.
    files: Vec<Range>,
    /// Where the stack's mapping begins.
    stack: Option<usize>,
    relocated: Option<Relocated>,
}

impl Trimmer {
    /// Looks at what this process has mapped.
    pub fn new() -> Self {
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
        let Mapped { files, stack, sealed } = mapped(&smaps);
        let files = files.into_iter().flat_map(|range| range.without(doze::code())).collect();
        Self { files, stack, relocated: Relocated::find(&sealed) }
    }

    /// Gives back what it can, and waits by poll(2). Where there are other threads, relocated data
    /// stays: they would read it.
    #[inline(never)]
    pub fn trim_and_poll(
        &self,
        polled: &mut [PollFd<'_>],
        timeout: Option<&Timespec>,
    ) -> rustix::io::Result<usize> {
        let relocated = self.relocated.as_ref().filter(|_| has_one_thread());
        doze::doze(&self.files, self.stack, relocated, polled, timeout)
    }
}

/// One directory below `task` for each thread, and two names more.
fn has_one_thread() -> bool {
    rustix::fs::stat(c"/proc/self/task").is_ok_and(|stat| stat.st_nlink == 3)
}

/// What matters of the mappings.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mapped {
    /// Of files, read-only, and nothing of it written to since it was mapped.
    files: Vec<Range>,
    /// The beginning of the stack's.
    stack: Option<usize>,
    /// Of files, written to, and read-only now.
    sealed: Vec<Range>,
}

/// Reads proc_pid_smaps(5).
fn mapped(smaps: &str) -> Mapped {
    let mut mapped = Mapped::default();
    let mut current: Option<Range> = None;
    for line in smaps.lines() {
        if let Some((start, end, rest)) = heading(line) {
            let mut fields = rest.split_whitespace();
            let mode = fields.next().unwrap_or_default();
            let name = fields.nth(3).unwrap_or_default();
            if name == "[stack]" {
                mapped.stack = Some(start);
            }
            let kept = name.starts_with('/') && mode.starts_with("r-") && mode.ends_with('p');
            current = kept.then_some(Range { start, length: end - start });
        } else if let (Some(range), Some(rest)) = (current, line.strip_prefix("Anonymous:")) {
            let clean = rest.trim() == "0 kB";
            if clean { &mut mapped.files } else { &mut mapped.sealed }.push(range);
        }
    }
    mapped
}

/// `START-END MODE …`
fn heading(line: &str) -> Option<(usize, usize, &str)> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?, rest))
}
