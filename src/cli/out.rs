//! stdout: results only.

use std::fmt::Display;
use std::io::{BufWriter, IsTerminal, Stdout, Write};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, getpid, kill_process};

use super::Error;
use super::report::escape;

/// stdout, written in large pieces.
#[derive(Debug)]
pub struct Out {
    writer: BufWriter<Stdout>,
    terminal: bool,
}

impl Out {
    /// The process's stdout.
    pub fn new() -> Self {
        let stdout = std::io::stdout();
        let terminal = stdout.is_terminal();
        Self { writer: BufWriter::new(stdout), terminal }
    }

    /// A line; what would move a terminal's cursor is escaped where there is one.
    pub fn line(&mut self, text: impl Display) -> Result<(), Error> {
        self.text(format_args!("{text}\n"))
    }

    /// A text without an end of line of its own.
    pub fn text(&mut self, text: impl Display) -> Result<(), Error> {
        let text = text.to_string();
        let shown = if self.terminal { escape(&text) } else { text.as_str().into() };
        self.bytes(shown.as_bytes())
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.writer.write_all(bytes).map_err(Error::Output)
    }

    /// Writes out what is held back: before a fork, and at the end.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.writer.flush().map_err(Error::Output)
    }

    /// The same before a wait for more. Who read may have gone (`logs -f | head -1`), and there is nothing
    /// to be written that would tell: it ends then as it would by writing.
    pub fn idle(&mut self) -> Result<(), Error> {
        self.flush()?;
        let stdout = rustix::stdio::stdout();
        let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
        let looked = poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        if looked.is_ok() && polled[0].revents().contains(PollFlags::ERR) {
            let _ = kill_process(getpid(), Signal::PIPE);
        }
        Ok(())
    }
}

impl Default for Out {
    fn default() -> Self {
        Self::new()
    }
}
