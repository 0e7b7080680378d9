//! `create`, `start`, `run`, `kill`, `delete`.

use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::Signal;

use super::super::limits::{self, GroupName, Limited, Remark};
use super::super::processes::processes_of;
use super::error::Tried;
use super::state::Entry;
use super::{Error, Runtime, State, Status, groups};
use crate::bundle::{Config, Joined, Process, SeccompChoice, read_config};
use crate::cgroup::InForce;
use crate::container::Instance;
use crate::mount::RootMount;
use crate::runtime::seccomp::{Profile, Rules};
use crate::runtime::{
    self, Attachment, Attendance, Exit, HookState, Launch, Parting, Running, Signals,
};
use crate::sys;
use crate::userns::IdMaps;

/// Where a container's terminal goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Terminal {
    /// To the caller, who relays it.
    #[default]
    Caller,
    /// To who listens on this socket (`--console-socket`).
    Socket(PathBuf),
}

/// What `create` and `run` are given.
#[derive(Clone, Debug)]
pub struct Create {
    /// The ID.
    pub id: String,
    /// The bundle's directory, absolute.
    pub bundle: PathBuf,
    /// `--console-socket`
    pub terminal: Terminal,
    /// `--pidfd-socket`
    pub pidfd_socket: Option<PathBuf>,
    /// `--pid-file`
    pub pid_file: Option<PathBuf>,
    /// `--preserve-fds`
    pub preserve_fds: u32,
    /// `--no-pivot`: the root is moved over `/` where pivot_root(2) cannot work (initramfs).
    pub no_pivot: bool,
    /// Whether the container outlives the caller.
    pub detach: bool,
}

/// How a launch goes.
#[derive(Clone, Copy)]
struct Launching<'a> {
    /// Whether the program waits for `start`.
    waits: bool,
    /// Takes what is no failure.
    tell: Remark<'a>,
}

impl Create {
    /// What the bundle says, as far as that can be held against what is asked.
    fn config(&self) -> Result<Config, Error> {
        let config = read_bundle(&self.bundle)?;
        check_terminal(&config.spec.process, &self.terminal, self.detach)?;
        check_root(&config.spec.root)?;
        Ok(config)
    }
}

impl Runtime {
    /// Makes a container, up to its program, which waits for `start`.
    pub fn create(&self, create: &Create, tell: Remark<'_>) -> Result<(), Error> {
        let mut config = create.config()?;
        let entry = self.make(&create.id)?;
        let made = self.launch(create, &mut config, &entry, Launching { waits: true, tell });
        finish(entry, made.map(drop))
    }

    /// Makes a container, runs its program to its end, and deletes it.
    pub fn run(
        &self,
        create: &Create,
        keep: bool,
        tell: Remark<'_>,
    ) -> Result<Option<Exit>, Error> {
        let mut config = create.config()?;
        let entry = self.make(&create.id)?;
        let signals = Signals::hold()?;
        let running =
            match self.launch(create, &mut config, &entry, Launching { waits: false, tell }) {
                Ok(running) => running,
                Err(error) => return finish(entry, Err(error)),
            };
        let state = hook_state(&config, create);
        let pid = running.pid().as_raw_nonzero().get();
        let told =
            runtime::run_hooks(&config.spec.hooks.poststart, &state.json("running", Some(pid)));
        drop(entry);
        if let Err(error) = told {
            self.delete(&create.id, true, tell)?;
            return Err(error.into());
        }
        if create.detach {
            return Ok(None);
        }
        let attendance = Attendance::default();
        let exit = match runtime::supervise(running, &signals, &attendance, None, &mut || ())? {
            Parting::Ended(exit) => exit,
            Parting::Detached(_) => Exit::Code(0),
            Parting::Left(signal) => Exit::Signal(signal),
        };
        if !keep {
            self.delete(&create.id, true, tell)?;
        }
        Ok(Some(exit))
    }

