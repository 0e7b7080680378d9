//! An image and a request to a running container, and its end.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::limits::{self, GroupName, Limited, OutOfMemory};
use super::of_host::{host_devices, host_files, security_modules};
use super::pull::Policy;
use super::record::record;
use super::{Engine, Error, HealthRequest, Removal, Tell, owners};
use crate::bundle::{
    self, BindRequest, Circumstances, ContainerSpec, EtcFiles, SeccompChoice, SecurityModules,
};
use crate::cgroup;
use crate::container::{
    Directory, Instance, Keeper, Log, LogConfig, Name, Record, Restart, State, Stream,
};
use crate::mount::RootMount;
use crate::oci::{Digest, Healthcheck, Platform};
use crate::runtime::seccomp::Profile;
use crate::runtime::{
    self, Attachment, Attendance, DetachKeys, ExecRefusal, Exit, HookState, Launch, Parting,
    Running, Signals, Source, Tap,
};
use crate::snapshot::{self, Driver};
use crate::store::{Image, Lock};
use crate::userns::{self, IdMaps};
use crate::{store, sys};

/// What `run` was asked for, besides the container itself.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // each a fact of its own
pub struct RunRequest {
    /// The image as the user named it.
    pub image: String,
    /// `--platform`
    pub platform: Option<Platform>,
    /// `--pull`
    pub policy: Policy,
    /// `--name`
    pub name: Option<Name>,
    /// `--rm`
    pub remove: bool,
    /// `--sig-proxy`
    pub sig_proxy: bool,
    /// `--timeout`: when the container is killed, counted from its start.
    pub timeout: Option<Duration>,
    /// `--cidfile`
    pub cidfile: Option<PathBuf>,
    /// `--detach`: nobody waits for it.
    pub detach: bool,
    /// `--replace`: a container that has the name is removed first.
    pub replace: bool,
    /// `--detach-keys`
    pub detach_keys: DetachKeys,
    /// `--restart`
    pub restart: Restart,
    /// `--log-driver`, `--log-opt`
    pub log: LogConfig,
    /// `--health-cmd` and its kin.
    pub health: HealthRequest,
    /// `--stop-timeout`, in seconds.
    pub stop_timeout_s: Option<u64>,
    /// The container.
    pub container: bundle::Request,
}

/// A part of a run and the time it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Which part.
    pub name: &'static str,
    /// How long it took.
    pub took: Duration,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The container's ID.
    pub id: String,
    /// Its exit code; none where it runs on by itself.
    pub code: Option<u8>,
    /// Processes that were killed for want of memory.
    pub out_of_memory: Option<OutOfMemory>,
    /// Where the time went.
    pub phases: Vec<Phase>,
}

/// An image that is here, unpacked, and stays while this lives.
#[derive(Debug)]
pub struct Found {
    /// The image.
    pub image: Image,
    hold: Lock,
    clock: Clock,
}

/// A container that is planned: everything is decided, nothing is done.
#[derive(Debug)]
pub struct Prepared {
    /// The image.
    pub image: Image,
    /// The ids.
    pub ids: IdMaps,
    /// The root file system's driver.
    pub driver: Driver,
    /// The specification.
    pub spec: ContainerSpec,
    /// The texts of the container's /etc files.
    pub etc: EtcFiles,
    /// How its limits are kept.
    pub limits: cgroup::Plan,
    /// `host`, `none` or `container:ID`.
    pub(super) network: String,
    /// How it is found out whether it is well.
    pub(super) health: Option<Healthcheck>,
    /// The image's layers, the lowest first.
    layers: Vec<PathBuf>,
    /// Keeps them there until the record says that they are in use.
    hold: Lock,
    pub(super) clock: Clock,
}

/// How a container is launched.
#[derive(Debug, Default)]
pub(super) struct Manner<'a> {
    /// Its streams.
    pub(super) attachment: Attachment<'a>,
    /// Its record, where it is there already: it is started again.
    pub(super) known: Option<&'a Record>,
    /// Whether this process is its monitor.
    pub(super) monitor: bool,
}

/// A container that runs.
#[derive(Debug)]
pub(super) struct Launched {
    pub(super) running: Running,
    pub(super) record: Record,
    pub(super) limited: Limited,
    pub(super) clock: Clock,
}

