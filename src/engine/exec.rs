//! Another program in a container that runs.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::events::Event;
use super::run::profile;
use super::share::Held;
use super::{Engine, Error};
use crate::bundle::capabilities::{Capabilities, CapabilitySet};
use crate::bundle::{Process, SeccompChoice, User};
use crate::cgroup::Group;
use crate::container::Record;
use crate::mount::RootMount;
use crate::network::Switch;
use crate::owners::Owners;
use crate::runtime::{
    self, Attachment, Attendance, DetachKeys, Exit, HookState, Join, Parting, Signals, Unattended,
};
use crate::userns;

/// What `exec` was asked for.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // each is a flag of its own on the command line
pub struct ExecRequest {
    /// The container, by name or ID.
    pub container: String,
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// `--env` and `--env-file`: added to the container's own.
    pub env: Vec<(OsString, OsString)>,
    /// `--user`: the container's own where nothing is said.
    pub user: Option<String>,
    /// `--workdir`
    pub workdir: Option<PathBuf>,
    /// `--interactive`
    pub interactive: bool,
    /// `--tty`
    pub tty: bool,
    /// `--detach`: nobody waits for it.
    pub detach: bool,
    /// `--privileged`
    pub privileged: bool,
    /// `--detach-keys`
    pub detach_keys: DetachKeys,
    /// `--preserve-fds`: so many descriptors from 3 up.
    pub preserved: u32,
}

/// How an exec ended.
#[derive(Debug)]
pub enum Execution {
    /// With this exit code.
    Ended(u8),
    /// It runs on: `--detach`.
    Started,
    /// It runs on: the keys were typed, or it began so. Somebody has to keep its terminal.
    Left(Unattended),
}

impl Engine {
    /// Runs another program in a running container: in its namespaces, under its filter and with
    /// its capabilities.
    pub fn exec(&self, request: &ExecRequest) -> Result<Execution, Error> {
        self.exec_until(request, None)
    }

    /// The same for a program that is killed when it takes longer than `patience`: its exit code, or
    /// none then.
    pub(super) fn exec_for(
        &self,
        request: &ExecRequest,
        patience: Duration,
    ) -> Result<Option<u8>, Error> {
        let deadline = Instant::now() + patience;
        let ended = match self.exec_until(request, Some(deadline))? {
            Execution::Ended(code) => Some(code),
            Execution::Started | Execution::Left(_) => None,
        };
        Ok(ended.filter(|_| Instant::now() < deadline))
    }

    fn exec_until(
        &self,
        request: &ExecRequest,
        deadline: Option<Instant>,
    ) -> Result<Execution, Error> {
        let held = self.hold(&request.container)?;
        let process = process(request, &held)?;
        let mut ids = userns::maps_of(held.pid)?;
        ids.emulated = held.record.config.emulated;
        let root = ids.emulated.then(|| self.root_of(&held.record));
        let seccomp = match request.privileged {
            true => SeccompChoice::Unconfined,
            false => held.record.config.seccomp.clone(),
        };
        let profile = profile(&seccomp)?;
        let switch = Switch::of(&held.record.links);
        let state = HookState { id: held.record.id.clone(), ..HookState::default() };
        let signals = Signals::hold()?;
        if held.record.in_force.group.as_ref().is_some_and(Group::is_frozen) {
            return Err(Error::Paused { name: held.record.name });
        }
        let join = Join {
            target: held.pid,
            pidfd: &held.pidfd,
            process: &process,
            ids: &ids,
            seccomp: &seccomp,
            profile: profile.as_ref(),
            // As docker does it: the program does not end with the command that started it.
            attachment: Attachment {
                detached: true,
                silent: request.detach,
                preserved: request.preserved,
                ..Attachment::default()
            },
            root: root.as_ref(),
            switch: switch.as_ref(),
            group: held.record.in_force.group.as_ref(),
            state: &state,
        };
        let starting = held.record.in_force.on_its_processors(|| runtime::join(&join))??;
        let running = starting.finish()?;
        let told = deadline.is_none().then(|| Told::of(&held.record, request));
        if let Some(told) = &told {
            self.emit(&[told.event("exec_create"), told.event("exec_start")]);
        }
        match (request.detach, request.tty) {
            (true, true) => return Ok(Execution::Left(Unattended::of(running))),
            (true, false) => return Ok(Execution::Started),
            (false, _) => {}
        }
        // Ctrl-C at a terminal reaches the program as a byte; without one it is to be passed on.
        let attendance =
            Attendance { leaves: request.tty, detach_keys: request.detach_keys.clone(), deadline };
        Ok(match runtime::supervise(running, &signals, &attendance, None, &mut || ())? {
            Parting::Ended(exit) => {
                if let Some(told) = &told {
                    self.emit(&[told.died(exit.code())]);
                }
                Execution::Ended(exit.code())
            }
            Parting::Detached(unattended) => Execution::Left(unattended),
            Parting::Left(signal) => Execution::Ended(Exit::Signal(signal).code()),
        })
    }
}

