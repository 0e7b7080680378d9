//! The caller's terminal: raw while a container has it, as it was on every way out.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios};

/// The caller's terminal in raw mode; dropping this restores it.
#[derive(Debug)]
pub(super) struct Raw<'a> {
    terminal: BorrowedFd<'a>,
    before: Termios,
}

impl<'a> Raw<'a> {
    /// Puts `terminal` in raw mode; `None` where it is no terminal.
    pub(super) fn enter(terminal: BorrowedFd<'a>) -> Result<Option<Self>, Errno> {
        if !rustix::termios::isatty(terminal) {
            return Ok(None);
        }
        let before = rustix::termios::tcgetattr(terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(terminal, OptionalActions::Now, &raw)?;
        Ok(Some(Self { terminal, before }))
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        // A terminal that was hung up cannot be restored and need not be.
        let _ = rustix::termios::tcsetattr(self.terminal, OptionalActions::Drain, &self.before);
    }
}

/// Gives the container's terminal the size of the caller's.
pub(super) fn copy_size(from: impl AsFd, to: impl AsFd) {
    // A caller whose size is unknown leaves the container's as it is.
    if let Ok(size) = rustix::termios::tcgetwinsize(from) {
        let _ = rustix::termios::tcsetwinsize(to, size);
    }
}
