//! Waiting for a container's end, by whoever has nothing to do with it.
//!
//! A container that is removed when it ends leaves no record to read its status from. So who waits
//! makes a file, `containers/ID/exit`, and holds it open; who stays with the container writes the
//! status there if the file is there. Nobody waits for who waits.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::directory::remove_file;
use super::error::Tried;
use super::{Config, Containers, Directory, Error, Record, State, Status};

/// Where who waits is told.
pub(super) const EXIT: &str = "exit";
/// The status of a container whose end nobody wrote down.
const LOST: u8 = 128 + 9;

impl Directory {
    /// Writes the end of a run down, and tells all who wait. In this order: who was told finds the
    /// record true.
    pub fn end(&self, code: u8, oom: bool) -> Result<Record, Error> {
        let by_user = self.is_to_stop();
        let record = self.edit(|record| {
            if let State::Running { started, .. } | State::Restarting { started, .. } =
                &record.state
            {
                let (started, finished) = (started.clone(), jiff::Timestamp::now().to_string());
                record.state = State::Stopped { code, started, finished, oom, by_user };
            }
            record.in_force = crate::cgroup::InForce::default();
        })?;
        self.tell_exit(code)?;
        Ok(record)
    }

    /// Tells all who wait how the container ended.
    pub fn tell_exit(&self, code: u8) -> Result<(), Error> {
        tell_exit(&self.path, code)
    }
}

/// Tells all who wait how the container ended whose directory this is, or was before it was moved away.
pub fn tell_exit(directory: &Path, code: u8) -> Result<(), Error> {
    let path = directory.join(EXIT);
    match OpenOptions::new().write(true).open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::Io { action: "open", path, source }),
        Ok(file) => {
            file.write_all_at(&[b'=', code], 0).tried("write", &path)?;
            remove_file(&path)
        }
    }
}

impl Containers {
    /// Writes the end of a run down that nobody lived to write down; the record before it. `None` where
    /// there is no such run any more, or somebody else is at work on it.
    pub fn end_lost(&self, id: &str) -> Result<Option<Record>, Error> {
        let Some(record) = self.read::<Config>(id)? else { return Ok(None) };
        let Some(directory) = self.take(&record)? else { return Ok(None) };
        // Whoever held it until now may have done it.
        let Some(record) = self.read::<Config>(id)?.filter(Record::is_lost) else {
            return Ok(None);
        };
        if let Some(group) = &record.in_force.group {
            let _ = group.remove(); // gone with a reboot
        }
        let code = match record.status() {
            Status::Stopped(code) => code,
            _ => LOST,
        };
        directory.end(code, false)?;
        Ok(Some(record))
    }
}

/// Someone who waits for the end of a container's present run.
#[derive(Debug)]
pub struct Waiter<'a> {
    containers: &'a Containers,
    record: Record,
    file: File,
}

impl Containers {
    /// Begins to wait for a container that runs.
    pub fn waiter(&self, record: &Record) -> Result<Waiter<'_>, Error> {
        let path = self.directory(record).join(EXIT);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).mode(0o600).open(&path);
        match file {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(Error::NoSuchContainer { query: record.name.clone() })
            }
            other => {
                let file = other.tried("make", Path::new(&path))?;
                Ok(Waiter { containers: self, record: record.clone(), file })
            }
        }
    }
}

impl Waiter<'_> {
    /// The status with which the run ended; `None` when it has not by `deadline`.
    pub fn wait(&self, deadline: Option<Instant>) -> Result<Option<u8>, Error> {
        loop {
            let record = self.containers.reread(&self.record)?;
            // Read after the record: it is written before that is removed.
            if let Some(code) = self.told()? {
                return Ok(Some(code));
            }
            let Some(record) = record else {
                // Moved away by who stays with it, and is about to tell: the file goes after that.
                let is_there = self.file.metadata().is_ok_and(|file| file.nlink() > 0);
                if is_there && self.record.is_kept() {
                    if sleep(Duration::from_millis(1), deadline) {
                        continue;
                    }
                    return Ok(None);
                }
                return match self.told()? {
                    None => Err(Error::NoSuchContainer { query: self.record.name.clone() }),
                    told => Ok(told),
                };
            };
            match (record.status(), &record.state) {
                (Status::Created | Status::Restarting(_), _) => return Ok(Some(record.code())),
                (Status::Stopped(code), State::Stopped { .. } | State::Restarting { .. }) => {
                    return Ok(Some(code));
                }
                // It has ended, and who stays with it is about to write that down.
                (Status::Stopped(_), _) if record.is_kept() => {
                    if !sleep(Duration::from_millis(1), deadline) {
                        return Ok(None);
                    }
                }
                (Status::Stopped(_), _) => return Ok(Some(self.told()?.unwrap_or(LOST))),
                (Status::Running | Status::Paused, _) => {
                    if self.is_another_run(&record) {
                        return Ok(Some(LOST));
                    }
                    if !self.wait_for_process(&record, deadline)? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn told(&self) -> Result<Option<u8>, Error> {
        let mut bytes = [0; 2];
        let path = || self.containers.directory(&self.record).join(EXIT);
        let length = self.file.read_at(&mut bytes, 0).tried("read", path())?;
        Ok((length == 2).then_some(bytes[1]))
    }

    /// Whether it has been started anew since: the file was told nothing of a lost end.
    fn is_another_run(&self, now: &Record) -> bool {
        match (&self.record.state, &now.state) {
            (State::Running { process: one, .. }, State::Running { process: other, .. }) => {
                one != other
            }
            _ => false,
        }
    }

    /// Whether the first process ended in time.
    fn wait_for_process(&self, record: &Record, deadline: Option<Instant>) -> Result<bool, Error> {
        let State::Running { process, .. } = &record.state else { return Ok(true) };
        let Some(pidfd) = process.hold() else { return Ok(true) };
        loop {
            let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            let mut polled = [PollFd::new(&pidfd, PollFlags::IN)];
            match rustix::event::poll(&mut polled, timeout.as_ref()) {
                Err(Errno::INTR) => {}
                Ok(0) => return Ok(false),
                other => {
                    return other
                        .map(|_| true)
                        .tried("wait for", self.containers.directory(record));
                }
            }
        }
    }
}

/// Sleeps unless the deadline has come.
fn sleep(time: Duration, deadline: Option<Instant>) -> bool {
    let in_time = deadline.is_none_or(|deadline| Instant::now() < deadline);
    if in_time {
        std::thread::sleep(time);
    }
    in_time
}
