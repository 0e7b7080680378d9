//! Who calls, and who else has its socket: as the kernel tells it of descriptors (kcmp(2)) and /proc of
//! processes.
//!
//! What is asked again at each call is kept open for the next. A thread's number may be another's by then,
//! its pidfd is not: it is opened first and asked first, so that whatever was opened after it is of the
//! same thread, as long as a descriptor can be taken by it.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::status::{Told, field, status};
use super::watch::Watch;
use crate::sys::compare::Own;
use crate::sys::socket;

/// A process with more descriptors than this is not looked through: its connections stay on the tap.
const MOST: usize = 512;
/// The numbers that are tried before all that there are is listed.
const MOST_TRIED: u32 = 256;
/// The children that are looked at.
const MOST_CHILDREN: usize = 64;
/// The threads that are remembered.
const MOST_CALLERS: usize = 32;
/// The descriptors of all of them whose files of /proc are kept open.
const MOST_KNOWN: usize = 512;

/// Those who called last, the latest at the end.
#[derive(Debug, Default)]
pub(super) struct Callers(Vec<Caller>);

/// A thread, and what is asked of it each time.
#[derive(Debug)]
pub(super) struct Caller {
    ours: Own,
    thread: u32,
    pidfd: OwnedFd,
    /// The directory of its descriptors.
    descriptors: OwnedFd,
    /// Who has made its process, and whom it has made.
    parent: u32,
    children: Vec<Told>,
    /// What is told of its descriptors, by number: of whatever has the number by then. Of the one that
    /// connects, and of all others once the thread has called twice.
    known: BTreeMap<u32, Told>,
    calls: u32,
    /// Whether there were descriptors that are not known.
    has_more: bool,
}

/// Who has a socket beside its caller, as far as can be seen.
#[derive(Debug)]
pub(super) enum Held {
    /// Another descriptor, of this process, of its parent or a child.
    Shared,
    /// Nobody; these wait for it. Whether it is closed by an exec.
    Alone { watches: Vec<Watch>, close_on_exec: bool },
}

/// What is told of a descriptor (proc_pid_fdinfo(5)).
#[derive(Debug, PartialEq, Eq)]
struct Facts<'a> {
    /// The file's number in its file system; since 5.14.
    inode: Option<&'a str>,
    close_on_exec: bool,
    /// Whether it is an epoll that waits for something.
    waits: bool,
}

impl<'a> Facts<'a> {
    fn read(text: &'a [u8]) -> Option<Self> {
        let flags = i32::from_str_radix(field(text, "flags")?, 8).ok()?;
        Some(Self {
            inode: field(text, "ino"),
            close_on_exec: flags & libc::O_CLOEXEC != 0,
            waits: field(text, "tfd").is_some(),
        })
    }
}

impl Callers {
    /// Takes a copy of a thread's descriptor. That it is the one who called has yet to be seen: it is, if
    /// its call still waits.
    pub(super) fn take(&mut self, thread: u32, number: i32) -> Option<OwnedFd> {
        let mut known = None;
        if let Some(place) = self.0.iter().position(|it| it.thread == thread) {
            let caller = self.0.remove(place);
            known = socket::take(caller.pidfd.as_fd(), number).ok().map(|taken| (caller, taken));
        }
        let (caller, taken) = if let Some(known) = known {
            known
        } else {
            let caller = Caller::new(thread).ok()?;
            let taken = socket::take(caller.pidfd.as_fd(), number).ok()?;
            (caller, taken)
        };
        if self.0.len() >= MOST_CALLERS {
            self.0.remove(0);
        }
        self.0.push(caller);
        Some(taken)
    }

    /// Who a descriptor was taken from last.
    pub(super) fn last(&mut self) -> Option<&mut Caller> {
        self.0.last_mut()
    }