    fn launch(
        &self,
        create: &Create,
        config: &mut Config,
        entry: &Entry,
        Launching { waits, tell }: Launching<'_>,
    ) -> Result<Running, Error> {
        if !config.unknown.is_empty() {
            tell(&unknown_capabilities(&config.unknown));
        }
        let ids = self.ids(config)?;
        self.map_ids(config, &ids)?;
        check_groups(&config.spec.process, &ids)?;
        let path = config.spec.cgroups_path.as_deref();
        let name = GroupName::of_bundle(&self.group_id(&create.id), path, self.systemd)
            .ok_or_else(|| {
                Error::CgroupsPath(config.spec.cgroups_path.clone().unwrap_or_default())
            })?;
        let profile = profile(&config.spec.seccomp)?;
        let state = hook_state(config, create);
        let mut written = State {
            id: create.id.clone(),
            bundle: create.bundle.clone(),
            rootfs: match &config.spec.root {
                RootMount::Directory(path) => path.clone(),
                RootMount::Overlay { upper, .. } | RootMount::Union { upper, .. } => upper.clone(),
            },
            process: None,
            created: super::super::run::now(),
            owner: rustix::process::getuid().as_raw(),
            annotations: config.spec.annotations.clone(),
            in_force: InForce::default(),
        };
        entry.write(&written)?;
        let planned = limits::plan(&config.spec, &ids, &name)?;
        let limited = Limited::prepare(planned, &mut config.spec, &ids, &name, tell)?;
        written.in_force = limited.in_force().clone();
        groups::show(config, written.in_force.group.as_ref(), tell);
        entry.write(&written)?;
        let gate = if waits { Some(listen(&entry.gate())?) } else { None };
        let console = match &create.terminal {
            Terminal::Socket(path) if config.spec.process.terminal => Some(connect(path)?),
            Terminal::Socket(_) | Terminal::Caller => None,
        };
        let launch = Launch {
            spec: &config.spec,
            ids: &ids,
            profile: profile.as_ref(),
            volatile: false,
            attachment: Attachment {
                detached: create.detach,
                inherit: true,
                console: console.as_ref(),
                preserved: create.preserve_fds,
                ..Attachment::default()
            },
            gate: gate.as_ref(),
            no_pivot: create.no_pivot,
            group: written.in_force.group.as_ref(),
            network: None,
            state: &state,
        };
        let starting = limited.in_force().on_its_processors(|| runtime::start(&launch))??;
        // From here on whoever deletes the container removes its group.
        limited.keep();
        let pid = starting.pid();
        written.process = Instance::of(pid.as_raw_nonzero().get());
        entry.write(&written)?;
        let running = starting.finish()?;
        if let Some(path) = &create.pidfd_socket {
            running.send_pidfd(&connect(path)?)?;
        }
        if let Some(path) = &create.pid_file {
            let written = write_pid(path, pid);
            if written.is_err() {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
            written?;
        }
        Ok(running)
    }

    /// Lets the program of a created container start.
    pub fn start(&self, id: &str) -> Result<(), Error> {
        let entry = self.lock(id)?;
        let (state, status) = entry.state()?;
        if status != Status::Created {
            return Err(Error::Status { action: "start", id: id.to_owned(), status });
        }
        let config = read_bundle(&state.bundle)?;
        let gate = connect(&entry.gate())?;
        std::fs::remove_file(entry.gate()).tried("remove", entry.gate())?;
        runtime::open_gate(gate, &config.spec)?;
        let told = HookState {
            id: id.to_owned(),
            bundle: state.bundle.clone(),
            annotations: state.annotations.clone(),
        };
        let pid = state.process.as_ref().map(|process| process.pid);
        let hooks = &config.spec.hooks.poststart;
        // As runc has it: a container whose hook fails does not go on.
        if let Err(error) = runtime::run_hooks(hooks, &told.json("running", pid)) {
            end(&state)?;
            return Err(error.into());
        }
        Ok(())
    }

    /// Sends a signal to the container's first process, or to all of its processes.
    pub fn kill(&self, id: &str, signal: i32, all: bool) -> Result<(), Error> {
        let (state, status) = self.state(id)?;
        let alive = matches!(status, Status::Created | Status::Running | Status::Paused);
        let Some(held) = state.hold().filter(|_| alive) else {
            return Err(Error::Status { action: "kill", id: id.to_owned(), status });
        };
        let pids = match (all, &state.in_force.group) {
            (false, _) => vec![held.pid],
            (true, Some(group)) => group.processes(),
            (true, None) => processes_of(held.pid).tried("list", "/proc")?,
        };
        for pid in pids {
            match sys::process::kill(pid, signal) {
                // One that ended meanwhile.
                Err(rustix::io::Errno::SRCH) => {}
                other => other.tried("send a signal to", id)?,
            }
        }
        Ok(())
    }

    /// Deletes a container that has stopped; with `force` also one that has not, or that is not
    /// there. A hook that fails behind it is told of, and changes nothing (runtime.md, "Lifecycle").
    pub fn delete(&self, id: &str, force: bool, tell: Remark<'_>) -> Result<(), Error> {
        let entry = match self.lock(id) {
            Err(Error::Missing(_)) if force => return Ok(()),
            other => other?,
        };
        let (state, status) = match entry.state() {
            // A command was killed while it made the container.
            Err(Error::Missing(_)) => return entry.remove(),
            other => other?,
        };
        match status {
            Status::Stopped | Status::Creating => {}
            // It has never run its program.
            Status::Created => end(&state)?,
            Status::Running | Status::Paused if force => end(&state)?,
            Status::Running | Status::Paused => {
                return Err(Error::Status { action: "delete", id: id.to_owned(), status });
            }
        }
        remove_group(&state)?;
        entry.remove()?;
        // The bundle may be gone by now: then there are no hooks left to run.
        if let Ok(config) = read_bundle(&state.bundle) {
            let told = HookState {
                id: id.to_owned(),
                bundle: state.bundle.clone(),
                annotations: state.annotations.clone(),
            };
            let hooks = &config.spec.hooks.poststop;
            for error in runtime::run_each_hook(hooks, &told.json("stopped", None)) {
                tell(&error.to_string());
            }
        }
        Ok(())
    }
}

/// What failed leaves nothing behind; the first error is the one to tell.
fn finish<T>(entry: Entry, made: Result<T, Error>) -> Result<T, Error> {
    if made.is_err() {
        if let Ok((state, _)) = entry.state() {
            let _ = end(&state);
            let _ = remove_group(&state);
        }
        let _ = entry.remove();
    }
    made
}

/// Kills the first process, and with it all others of its pid namespace; waits until it is gone.
fn end(state: &State) -> Result<(), Error> {
    let Some(held) = state.hold() else { return Ok(()) };
    match rustix::process::pidfd_send_signal(&held.pidfd, Signal::KILL) {
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        other => other.tried("kill", &state.id)?,
    }
    // The frozen die when they thaw.
    if let Some(group) = state.in_force.group.as_ref().filter(|group| group.is_frozen()) {
        group.thaw()?;
    }
    let mut polled = [rustix::event::PollFd::new(&held.pidfd, rustix::event::PollFlags::IN)];
    let patience = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
    rustix::event::poll(&mut polled, Some(&patience)).tried("wait for", &state.id)?;
    Ok(())
}

/// Removes a container's control group, and what still lives in it.
fn remove_group(state: &State) -> Result<(), Error> {
    let Some(group) = state.in_force.group.as_ref().filter(|it| it.is_there()) else {
        return Ok(());
    };
    group.kill()?;
    Ok(group.remove()?)
}

/// How it is told of capabilities that nobody has heard of.
pub fn unknown_capabilities(names: &[String]) -> String {
    format!("ignoring unknown capabilities: {}", names.join(", "))
}

/// Groups are given, or refused.
pub(super) fn check_groups(process: &Process, ids: &IdMaps) -> Result<(), Error> {
    match process.user.groups.is_empty() || ids.may_have_groups() {
        true => Ok(()),
        false => Err(Error::NoGroups),
    }
}

/// A terminal goes to who stays: to the caller, or behind a socket where the caller does not.
pub(super) fn check_terminal(
    process: &Process,
    terminal: &Terminal,
    detach: bool,
) -> Result<(), Error> {
    let Terminal::Socket(path) = terminal else {
        return if process.terminal && detach { Err(Error::NoConsole) } else { Ok(()) };
    };
    let why = match (process.terminal, detach) {
        (true, true) => return Ok(()),
        (false, _) => "there is no terminal to send: process.terminal is not set",
        (true, false) => "the terminal is this command's, which stays (no --detach)",
    };
    Err(Error::IdleConsole { path: path.clone(), why })
}

/// The root is a directory; one that the caller cannot look at is the container's to find.
fn check_root(root: &RootMount) -> Result<(), Error> {
    let RootMount::Directory(path) = root else { return Ok(()) };
    let why = match std::fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => "is no directory",
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "is not there",
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => "is not there",
        _ => return Ok(()),
    };
    Err(Error::Root { path: path.clone(), why })
}

