//! Who calls, and who else has its socket: as the kernel tells it of descriptors (kcmp(2)) and /proc of
//! processes.
//!
//! What is asked again at each call is kept open for the next. A thread's number may be another's by then,
//! its pidfd is not: it is opened first and asked first, so that whatever was opened after it is of the
//! same thread, as long as a descriptor can be taken by it.

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
    /// What is told of the descriptor that was asked about last.
    told: Option<(u32, Told)>,
}

/// Who has a socket beside its caller, as far as can be seen.
#[derive(Debug)]
pub(super) enum Held {
    /// Another descriptor, of this process, of its parent or a child.
    Shared,
    /// Nobody; these wait for it.
    Alone(Vec<Watch>),
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
            told: None,
        })
    }

    /// Whether its descriptor is closed by an exec.
    pub(super) fn closes_on_exec(&mut self, number: u32) -> Option<bool> {
        let told = match self.told.take() {
            Some((of, told)) if of == number => told,
            _ => Told::open(&format!("{}/fdinfo/{number}", self.thread)).ok()?,
        };
        let mut room = Vec::new();
        let flags = field(told.piece(&mut room).ok()?, "flags")?;
        let flags = i32::from_str_radix(flags, 8).ok()?;
        self.told = Some((number, told));
        Some(flags & libc::O_CLOEXEC != 0)
    }

    /// Who else has a socket of which this thread has the descriptor `number` and `own` is our copy.
    pub(super) fn held(&self, number: u32, own: BorrowedFd<'_>) -> Result<Held, Errno> {
        // Since 6.2 it tells how many there are, which have the lowest numbers most often.
        let count = rustix::fs::fstat(&self.descriptors)?.st_size;
        let count = usize::try_from(count).unwrap_or(0);
        if count > MOST {
            return Ok(Held::Shared);
        }
        let (mut watches, mut seen, mut tried) = (Vec::new(), 0, 0);
        while seen < count && tried < MOST_TRIED {
            match self.look(tried, number, own)? {
                Seen::Shares => return Ok(Held::Shared),
                Seen::Waits => watches.push(tried),
                Seen::Other => {}
                Seen::Nothing => {
                    tried += 1;
                    continue;
                }
            }
            (tried, seen) = (tried + 1, seen + 1);
        }
        if seen < count || count == 0 {
            let rest = self.numbers(tried)?;
            if rest.len() > MOST {
                return Ok(Held::Shared);
            }
            for other in rest {
                match self.look(other, number, own)? {
                    Seen::Shares => return Ok(Held::Shared),
                    Seen::Waits => watches.push(other),
                    Seen::Other | Seen::Nothing => {}
                }
            }
        }
        if self.is_held_by_kin(number, own) {
            return Ok(Held::Shared);
        }
        let watches: Result<_, _> = watches
            .into_iter()
            .map(|epoll| Watch::read(self.thread, self.pidfd.as_fd(), epoll, number, own))
            .collect();
        watches.map(Held::Alone)
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
    fn is_held_by_kin(&self, number: u32, own: BorrowedFd<'_>) -> bool {
        let has = |process: u32| self.ours.is_same(process, number, own) == Ok(true);
        let mut room = Vec::new();
        self.parent != 0 && has(self.parent)
            || self.children.iter().any(|told| {
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
