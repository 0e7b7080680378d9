//! `logs`: what a container wrote, and what it goes on to write.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::inotify;

use crate::container::{Entry, LogDriver, Reader, Record, State};
use crate::engine::{Engine, Error};

/// What `logs` was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogRequest {
    /// `--follow`
    pub follow: bool,
    /// `--tail`: the last lines alone.
    pub tail: Option<u64>,
    /// `--since`
    pub since: Option<Timestamp>,
    /// `--until`
    pub until: Option<Timestamp>,
}

/// A container's lines, one after the other.
#[derive(Debug)]
pub struct Logs<'a> {
    engine: &'a Engine,
    record: Record,
    request: LogRequest,
    reader: Reader,
    directory: PathBuf,
    /// Whether the container has ended, and what is there is all.
    last: bool,
}

impl Engine {
    /// Opens a container's log.
    pub fn logs(&self, query: &str, request: LogRequest) -> Result<Logs<'_>, Error> {
        let record = self.container_named(query)?;
        if record.config.log.driver != LogDriver::JsonFile {
            return Err(Error::NoLog { driver: record.config.log.driver });
        }
        let directory = self.containers.directory(&record);
        let reader = Reader::open(&directory, &record.id, request.tail)
            .map_err(|source| unreadable(&directory, source))?;
        Ok(Logs { engine: self, record, request, reader, directory, last: false })
    }
}

fn unreadable(directory: &std::path::Path, source: std::io::Error) -> Error {
    Error::Io { action: "read the log in", path: directory.to_owned(), source }
}

impl Logs<'_> {
    /// Whether the container has a terminal: then its lines have their own ends.
    pub fn has_terminal(&self) -> bool {
        self.record.config.process.terminal
    }

    /// The next line; `None` at the end, which with `follow` is the container's. `idle` is called
    /// before it waits.
    pub fn next<E: From<Error>>(
        &mut self,
        mut idle: impl FnMut() -> Result<(), E>,
    ) -> Result<Option<Entry>, E> {
        loop {
            let entry =
                self.reader.entry().map_err(|source| unreadable(&self.directory, source))?;
            if let Some(entry) = entry {
                let time = entry.time.parse::<Timestamp>().ok();
                if self.request.until.is_some_and(|until| time.is_some_and(|time| time > until)) {
                    return Ok(None);
                }
                if self.request.since.is_some_and(|since| time.is_some_and(|time| time < since)) {
                    continue;
                }
                return Ok(Some(entry));
            }
            if !self.request.follow || self.last {
                return Ok(None);
            }
            idle()?;
            self.wait()?;
        }
    }

    /// Waits until there may be more.
    fn wait(&mut self) -> Result<(), Error> {
        let failed = |errno: rustix::io::Errno| unreadable(&self.directory, errno.into());
        // Watched before it is looked at once more: nothing is missed between the two.
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC).map_err(failed)?;
        let kinds = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO;
        match inotify::add_watch(&watch, &self.directory, kinds) {
            // It was removed when it ended.
            Err(rustix::io::Errno::NOENT) => {
                self.last = true;
                return Ok(());
            }
            other => drop(other.map_err(failed)?),
        }
        let now = self.engine.containers.reread(&self.record)?;
        // One whose process has ended may still have its last words written down.
        let runs = now.as_ref().is_some_and(|now| match &now.state {
            State::Running { .. } | State::Restarting { .. } => {
                now.is_kept() || now.status().is_up()
            }
            State::Created | State::Stopped { .. } => false,
        });
        let late = self.request.until.is_some_and(|until| Timestamp::now() > until);
        if !runs || late {
            self.last = true;
            return Ok(());
        }
        // A container's end changes its record; the clock is for ends that nobody wrote down.
        let process = now.and_then(|now| match &now.state {
            State::Running { process, .. } => process.hold(),
            _ => None,
        });
        let mut polled = vec![PollFd::new(&watch, PollFlags::IN)];
        polled.extend(process.as_ref().map(|process| PollFd::new(process, PollFlags::IN)));
        if self.reader.may_have_more() {
            return Ok(());
        }
        let patience = Timespec::try_from(Duration::from_secs(1)).ok();
        match rustix::event::poll(&mut polled, patience.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
        if polled.get(1).is_some_and(|process| !process.revents().is_empty()) {
            // What it wrote last, and its end, are about to be written down.
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}
