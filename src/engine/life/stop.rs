//! `stop`, `kill`, `rename`: what is done to a container from outside, whoever keeps it.

use std::time::{Duration, Instant};

use super::monitor::monitor_of;
use crate::container::{self, Name, Record, Status};
use crate::engine::events::Event;
use crate::engine::{Engine, Error};
use crate::{runtime, sys};

/// How long a killed container may take to be gone: a process that waits for a disk lasts.
const PATIENCE: Duration = Duration::from_secs(30);

impl Engine {
    /// Stops a container: its signal, and SIGKILL when `grace` seconds have passed (negative: never;
    /// the container's own where nothing is said). One that does not run is left as it is.
    pub fn stop(
        &self,
        query: &str,
        grace_s: Option<i64>,
        signal: Option<i32>,
    ) -> Result<Record, Error> {
        let record = self.container_named(query)?;
        let grace = match grace_s {
            // Negative is for ever.
            Some(seconds) => u64::try_from(seconds).ok().map(Duration::from_secs),
            None => record.config.grace(),
        };
        let signal = signal.unwrap_or(record.config.stop_signal);
        match record.status() {
            Status::Created | Status::Stopped(_) => return Ok(record),
            Status::Restarting(_) => self.stop_restarts(&record)?,
            Status::Running | Status::Paused => self.stop_running(&record, signal, grace)?,
        }
        self.emit(&[Event::of_container("stop", &record)]);
        Ok(record)
    }

    /// Until it stays ended: a policy may not have seen the word in time.
    fn stop_running(
        &self,
        record: &Record,
        signal: i32,
        grace: Option<Duration>,
    ) -> Result<(), Error> {
        let mut record = record.clone();
        loop {
            match self.end_run(&record, signal, grace) {
                // One that is removed when it ends is gone.
                Err(Error::Container(container::Error::NoSuchContainer { .. })) => return Ok(()),
                other => other?,
            }
            self.settle(&record)?;
            let is_up = |now: &Record| matches!(now.status(), Status::Running | Status::Paused);
            match self.containers.reread(&record)?.filter(is_up) {
                // A user that has started it meanwhile took the word back.
                Some(now) if self.containers.is_to_stop(&now) => record = now,
                _ => return Ok(()),
            }
        }
    }

    fn end_run(&self, record: &Record, signal: i32, grace: Option<Duration>) -> Result<(), Error> {
        let waiter = self.containers.waiter(record)?;
        // Before the signal: no policy may start it again.
        self.containers.ask_to_stop(record, None)?;
        let Some((pidfd, pid)) = record.hold() else {
            return ended(&waiter.wait(Some(Instant::now() + PATIENCE)), record);
        };
        // What is paused takes no signal, SIGKILL neither.
        if let Some(group) = record.in_force.group.as_ref().filter(|group| group.is_frozen()) {
            group.thaw()?;
        }
        let catches = !runtime::is_default(pid, signal);
        self.emit(&[killed(record, signal)]);
        if catches {
            let _ = sys::process::kill_held(&pidfd, signal);
            let deadline = grace.and_then(|grace| Instant::now().checked_add(grace));
            if matches!(waiter.wait(deadline), Ok(Some(_)) | Err(_)) {
                return Ok(());
            }
            self.emit(&[killed(record, libc::SIGKILL)]);
        } else if signal != libc::SIGKILL {
            // The kernel keeps it from a first process that does not catch it
            // (pid_namespaces(7)): there is nothing to wait for.
            self.containers.ask_to_stop(record, Some(signal))?;
        }
        let _ = sys::process::kill_held(&pidfd, libc::SIGKILL);
        ended(&waiter.wait(Some(Instant::now() + PATIENCE)), record)
    }

    /// Ends the monitor of a container that is between two runs.
    fn stop_restarts(&self, record: &Record) -> Result<(), Error> {
        self.containers.ask_to_stop(record, None)?;
        let monitor = monitor_of(record).and_then(|monitor| monitor.process.hold());
        if let Some(monitor) = monitor {
            let _ = sys::process::kill_held(&monitor, libc::SIGTERM);
        }
        self.settle(record)?;
        // It may have been started again just then.
        match self.containers.reread(record)? {
            Some(now) if matches!(now.status(), Status::Running | Status::Paused) => {
                self.stop_running(&now, now.config.stop_signal, Some(Duration::ZERO))
            }
            _ => Ok(()),
        }
    }

    /// Waits until nobody keeps a container whose last run has ended.
    fn settle(&self, record: &Record) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = Duration::from_micros(200);
        while Instant::now() < deadline {
            let Some(now) = self.containers.reread(record)? else { return Ok(()) };
            if matches!(now.status(), Status::Running | Status::Paused) {
                return Ok(()); // started again, by a user
            }
            match self.containers.take(&now) {
                Ok(Some(_)) | Err(container::Error::NoSuchContainer { .. }) => return Ok(()),
                Ok(None) => {}
                Err(error) => return Err(error.into()),
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        }
        Err(Error::StillThere { name: record.name.clone() })
    }

    /// Sends a signal to the first process of a running container.
    pub fn kill(&self, query: &str, signal: i32) -> Result<(), Error> {
        let record = self.container_named(query)?;
        let stopped = || Error::CannotKill { name: query.to_owned(), id: record.id.clone() };
        if !matches!(record.status(), Status::Running | Status::Paused) {
            return Err(stopped());
        }
        // As in docker: who ends it so does not want it again.
        let ending = signal == libc::SIGKILL || signal == record.config.stop_signal;
        let (pidfd, _) = record.hold().ok_or_else(stopped)?;
        if ending {
            self.containers.ask_to_stop(&record, None)?;
        }
        self.emit(&[killed(&record, signal)]);
        sys::process::kill_held(&pidfd, signal).map_err(|_| stopped())?;
        if signal == libc::SIGKILL {
            let waiter = self.containers.waiter(&record);
            if let Ok(waiter) = waiter {
                let _ = waiter.wait(Some(Instant::now() + PATIENCE));
            }
            self.settle(&record)?;
        }
        Ok(())
    }

    /// Gives a container another name.
    pub fn rename(&self, query: &str, name: &Name) -> Result<(), Error> {
        let record = self.container_named(query)?;
        if record.name == name.as_str() {
            return Err(Error::SameName);
        }
        self.containers.rename(&record, name)?;
        let renamed =
            Event::of_container("rename", &record).with("oldName", format!("/{}", record.name));
        self.emit(&[renamed.with("name", name.as_str())]);
        match self.containers.reread(&record)? {
            Some(record) if record.status().is_up() => self.tell_name(&record),
            _ => Ok(()),
        }
    }

    /// Ends whatever runs of a container, at once.
    pub(in crate::engine) fn end_now(&self, record: &Record) -> Result<(), Error> {
        match record.status() {
            Status::Created | Status::Stopped(_) => self.settle(record),
            Status::Restarting(_) => self.stop_restarts(record),
            Status::Running | Status::Paused => {
                self.stop_running(record, libc::SIGKILL, Some(Duration::ZERO))
            }
        }
    }
}

fn killed(record: &Record, signal: i32) -> Event {
    Event::of_container("kill", record).with("signal", signal.to_string())
}

fn ended(waited: &Result<Option<u8>, container::Error>, record: &Record) -> Result<(), Error> {
    match waited {
        Ok(None) => Err(Error::StillThere { name: record.name.clone() }),
        // One that is removed when it ends is gone.
        Ok(Some(_)) | Err(_) => Ok(()),
    }
}