/// Measures phase after phase.
#[derive(Debug)]
pub(super) struct Clock {
    last: Instant,
    pub(super) phases: Vec<Phase>,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { last: Instant::now(), phases: Vec::with_capacity(8) }
    }

    /// Hands the times over to who reports them.
    pub(super) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::start())
    }

    fn lap(&mut self, name: &'static str) {
        let now = Instant::now();
        self.phases.push(Phase { name, took: now - self.last });
        self.last = now;
    }
}

/// How an image is fetched: run in a child, so that the threads of a pull never live in the process
/// that clones. Reports its own errors; gives the image's ID, or its exit status.
pub type Fetch<'a> = &'a dyn Fn() -> Result<Digest, u8>;

impl Engine {
    /// Finds the image of a request, fetching it where that is due.
    pub fn find(&self, request: &RunRequest, fetch: Fetch<'_>) -> Result<Found, Error> {
        if let Some(path) = request.cidfile.as_ref().filter(|path| path.exists()) {
            return Err(Error::CidFileExists { path: path.clone() });
        }
        let mut clock = Clock::start();
        let (image, hold) = self.find_image(request, fetch)?;
        clock.lap("image");
        Ok(Found { image, hold, clock })
    }

    /// Runs a container: to its end, or to its start where it is to run on by itself.
    pub fn run(
        &self,
        request: &RunRequest,
        found: Found,
        tell: Tell<'_>,
    ) -> Result<Outcome, Error> {
        self.make(request, found, |prepared, directory| {
            let alone =
                request.detach || request.restart != Restart::No || prepared.health.is_some();
            match alone {
                true => self.run_alone(request, prepared, directory, tell),
                false => self.run_here(request, prepared, directory),
            }
        })
    }

    /// Makes a container's directory and decides everything; `work` does the rest. Where something
    /// fails no half-made container stays.
    pub(super) fn make<T>(
        &self,
        request: &RunRequest,
        found: Found,
        work: impl FnOnce(Prepared, &Directory) -> Result<T, Error>,
    ) -> Result<T, Error> {
        for bind in &request.container.binds {
            check_source(bind)?;
        }
        let Found { image, hold, mut clock } = found;
        if let (true, Some(name)) = (request.replace, &request.name) {
            self.remove_container(name.as_str(), Removal { force: true, ..Removal::default() })?;
        }
        let directory = self.containers.create(request.name.as_ref())?;
        clock.lap("record");
        let made = self
            .specify(request, image, hold, &directory.id, &directory.path, clock)
            .and_then(|prepared| work(prepared, &directory));
        made.inspect_err(|_| self.discard(&directory)) // the first error is the one to tell
    }

    /// Removes a container that did not come to be.
    pub(super) fn discard(&self, directory: &Directory) {
        if let Ok(path) = self.containers.detach_own(directory) {
            let _ = self.remove_tree(&path);
        }
    }

    /// Decides everything that `run` would do, and does none of it.
    pub fn plan(&self, request: &RunRequest, found: Found) -> Result<Prepared, Error> {
        let Found { image, hold, clock } = found;
        let id = "0".repeat(64);
        let directory = self.store.root().join("containers").join(&id);
        self.specify(request, image, hold, &id, &directory, clock)
    }

    /// The image, here and unpacked, and held in place.
    pub(super) fn find_image(
        &self,
        request: &RunRequest,
        fetch: Fetch<'_>,
    ) -> Result<(Image, Lock), Error> {
        let hold = self.store.hold()?;
        let owners = self.owners()?;
        let here = match self.store.resolve(&request.image) {
            Err(store::Error::NoSuchImage { .. }) => None,
            other => Some(other?),
        };
        let fits = |image: &Image| {
            let wanted = request.platform.as_ref();
            wanted.is_none_or(|platform| platform.accepts(&image.platform))
                && self.store.layers(image, owners).is_ok()
        };
        let image = match (request.policy, here) {
            (Policy::Missing | Policy::Never, Some(image)) if fits(&image) => image,
            (Policy::Never, _) => {
                return Err(store::Error::NoSuchImage { query: request.image.clone() }.into());
            }
            _ => self.fetch(fetch)?,
        };
        Ok((image, hold))
    }

