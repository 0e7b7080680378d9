//! An image and a request to a running container, and its end.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::events::Event;
use super::ground::{Base, Ground};
use super::limits::{self, GroupName, Limited, OutOfMemory};
use super::mounts::{Occasion, Setting, Settled};
use super::of_host::{
    caller_account, devices_below, first_hosts, host_accounts, host_files, security_modules,
    time_zone,
};
use super::pull::Policy;
use super::record::record;
use super::{Engine, Error, HealthRequest, Removal, Tell, ports, rootfs};
use crate::bundle::{
    self, BindRequest, Circumstances, ContainerSpec, EtcFiles, HostFiles, Namespace, NsKind,
    SeccompChoice, SecurityModules, User,
};
use crate::cgroup;
use crate::container::{
    self, Directory, Instance, Keeper, Log, LogConfig, Name, Record, Restart, Rootfs, State,
    Stream, Subject,
};
use crate::mount::RootMount;
use crate::network::{Expose, Options, PortRequest};
use crate::oci::{Digest, Healthcheck, Platform};
use crate::owners::Owners;
use crate::runtime::seccomp::{Profile, Rules};
use crate::runtime::{
    self, Ahead, Attachment, Attendance, DetachKeys, ExecRefusal, Exit, HookState, Launch, Parting,
    Running, Signals, Source, Tap,
};
use crate::snapshot::{self, Driver, Shift};
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
    /// `--verify`: whoever fetches images is asked about one too that is here.
    pub verify: bool,
    /// `--name`
    pub name: Option<Name>,
    /// `--rm`
    pub remove: bool,
    /// `--rmi`: its image goes with it, where no other container has that.
    pub remove_image: bool,
    /// `--sig-proxy`
    pub sig_proxy: bool,
    /// `--timeout`: when the container is killed, counted from its start.
    pub timeout: Option<Duration>,
    /// `--cidfile`
    pub cidfile: Option<PathBuf>,
    /// `--pidfile`: the pid of the container's first process goes there at each start.
    pub pid_file: Option<PathBuf>,
    /// `--conmon-pidfile`: so does that of the coracle that stays with it.
    pub keeper_pid_file: Option<PathBuf>,
    /// `--requires`: containers that are started first.
    pub requires: Vec<String>,
    /// `--rootfs`: a directory in place of an image.
    pub rootfs: Option<Rootfs>,
    /// `--attach`
    pub attach: Streams,
    /// `--preserve-fds`, `--preserve-fd`
    pub preserved: Preserved,
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
    /// `--stop-timeout`, in seconds; negative: for ever.
    pub stop_timeout_s: Option<i64>,
    /// The container.
    pub container: bundle::Request,
}

/// Which of a container's streams the caller has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    /// stdin, where it is open at all.
    pub stdin: bool,
    /// stdout
    pub stdout: bool,
    /// stderr
    pub stderr: bool,
}

impl Streams {
    /// All three.
    pub const ALL: Self = Self { stdin: true, stdout: true, stderr: true };
}

/// Descriptors of the caller that the program keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preserved {
    /// So many from 3 up.
    pub count: u32,
    /// These, by number.
    pub numbers: Vec<u32>,
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
    base: Base,
    ahead: Option<Ahead>,
}

impl Found {
    /// The image.
    pub fn image(&self) -> &Image {
        &self.base.image
    }
}

/// A container that is planned: everything is decided, nothing is done.
#[derive(Debug)]
pub struct Prepared {
    /// The image.
    pub image: Image,
    /// The ids.
    pub ids: IdMaps,
    /// The ids that the image's layers were unpacked with.
    pub(super) store_ids: IdMaps,
    /// The root file system's driver.
    pub driver: Driver,
    /// The specification.
    pub spec: ContainerSpec,
    /// The texts of the container's /etc files.
    pub etc: EtcFiles,
    /// How its limits are kept.
    pub limits: cgroup::Plan,
    /// `host`, `private`, `none` or `container:ID`.
    pub(super) network: String,
    /// Ports that the host is to have.
    pub ports: Vec<PortRequest>,
    /// Ports that others are told of.
    pub(super) exposed: Vec<Expose>,
    /// How it is found out whether it is well.
    pub(super) health: Option<Healthcheck>,
    /// Volumes and what else is mounted.
    pub(super) settled: Settled,
    /// The image's layers, the lowest first.
    pub(super) layers: Vec<PathBuf>,
    /// Keeps them there until the record says that they are in use.
    hold: Lock,
    pub(super) clock: Clock,
    /// Its first process, where that waits already.
    pub(super) ahead: Option<Ahead>,
    /// Whether the root's directories are made.
    has_root: bool,
}

