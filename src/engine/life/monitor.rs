//! A monitor's own life: forked, set apart, launching, serving, and gone with its container.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::health::Checks;
use super::server::{Program, Server};
use super::{Tell, socket};
use crate::cgroup::InForce;
use crate::container::{Directory, Keeper, Log, OnUnhealthy, Record, Restart, State};
use crate::engine::limits::Limited;
use crate::engine::run::{Launched, Manner, Prepared, RunRequest, exit_code};
use crate::engine::{Engine, Error};
use crate::runtime::{Attachment, Exit, Signals};
use crate::sys;
use crate::sys::fork::Side;

/// The file with its pid, in the container's directory: for systemd, which wants to know.
pub(super) const PID_FILE: &str = "monitor.pid";

/// What a monitor is charged with.
#[derive(Debug)]
pub(super) struct Charge<'a> {
    pub(super) request: &'a RunRequest,
    pub(super) prepared: Prepared,
    pub(super) directory: &'a Directory,
    /// The record, where the container is there already.
    pub(super) known: Option<&'a Record>,
    /// Who is attached from the first byte, and wants stdout and stderr or not.
    pub(super) first: Option<(OwnedFd, (bool, bool))>,
    /// Whether its input ends with that of who is attached.
    pub(super) stdin_once: bool,
}

impl Engine {
    /// Forks a monitor, and waits until it has started the container or told why it could not.
    pub(super) fn entrust(&self, charge: Charge<'_>, tell: Tell<'_>) -> Result<(), Error> {
        let failed = |why: String| Error::Child { what: "start the monitor".to_owned(), why };
        let flags = rustix::pipe::PipeFlags::CLOEXEC;
        let (reader, writer) =
            rustix::pipe::pipe_with(flags).map_err(|errno| failed(errno.to_string()))?;
        // Until it has its own session the caller's terminal may hang up on it.
        let _held = Signals::hold()?;
        let go_between = match sys::fork::fork().map_err(|error| failed(error.to_string()))? {
            Side::Parent(child) => child,
            Side::Child => {
                // No leader of its session, so that no terminal that it opens becomes its own.
                let _ = rustix::process::setsid();
                match sys::fork::fork() {
                    Ok(Side::Child) => {
                        drop(reader);
                        self.be_monitor(charge, writer, tell)
                    }
                    Ok(Side::Parent(_)) => sys::fork::exit(0),
                    Err(_) => sys::fork::exit(1),
                }
            }
        };
        drop((writer, charge));
        let gone = go_between.wait().map_err(|errno| failed(errno.to_string()))?;
        let mut said = [0];
        match std::fs::File::from(reader).read(&mut said) {
            Ok(1) if said[0] == 0 => Ok(()),
            Ok(1) => Err(Error::Reported { code: said[0] }),
            _ if gone != 0 => Err(failed("no process could be made".to_owned())),
            _ => Err(failed("it was killed".to_owned())),
        }
    }

    fn be_monitor(&self, charge: Charge<'_>, report: OwnedFd, tell: Tell<'_>) -> ! {
        sys::process::close_inherited();
        sys::process::block_signals();
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
        let Charge { request, prepared, directory, known, first, stdin_once } = charge;
        let started = self.begin(request, prepared, directory, known, stdin_once);
        let (mut server, program, record, limited) = match started {
            Ok(started) => started,
            Err(error) => {
                match known.map(|known| &known.state) {
                    None => self.discard(directory),
                    // It stays what it was, and whoever waits is told.
                    Some(state @ State::Created) => {
                        let _ = directory.edit(|record| {
                            record.state = state.clone();
                            (record.keeper, record.in_force) = (None, InForce::default());
                        });
                        let _ = directory.tell_exit(tell_code(&error));
                    }
                    Some(_) => drop(directory.end(tell_code(&error), false)),
                }
                let code = tell(&error);
                let _ = rustix::io::write(&report, &[code.max(1)]);
                sys::fork::exit(code)
            }
        };
        if let Some((socket, wants)) = first {
            server.adopt(socket, wants);
        }
        let _ = rustix::io::write(&report, &[0]);
        drop(report);
        let limited = Some(limited);
        let mut monitor = Monitor {
            engine: self,
            request,
            directory,
            server,
            record,
            limited,
            pause: None,
            again: false,
        };
        let settled = settle(&monitor.record.id).map_err(poll_failed);
        let served = settled.and_then(|()| monitor.serve(program));
        sys::fork::exit(u8::from(served.is_err()))
    }

