//! `start`, `attach`, and what a container is started from again.

use std::time::Duration;

use super::monitor::{Charge, monitor_of};
use super::{Tell, socket};
use crate::container::{self, Creation, Directory, Record, Restart, State, Status};
use crate::engine::containers::waiting_for_others;
use crate::engine::events::Event;
use crate::engine::ground::Base;
use crate::engine::mounts::Occasion;
use crate::engine::pull::Policy;
use crate::engine::run::{Clock, Prepared, Preserved, RunRequest, Streams};
use crate::engine::{Engine, Error, HealthRequest, Options};
use crate::runtime::{self, Attached, DetachKeys, Exit, Leaving, Signals};
use crate::snapshot::Driver;

/// How someone is attached to a container.
#[derive(Clone, Debug)]
pub struct Attend {
    /// Whether what is typed goes to it, where it takes input.
    pub stdin: bool,
    /// Whether signals go to it.
    pub sig_proxy: bool,
    /// The keys that leave it.
    pub detach_keys: DetachKeys,
}

/// What became of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It runs.
    Started,
    /// It ran already.
    Running,
    /// It was attended to its end, or left, with this exit code.
    Ended(u8),
}

impl Engine {
    /// Starts a container that does not run.
    pub fn start(
        &self,
        query: &str,
        attend: Option<&Attend>,
        tell: Tell<'_>,
    ) -> Result<Begun, Error> {
        let Some((record, directory)) = self.take_stopped(query)? else {
            return match attend {
                None => Ok(Begun::Running),
                Some(attend) => self.attach(query, attend).map(Begun::Ended),
            };
        };
        let creation = self.containers.creation(&record)?;
        self.start_required(&creation.requires, tell)?;
        let engine = self.as_made(&record, &creation)?;
        let request = request(&record, &creation);
        let prepared = engine.prepare_again(&request, &record, &directory)?;
        if record.restarts > 0 {
            directory.edit(|record| record.restarts = 0)?;
        }
        let record = Record { restarts: 0, ..record };
        let stdin_once = creation.stdin_once;
        let charge = Charge {
            request: &request,
            prepared,
            directory: &directory,
            known: Some(&record),
            first: None,
            stdin_once,
        };
        let Some(attend) = attend else {
            engine.entrust(charge, tell)?;
            return Ok(Begun::Started);
        };
        let signals = Signals::hold()?;
        let (ours, theirs) = socket::pair().map_err(runtime::Error::Pipe)?;
        engine.entrust(Charge { first: Some((theirs, (true, true))), ..charge }, tell)?;
        // The lock is the monitor's from here on.
        drop(directory);
        let ending =
            self.attend(&record, || runtime::attend(&ours, &signals, &attended(&request, attend)))?;
        Ok(Begun::Ended(self.code_of(ending, query)))
    }

    /// Starts the containers that another one requires, those that they require first.
    pub(in crate::engine) fn start_required(
        &self,
        required: &[String],
        tell: Tell<'_>,
    ) -> Result<(), Error> {
        for query in required {
            // One that runs, or that is being started by who requires it in its turn, is not waited
            // for: that ends a circle.
            let record = self.container_named(query)?;
            let free = !record.status().is_up() && self.containers.take(&record)?.is_some();
            if free {
                self.start(&record.id, None, tell)?;
            }
        }
        Ok(())
    }

    /// Stops a container, as `stop` does, and starts it again.
    pub fn restart(
        &self,
        query: &str,
        grace_s: Option<i64>,
        signal: Option<i32>,
        tell: Tell<'_>,
    ) -> Result<(), Error> {
        let record = self.stop(query, grace_s, signal)?;
        self.start(&record.id, None, tell)?;
        self.emit(&[Event::of_container("restart", &record)]);
        Ok(())
    }

    /// The IDs of the containers that do not run and that their policies want to.
    pub fn wanted(&self) -> Result<Vec<String>, Error> {
        let wanted = |(record, status): &(Record, Status)| {
            let stopped = matches!(record.state, State::Stopped { by_user: true, .. });
            matches!(status, Status::Stopped(_))
                && match record.config.restart {
                    Restart::Always => true,
                    Restart::UnlessStopped => !stopped,
                    Restart::No | Restart::OnFailure { .. } => false,
                }
        };
        let containers = self.containers()?;
        Ok(containers.into_iter().filter(wanted).map(|(record, _)| record.id).collect())
    }

    /// Attaches to a container that runs, until it ends or is left; the exit code.
    pub fn attach(&self, query: &str, attend: &Attend) -> Result<u8, Error> {
        let record = self.container_named(query)?;
        if !record.status().is_up() {
            return Err(Error::CannotAttach);
        }
        let creation = self.containers.creation(&record)?;
        if monitor_of(&record).is_none() {
            return Err(Error::InForeground { name: record.name });
        }
        let signals = Signals::hold()?;
        let directory = self.containers.directory(&record);
        let socket = socket::connect(&directory).map_err(|errno| Error::Io {
            action: "attach to the container in",
            path: directory,
            source: errno.into(),
        })?;
        let request = request(&record, &creation);
        let ending = self
            .attend(&record, || runtime::attend(&socket, &signals, &attended(&request, attend)))?;
        Ok(self.code_of(ending, &record.id))
    }