    /// Gets to know who has called last, if it has called before: what is asked of it next is quicker then.
    pub(super) fn learn(&mut self) {
        let Some((last, others)) = self.0.split_last_mut() else { return };
        let of_others: usize = others.iter().map(|caller| caller.known.len()).sum();
        let make_room = |others: &mut [Caller], more: usize| {
            for other in others.iter_mut().filter(|_| of_others + more > MOST_KNOWN) {
                other.known.clear();
            }
        };
        make_room(others, last.known.len());
        if last.known.len() > MOST_KNOWN {
            last.known.clear(); // who has had its sockets under so many numbers
        }
        if last.calls < 2 || !last.has_more {
            return;
        }
        last.has_more = false;
        let Ok(numbers) = last.numbers(0) else { return };
        make_room(others, numbers.len().max(last.known.len()));
        for number in numbers {
            if last.known.len() < MOST_KNOWN && !last.known.contains_key(&number) {
                let told = Told::open(&format!("{}/fdinfo/{number}", last.thread));
                last.known.extend(told.ok().map(|told| (number, told)));
            }
        }
    }
}

impl Caller {
    fn new(thread: u32) -> Result<Self, Errno> {
        let pidfd = socket::name_thread(thread)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptors = rustix::fs::openat(CWD, format!("{thread}/fd"), flags, Mode::empty())?;
        let status = status(thread).ok_or(Errno::SRCH)?;
        let number = |name| field(&status, name).and_then(|text| text.parse::<u32>().ok());
        let leader = number("Tgid").filter(|leader| *leader != thread);
        // A kernel without CONFIG_PROC_CHILDREN has none to see.
        let children = [Some(thread), leader].into_iter().flatten();
        let children = children
            .filter_map(|maker| Told::open(&format!("{thread}/task/{maker}/children")).ok())
            .collect();
        let parent = number("PPid").unwrap_or(0);
        Ok(Self {
            ours: Own::of_this_process(),
            thread,
            pidfd,
            descriptors,
            parent,
            children,
            known: BTreeMap::new(),
            calls: 0,
            has_more: false,
        })
    }

    /// Who else has a socket of which this thread has the descriptor `number` and `own` is our copy.
    pub(super) fn held(&mut self, number: u32, own: BorrowedFd<'_>) -> Result<Held, Errno> {
        // Since 6.2 it tells how many there are.
        let count = rustix::fs::fstat(&self.descriptors)?.st_size;
        let count = usize::try_from(count).unwrap_or(0);
        if count > MOST {
            return Ok(Held::Shared);
        }
        if !self.known.contains_key(&number) {
            self.known.insert(number, Told::open(&format!("{}/fdinfo/{number}", self.thread))?);
        }
        self.calls = self.calls.saturating_add(1);
        let (mut itself, mut room) = (Vec::new(), Vec::new());
        let itself = Facts::read(self.known[&number].piece(&mut itself)?).ok_or(Errno::INVAL)?;
        let (mut watches, mut seen) = (Vec::new(), 1);
        for (&other, told) in self.known.iter().filter(|(other, _)| **other != number) {
            let facts = match told.piece(&mut room) {
                Err(Errno::NOENT) => continue,
                text => Facts::read(text?).ok_or(Errno::INVAL)?,
            };
            seen += 1;
            // Files of other file systems may have the same number.
            let may_share = facts.inode == itself.inode;
            if (may_share || facts.waits) && !self.is_other(other, number, own, &mut watches)? {
                return Ok(Held::Shared);
            }
        }
        if seen < count || count == 0 {
            self.has_more = true;
            if !self.others_are_other(count - seen.min(count), number, own, &mut watches)? {
                return Ok(Held::Shared);
            }
        }
        if self.is_held_by_kin(number, own) {
            return Ok(Held::Shared);
        }
        let watches: Result<_, _> = watches
            .into_iter()
            .map(|epoll| Watch::read(self.thread, self.pidfd.as_fd(), epoll, number, own))
            .collect();
        Ok(Held::Alone { watches: watches?, close_on_exec: itself.close_on_exec })
    }