/// Reads the configuration of the bundle in a directory.
pub(super) fn read_bundle(bundle: &Path) -> Result<Config, Error> {
    let path = bundle.join("config.json");
    let bytes = std::fs::read(&path).tried("read", path)?;
    Ok(read_config(&bytes, bundle, &open_namespace)?)
}

/// Opens a namespace, unless it is this process's own: what is asked of that would be the host's.
fn open_namespace(path: &Path) -> std::io::Result<Option<Joined>> {
    let file = std::fs::File::open(path)?;
    let which = |metadata: &std::fs::Metadata| (metadata.dev(), metadata.ino());
    let wanted = which(&file.metadata()?);
    let own = std::fs::read_dir("/proc/self/ns")?.flatten();
    let is_own = own.filter_map(|own| std::fs::metadata(own.path()).ok());
    let is_own = is_own.map(|metadata| which(&metadata)).any(|own| own == wanted);
    Ok((!is_own).then(|| Joined::new(file.into())))
}

fn hook_state(config: &Config, create: &Create) -> HookState {
    HookState {
        id: create.id.clone(),
        bundle: create.bundle.clone(),
        annotations: config.spec.annotations.clone(),
    }
}

pub(super) fn profile(choice: &SeccompChoice) -> Result<Option<Profile>, Error> {
    match choice {
        SeccompChoice::Unconfined => Ok(None),
        SeccompChoice::Default => Ok(Some(Profile::Default)),
        SeccompChoice::Json(text) => Ok(Some(Profile::Own(Rules::from_json(text.as_bytes())?))),
    }
}