impl Engine {
    /// Where a container's root was made of, as far as it is still known: beside it lie the records
    /// of owners.
    fn root_of(&self, record: &Record) -> RootMount {
        let image = self.store.resolve(&record.image_id.to_string());
        let layers = image.and_then(|image| self.store.layers(&image, Owners::Recorded));
        let directory = self.containers.directory(record);
        RootMount::Overlay {
            lowers: layers.unwrap_or_default().into_iter().rev().collect(),
            data: None,
            upper: directory.join("upper"),
            work: directory.join("work"),
        }
    }
}

/// What is told of an exec. Of health checks nothing is: they would bury all the rest.
struct Told<'a> {
    record: &'a Record,
    id: String,
    command: String,
}

impl<'a> Told<'a> {
    fn of(record: &'a Record, request: &ExecRequest) -> Self {
        let words = request.command.iter().map(|word| word.to_string_lossy());
        let command = words.collect::<Vec<_>>().join(" ");
        let id = crate::container::new_id().unwrap_or_default();
        Self { record, id, command }
    }

    fn event(&self, word: &str) -> Event {
        let action = format!("{word}: {}", self.command);
        Event::of_container(action, self.record).with("execID", &self.id)
    }

    fn died(&self, code: u8) -> Event {
        let died = Event::of_container("exec_die", self.record).with("execID", &self.id);
        died.with("exitCode", code.to_string())
    }
}

/// The container's own process with what the request says in its place.
fn process(request: &ExecRequest, held: &Held) -> Result<Process, Error> {
    let mut process = held.record.config.process.clone();
    process.args.clone_from(&request.command);
    process.terminal = request.tty;
    process.interactive = request.interactive && !request.detach;
    let bounding = match request.privileged {
        true => CapabilitySet::ALL,
        false => process.capabilities.bounding,
    };
    if let Some(text) = &request.user {
        let read = |name: &str| read_inside(held, name);
        process.user = User::resolve(text, &read("etc/passwd")?, &read("etc/group")?)?;
        set_variable(&mut process.env, "HOME", process.user.home.as_os_str());
    }
    if request.user.is_some() || request.privileged {
        process.capabilities = Capabilities::of_user(bounding, process.user.uid);
    }
    if request.privileged {
        process.capabilities = Capabilities::of_user(bounding, 0);
    }
    if request.tty {
        set_variable(&mut process.env, "TERM", "xterm".as_ref());
    }
    for (name, value) in &request.env {
        set_variable(&mut process.env, name, value);
    }
    if let Some(directory) = &request.workdir {
        process.cwd.clone_from(directory);
    }
    Ok(process)
}

fn set_variable(
    env: &mut Vec<OsString>,
    name: impl AsRef<std::ffi::OsStr>,
    value: &std::ffi::OsStr,
) {
    use std::os::unix::ffi::OsStrExt;
    let mut line = name.as_ref().to_owned();
    line.push("=");
    let prefix = line.clone();
    line.push(value);
    match env.iter_mut().find(|known| known.as_bytes().starts_with(prefix.as_bytes())) {
        Some(known) => *known = line,
        None => env.push(line),
    }
}

/// A file of the running container, as it is now; empty where there is none.
fn read_inside(held: &Held, name: &str) -> Result<Vec<u8>, Error> {
    use std::io::Read;
    let path = PathBuf::from(format!("/proc/{}/root", held.pid.as_raw_nonzero()));
    let failed = |errno: rustix::io::Errno| Error::Io {
        action: "look into the container",
        path: path.clone(),
        source: errno.into(),
    };
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    let none = rustix::fs::Mode::empty();
    let root = rustix::fs::open(&path, flags, none).map_err(failed)?;
    let flags = rustix::fs::OFlags::RDONLY
        | rustix::fs::OFlags::NONBLOCK
        | rustix::fs::OFlags::NOCTTY
        | rustix::fs::OFlags::CLOEXEC;
    // The container's links count from its own root.
    let beneath = rustix::fs::ResolveFlags::IN_ROOT | rustix::fs::ResolveFlags::NO_MAGICLINKS;
    let file = match rustix::fs::openat2(&root, name, flags, none, beneath) {
        Err(rustix::io::Errno::NOENT) => return Ok(Vec::new()),
        other => std::fs::File::from(other.map_err(failed)?),
    };
    let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
    let mut bytes = Vec::new();
    if is_file {
        let read = file.take(super::run::USERS_LIMIT).read_to_end(&mut bytes);
        read.map_err(|source| Error::Io {
            action: "read in the container",
            path: PathBuf::from("/").join(name),
            source,
        })?;
    }
    Ok(bytes)
}