    /// Tells that someone is attached, and where it has left, that too.
    fn attend(
        &self,
        record: &Record,
        attend: impl FnOnce() -> Result<Leaving, runtime::Error>,
    ) -> Result<Leaving, Error> {
        self.emit(&[Event::of_container("attach", record)]);
        let ending = attend()?;
        if matches!(ending, Leaving::Detached | Leaving::Signalled(_)) {
            self.emit(&[Event::of_container("detach", record)]);
        }
        Ok(ending)
    }

    fn code_of(&self, ending: Leaving, query: &str) -> u8 {
        match ending {
            Leaving::Ended(code) => code,
            Leaving::Detached => 0,
            Leaving::Signalled(signal) => Exit::Signal(signal).code(),
            // What is known of it now that its monitor is gone.
            Leaving::Lost => match self.container_named(query) {
                Ok(record) => record.code(),
                Err(_) => 128 + 9,
            },
        }
    }

    /// Holds a container that does not run; `None` when it does.
    pub(in crate::engine) fn take_stopped(
        &self,
        query: &str,
    ) -> Result<Option<(Record, Directory)>, Error> {
        waiting_for_others(|| {
            let record = self.container_named(query)?;
            if record.status().is_up() {
                return Ok(None);
            }
            let busy = || container::Error::Busy { name: record.name.clone() };
            let directory = self.containers.take(&record)?.ok_or_else(busy)?;
            // Whoever held it until now may have changed all that.
            match self.containers.reread(&record)? {
                Some(now) if now.remove && matches!(now.status(), Status::Stopped(_)) => {
                    // What killed it could not remove it.
                    drop(directory);
                    self.sweep_containers();
                    Err(container::Error::NoSuchContainer { query: query.to_owned() }.into())
                }
                Some(now) => Ok(Some((now, directory))),
                None => Err(busy().into()),
            }
        })
    }

    /// An engine with the ids and the driver that a container was made with. What is written by
    /// overlay and fuse looks the same, so that one can be asked for in place of the other.
    pub(in crate::engine) fn as_made(
        &self,
        record: &Record,
        creation: &Creation,
    ) -> Result<Self, Error> {
        let made: Option<Driver> = record.config.driver.parse().ok();
        let driver = match (self.options.driver, made) {
            (Some(asked), Some(made)) if asked.has_upper() && made.has_upper() => Some(asked),
            (asked, made) => made.or(asked),
        };
        let userns = creation.userns.parse().unwrap_or_else(|_| self.options.userns.clone());
        Self::open(Options { driver, userns, ..self.options.clone() })
    }

    /// The same for a container that keeps nothing to be started from again: while it runs, its ids
    /// tell.
    pub(in crate::engine) fn as_it_runs(&self, record: &Record) -> Result<Self, Error> {
        let userns = match &record.state {
            _ if record.config.emulated => crate::userns::Request::Single,
            State::Running { process, .. } if process.is_running() => {
                let pid = rustix::process::Pid::from_raw(process.pid);
                let maps = pid.map(crate::userns::maps_of).transpose()?;
                let own = || self.options.userns.clone();
                maps.as_ref().map_or_else(own, crate::userns::request_for)
            }
            _ => self.options.userns.clone(),
        };
        Self::open(Options { userns, ..self.options.clone() })
    }

    /// Decides anew what a container is to be, from the image that it was made from.
    pub(in crate::engine) fn prepare_again(
        &self,
        request: &RunRequest,
        record: &Record,
        directory: &Directory,
    ) -> Result<Prepared, Error> {
        let hold = self.store.hold()?;
        let image = match &request.rootfs {
            // By its ID, as its name may be another's now.
            None => self.store.resolve(&record.image_id.to_string())?,
            Some(_) => crate::engine::rootfs::no_image(),
        };
        let (id, path) = (&directory.id, &directory.path);
        let base = Base { image, hold, clock: Clock::start() };
        let ground = self.ground(request, base, path)?;
        let mut prepared = self.specify(request, ground, id, path)?;
        self.make_volumes(&mut prepared, id, Occasion::Starting)?;
        Ok(prepared)
    }
}

/// What would make the same container again.
pub(in crate::engine) fn request(record: &Record, creation: &Creation) -> RunRequest {
    let config = &record.config;
    RunRequest {
        image: record.image.clone(),
        platform: None,
        policy: Policy::Never,
        verify: false, // it was, when it was created
        name: None,
        remove: record.remove,
        remove_image: record.remove_image,
        sig_proxy: true,
        timeout: creation.timeout_s.map(Duration::from_secs),
        cidfile: None,
        pid_file: creation.pid_file.clone(),
        keeper_pid_file: creation.keeper_pid_file.clone(),
        requires: creation.requires.clone(),
        rootfs: creation.rootfs.clone(),
        attach: Streams::ALL,
        preserved: Preserved::default(),
        detach: true,
        replace: false,
        detach_keys: DetachKeys::default(),
        restart: config.restart,
        log: config.log.clone(),
        health: HealthRequest::default(),
        stop_timeout_s: config.stop_timeout_s,
        container: creation.container.clone(),
    }
}

fn attended(request: &RunRequest, attend: &Attend) -> Attached {
    Attached {
        stdin: attend.stdin && request.container.interactive,
        stdout: true,
        stderr: true,
        tty: request.container.tty,
        sig_proxy: attend.sig_proxy && !request.container.tty,
        detach_keys: attend.detach_keys.clone(),
    }
}
