//! Bytes between the caller's stdio and the container's pipes or terminal.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::detach::DetachKeys;

/// One direction: what is read from `from` is written to `to`.
#[derive(Debug)]
pub(super) struct Flow<'a> {
    from: Option<End<'a>>,
    to: Option<End<'a>>,
    buffer: Vec<u8>,
    /// What of `buffer` waits to be written.
    waiting: std::ops::Range<usize>,
    /// Keys that end it, where it carries what is typed.
    keys: DetachKeys,
    detached: bool,
    /// Which of the container's streams it carries, if any.
    source: Option<Source>,
}

/// A stream of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// stdout, or the terminal.
    Stdout,
    /// stderr
    Stderr,
}

/// Who is shown what a container writes, on its way to the caller.
pub trait Tap: std::fmt::Debug {
    /// Takes what was written.
    fn take(&mut self, source: Source, bytes: &[u8]);
}

/// A descriptor of ours, closed when its flow ends, or one of the caller's.
#[derive(Debug)]
pub(super) enum End<'a> {
    Owned(OwnedFd),
    Borrowed(BorrowedFd<'a>),
}

impl AsFd for End<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Owned(descriptor) => descriptor.as_fd(),
            Self::Borrowed(descriptor) => descriptor.as_fd(),
        }
    }
}

const BUFFER: usize = 64 << 10;

impl<'a> Flow<'a> {
    /// A flow that has yet to carry a byte.
    pub(super) fn new(from: End<'a>, to: End<'a>) -> Self {
        Self {
            from: Some(from),
            to: Some(to),
            buffer: vec![0; BUFFER],
            waiting: 0..0,
            keys: DetachKeys::default(),
            detached: false,
            source: None,
        }
    }

    /// Says what it carries.
    pub(super) fn of(mut self, source: Source) -> Self {
        self.source = Some(source);
        self
    }

    /// Watches for keys that leave the container's terminal.
    pub(super) fn watch(&mut self, keys: &DetachKeys) {
        self.keys = keys.clone();
    }

    /// Whether these keys were typed.
    pub(super) fn is_detached(&self) -> bool {
        self.detached
    }

    /// Whether nothing more can come.
    pub(super) fn is_over(&self) -> bool {
        self.to.is_none() || (self.from.is_none() && self.waiting.is_empty())
    }

    /// What to poll for: room for what waits, or more to read.
    pub(super) fn interest(&self) -> Option<PollFd<'_>> {
        if self.is_over() {
            return None;
        }
        match (&self.from, &self.to) {
            (_, Some(to)) if !self.waiting.is_empty() => {
                Some(PollFd::from_borrowed_fd(to.as_fd(), PollFlags::OUT))
            }
            (Some(from), Some(_)) => Some(PollFd::from_borrowed_fd(from.as_fd(), PollFlags::IN)),
            _ => None,
        }
    }

    /// Carries what can be carried now; `poll` has said that it will not block.
    ///
    /// An end of input closes the other side, so that a container reading stdin sees it. A side
    /// that went away ends the flow.
    pub(super) fn carry(&mut self, tap: Option<&mut (dyn Tap + '_)>) {
        if self.waiting.is_empty() {
            self.fill(tap);
        } else {
            self.empty();
        }
        if self.from.is_none() && self.waiting.is_empty() {
            self.to = None;
        }
    }

    fn fill(&mut self, tap: Option<&mut (dyn Tap + '_)>) {
        let Some(from) = &self.from else { return };
        match rustix::io::read(from.as_fd(), &mut self.buffer) {
            Ok(0) => self.from = None,
            Ok(length) => {
                if let (Some(tap), Some(source)) = (tap, self.source) {
                    tap.take(source, &self.buffer[..length]);
                }
                self.waiting = 0..self.without_keys(length);
                // Most often there is room at once; if not, poll will tell when.
                self.empty_if_ready();
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            // EIO is how a terminal says that its last writer has gone.
            Err(_) => self.from = None,
        }
    }

    /// What of the first `length` bytes of the buffer is left when the keys are taken out.
    fn without_keys(&mut self, length: usize) -> usize {
        if self.keys.is_empty() {
            return length;
        }
        let mut passed = Vec::with_capacity(length);
        self.detached |= self.keys.filter(&self.buffer[..length], &mut passed);
        // What was held back before may make it longer than what was read.
        if passed.len() > self.buffer.len() {
            self.buffer.resize(passed.len(), 0);
        }
        self.buffer[..passed.len()].copy_from_slice(&passed);
        passed.len()
    }

    fn empty_if_ready(&mut self) {
        let Some(to) = &self.to else { return };
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut room = [PollFd::new(to, PollFlags::OUT)];
        if rustix::event::poll(&mut room, Some(&now)) == Ok(1) {
            self.empty();
        }
    }

    fn empty(&mut self) {
        let Some(to) = &self.to else { return };
        // At most what a pipe takes at once without blocking (pipe(7), PIPE_BUF).
        let end = self.waiting.end.min(self.waiting.start + 4096);
        match rustix::io::write(to.as_fd(), &self.buffer[self.waiting.start..end]) {
            Ok(written) => self.waiting.start += written,
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => {
                self.waiting = 0..0;
                self.to = None;
            }
        }
    }

    /// Carries the rest, once the container is gone and only what it left is to be read.
    pub(super) fn drain(mut self, mut tap: Option<&mut (dyn Tap + '_)>) {
        while !self.is_over() {
            let Some(interest) = self.interest() else { return };
            let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
            let wait = if self.waiting.is_empty() { Some(&now) } else { None };
            match rustix::event::poll(&mut [interest], wait) {
                Ok(1..) => self.carry(tap.as_deref_mut().map(|tap| tap as &mut dyn Tap)),
                Err(Errno::INTR) => {}
                _ => return,
            }
        }
    }

    /// The side that is written to, if it is still there.
    pub(super) fn to(&self) -> Option<BorrowedFd<'_>> {
        self.to.as_ref().map(AsFd::as_fd)
    }
}
