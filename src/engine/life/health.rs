//! Health checks: what is asked for, and the children in which a monitor has them made.

use std::ffi::OsString;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::container::{Check, Directory, Health, OnUnhealthy, Record};
use crate::engine::events::Event;
use crate::engine::{Engine, Error, ExecRequest, run::now};
use crate::oci::Healthcheck;
use crate::sys::fork::{self, Child};
use crate::{container, sys};

/// `--health-cmd` and its kin; what is not said is the image's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthRequest {
    /// `--health-cmd`: a command for the shell.
    pub command: Option<String>,
    /// `--no-healthcheck`
    pub none: bool,
    /// `--health-interval`
    pub interval: Option<Duration>,
    /// `--health-timeout`
    pub timeout: Option<Duration>,
    /// `--health-start-period`
    pub start_period: Option<Duration>,
    /// `--health-start-interval`
    pub start_interval: Option<Duration>,
    /// `--health-retries`
    pub retries: Option<u32>,
    /// `--health-on-failure`
    pub on_failure: OnUnhealthy,
}

/// A check that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--no-healthcheck conflicts with --health-* options")]
pub struct InvalidHealth;

impl HealthRequest {
    /// Refuses what makes no sense.
    pub fn check(&self) -> Result<(), InvalidHealth> {
        let alone = Self { none: true, ..Self::default() };
        if self.none && *self != alone { Err(InvalidHealth) } else { Ok(()) }
    }

    /// The image's check with what is asked for in its place; `None` where there is none.
    pub(in crate::engine) fn applied_to(&self, image: Option<Healthcheck>) -> Option<Healthcheck> {
        if self.none {
            return None;
        }
        let mut check = image.unwrap_or_default();
        match self.command.as_deref() {
            Some("none") => return None,
            Some(command) => check.test = vec!["CMD-SHELL".to_owned(), command.to_owned()],
            None => {}
        }
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        for (asked, field) in [
            (self.interval, &mut check.interval),
            (self.timeout, &mut check.timeout),
            (self.start_period, &mut check.start_period),
            (self.start_interval, &mut check.start_interval),
        ] {
            if let Some(time) = asked {
                *field = nanoseconds(time);
            }
        }
        if let Some(retries) = self.retries {
            check.retries = retries;
        }
        (!command(&check).is_empty()).then_some(check)
    }
}

/// The command of a check; empty where there is none.
fn command(check: &Healthcheck) -> Vec<OsString> {
    match check.test.split_first() {
        Some((kind, words)) if kind == "CMD" => words.iter().map(OsString::from).collect(),
        Some((kind, words)) if kind == "CMD-SHELL" && !words.is_empty() => {
            vec!["/bin/sh".into(), "-c".into(), words.join(" ").into()]
        }
        _ => Vec::new(),
    }
}

/// docker's defaults, where the value is 0.
fn time(nanoseconds: u64, default_s: u64) -> Duration {
    match nanoseconds {
        0 => Duration::from_secs(default_s),
        some => Duration::from_nanos(some),
    }
}

/// The checks of one run of a container.
#[derive(Debug)]
pub(super) struct Checks {
    check: Option<Healthcheck>,
    next: Option<Instant>,
    running: Option<Child>,
    began: Instant,
    /// Whether it was found not to be well, and nobody has been told yet.
    unhealthy: bool,
}

impl Checks {
    pub(super) fn new(check: Option<&Healthcheck>, directory: &Directory) -> Result<Self, Error> {
        let began = Instant::now();
        let mut checks =
            Self { check: check.cloned(), next: None, running: None, began, unhealthy: false };
        if let Some(check) = check {
            directory.write_health(&Health::default())?;
            checks.next = Some(began + checks.pause(check, true));
        }
        Ok(checks)
    }

    /// The time until the next check; while the container starts it may be a shorter one.
    fn pause(&self, check: &Healthcheck, starting: bool) -> Duration {
        let usual = time(check.interval, 30);
        let starting = starting && self.began.elapsed() < Duration::from_nanos(check.start_period);
        if starting { time(check.start_interval, 5).min(usual) } else { usual }
    }

    /// When there is something to do.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// The check that runs.
    pub(super) fn running(&self) -> Option<BorrowedFd<'_>> {
        self.running.as_ref().map(|child| child.pidfd.as_fd())
    }

    /// Begins or ends a check where that is due.
    pub(super) fn go_on(
        &mut self,
        ended: bool,
        now: Instant,
        engine: &Engine,
        record: &Record,
        directory: &Directory,
    ) -> Result<(), Error> {
        let Some(check) = self.check.clone() else { return Ok(()) };
        if ended && let Some(child) = self.running.take() {
            let _ = child.wait();
            let health = engine.containers.health(record)?.unwrap_or_default();
            let starting = health.status == container::HealthStatus::Starting;
            self.unhealthy |= health.status == container::HealthStatus::Unhealthy;
            self.next = Some(now + self.pause(&check, starting));
        }
        if self.running.is_none() && self.next.is_some_and(|next| next <= now) {
            self.next = None;
            let counts = self.began.elapsed() >= Duration::from_nanos(check.start_period);
            // In a child: what a check takes of memory goes with it.
            let child = fork::in_child(|| match engine.check(record, &check, counts, directory) {
                Ok(()) => 0,
                Err(_) => 1,
            });
            match child {
                Ok(child) => self.running = Some(child),
                Err(_) => self.next = Some(now + self.pause(&check, false)),
            }
        }
        Ok(())
    }

    /// Whether the container is not well; told once.
    pub(super) fn take_unhealthy(&mut self) -> bool {
        std::mem::take(&mut self.unhealthy)
    }

    /// The container has ended.
    pub(super) fn end(self) {
        if let Some(child) = self.running {
            let _ = sys::process::kill_held(&child.pidfd, libc::SIGKILL);
            let _ = child.wait();
        }
    }
}