impl Prepared {
    /// Whose log is written.
    pub(super) fn subject<'a>(
        &'a self,
        request: &'a RunRequest,
        id: &'a str,
        name: &'a str,
    ) -> Subject<'a> {
        let (labels, env) = (&self.spec.labels, &self.spec.process.env[..]);
        Subject { id, name, image: &request.image, labels, env }
    }
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

    pub(super) fn lap(&mut self, name: &'static str) {
        let now = Instant::now();
        self.phases.push(Phase { name, took: now - self.last });
        self.last = now;
    }
}

/// How an image is fetched: run in a child, so that the threads of a pull never live in the process
/// that clones. Reports its own errors; gives the image's ID, or its exit status.
pub type Fetch<'a> = &'a dyn Fn() -> Result<Digest, u8>;

impl Engine {
    /// Finds the image of a request, fetching it where that is due. A first process that is on its way
    /// waits no longer then: who fetches is forked, from a process that has one thread.
    pub fn find(
        &self,
        request: &RunRequest,
        mut ahead: Option<Ahead>,
        fetch: Fetch<'_>,
    ) -> Result<Found, Error> {
        if let Some(path) = request.cidfile.as_ref().filter(|path| path.exists()) {
            return Err(Error::CidFileExists { path: path.clone() });
        }
        let mut clock = Clock::start();
        let (image, hold) = match &request.rootfs {
            Some(rootfs) => (rootfs::look_at(rootfs, self.store.root())?, self.store.hold()?),
            None => self.find_image(request, &mut ahead, fetch)?,
        };
        clock.lap("image");
        Ok(Found { base: Base { image, hold, clock }, ahead })
    }