    fn fetch(&self, fetch: Fetch<'_>) -> Result<Image, Error> {
        let failed = |errno: rustix::io::Errno| Error::Child {
            what: "start the pull".to_owned(),
            why: errno.to_string(),
        };
        let flags = rustix::pipe::PipeFlags::CLOEXEC;
        let (reader, writer) = rustix::pipe::pipe_with(flags).map_err(failed)?;
        let child = sys::fork::in_child(|| match fetch() {
            Ok(id) => {
                let sent = rustix::io::write(&writer, id.to_string().as_bytes());
                u8::from(sent.is_err())
            }
            Err(code) => code,
        });
        let child = child.map_err(|error| failed(error.errno))?;
        drop(writer);
        let mut id = String::new();
        let read = std::fs::File::from(reader).read_to_string(&mut id);
        match child.wait().map_err(failed)? {
            0 => {
                read.map_err(|source| Error::Io {
                    action: "read from the pull of",
                    path: PathBuf::new(),
                    source,
                })?;
                Ok(self.store.resolve(&id)?)
            }
            code => Err(Error::PullReported { code }),
        }
    }

    pub(super) fn specify(
        &self,
        request: &RunRequest,
        image: Image,
        hold: Lock,
        id: &str,
        directory: &Path,
        mut clock: Clock,
    ) -> Result<Prepared, Error> {
        let facts = userns::gather(Path::new("/"), &self.options.path);
        let shared = self.share(&request.container)?;
        let asked = shared.ids.unwrap_or(self.options.userns);
        let ids = userns::choose(asked, (0, 0), &facts)?;
        clock.lap("ids");
        let layers = self.store.layers(&image, owners(&ids))?;
        let config = self.store.config(&image)?;
        let driver = self.driver();
        let root = match driver {
            Driver::Overlay => RootMount::Overlay {
                lowers: self.few_lowers(&image, &ids, &layers)?,
                upper: directory.join("upper"),
                work: directory.join("work"),
            },
            Driver::Fuse => RootMount::Union {
                lowers: self.lowers(&layers)?,
                upper: directory.join("upper"),
                work: directory.join("work"),
            },
            Driver::Copy => RootMount::Directory(directory.join("rootfs")),
        };
        let read = |path: &str| -> Result<Vec<u8>, Error> {
            let found = snapshot::read_file(&layers, Path::new(path), USERS_LIMIT)?;
            Ok(found.unwrap_or_default())
        };
        let devices = if request.container.privileged { host_devices() } else { Vec::new() };
        let labels = &request.container.security.labels;
        let modules =
            if labels.is_empty() { SecurityModules::default() } else { security_modules() };
        let cx = Circumstances {
            id,
            config: &config,
            passwd: &read("/etc/passwd")?,
            group: &read("/etc/group")?,
            host: &host_files(),
            files: shared.files.as_deref().unwrap_or(directory),
            root,
            devices: &devices,
            namespaces: shared.namespaces,
            shm: shared.shm,
            modules: &modules,
        };
        let mut wanted = request.container.clone();
        if let userns::Request::HostId { .. } = self.options.userns {
            // Who asks for the host's id wants to be it, unless told otherwise (podman's keep-id).
            let ids = userns::choose(self.options.userns, (0, 0), &facts)?;
            let own = format!("{}:{}", ids.uids[0].inside, ids.gids[0].inside);
            wanted.user.get_or_insert(own);
        }
        let (spec, etc) = bundle::specify(&wanted, cx)?;
        // With one id only it is the program's own; with more nothing changes.
        let user = &spec.process.user;
        let ids = userns::choose(asked, (user.uid, user.gid), &facts)?;
        clock.lap("specification");
        let limits = limits::plan(&spec, &ids, &GroupName::of(id))?;
        clock.lap("limits");
        let network = shared.network;
        let health = request.health.applied_to(config.healthcheck);
        Ok(Prepared { image, ids, driver, spec, etc, limits, network, health, layers, hold, clock })
    }

    /// A union's lower directories, the topmost first.
    pub(super) fn lowers(&self, layers: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
        let skeleton = snapshot::skeleton(self.store.root())?;
        Ok(snapshot::lowers(layers)?.into_iter().chain([skeleton]).collect())
    }

