//! `exec`: another program in a container.

use std::path::PathBuf;

use rustix::io::Errno;

use super::super::limits;
use super::create::{check_groups, check_terminal, connect, profile, read_bundle, write_pid};
use super::{Error, Runtime, Status, Terminal};
use crate::bundle::{Process, check_variables};
use crate::runtime::{self, Attachment, Attendance, Exit, HookState, Join, Parting, Signals};
use crate::userns;

/// What `exec` is given.
#[derive(Clone, Debug)]
pub struct Exec {
    /// The container's ID.
    pub id: String,
    /// The program; `None` takes the container's own process with these changes.
    pub process: Process,
    /// `--console-socket`
    pub terminal: Terminal,
    /// `--pidfd-socket`
    pub pidfd_socket: Option<PathBuf>,
    /// `--ignore-paused`: it waits with the others of a paused container.
    pub ignore_paused: bool,
    /// `--pid-file`
    pub pid_file: Option<PathBuf>,
    /// `--detach`
    pub detach: bool,
    /// `--preserve-fds`
    pub preserve_fds: u32,
}

impl Runtime {
    /// The container's own process, to start from.
    pub fn process(&self, id: &str) -> Result<Process, Error> {
        let (state, _) = self.state(id)?;
        Ok(read_bundle(&state.bundle)?.spec.process)
    }

    /// Runs another program in a running container; its end, unless detached.
    pub fn exec(&self, exec: &Exec) -> Result<Option<Exit>, Error> {
        check_terminal(&exec.process, &exec.terminal, exec.detach)?;
        check_variables(&exec.process.env)?;
        let (state, status) = self.state(&exec.id)?;
        let paused = status == Status::Paused && exec.ignore_paused;
        let runs = matches!(status, Status::Created | Status::Running) || paused;
        let Some(held) = state.hold().filter(|_| runs) else {
            return Err(Error::Status { action: "exec in", id: exec.id.clone(), status });
        };
        let config = read_bundle(&state.bundle)?;
        let ids = userns::maps_of(held.pid)?;
        let profile = profile(&config.spec.seccomp)?;
        let console = match &exec.terminal {
            Terminal::Socket(path) if exec.process.terminal => Some(connect(path)?),
            Terminal::Socket(_) | Terminal::Caller => None,
        };
        let signals = Signals::hold()?;
        let told = HookState {
            id: exec.id.clone(),
            bundle: state.bundle.clone(),
            annotations: state.annotations.clone(),
        };
        let mut process = exec.process.clone();
        check_groups(&process, &ids)?;
        limits::limit(&mut process, &state.in_force);
        let join = Join {
            target: held.pid,
            pidfd: &held.pidfd,
            process: &process,
            ids: &ids,
            seccomp: &config.spec.seccomp,
            profile: profile.as_ref(),
            attachment: Attachment {
                detached: true,
                inherit: true,
                console: console.as_ref(),
                preserved: exec.preserve_fds,
                ..Attachment::default()
            },
            root: None,
            switch: None,
            group: state.in_force.group.as_ref(),
            state: &told,
        };
        let starting = match state.in_force.on_its_processors(|| runtime::join(&join))? {
            // What waits for its start lets nobody look into it (CVE-2016-9962).
            Err(runtime::Error::Join(Errno::ACCESS)) if status == Status::Created => {
                return Err(Error::NotStarted(exec.id.clone()));
            }
            other => other?,
        };
        let pid = starting.pid();
        let running = starting.finish()?;
        if let Some(path) = &exec.pidfd_socket {
            running.send_pidfd(&connect(path)?)?;
        }
        if let Some(path) = &exec.pid_file {
            write_pid(path, pid)?;
        }
        if exec.detach {
            return Ok(None);
        }
        let attendance = Attendance::default();
        Ok(Some(match runtime::supervise(running, &signals, &attendance, None, &mut || ())? {
            Parting::Ended(exit) => exit,
            Parting::Detached(_) => Exit::Code(0),
            Parting::Left(signal) => Exit::Signal(signal),
        }))
    }
}