    /// The first start: its frame is large, and gone when the monitor waits.
    #[inline(never)]
    fn begin(
        &self,
        request: &RunRequest,
        prepared: Prepared,
        directory: &Directory,
        known: Option<&Record>,
        stdin_once: bool,
    ) -> Result<(Server, Program, Record, Limited), Error> {
        directory.forget_stop()?;
        let name = known.map_or(directory.name.as_str(), |record| &record.name);
        let subject = prepared.subject(request, &directory.id, name);
        let log = Log::open(&request.log, &directory.path, &subject);
        let log = log.map_err(|source| Error::Log { source })?;
        let listener = socket::listen(&directory.path).map_err(|errno| Error::Io {
            action: "listen in",
            path: directory.path.clone(),
            source: errno.into(),
        })?;
        if known.is_none() {
            directory.keep(&self.creation(request, &prepared))?;
        }
        super::unit::write_pid(&directory.path, PID_FILE)?;
        let signals = Signals::hold()?;
        let attachment = Attachment { kept: true, ..Attachment::default() };
        let manner = Manner { attachment, known, monitor: true };
        let launched = self.launch(request, prepared, directory, manner)?;
        let Launched { running, record, limited, .. } = launched;
        let program = Program::new(running.keep(), request.timeout);
        Ok((Server::new(log, signals, listener, stdin_once), program, record, limited))
    }
}

/// Lets go of all that belongs to the command: streams, directory, memory.
fn settle(id: &str) -> Result<(), Errno> {
    drop(crate::sys::process::leave_streams()?);
    rustix::process::chdir(c"/")?;
    call_itself(&format!("coracle:{}", id.get(..7).unwrap_or(id)));
    Ok(())
}

/// 15 bytes at most (prctl(2), `PR_SET_NAME`).
fn call_itself(name: &str) {
    if let Ok(name) = std::ffi::CString::new(name) {
        let _ = rustix::thread::set_name(&name);
    }
}

/// The exit code of a start that failed, as `run` would have it.
fn tell_code(error: &Error) -> u8 {
    use crate::runtime::Error as Launch;
    match error {
        Error::Runtime(error) | Error::Foreign { error, .. } => match error {
            Launch::CommandNotFound { .. } => 127,
            Launch::CommandNotExecutable { .. }
            | Launch::WorkingDirectory { errno: Errno::ACCESS, .. } => 126,
            _ => 125,
        },
        _ => 125,
    }
}

struct Monitor<'a> {
    engine: &'a Engine,
    request: &'a RunRequest,
    directory: &'a Directory,
    server: Server,
    record: Record,
    /// The limits of the run.
    limited: Option<Limited>,
    /// How long it has waited before the last restart.
    pause: Option<Duration>,
    /// Whether it is to be started again whatever its policy says.
    again: bool,
}