    /// Makes what the root of a container needs.
    pub(super) fn make_root(prepared: &Prepared, directory: &Directory) -> Result<(), Error> {
        let Prepared { driver, ids, layers, spec, .. } = prepared;
        prepare_root(*driver, ids, layers, directory, spec.root_read_only)
    }

    /// From a plan to a program that runs, and that is written down.
    pub(super) fn launch(
        &self,
        request: &RunRequest,
        prepared: Prepared,
        directory: &Directory,
        manner: Manner<'_>,
    ) -> Result<Launched, Error> {
        if manner.known.is_none() {
            Self::make_root(&prepared, directory)?;
        }
        write_files(&directory.path, &prepared.etc)?;
        let mut record =
            manner.known.cloned().unwrap_or_else(|| record(request, &prepared, directory));
        let Prepared { image, ids, mut spec, limits, hold, mut clock, .. } = prepared;
        clock.lap("files");
        let profile = profile(&spec.seccomp)?;
        let name = GroupName::of(&directory.id);
        let limited =
            Limited::prepare(limits, &mut spec, &ids, &name, &|text| self.options.warn.tell(text))?;
        // What a later program in it starts from.
        record.config.process.limits.clone_from(&spec.process.limits);
        clock.lap("group");
        let state = HookState {
            id: directory.id.clone(),
            bundle: directory.path.clone(),
            annotations: spec.annotations.clone(),
        };
        let launch = Launch {
            spec: &spec,
            ids: &ids,
            profile: profile.as_ref(),
            volatile: request.remove,
            attachment: manner.attachment,
            gate: None,
            no_pivot: false,
            group: limited.in_force().group.as_ref(),
            state: &state,
        };
        let starting = limited.in_force().on_its_processors(|| runtime::start(&launch))??;
        clock.lap("clone");
        let in_force = limited.in_force().clone();
        let state = State::Running {
            process: Instance::of(starting.pid().as_raw_nonzero().get()).unwrap_or(GONE),
            started: now(),
        };
        let keeper = Instance::own().map(|process| Keeper { process, monitor: manner.monitor });
        if manner.known.is_some() {
            let restarts = record.restarts;
            record = directory.edit(|record| {
                (record.state, record.keeper, record.restarts) = (state, keeper, restarts);
                record.in_force = in_force;
            })?;
        } else {
            (record.state, record.keeper, record.in_force) = (state, keeper, in_force);
            directory.write(&record)?;
        }
        drop(hold);
        if manner.known.is_none() {
            request.write_cidfile(&directory.id)?;
        }
        clock.lap("written down");
        let running = starting.finish().map_err(|error| explain(error, &image))?;
        clock.lap("set up");
        Ok(Launched { running, record, limited, clock })
    }

    /// Runs a container in the foreground: this process stays with it.
    fn run_here(
        &self,
        request: &RunRequest,
        prepared: Prepared,
        directory: &Directory,
    ) -> Result<Outcome, Error> {
        // What is removed at the end needs no log, and cannot be started again.
        let mut tap = None;
        if !request.remove {
            directory.keep(&self.creation(request))?;
            let name = directory.name.as_str();
            let log = Log::open(&request.log, &directory.path, &directory.id, name, &request.image);
            tap = Some(log.map_err(|source| Error::Log { source })?).filter(Log::is_kept);
        }
        let signals = Signals::hold()?;
        let attachment = Attachment { tapped: tap.is_some(), ..Attachment::default() };
        let manner = Manner { attachment, ..Manner::default() };
        let Launched { running, limited, mut clock, .. } =
            self.launch(request, prepared, directory, manner)?;
        let attendance = Attendance {
            sig_proxy: request.sig_proxy,
            detach_keys: DetachKeys::default(), // without a monitor it does not live on
            deadline: request.timeout.map(|timeout| Instant::now() + timeout),
        };
        let tapped = tap.as_mut().map(|log| log as &mut dyn Tap);
        let exit = match runtime::supervise(running, &signals, &attendance, tapped)? {
            Parting::Ended(exit) => exit,
            // No keys were given to leave by.
            Parting::Detached(unattended) => {
                unattended.keep();
                Exit::Code(0)
            }
        };
        if let Some(log) = &mut tap {
            log.finish();
        }
        clock.lap("program");
        let out_of_memory = limited.end();
        let code = exit_code(directory, exit);
        if request.remove {
            directory.tell_exit(code)?;
            let path = self.containers.detach_own(directory)?;
            self.remove_tree(&path)?;
        } else {
            directory.end(code, out_of_memory.is_some())?;
        }
        clock.lap("end");
        let (id, phases) = (directory.id.clone(), clock.phases);
        Ok(Outcome { id, code: Some(code), out_of_memory, phases })
    }
}