fn address(path: &Path) -> Result<(std::fs::File, SocketAddrUnix), Error> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let opened = std::fs::File::open(directory).tried("open", directory)?;
    let name = path.file_name().unwrap_or_default();
    let address = sys::socket::address_in(&opened, name).tried("name", path)?;
    Ok((opened, address))
}

fn socket() -> Result<OwnedFd, rustix::io::Errno> {
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

fn listen(path: &Path) -> Result<OwnedFd, Error> {
    let (_directory, address) = address(path)?;
    let socket = socket().tried("make", path)?;
    rustix::net::bind(&socket, &address).tried("bind", path)?;
    rustix::net::listen(&socket, 1).tried("listen on", path)?;
    Ok(socket)
}

/// Connects to a socket by its path.
pub(super) fn connect(path: &Path) -> Result<OwnedFd, Error> {
    let (_directory, address) = address(path)?;
    let socket = socket().tried("make", path)?;
    rustix::net::connect(&socket, &address).tried("connect to", path)?;
    Ok(socket)
}

/// Writes a pid by rename: who waits for the file finds it whole.
pub(super) fn write_pid(path: &Path, pid: rustix::process::Pid) -> Result<(), Error> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    let new = path.with_file_name(name);
    std::fs::write(&new, pid.as_raw_nonzero().to_string()).tried("write", &new)?;
    std::fs::rename(&new, path).tried("write", path)
}