    /// Runs a container: to its end, or to its start where it is to run on by itself.
    pub fn run(
        &self,
        request: &RunRequest,
        found: Found,
        tell: Tell<'_>,
    ) -> Result<Outcome, Error> {
        self.start_required(&request.requires, tell)?;
        self.make(request, found, |mut prepared, directory| {
            let alone = request.lives_on() || prepared.health.is_some();
            if alone && request.preserved != Preserved::default() {
                return Err(Error::NothingPreserved);
            }
            if alone {
                prepared.ahead = None; // its threads are not a monitor's
                self.run_alone(request, prepared, directory, tell)
            } else {
                self.run_here(request, prepared, directory)
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
        let Found { mut base, mut ahead } = found;
        if let (true, Some(name)) = (request.replace, &request.name) {
            self.remove_container(name.as_str(), Removal { force: true, ..Removal::default() })?;
        }
        let directory = self.containers.create(request.name.as_ref())?;
        base.clock.lap("record");
        let make = || {
            let ground = self.ground(request, base, &directory.path)?;
            if let RootMount::Directory(_) = ground.root {
                directory.clear_ready();
            }
            let has_root = match &mut ahead {
                Some(ahead) => Self::make_root_ahead(request, &ground, &directory.path, ahead)?,
                None => false,
            };
            let prepared = self.specify(request, ground, &directory.id, &directory.path)?;
            let mut prepared = Prepared { ahead, has_root, ..prepared };
            self.make_volumes(&mut prepared, &directory.id, Occasion::Making)?;
            prepared.clock.lap("volumes");
            work(prepared, &directory)
        };
        make().inspect_err(|_| self.discard(&directory)) // the first error is the one to tell
    }

    /// Removes a container that did not come to be.
    pub(super) fn discard(&self, directory: &Directory) {
        if let Ok(path) = self.containers.detach_own(directory) {
            let _ = self.remove_volumes_for(&directory.id);
            let _ = self.remove_tree(&path);
        }
    }

    /// Decides everything that `run` would do, and does none of it.
    pub fn plan(&self, request: &RunRequest, found: Found) -> Result<Prepared, Error> {
        let id = "0".repeat(64);
        let directory = self.store.root().join("containers").join(&id);
        let ground = self.ground(request, found.base, &directory)?;
        self.specify(request, ground, &id, &directory)
    }

    /// The image, here and unpacked, and held in place.
    pub(super) fn find_image(
        &self,
        request: &RunRequest,
        ahead: &mut Option<Ahead>,
        fetch: Fetch<'_>,
    ) -> Result<(Image, Lock), Error> {
        let hold = self.store.hold()?;
        let owners = self.owners()?;
        let here = match self.store.resolve(&request.image) {
            Err(store::Error::NoSuchImage { .. }) => None,
            other => Some(other?),
        };
        let suits = |image: &Image| {
            let wanted = request.platform.as_ref();
            wanted.is_none_or(|platform| platform.accepts(&image.platform))
        };
        let fits = |image: &Image| suits(image) && self.store.layers(image, owners).is_ok();
        let is_there = matches!(&here, Some(image) if fits(image));
        let stays = !request.verify && matches!(request.policy, Policy::Missing | Policy::Never);
        ahead.take_if(|_| !(stays && is_there));
        let image = match (request.policy, here) {
            _ if request.verify => self.fetch(fetch)?,
            (Policy::Missing | Policy::Never, Some(image)) if is_there => image,
            (Policy::Missing | Policy::Never, Some(image))
                if suits(&image) && self.unpack_again(&image, owners).is_ok() =>
            {
                image
            }
            (Policy::Never, _) => {
                return Err(store::Error::NoSuchImage { query: request.image.clone() }.into());
            }
            _ => self.fetch(fetch)?,
        };
        Ok((image, hold))
    }

    /// Unpacks an image that was unpacked for other owners, where all of its blobs were kept: one
    /// that was made here has no other source.
    fn unpack_again(&self, image: &Image, owners: Owners) -> Result<(), Error> {
        let kept = |layer: &store::Layer| self.store.has_blob(&layer.digest, layer.shipped);
        if !image.layers.iter().all(kept) {
            return Err(store::Error::NoSuchImage { query: image.id.to_string() }.into());
        }
        let ids = self.ids((0, 0))?;
        let again = || {
            super::pull::restore(&self.store, image, owners, &())
                .map(drop)
                .map_err(|error| error.to_string())
        };
        match ids.mode {
            userns::Mode::Range { .. } => {
                super::containers::as_owner(&ids, "unpack the image", again)
            }
            userns::Mode::Single | userns::Mode::Direct => {
                super::containers::in_child("unpack the image", again)
            }
        }
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

    /// Decides all else.
    pub(super) fn specify(
        &self,
        request: &RunRequest,
        ground: Ground,
        id: &str,
        directory: &Path,
    ) -> Result<Prepared, Error> {
        let Ground { base, shared, asked, store_ids, ids, layers, config, driver, root } = ground;
        let Base { image, hold, mut clock } = base;
        let facts = self.facts();
        let read = |path: &str| -> Result<Vec<u8>, Error> {
            let found = snapshot::read_file(&layers, Path::new(path), USERS_LIMIT)?;
            Ok(found.unwrap_or_default())
        };
        let mut host = HostFiles {
            first_hosts: first_hosts(&request.container, &read)?,
            localtime: time_zone(&request.container)?,
            ..host_files()
        };
        // Who shares another's network has its name too, which is in their /etc/hosts.
        let is_new = shared.namespaces[NsKind::Uts] == Namespace::New;
        if let Some(files) = shared.files.as_ref().filter(|_| is_new) {
            let name = std::fs::read_to_string(files.join("hostname")).unwrap_or_default();
            name.trim().clone_into(&mut host.hostname);
        }
        let devices = match request.container.privileged {
            true => devices_below(Path::new("/dev")),
            false => Vec::new(),
        };
        let labels = &request.container.security.labels;
        let modules =
            if labels.is_empty() { SecurityModules::default() } else { security_modules() };
        let setting = Setting { config: &config, directory, driver, ids: &store_ids };
        let mut settled = self.settle_mounts(&request.container, &setting)?;
        let stored = std::mem::take(&mut settled.mounts);
        let mut wanted = settled.request.clone();
        let mut accounts = host_accounts(&request.container)?;
        if let (userns::Request::HostId { .. }, None) = (&self.options.userns, &shared.ids) {
            // Who asks for the host's id wants to be it, unless told otherwise (podman's keep-id).
            let own = ids.own(facts);
            wanted.user.get_or_insert(format!("{}:{}", own.0, own.1));
            accounts.host.extend(caller_account(own, facts).filter(|_| !wanted.no_passwd));
        }
        let cx = Circumstances {
            id,
            config: &config,
            passwd: &read("/etc/passwd")?,
            group: &read("/etc/group")?,
            host: &host,
            files: shared.files.as_deref().unwrap_or(directory),
            root,
            own_root: request.rootfs.as_ref().is_none_or(|rootfs| rootfs.overlay),
            devices: &devices,
            namespaces: shared.namespaces,
            shm: shared.shm,
            accounts: &accounts,
            stored,
            modules: &modules,
        };
        let joins = shared.ids.is_some();
        let (mut spec, etc) = bundle::specify(&wanted, cx)?;
        self.name_networks(&mut spec.networks)?;
        // With one id only it is the program's own; with more nothing changes.
        let user = &spec.process.user;
        let ids = userns::choose(&asked, (user.uid, user.gid), facts)?;
        let ids = ids.joined(shared.denies_groups);
        check_user(user, &ids, joins)?;
        if !(wanted.group_add.is_empty() || ids.may_have_groups()) {
            return Err(Error::NoGroups { groups: wanted.group_add });
        }
        clock.lap("specification");
        let limits = limits::plan(&spec, &ids, &GroupName::of(id))?;
        clock.lap("limits");
        let network = shared.network;
        let exposed = ports::exposed(&request.container, &config.exposed_ports);
        let ports = ports::wanted(&request.container, &exposed);
        let health = request.health.applied_to(config.healthcheck);
        Ok(Prepared {
            image,
            ids,
            store_ids,
            driver,
            spec,
            etc,
            limits,
            network,
            ports,
            exposed,
            health,
            settled,
            layers,
            hold,
            clock,
            ahead: None,
            has_root: false,
        })
    }

    /// Makes what the root of a container needs.
    pub(super) fn make_root(prepared: &Prepared, directory: &Directory) -> Result<(), Error> {
        match &prepared.spec.root {
            // A directory of the user's own is there.
            RootMount::Directory(path) if !path.starts_with(&directory.path) => Ok(()),
            _ => prepare_root(prepared, directory),
        }
    }

    /// From a plan to a program that runs, and that is written down.
    pub(super) fn launch(
        &self,
        request: &RunRequest,
        prepared: Prepared,
        directory: &Directory,
        manner: Manner<'_>,
    ) -> Result<Launched, Error> {
        if manner.known.is_none() && !prepared.has_root {
            Self::make_root(&prepared, directory)?;
        }
        let user = &prepared.spec.process.user;
        let (settled, ids) = (&prepared.settled, &prepared.ids);
        self.make_overlays(settled, &directory.path, ids, (user.uid, user.gid))?;
        write_files(&directory.path, &prepared.etc)?;
        let mut record =
            manner.known.cloned().unwrap_or_else(|| record(request, &prepared, directory));
        let Prepared {
            image,
            ids,
            mut spec,
            limits,
            ports,
            hold,
            mut clock,
            mut etc,
            settled,
            ahead,
            ..
        } = prepared;
        clock.lap("files");
        let profile = profile(&spec.seccomp)?;
        let name = GroupName::of(&directory.id);
        let limited =
            Limited::prepare(limits, &mut spec, &ids, &name, &|text| self.options.warn.tell(text))?;
        // What a later program in it starts from.
        record.config.process.limits.clone_from(&spec.process.limits);
        clock.lap("group");
        let network = self.network(&spec, &ports, directory, &settled.request)?;
        if let Some(network) = network.as_ref().filter(|_| !spec.networks.is_empty()) {
            let plans = network.plans();
            etc.settle(&settled.request, &plans, &host_files())?;
            write_files(&directory.path, &etc)?;
        }
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
            network: network.as_ref(),
            state: &state,
        };
        // Made ahead, it was so on all processors.
        let ahead = ahead.filter(|_| limited.in_force().processors.is_none());
        let start = || match ahead {
            Some(ahead) => runtime::start_ahead(&launch, ahead),
            None => runtime::start(&launch),
        };
        let starting = limited.in_force().on_its_processors(start)??;
        clock.lap("clone");
        write_pid_file(request.pid_file.as_deref(), starting.pid())?;
        write_pid_file(request.keeper_pid_file.as_deref(), rustix::process::getpid())?;
        let in_force = limited.in_force().clone();
        let links = network.as_ref().map_or_else(Vec::new, Options::plans);
        let published =
            network.as_ref().map_or_else(Vec::new, |network| network.publications.list.clone());
        let state = State::Running {
            process: Instance::of(starting.pid().as_raw_nonzero().get()).unwrap_or(GONE),
            started: now(),
        };
        let keeper = Instance::own().map(|process| Keeper { process, monitor: manner.monitor });
        if manner.known.is_some() {
            let restarts = record.restarts;
            record = directory.edit(|record| {
                (record.state, record.keeper, record.restarts) = (state, keeper, restarts);
                (record.links, record.ports) = (links, published);
                record.in_force = in_force;
            })?;
        } else {
            (record.state, record.keeper, record.in_force) = (state, keeper, in_force);
            (record.links, record.ports) = (links, published);
            directory.write(&record)?;
        }
        drop(hold);
        if manner.known.is_none() {
            request.write_cidfile(&directory.id)?;
        }
        clock.lap("written down");
        let mut is_clear = false;
        let mut clear = || {
            if !std::mem::replace(&mut is_clear, true) {
                self.containers.clear_husks();
            }
        };
        let running = starting.finish_with(&mut clear).map_err(|error| explain(error, &image))?;
        clock.lap("set up");
        // Its program runs by now: it need not wait for who tells of it.
        self.emit(&self.begun(&record, manner.known.is_none(), !request.detach));
        clock.lap("event");
        clear();
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
        // Others may take its volumes over.
        if !request.remove || !prepared.settled.points.is_empty() {
            directory.keep(&self.creation(request, &prepared))?;
        }
        if !request.remove {
            let subject = prepared.subject(request, &directory.id, directory.name.as_str());
            let log = Log::open(&request.log, &directory.path, &subject);
            tap = Some(log.map_err(|source| Error::Log { source })?).filter(Log::is_kept);
        }
        let signals = Signals::hold()?;
        let Streams { stdin, stdout, stderr } = request.attach;
        let attachment = Attachment {
            tapped: tap.is_some(),
            apart: [!stdin, !stdout, !stderr],
            preserved: request.preserved.count,
            kept_descriptors: request.preserved.numbers.clone(),
            ..Attachment::default()
        };
        let manner = Manner { attachment, ..Manner::default() };
        let Launched { running, record, limited, mut clock } =
            self.launch(request, prepared, directory, manner)?;
        let attendance = Attendance {
            leaves: false,                      // it would not live on without this process
            detach_keys: DetachKeys::default(), // without a monitor it does not live on
            deadline: request.timeout.map(|timeout| Instant::now() + timeout),
        };
        let tapped = tap.as_mut().map(|log| log as &mut dyn Tap);
        let mut away = None;
        let mut take_away = || {
            if request.remove && away.is_none() {
                away = Some(self.take_away(&record, directory));
            }
        };
        let parting = runtime::supervise(running, &signals, &attendance, tapped, &mut take_away)?;
        let exit = match parting {
            Parting::Ended(exit) => exit,
            Parting::Left(signal) => Exit::Signal(signal),
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
        take_away();
        let oom = out_of_memory.is_some();
        let code = if let Some(away) = away.transpose()? {
            let code = exit_code(away.stop_signal, exit);
            container::tell_exit(&away.path, code)?;
            let removed = self.remove_anonymous(&record);
            if !away.is_hollow && !container::hollow_out(&away.path) {
                self.remove_tree(&away.path)?;
            }
            removed?;
            self.emit(&self.told_of_end(&away.last, code, oom, true));
            code
        } else {
            let code = exit_code(directory.stop_signal(), exit);
            let told = self.ended(&record, code, oom, false);
            directory.end(code, oom)?;
            self.emit(&told);
            code
        };
        if request.remove_image {
            self.remove_image_of(&record)?;
        }
        clock.lap("end");
        let (id, phases) = (directory.id.clone(), clock.phases);
        Ok(Outcome { id, code: Some(code), out_of_memory, phases })
    }
}

/// A container's directory on its way out.
#[derive(Debug)]
struct Away {
    /// Where it is now.
    path: PathBuf,
    /// The record as it was in the end.
    last: Record,
    stop_signal: Option<u8>,
    /// Whether empty directories are all that is left.
    is_hollow: bool,
}

impl Engine {
    /// Moves a container's directory out of sight, of which no process runs any more. Who waits for the
    /// container has yet to be told.
    fn take_away(&self, record: &Record, directory: &Directory) -> Result<Away, Error> {
        let last = match directory.is_edited() {
            true => self.containers.reread(record).ok().flatten(),
            false => None,
        };
        let last = last.unwrap_or_else(|| record.clone());
        let stop_signal = directory.stop_signal();
        let path = self.containers.detach_own(directory)?;
        let is_hollow = container::hollow_out(&path);
        Ok(Away { path, last, stop_signal, is_hollow })
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
    /// Whether the container lives on without whom it is started by: others stay with it then.
    pub(super) fn lives_on(&self) -> bool {
        // Whose signals are not for the container may end by them.
        self.detach || self.restart != Restart::No || !self.sig_proxy
    }

    /// Whether the container's input ends with that of whom it is started for.
    pub(super) fn stdin_once(&self) -> bool {
        self.container.interactive && self.attach.stdin && !self.detach
    }

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

/// Writes a pid where it was asked for, by rename: who waits for the file finds it whole.
fn write_pid_file(path: Option<&Path>, pid: rustix::process::Pid) -> Result<(), Error> {
    let Some(path) = path else { return Ok(()) };
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    let new = path.with_file_name(name);
    let written = std::fs::write(&new, format!("{}\n", pid.as_raw_nonzero()));
    written.and_then(|()| std::fs::rename(&new, path)).map_err(|source| Error::Io {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

impl Engine {
    /// The events of a container's start; of one that is new it is told here that it was made.
    fn begun(&self, record: &Record, is_new: bool, attached: bool) -> Vec<Event> {
        let mut events = Vec::with_capacity(3);
        if is_new {
            events.push(Event::of_container("create", record));
            if attached {
                events.push(Event::of_container("attach", record));
            }
        }
        events.extend(self.told_of_networks("connect", record));
        events.push(Event::of_container("start", record));
        events
    }

    /// The events of a run's end, of which `record` was the record; another command may have changed
    /// its name and networks. Nothing where there was no run.
    pub(super) fn ended(&self, record: &Record, code: u8, oom: bool, removed: bool) -> Vec<Event> {
        let now = self.containers.reread(record).ok().flatten();
        self.told_of_end(now.as_ref().unwrap_or(record), code, oom, removed)
    }

    /// The same of the record as it was in the end.
    fn told_of_end(&self, record: &Record, code: u8, oom: bool, removed: bool) -> Vec<Event> {
        let State::Running { started, .. } = &record.state else { return Vec::new() };
        let mut events = Vec::with_capacity(3);
        if oom {
            events.push(Event::of_container("oom", record));
        }
        let mut die = Event::of_container("die", record).with("exitCode", code.to_string());
        if let Ok(started) = started.parse::<jiff::Timestamp>() {
            let ran_s = jiff::Timestamp::now().duration_since(started).as_secs();
            die = die.with("execDuration", ran_s.to_string());
        }
        events.push(die);
        events.extend(self.told_of_networks("disconnect", record));
        if removed {
            events.push(Event::of_container("destroy", record));
        }
        events
    }
}

/// The exit code of a run. A SIGKILL that a user's `stop` had to send in place of another signal
/// counts as that one.
pub(super) fn exit_code(stop_signal: Option<u8>, exit: Exit) -> u8 {
    match exit {
        Exit::Signal(libc::SIGKILL) => {
            stop_signal.map_or(exit.code(), |signal| signal.saturating_add(128))
        }
        _ => exit.code(),
    }
}

/// Makes the root's directories; a copy's files have owners that only the namespace's root can give.
fn prepare_root(prepared: &Prepared, directory: &Directory) -> Result<(), Error> {
    let Prepared { driver, ids, store_ids, layers, spec, .. } = prepared;
    let shifted = *driver == Driver::Copy && ids.is_shifted();
    let prepare = || -> Result<(), snapshot::Error> {
        let share = spec.root_read_only && !shifted;
        let layers = if is_foreign(prepared) { &[] } else { layers.as_slice() };
        snapshot::prepare(*driver, layers, &directory.path, share)?;
        if shifted {
            // A file's id in the image is the same id of the container, another one in here.
            let shift = Shift {
                user: &|id| ids.user_in(store_ids, id),
                group: &|id| ids.group_in(store_ids, id),
            };
            snapshot::shift(&directory.path.join("rootfs"), &shift)?;
        }
        Ok(())
    };
    match (driver, &store_ids.mode) {
        (Driver::Copy, userns::Mode::Range { .. }) => {
            let what = "copy the image's files";
            super::containers::as_owner(store_ids, what, || {
                prepare().map_err(|error| error.to_string())
            })
        }
        _ => Ok(prepare()?),
    }
}

/// Whether the root is a directory of another user's, whose owner nothing of this one's can have.
fn is_foreign(prepared: &Prepared) -> bool {
    use std::os::unix::fs::MetadataExt;
    let Prepared { driver, image, layers, .. } = prepared;
    let caller = rustix::process::geteuid().as_raw();
    let owned = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|it| it.uid() == caller);
    driver.has_upper() && image.layers.is_empty() && !layers.iter().all(owned)
}

/// What one id, or a map of the user's own, does not hold cannot be anybody's.
fn check_user(user: &User, ids: &IdMaps, joins: bool) -> Result<(), Error> {
    if ids.emulated {
        return Ok(());
    }
    if ids.maps_uid(user.uid) && ids.maps_gid(user.gid) {
        let unmapped = user.groups.iter().find(|gid| !ids.maps_gid(**gid));
        return match unmapped.filter(|_| ids.may_set_groups()) {
            None => Ok(()),
            Some(gid) => Err(Error::UnmappedGroup {
                gid: *gid,
                groups: userns::inside(&ids.gids),
                reason: ids.reason.clone(),
            }),
        };
    }
    let all = |extents: &[userns::Extent]| {
        extents.iter().map(|extent| u64::from(extent.count)).sum::<u64>()
    };
    let first = |extents: &[userns::Extent]| extents.first().map_or(0, |extent| extent.inside);
    Err(Error::UnmappedUser {
        uid: user.uid,
        gid: user.gid,
        count: all(&ids.uids),
        reason: if joins { "those of whom it joins".to_owned() } else { ids.reason.clone() },
        joined: joins.then(|| (first(&ids.uids), first(&ids.gids))),
    })
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
        SeccompChoice::Default => Ok(Some(Profile::Default)),
        SeccompChoice::Json(text) => Ok(Some(Profile::Own(Rules::from_json(text.as_bytes())?))),
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

pub(super) fn write_files(directory: &Path, etc: &EtcFiles) -> Result<(), Error> {
    let texts =
        [("hosts", &etc.hosts), ("hostname", &etc.hostname), ("resolv.conf", &etc.resolv_conf)];
    let texts = texts.map(|(name, text)| (name, text.as_bytes()));
    let zone = etc.localtime.as_ref().map(|zone| ("localtime", zone.as_slice()));
    for (name, text) in texts.into_iter().chain(zone) {
        let path = directory.join(name);
        std::fs::write(&path, text).map_err(|source| Error::Io {
            action: "write",
            path,
            source,
        })?;
    }
    Ok(())
}