impl Tap for Log {
    fn take(&mut self, source: Source, bytes: &[u8]) {
        let stream = match source {
            Source::Stdout => Stream::Stdout,
            Source::Stderr => Stream::Stderr,
        };
        Self::take(self, stream, bytes);
    }
}

impl RunRequest {
    /// Writes the ID where it was asked for.
    pub(super) fn write_cidfile(&self, id: &str) -> Result<(), Error> {
        let Some(path) = &self.cidfile else { return Ok(()) };
        std::fs::write(path, id).map_err(|source| Error::Io {
            action: "write",
            path: path.clone(),
            source,
        })
    }
}

/// The exit code of a run. A SIGKILL that a user's `stop` had to send in place of another signal
/// counts as that one.
pub(super) fn exit_code(directory: &Directory, exit: Exit) -> u8 {
    match exit {
        Exit::Signal(libc::SIGKILL) => {
            directory.stop_signal().map_or(exit.code(), |signal| signal.saturating_add(128))
        }
        _ => exit.code(),
    }
}

/// Makes the root's directories; a copy's files have owners that only the namespace's root can give.
fn prepare_root(
    driver: Driver,
    ids: &IdMaps,
    layers: &[PathBuf],
    directory: &Directory,
    read_only: bool,
) -> Result<(), Error> {
    let prepare = || snapshot::prepare(driver, layers, &directory.path, read_only).map(|_| ());
    match (driver, &ids.mode) {
        (Driver::Copy, userns::Mode::Range { .. }) => {
            let what = "copy the image's files";
            super::containers::as_owner(ids, what, || prepare().map_err(|error| error.to_string()))
        }
        _ => Ok(prepare()?),
    }
}

/// What passwd(5) and group(5) of an image may take, in bytes (CVE-2024-9676 and its kin).
pub(super) const USERS_LIMIT: u64 = 1 << 20;

/// Stands for a process that ended before it could be looked at.
const GONE: Instance = Instance { pid: 0, start_ticks: 0, boot: String::new() };

pub(super) fn now() -> String {
    jiff::Timestamp::now().to_string()
}

pub(super) fn profile(choice: &SeccompChoice) -> Result<Option<Profile>, Error> {
    match choice {
        SeccompChoice::Unconfined => Ok(None),
        SeccompChoice::Default => Ok(Some(Profile::docker_default())),
        SeccompChoice::Json(text) => Ok(Some(Profile::from_json(text.as_bytes())?)),
    }
}

/// An image for another machine explains a program that this one cannot execute.
fn explain(error: runtime::Error, image: &Image) -> Error {
    let host = Platform::host();
    match error {
        runtime::Error::CommandNotExecutable { reason: ExecRefusal::Format, .. }
            if !host.accepts(&image.platform) =>
        {
            Error::Foreign { error, image: image.platform.clone(), host }
        }
        error => error.into(),
    }
}

fn check_source(bind: &BindRequest) -> Result<(), Error> {
    if bind.source.symlink_metadata().is_ok() {
        return Ok(());
    }
    if !bind.create_source {
        return Err(Error::NoBindSource { path: bind.source.clone() });
    }
    std::fs::create_dir_all(&bind.source).map_err(|source| Error::Io {
        action: "make the bind source",
        path: bind.source.clone(),
        source,
    })
}

fn write_files(directory: &Path, etc: &EtcFiles) -> Result<(), Error> {
    let files =
        [("hosts", &etc.hosts), ("hostname", &etc.hostname), ("resolv.conf", &etc.resolv_conf)];
    for (name, text) in files {
        let path = directory.join(name);
        std::fs::write(&path, text).map_err(|source| Error::Io {
            action: "write",
            path,
            source,
        })?;
    }
    Ok(())
}
