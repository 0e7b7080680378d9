//! `create`, and `run` for containers that live on.

use super::monitor::Charge;
use super::{Tell, socket};
use crate::container::Directory;
use crate::engine::events::Event;
use crate::engine::record::record;
use crate::engine::run::{Found, Outcome, Prepared, RunRequest, Streams};
use crate::engine::{Engine, Error};
use crate::runtime::{self, Attached, Exit, Leaving, Signals};

impl Engine {
    /// Makes a container and does not start it; gives its ID.
    pub fn create(&self, request: &RunRequest, found: Found) -> Result<String, Error> {
        self.make(request, found, |prepared, directory| {
            Self::make_root(&prepared, directory)?;
            directory.keep(&self.creation(request, &prepared))?;
            let record = record(request, &prepared, directory);
            directory.write(&record)?;
            request.write_cidfile(&directory.id)?;
            self.emit(&[Event::of_container("create", &record)]);
            Ok(directory.id.clone())
        })
    }

    /// Runs a container in the care of a monitor: to its start, or, attached, to its end.
    pub(in crate::engine) fn run_alone(
        &self,
        request: &RunRequest,
        mut prepared: Prepared,
        directory: &Directory,
        tell: Tell<'_>,
    ) -> Result<Outcome, Error> {
        let clock = prepared.clock.take();
        let stdin_once = request.stdin_once();
        let charge = Charge { request, prepared, directory, known: None, first: None, stdin_once };
        let id = directory.id.clone();
        let done = |code| Outcome { id, code, out_of_memory: None, phases: clock.phases };
        if request.detach {
            self.entrust(charge, tell)?;
            return Ok(done(None));
        }
        let signals = Signals::hold()?;
        let (ours, theirs) = socket::pair().map_err(runtime::Error::Pipe)?;
        let Streams { stdin, stdout, stderr } = request.attach;
        let attached = Attached {
            stdin: stdin && request.container.interactive,
            stdout,
            stderr,
            tty: request.container.tty,
            // Who types has the terminal for that, as docker sees it.
            sig_proxy: request.sig_proxy && !request.container.tty,
            detach_keys: request.detach_keys.clone(),
        };
        self.entrust(Charge { first: Some((theirs, (stdout, stderr))), ..charge }, tell)?;
        match runtime::attend(&ours, &signals, &attached)? {
            Leaving::Ended(code) => Ok(done(Some(code))),
            Leaving::Detached => Ok(done(Some(0))),
            Leaving::Signalled(signal) => Ok(done(Some(Exit::Signal(signal).code()))),
            Leaving::Lost => Ok(done(Some(128 + 9))),
        }
    }
}