impl Monitor<'_> {
    /// Serves run after run.
    fn serve(&mut self, first: Program) -> Result<(), Error> {
        let mut next = Some(first);
        while let Some(mut program) = next.take() {
            let code = self.attend(&mut program)?;
            let ran = program.started.elapsed();
            drop(program);
            let oom = self.limited.take().and_then(Limited::end).is_some();
            next = if self.wants_restart(code) {
                self.restart(code, oom, ran)?
            } else {
                self.finish(code, oom)?;
                None
            };
        }
        // The lock goes with this process: others wait for it, and not for who reads slowly.
        self.directory.let_go();
        while self.server.is_owing() {
            self.server.turn(None, None, None).map_err(poll_failed)?;
        }
        Ok(())
    }

    /// One run, to its end.
    fn attend(&mut self, program: &mut Program) -> Result<u8, Error> {
        let mut checks = Checks::new(self.record.config.health.as_ref(), self.directory)?;
        let mut stopping = false;
        loop {
            let until = [program.deadline, checks.next()].into_iter().flatten().min();
            let turn =
                self.server.turn(Some(program), checks.running(), until).map_err(poll_failed)?;
            if turn.ended {
                break;
            }
            let now = Instant::now();
            if turn.terminated && !stopping {
                stopping = true;
                self.stop(program);
            }
            if program.deadline.is_some_and(|deadline| deadline <= now) {
                program.deadline = None;
                program.kept.forward(libc::SIGKILL);
            }
            checks.go_on(turn.other_ended, now, self.engine, &self.record, self.directory)?;
            if checks.take_unhealthy() && !stopping {
                stopping = self.act_on_unhealthy(program);
            }
        }
        let exit = program.kept.reap()?;
        let exit = match (exit, program.taken) {
            (Exit::Signal(libc::SIGKILL), Some(signal)) => Exit::Signal(signal),
            _ => exit,
        };
        self.server.drain(program);
        checks.end();
        Ok(exit_code(self.directory.stop_signal(), exit))
    }

    /// Does what was asked for with a container that is not well; whether it is being stopped.
    fn act_on_unhealthy(&mut self, program: &mut Program) -> bool {
        match self.record.config.on_unhealthy {
            OnUnhealthy::None => return false,
            OnUnhealthy::Kill => {
                program.kept.forward(libc::SIGKILL);
                return false;
            }
            OnUnhealthy::Stop => self.stop(program),
            OnUnhealthy::Restart => {
                self.again = true;
                self.ask(program);
            }
        }
        true
    }

    /// As `stop` does it: for whoever ends the monitor, a machine that goes down.
    fn stop(&self, program: &mut Program) {
        let _ = self.engine.containers.ask_to_stop(&self.record, None);
        self.ask(program);
    }

    /// Sends the stop signal, and has it killed when its time is over.
    fn ask(&self, program: &mut Program) {
        let signal = self.record.config.stop_signal;
        program.taken = program.kept.forward(signal).or(program.taken);
        let grace = self.record.config.grace();
        program.deadline = grace.and_then(|grace| Instant::now().checked_add(grace));
    }

    fn wants_restart(&mut self, code: u8) -> bool {
        if self.directory.is_to_stop() {
            return false;
        }
        // `update` may have changed it.
        if let Ok(Some(now)) = self.engine.containers.reread(&self.record) {
            self.record = now;
        }
        let again = std::mem::take(&mut self.again);
        again || self.record.config.restart.wants(code, self.record.restarts)
    }

    fn finish(&mut self, code: u8, oom: bool) -> Result<(), Error> {
        let told = self.engine.ended(&self.record, code, oom, self.request.remove);
        self.record = self.directory.end(code, oom)?;
        if self.request.remove {
            let path = self.engine.containers.detach_own(self.directory)?;
            // One that could not be removed is left to `volume prune`: who is attached must be told.
            let _ = self.engine.remove_anonymous(&self.record);
            self.engine.remove_tree(&path)?;
            if self.request.remove_image {
                // The same: `image prune` finds it.
                let _ = self.engine.remove_image_of(&self.record);
            }
        }
        self.engine.emit(&told);
        self.server.tell_end(code);
        Ok(())
    }

    /// Waits as long as it is due, and starts the container again.
    fn restart(&mut self, code: u8, oom: bool, ran: Duration) -> Result<Option<Program>, Error> {
        let told = self.engine.ended(&self.record, code, oom, false);
        let pause = Restart::pause(self.pause, ran);
        self.pause = Some(pause);
        self.record = self.directory.edit(|record| {
            if let State::Running { started, .. } = &record.state {
                let (started, finished) = (started.clone(), crate::engine::run::now());
                record.state = State::Restarting { code, started, finished };
            }
            record.restarts += 1;
        })?;
        self.engine.emit(&told);
        self.directory.tell_exit(code)?;
        self.server.tell_end(code);
        let until = Instant::now() + pause;
        loop {
            let turn = self.server.turn(None, None, Some(until)).map_err(poll_failed)?;
            if turn.terminated || self.directory.is_to_stop() {
                self.finish(code, false)?;
                return Ok(None);
            }
            if Instant::now() >= until {
                break;
            }
        }
        call_itself("coracle");
        let launched = self.launch_again();
        match launched {
            Ok(launched) => {
                self.record = launched.record;
                self.limited = Some(launched.limited);
                let program = Program::new(launched.running.keep(), self.request.timeout);
                call_itself(&format!("coracle:{}", &self.record.id[..7]));
                Ok(Some(program))
            }
            Err(error) => {
                self.server.log.take(
                    crate::container::Stream::Stderr,
                    format!("coracle: cannot start again: {error}\n").as_bytes(),
                );
                self.finish(tell_code(&error), false)?;
                Ok(None)
            }
        }
    }

    fn launch_again(&self) -> Result<Launched, Error> {
        let prepared = self.engine.prepare_again(self.request, &self.record, self.directory)?;
        let attachment = Attachment { kept: true, ..Attachment::default() };
        let manner = Manner { attachment, known: Some(&self.record), monitor: true };
        self.engine.launch(self.request, prepared, self.directory, manner)
    }
}

fn poll_failed(errno: Errno) -> Error {
    Error::Child { what: "wait for the container".to_owned(), why: errno.to_string() }
}

/// Written down where a container's keeper is its monitor.
pub(super) fn monitor_of(record: &Record) -> Option<&Keeper> {
    record.keeper.as_ref().filter(|keeper| keeper.monitor)
}