impl Engine {
    /// What a container's health checks have found; `None` where none was ever made.
    pub fn health<C>(&self, record: &Record<C>) -> Result<Option<Health>, Error> {
        Ok(self.containers.health(record)?)
    }

    /// Makes a container's health check once, now; whether it is well by it.
    pub fn healthcheck(&self, query: &str) -> Result<bool, Error> {
        let record = self.hold(query)?.record;
        let Some(check) = record.config.health.clone() else {
            return Err(Error::NoHealthCheck { name: record.name });
        };
        let directory = self.containers.directory(&record);
        let made = self.make_check(&record, &check)?;
        let healthy = made.exit_code == 0;
        self.add_check(&record, &directory, &check, made, true)?;
        Ok(healthy)
    }

    fn check(
        &self,
        record: &Record,
        check: &Healthcheck,
        counts: bool,
        directory: &Directory,
    ) -> Result<(), Error> {
        let made = self.make_check(record, check)?;
        self.add_check(record, &directory.path, check, made, counts)
    }

    fn add_check(
        &self,
        record: &Record,
        directory: &Path,
        check: &Healthcheck,
        made: Check,
        counts: bool,
    ) -> Result<(), Error> {
        let changed = self.containers.add_check(directory, made, retries(check), counts)?;
        if let Some(status) = changed {
            let action = format!("health_status: {}", status.name());
            self.emit(&[Event::of_container(action, record)]);
        }
        Ok(())
    }

    fn make_check(&self, record: &Record, check: &Healthcheck) -> Result<Check, Error> {
        let failed = |errno: rustix::io::Errno| Error::Child {
            what: "make the health check".to_owned(),
            why: errno.to_string(),
        };
        let start = now();
        let flags = rustix::pipe::PipeFlags::CLOEXEC;
        let (reader, writer) = rustix::pipe::pipe_with(flags).map_err(failed)?;
        let request = ExecRequest {
            container: record.id.clone(),
            command: command(check),
            ..ExecRequest::default()
        };
        let patience = time(check.timeout, 30);
        let child = fork::in_child(|| {
            let quiet = || -> Result<(), rustix::io::Errno> {
                rustix::stdio::dup2_stdout(&writer)?;
                rustix::stdio::dup2_stderr(&writer)
            };
            match quiet().map(|()| self.exec_for(&request, patience)) {
                Ok(Ok(Some(code))) => code,
                Ok(Err(Error::Runtime(error))) => {
                    let _ = rustix::io::write(&writer, error.to_string().as_bytes());
                    255
                }
                Ok(Ok(None)) => 254, // it took too long
                _ => 253,
            }
        });
        let child = child.map_err(|error| failed(error.errno))?;
        drop(writer);
        let output = read_output(std::fs::File::from(reader), patience);
        let code = child.wait().map_err(failed)?;
        let (exit_code, output) = match code {
            254 => {
                let limit = patience.as_secs_f64();
                (-1, format!("Health check exceeded timeout ({limit}s)"))
            }
            253 | 255 => (-1, output),
            code => (i32::from(code), output),
        };
        Ok(Check { start, end: now(), exit_code, output })
    }
}

fn retries(check: &Healthcheck) -> u32 {
    if check.retries == 0 { 3 } else { check.retries }
}

/// What a check writes, 4096 bytes at most; a process that it leaves behind may hold the pipe, so
/// nobody waits for its end much longer than for the check's.
fn read_output(mut pipe: std::fs::File, patience: Duration) -> String {
    let deadline = Instant::now() + patience + Duration::from_secs(1);
    let mut output = Vec::new();
    let mut bytes = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(left) = rustix::event::Timespec::try_from(left) else { break };
        let mut polled = [rustix::event::PollFd::new(&pipe, rustix::event::PollFlags::IN)];
        match rustix::event::poll(&mut polled, Some(&left)) {
            Ok(1..) => {}
            Err(rustix::io::Errno::INTR) => continue,
            _ => break,
        }
        match pipe.read(&mut bytes) {
            Ok(length @ 1..) => {
                let room = 4096_usize.saturating_sub(output.len());
                output.extend_from_slice(&bytes[..length.min(room)]);
            }
            _ => break,
        }
    }
    String::from_utf8_lossy(&output).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Healthcheck {
        Healthcheck {
            test: vec!["CMD".into(), "true".into()],
            retries: 7,
            ..Healthcheck::default()
        }
    }

    #[test]
    fn flags_change_the_images_check() {
        let asked =
            HealthRequest { interval: Some(Duration::from_secs(1)), ..HealthRequest::default() };
        let check = asked.applied_to(Some(image())).expect("a check");
        assert_eq!((check.interval, check.retries), (1_000_000_000, 7));
        assert_eq!(command(&check), ["true"]);
        assert_eq!(asked.applied_to(None), None);
        let own = HealthRequest { command: Some("exit 1".into()), ..HealthRequest::default() };
        let check = own.applied_to(Some(image())).expect("a check");
        assert_eq!(command(&check), ["/bin/sh", "-c", "exit 1"]);
        let none = HealthRequest { none: true, ..HealthRequest::default() };
        assert_eq!(none.applied_to(Some(image())), None);
        let silent = Healthcheck { test: vec!["NONE".into()], ..image() };
        assert_eq!(HealthRequest::default().applied_to(Some(silent)), None);
    }
}