    /// Whether none of the `missing` descriptors that are not known is the same socket. They have the
    /// lowest numbers most often; 0: that is not known either.
    fn others_are_other(
        &self,
        missing: usize,
        number: u32,
        own: BorrowedFd<'_>,
        watches: &mut Vec<u32>,
    ) -> Result<bool, Errno> {
        let (mut seen, mut tried) = (0, 0);
        while seen < missing && tried < MOST_TRIED {
            if !self.known.contains_key(&tried) {
                match self.look(tried, number, own)? {
                    Seen::Shares => return Ok(false),
                    Seen::Waits => watches.push(tried),
                    Seen::Other => {}
                    Seen::Nothing => {
                        tried += 1;
                        continue;
                    }
                }
                seen += 1;
            }
            tried += 1;
        }
        if seen < missing || missing == 0 {
            let rest = self.numbers(tried)?;
            if rest.len() > MOST {
                return Ok(false);
            }
            for other in rest {
                if !self.known.contains_key(&other)
                    && !self.is_other(other, number, own, watches)?
                {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Whether a descriptor is not the same socket; if it waits for that it is put down.
    fn is_other(
        &self,
        other: u32,
        number: u32,
        own: BorrowedFd<'_>,
        watches: &mut Vec<u32>,
    ) -> Result<bool, Errno> {
        match self.look(other, number, own)? {
            Seen::Shares => return Ok(false),
            Seen::Waits => watches.push(other),
            Seen::Other | Seen::Nothing => {}
        }
        Ok(true)
    }

    fn look(&self, other: u32, number: u32, own: BorrowedFd<'_>) -> Result<Seen, Errno> {
        if other == number {
            return Ok(Seen::Other);
        }
        match self.ours.is_same(self.thread, other, own) {
            Ok(true) => return Ok(Seen::Shares),
            Ok(false) => {}
            Err(Errno::BADF) => return Ok(Seen::Nothing),
            Err(errno) => return Err(errno),
        }
        match self.ours.is_awaited(self.thread, other, number, own) {
            Ok(true) => Ok(Seen::Waits),
            Ok(false) | Err(Errno::INVAL) => Ok(Seen::Other),
            Err(Errno::BADF) => Ok(Seen::Nothing),
            Err(errno) => Err(errno),
        }
    }

    /// The numbers of its descriptors, from one on.
    fn numbers(&self, from: u32) -> Result<Vec<u32>, Errno> {
        rustix::fs::seek(&self.descriptors, rustix::fs::SeekFrom::Start(0))?;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut entries = RawDir::new(&self.descriptors, &mut buffer);
        let mut found = Vec::new();
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let number = entry.file_name().to_str().ok().and_then(|name| name.parse::<u32>().ok());
            found.extend(number.filter(|number| *number >= from));
            if found.len() > MOST {
                break;
            }
        }
        Ok(found)
    }

    /// Whether its parent has the same by that number, or a child.
    fn is_held_by_kin(&mut self, number: u32, own: BorrowedFd<'_>) -> bool {
        if self.parent != 0 {
            match self.ours.is_same(self.parent, number, own) {
                Ok(true) => return true,
                // Who brought the container up: it has none of its sockets, nor is it looked at.
                Err(Errno::PERM) => self.parent = 0,
                Ok(false) | Err(_) => {}
            }
        }
        let has = |process: u32| self.ours.is_same(process, number, own) == Ok(true);
        let mut room = Vec::new();
        self.children.iter().any(|told| {
            let text = told.piece(&mut room).unwrap_or_default();
            let children = text.split(|byte| *byte == b' ').take(MOST_CHILDREN);
            let number = |word: &[u8]| std::str::from_utf8(word).ok()?.parse().ok();
            children.filter_map(number).any(has)
        })
    }
}

/// What a descriptor is to a socket.
enum Seen {
    Shares,
    Waits,
    Other,
    Nothing,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_a_descriptor_is_read() {
        let socket = b"pos:\t0\nflags:\t02000002\nmnt_id:\t11\nino:\t2041\n";
        let facts = Facts { inode: Some("2041"), close_on_exec: true, waits: false };
        assert_eq!(Facts::read(socket), Some(facts));
        let epoll =
            b"pos:\t0\nflags:\t02\nino:\t7\ntfd:        7 events: 1b data: 7  pos:0 ino:30\n";
        let facts = Facts { inode: Some("7"), close_on_exec: false, waits: true };
        assert_eq!(Facts::read(epoll), Some(facts));
        assert_eq!(Facts::read(b"pos:\t0\n"), None);
    }
}
