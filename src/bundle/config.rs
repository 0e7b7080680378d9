//! `config.json` to a `ContainerSpec` (runtime-spec 1.2, config.md and config-linux.md).
//!
//! Every field is honoured or refused by name; what the specification does not know is ignored, as it
//! asks for.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use oci_spec::runtime as oci;

use super::capabilities::{Capabilities, CapabilitySet};
use super::mount_options::{self, Parsed};
use super::specify::{DOMAIN_NAME, check_sysctls, dotted};
use super::tuning::{self, IO_CLASSES, POLICIES, SCHEDULER_FLAGS};
use super::{
    Clocks, ContainerSpec, Error, Hook, Hooks, Joined, Labels, Namespace, Namespaces, NsKind,
    Process, Resource, Scheduler, SeccompChoice, Time, Tuning, Ulimit, User, defaults,
};
use crate::cgroup::Resources;
use crate::diagnose::{Diagnose, Hint};
use crate::mount::{Attributes, Kind, Mount, Propagation, RootMount};

/// What a bundle says.
#[derive(Debug)]
pub struct Config {
    /// The container.
    pub spec: ContainerSpec,
    /// `linux.uidMappings`: inside, outside, count.
    pub uids: Vec<(u32, u32, u32)>,
    /// `linux.gidMappings`
    pub gids: Vec<(u32, u32, u32)>,
    /// The binds whose files have other ids in the container.
    pub id_mapped: Vec<IdMapped>,
    /// Capabilities that no kernel known here has: they are left out, and told of (config.md, "Linux Process").
    pub unknown: Vec<String>,
}

/// A bind mount with ids of its own (runtime-spec, config.md, "Mounts": `uidMappings`, `gidMappings`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMapped {
    /// Where it is mounted.
    pub target: PathBuf,
    /// Ids of the files, ids that they are shown as on the host, how many; the container's own map where
    /// there are none.
    pub uids: Vec<(u32, u32, u32)>,
    /// The same of groups.
    pub gids: Vec<(u32, u32, u32)>,
    /// Whether the mounts below it are mapped too.
    pub recursive: bool,
}

/// Why a bundle cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not JSON, or not of the specification's form.
    #[error("invalid config.json: {0}")]
    Json(#[from] serde_json::Error),
    /// A value that means nothing.
    #[error("config.json: {field}: {why}")]
    Invalid {
        /// Which field.
        field: String,
        /// What is wrong.
        why: String,
    },
    /// A field that cannot be honoured here.
    #[error("config.json: {field} cannot be honoured: {why}")]
    Refused {
        /// Which field.
        field: String,
        /// Why not.
        why: String,
    },
    /// A namespace that cannot be opened.
    #[error("cannot open the namespace {}: {source}", path.display())]
    Namespace {
        /// Its file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The parts do not make a container.
    #[error(transparent)]
    Spec(#[from] Error),
}

impl Diagnose for ConfigError {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Spec(Error::ForeignSysctl { kind, .. }) => Some(Hint::new(match kind {
                Some(kind) => format!(
                    "a new one: {{\"type\": \"{}\"}}, without a path, in linux.namespaces of config.json",
                    kind.spec_name()
                ),
                None => "take it out of linux.sysctl in config.json".to_owned(),
            })),
            Self::Spec(error) => error.hint(),
            Self::Json(_)
            | Self::Invalid { .. }
            | Self::Refused { .. }
            | Self::Namespace { .. } => None,
        }
    }
}

fn invalid(field: impl Into<String>, why: impl Into<String>) -> ConfigError {
    ConfigError::Invalid { field: field.into(), why: why.into() }
}

fn refused(field: impl Into<String>, why: impl Into<String>) -> ConfigError {
    ConfigError::Refused { field: field.into(), why: why.into() }
}

/// Opens a namespace's file; `None` where it is the caller's own, which is as good as not listed.
type Open<'a> = &'a dyn Fn(&Path) -> io::Result<Option<Joined>>;

/// Reads the `config.json` of the bundle in the directory `bundle`.
pub fn read_config(bytes: &[u8], bundle: &Path, open: Open<'_>) -> Result<Config, ConfigError> {
    let mut config: serde_json::Value = serde_json::from_slice(bytes)?;
    let unknown = config.get_mut("process").map(take_unknown).unwrap_or_default();
    let config: oci::Spec = serde_json::from_value(config)?;
    check_version(config.version())?;
    for (field, there) in [
        ("solaris", config.solaris().is_some()),
        ("windows", config.windows().is_some()),
        ("vm", config.vm().is_some()),
        ("zos", config.zos().is_some()),
    ] {
        if there {
            return Err(refused(field, "this is Linux"));
        }
    }
    let root = config.root().as_ref().ok_or_else(|| invalid("root", "it is missing"))?;
    let process = config.process().as_ref().ok_or_else(|| invalid("process", "it is missing"))?;
    let linux = config.linux().clone().unwrap_or_default();
    let namespaces = namespaces(&linux, open)?;
    check_linux(&linux)?;
    let mounts = mounts(config.mounts().as_deref().unwrap_or_default(), bundle, &linux)?;
    let path = bundle.join(root.path());
    let text = |paths: &Option<Vec<String>>| -> Vec<PathBuf> {
        paths.iter().flatten().map(PathBuf::from).collect()
    };
    let owns_names = namespaces[NsKind::Uts] == Namespace::New;
    for (field, name) in [("hostname", config.hostname()), ("domainname", config.domainname())] {
        if name.as_ref().is_some_and(|name| !name.is_empty()) && !owns_names {
            return Err(invalid(field, "it takes a new uts namespace"));
        }
    }
    let sysctls = linux.sysctl().clone().unwrap_or_default().into_iter();
    let mut sysctls: BTreeMap<String, String> =
        sysctls.map(|(name, value)| (dotted(&name), value)).collect();
    check_sysctls(sysctls.keys(), &namespaces)?;
    let spec = ContainerSpec::builder(RootMount::Directory(path), read_process(process)?)
        .with(|spec| {
            spec.links = links(&mounts);
            spec.mounts = mounts;
            spec.root_read_only = root.readonly().unwrap_or(false);
            spec.namespaces = namespaces;
            spec.masked_paths = text(linux.masked_paths());
            spec.read_only_paths = text(linux.readonly_paths());
            spec.hostname = config.hostname().clone().filter(|name| !name.is_empty());
            let domainname = sysctls.remove(DOMAIN_NAME);
            spec.domainname =
                config.domainname().clone().filter(|name| !name.is_empty()).or(domainname);
            spec.sysctls = sysctls;
            spec.annotations =
                config.annotations().clone().unwrap_or_default().into_iter().collect();
        })
        .with(|spec| spec.seccomp = SeccompChoice::Unconfined);
    let seccomp = linux.seccomp().as_ref().map(serde_json::to_string).transpose()?;
    let propagation = root_propagation(linux.rootfs_propagation().as_deref())?;
    let hooks = config.hooks().as_ref().map(hooks).transpose()?.unwrap_or_default();
    let time = read_time(&linux, open)?;
    let personality = linux.personality().as_ref().map(read_personality).transpose()?;
    let spec = spec.with(|spec| {
        spec.resources = linux.resources().as_ref().map(Resources::from_spec).unwrap_or_default();
        spec.cgroups_path = linux.cgroups_path().clone().filter(|path| path != Path::new(""));
        if let Some(text) = seccomp {
            spec.seccomp = SeccompChoice::Json(text);
        }
        spec.root_propagation = propagation;
        spec.time = time;
        spec.process.tuning.personality = personality;
        spec.hooks = hooks;
    });
    Ok(Config {
        spec: spec.build()?,
        uids: extents(linux.uid_mappings().as_deref()),
        gids: extents(linux.gid_mappings().as_deref()),
        id_mapped: id_mapped(config.mounts().as_deref().unwrap_or_default())?,
        unknown,
    })
}

fn extents(maps: Option<&[oci::LinuxIdMapping]>) -> Vec<(u32, u32, u32)> {
    let extent = |map: &oci::LinuxIdMapping| (map.container_id(), map.host_id(), map.size());
    maps.into_iter().flatten().map(extent).collect()
}

fn id_mapped(listed: &[oci::Mount]) -> Result<Vec<IdMapped>, ConfigError> {
    let mut all = Vec::new();
    for mount in listed {
        let target = mount.destination();
        let field = || format!("mounts ({})", target.display());
        let options = mount.options().as_deref().unwrap_or_default();
        let parsed = mount_options::read(options).map_err(|why| invalid(field(), why))?;
        let uids = extents(mount.uid_mappings().as_deref());
        let gids = extents(mount.gid_mappings().as_deref());
        if uids.is_empty() != gids.is_empty() {
            return Err(invalid(field(), "uidMappings and gidMappings go together"));
        }
        if parsed.id_map.is_none() && uids.is_empty() {
            continue;
        }
        // As runc has it: a file system of the container's own has its ids already.
        if !parsed.bind && mount.typ().as_deref() != Some("bind") {
            return Err(invalid(field(), "only a bind mount has ids of its own"));
        }
        let recursive = parsed.id_map == Some(true);
        all.push(IdMapped { target: target.clone(), uids, gids, recursive });
    }
    Ok(all)
}

fn check_version(version: &str) -> Result<(), ConfigError> {
    let major = version.split('.').next().unwrap_or_default();
    if major == "1" {
        Ok(())
    } else {
        Err(invalid("ociVersion", format!("{version:?} is not 1.x")))
    }
}

/// Reads a `process` object, an exec's, and which capabilities in it are unknown.
pub fn read_process_json(bytes: &[u8]) -> Result<(Process, Vec<String>), ConfigError> {
    let mut process: serde_json::Value = serde_json::from_slice(bytes)?;
    let unknown = take_unknown(&mut process);
    Ok((read_process(&serde_json::from_value(process)?)?, unknown))
}

fn read_process(process: &oci::Process) -> Result<Process, ConfigError> {
    let other_machine = process.command_line().is_some();
    if other_machine {
        return Err(refused("process.commandLine", "this is Linux"));
    }
    let named = |label: &Option<String>| {
        label.clone().filter(|name| !name.is_empty() && name != "unconfined")
    };
    let os = |texts: &Option<Vec<String>>| -> Vec<OsString> {
        texts.iter().flatten().map(OsString::from).collect()
    };
    let args = os(process.args());
    if args.is_empty() {
        return Err(invalid("process.args", "there is no program"));
    }
    if !process.cwd().is_absolute() {
        return Err(invalid("process.cwd", "it is not an absolute path"));
    }
    let env = os(process.env());
    check_variables(&env)?;
    let user = process.user();
    let limits = process.rlimits().iter().flatten().map(limit).collect::<Result<_, _>>()?;
    Ok(Process {
        args,
        env,
        cwd: process.cwd().clone(),
        user: User {
            uid: user.uid(),
            gid: user.gid(),
            groups: user.additional_gids().clone().unwrap_or_default(),
            home: PathBuf::from("/"),
        },
        terminal: process.terminal().unwrap_or(false),
        terminal_size: process.console_size().as_ref().map(terminal_size).transpose()?,
        interactive: true,
        limits,
        capabilities: process.capabilities().as_ref().map(capabilities).unwrap_or_default(),
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        umask: user.umask(),
        oom_score_adj: process.oom_score_adj(),
        labels: Labels {
            apparmor: named(process.apparmor_profile()),
            selinux: named(process.selinux_label()),
        },
        keep_groups: false,
        tuning: read_tuning(process)?,
        own_sockets: false,
    })
}

/// Each is NAME=VALUE, as runc has it: of one without a name a program knows nothing, and shells go on without it.
pub fn check_variables(env: &[OsString]) -> Result<(), ConfigError> {
    for variable in env {
        let is_named = variable.as_encoded_bytes().iter().position(|byte| *byte == b'=');
        if is_named.is_none_or(|length| length == 0) {
            let variable = variable.to_string_lossy();
            return Err(invalid("process.env", format!("{variable:?} is not NAME=VALUE")));
        }
    }
    Ok(())
}

/// `process.consoleSize`; with a size of 0, which engines write where nobody said one, none.
fn terminal_size(given: &oci::Box) -> Result<(u16, u16), ConfigError> {
    let number = |number: u64| {
        let why = || invalid("process.consoleSize", format!("{number} is too large"));
        u16::try_from(number).map_err(|_| why())
    };
    Ok((number(given.height())?, number(given.width())?))
}

fn read_tuning(process: &oci::Process) -> Result<Tuning, ConfigError> {
    let scheduler = process.scheduler().as_ref().map(read_scheduler).transpose()?;
    let io_priority = process.io_priority().as_ref().map(|priority| {
        let class = priority.class().to_string();
        let class = IO_CLASSES.iter().find(|(name, _)| *name == class);
        let (_, class) = class.ok_or_else(|| invalid("process.ioPriority", "unknown class"))?;
        let level = u16::try_from(priority.priority()).ok().filter(|level| *level < 8);
        let level = level.ok_or_else(|| invalid("process.ioPriority", "want 0 to 7"))?;
        Ok::<u16, ConfigError>(class << 13 | level)
    });
    let affinity = process.exec_cpu_affinity().as_ref();
    let cpus = |text: Option<&String>| -> Result<Vec<usize>, ConfigError> {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(Vec::new()) };
        let why = || format!("{text:?} is no list of processors");
        tuning::cpus(text).ok_or_else(|| invalid("process.execCPUAffinity", why()))
    };
    Ok(Tuning {
        scheduler,
        io_priority: io_priority.transpose()?,
        first_cpus: cpus(affinity.and_then(|it| it.initial().as_ref()))?,
        cpus: cpus(affinity.and_then(|it| it.cpu_affinity_final().as_ref()))?,
        personality: None,
    })
}

fn read_scheduler(given: &oci::Scheduler) -> Result<Scheduler, ConfigError> {
    let field = "process.scheduler";
    let name = given.policy().to_string();
    let policy = POLICIES.iter().find(|(policy, _)| *policy == name);
    let (_, policy) = policy.ok_or_else(|| invalid(field, format!("unknown policy {name}")))?;
    let mut flags = 0;
    for flag in given.flags().iter().flatten() {
        use oci::LinuxSchedulerFlag as Flag;
        flags |= match flag {
            Flag::SchedResetOnFork => SCHEDULER_FLAGS[0].1,
            Flag::SchedFlagReclaim => SCHEDULER_FLAGS[1].1,
            Flag::SchedFlagDLOverrun => SCHEDULER_FLAGS[2].1,
            Flag::SchedFlagKeepPolicy => SCHEDULER_FLAGS[3].1,
            Flag::SchedFlagKeepParams => SCHEDULER_FLAGS[4].1,
            Flag::SchedFlagUtilClampMin | Flag::SchedFlagUtilClampMax => {
                return Err(refused(field, "the specification has no place for a clamp's value"));
            }
        };
    }
    let priority = given.priority().unwrap_or(0);
    Ok(Scheduler {
        policy: *policy,
        flags,
        nice: given.nice().unwrap_or(0),
        priority: priority.try_into().map_err(|_| invalid(field, "its priority is below 0"))?,
        runtime_ns: given.runtime().unwrap_or(0),
        deadline_ns: given.deadline().unwrap_or(0),
        period_ns: given.period().unwrap_or(0),
    })
}

fn read_personality(given: &oci::LinuxPersonality) -> Result<u32, ConfigError> {
    // As runc has it: the specification names no flag, so there is none to honour.
    if given.flags().as_ref().is_some_and(|flags| !flags.is_empty()) {
        return Err(refused("linux.personality.flags", "the specification knows none"));
    }
    let domain = given.domain().to_string();
    tuning::personality(&domain)
        .ok_or_else(|| invalid("linux.personality", format!("unknown domain {domain}")))
}

/// The time namespace, and `linux.timeOffsets` for one of its own.
fn read_time(linux: &oci::Linux, open: Open<'_>) -> Result<Option<Time>, ConfigError> {
    let listed = linux.namespaces().iter().flatten();
    let mut own = listed.filter(|it| it.typ() == oci::LinuxNamespaceType::Time);
    let field = "linux.timeOffsets";
    let given = linux.time_offsets().as_ref().filter(|offsets| !offsets.is_empty());
    let Some(listed) = own.next() else {
        return match given {
            None => Ok(None),
            Some(_) => Err(invalid(field, "they take a new time namespace")),
        };
    };
    if own.next().is_some() {
        return Err(invalid("linux.namespaces", "time is listed twice"));
    }
    if let Some(path) = listed.path() {
        if given.is_some() {
            return Err(invalid(field, "they take a new time namespace"));
        }
        let opened = open(path);
        let source = |source| ConfigError::Namespace { path: path.clone(), source };
        return opened.map_err(source).map(|joined| joined.map(Time::Join));
    }
    let mut clocks = Clocks::default();
    for (name, offset) in given.into_iter().flatten() {
        let ahead = (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
        if ahead.1 >= 1_000_000_000 {
            return Err(invalid(field, "nanosecs is a second or more"));
        }
        match name.as_str() {
            "monotonic" => clocks.monotonic = Some(ahead),
            "boottime" => clocks.boottime = Some(ahead),
            _ => return Err(invalid(field, format!("there is no clock {name:?}"))),
        }
    }
    Ok(Some(Time::New(clocks)))
}

fn limit(limit: &oci::PosixRlimit) -> Result<Ulimit, ConfigError> {
    let name = limit.typ().to_string();
    let resource = Resource::from_spec_name(&name)
        .ok_or_else(|| invalid("process.rlimits", format!("there is no {name}")))?;
    if limit.soft() > limit.hard() {
        return Err(invalid("process.rlimits", format!("{name}: soft is above hard")));
    }
    Ok(Ulimit { resource, soft: limit.soft(), hard: limit.hard() })
}

fn named_capability(name: &str) -> Option<CapabilitySet> {
    match name.starts_with("CAP_") {
        true => CapabilitySet::named(name),
        false => CapabilitySet::named(&format!("CAP_{name}")),
    }
}

/// Takes capabilities that nobody has heard of from a process's sets.
fn take_unknown(process: &mut serde_json::Value) -> Vec<String> {
    let mut unknown = Vec::new();
    let sets = process.get_mut("capabilities").and_then(serde_json::Value::as_object_mut);
    for set in sets.into_iter().flat_map(serde_json::Map::values_mut) {
        let Some(names) = set.as_array_mut() else { continue };
        names.retain(|name| {
            let name = name.as_str().unwrap_or_default();
            let known = name.is_empty() || named_capability(name).is_some();
            if !known && !unknown.iter().any(|other| other == name) {
                unknown.push(name.to_owned());
            }
            known
        });
    }
    unknown
}

fn capabilities(sets: &oci::LinuxCapabilities) -> Capabilities {
    // One that this kernel does not know cannot be had: as runc has it, it is left out.
    let set = |names: &Option<oci::Capabilities>| {
        names.iter().flatten().fold(CapabilitySet::EMPTY, |set, one| {
            set.with(named_capability(&one.to_string()).unwrap_or_default())
        })
    };
    Capabilities {
        bounding: set(sets.bounding()),
        effective: set(sets.effective()),
        permitted: set(sets.permitted()),
        inheritable: set(sets.inheritable()),
        ambient: set(sets.ambient()),
    }
}

fn namespaces(linux: &oci::Linux, open: Open<'_>) -> Result<Namespaces, ConfigError> {
    let mut namespaces = Namespaces::default();
    for kind in NsKind::ALL {
        namespaces[kind] = Namespace::Host; // "inherited" unless listed
    }
    let mut mount = false;
    for listed in linux.namespaces().iter().flatten() {
        let name = listed.typ().to_string();
        let kind = match listed.typ() {
            oci::LinuxNamespaceType::Mount => {
                if let Some(path) = listed.path() {
                    let why = format!("its mounts are the container's own, not {}", path.display());
                    return Err(refused("linux.namespaces (mount)", why));
                }
                mount = true;
                continue;
            }
            oci::LinuxNamespaceType::User => NsKind::User,
            oci::LinuxNamespaceType::Pid => NsKind::Pid,
            oci::LinuxNamespaceType::Network => NsKind::Network,
            oci::LinuxNamespaceType::Ipc => NsKind::Ipc,
            oci::LinuxNamespaceType::Uts => NsKind::Uts,
            oci::LinuxNamespaceType::Cgroup => NsKind::Cgroup,
            // The process goes there by itself (`read_time`).
            oci::LinuxNamespaceType::Time => continue,
        };
        if namespaces[kind] != Namespace::Host {
            return Err(invalid("linux.namespaces", format!("{name} is listed twice")));
        }
        namespaces[kind] = match listed.path() {
            None => Namespace::New,
            Some(path) => {
                let opened = open(path);
                let source = |source| ConfigError::Namespace { path: path.clone(), source };
                opened.map_err(source)?.map_or(Namespace::Host, Namespace::Join)
            }
        };
    }
    if !mount {
        let why = "a container without a mount namespace would mount on the host";
        return Err(refused("linux.namespaces", why));
    }
    Ok(namespaces)
}

fn check_linux(linux: &oci::Linux) -> Result<(), ConfigError> {
    for (field, there, why) in [
        ("linux.intelRdt", linux.intel_rdt().is_some(), "resctrl takes root"),
        ("linux.memoryPolicy", linux.memory_policy().is_some(), "coracle does not set it"),
        ("linux.netDevices", linux.net_devices().is_some(), "moving a device takes root"),
        (
            "linux.mountLabel",
            linux.mount_label().as_deref().is_some_and(|label| !label.is_empty()),
            "labels of the host's security module are not set",
        ),
    ] {
        if there {
            return Err(refused(field, why));
        }
    }
    Ok(())
}

fn root_propagation(text: Option<&str>) -> Result<Option<Propagation>, ConfigError> {
    match text {
        None | Some("") => Ok(None),
        Some("private" | "rprivate") => Ok(Some(Propagation::Private)),
        Some("slave" | "rslave") => Ok(Some(Propagation::Slave)),
        Some("shared" | "rshared") => Ok(Some(Propagation::Shared)),
        Some("unbindable" | "runbindable") => Ok(Some(Propagation::Unbindable)),
        Some(other) => {
            Err(invalid("linux.rootfsPropagation", format!("{other:?} is no propagation")))
        }
    }
}

/// The mounts in their order, with the nodes of /dev behind it where it is a new one.
fn mounts(
    listed: &[oci::Mount],
    bundle: &Path,
    linux: &oci::Linux,
) -> Result<Vec<Mount>, ConfigError> {
    let mut mounts = Vec::new();
    for mount in listed {
        let made = read_mount(mount, bundle)?;
        let is_new_dev =
            made.target == Path::new("/dev") && !matches!(made.kind, Kind::Bind { .. });
        mounts.push(made);
        if is_new_dev {
            mounts.extend(defaults::devices());
        }
    }
    for device in linux.devices().iter().flatten() {
        let path = device.path();
        let kind = device.typ();
        if matches!(kind, oci::LinuxDeviceType::P) {
            return Err(refused(
                "linux.devices",
                format!("{}: a pipe is no device", path.display()),
            ));
        }
        mounts.retain(|mount| mount.target != *path);
        mounts.push(Mount {
            target: path.clone(),
            kind: Kind::Bind {
                source: path.clone(),
                recursive: false,
                propagation: Propagation::Private,
            },
            attributes: Attributes::default(),
            recursive_attributes: None,
        });
    }
    Ok(mounts)
}

fn links(mounts: &[Mount]) -> Vec<(PathBuf, PathBuf)> {
    let new_dev = mounts
        .iter()
        .any(|mount| mount.target == Path::new("/dev") && !matches!(mount.kind, Kind::Bind { .. }));
    let mounted = |path: &Path| mounts.iter().any(|mount| mount.target == path);
    match new_dev {
        true => defaults::links().into_iter().filter(|(path, _)| !mounted(path)).collect(),
        false => Vec::new(),
    }
}

fn read_mount(mount: &oci::Mount, bundle: &Path) -> Result<Mount, ConfigError> {
    let target = mount.destination().clone();
    let field = || format!("mounts ({})", target.display());
    if !target.is_absolute() {
        return Err(invalid(field(), "its destination is not an absolute path"));
    }
    let name = mount.typ().as_deref().unwrap_or_default();
    let options = mount.options().as_deref().unwrap_or_default();
    let parsed = mount_options::read(options).map_err(|why| invalid(field(), why))?;
    let Parsed {
        attributes, recursive_attributes, propagation, bind, recursive, copy_up, own, ..
    } = parsed;
    let source = mount.source().clone();
    let kind = if bind || name == "bind" {
        let source = source.ok_or_else(|| invalid(field(), "a bind mount without a source"))?;
        Kind::Bind {
            source: bundle.join(source),
            recursive: recursive || !bind,
            propagation: propagation.unwrap_or_default(),
        }
    } else {
        match name {
            "proc" if own.is_empty() => Kind::Proc,
            "sysfs" => Kind::Sysfs,
            "mqueue" => Kind::Mqueue,
            // What that is there is found out later; the other is version 2 on any host.
            "cgroup" => Kind::Cgroup,
            "" => return Err(invalid(field(), "it has no type")),
            _ => Kind::FileSystem {
                name: name.to_owned(),
                source: source.map(|source| source.display().to_string()),
                options: own,
                copy_up,
            },
        }
    };
    Ok(Mount { target, kind, attributes, recursive_attributes })
}

fn hooks(hooks: &oci::Hooks) -> Result<Hooks, ConfigError> {
    let list = |name: &str, hooks: &Option<Vec<oci::Hook>>| -> Result<Vec<Hook>, ConfigError> {
        hooks.iter().flatten().map(|hook| read_hook(name, hook)).collect()
    };
    // Deprecated, and there all the same.
    #[allow(deprecated)]
    let prestart = list("prestart", hooks.prestart())?;
    Ok(Hooks {
        prestart,
        create_runtime: list("createRuntime", hooks.create_runtime())?,
        create_container: list("createContainer", hooks.create_container())?,
        start_container: list("startContainer", hooks.start_container())?,
        poststart: list("poststart", hooks.poststart())?,
        poststop: list("poststop", hooks.poststop())?,
    })
}

fn read_hook(name: &str, hook: &oci::Hook) -> Result<Hook, ConfigError> {
    if !hook.path().is_absolute() {
        return Err(invalid(format!("hooks.{name}"), "its path is not absolute"));
    }
    let timeout = match hook.timeout() {
        None => None,
        Some(seconds) if seconds > 0 => Some(Duration::from_secs(seconds.unsigned_abs())),
        Some(_) => return Err(invalid(format!("hooks.{name}"), "its timeout is not above 0")),
    };
    let os = |texts: &Option<Vec<String>>| -> Vec<OsString> {
        texts.iter().flatten().map(OsString::from).collect()
    };
    Ok(Hook { path: hook.path().clone(), args: os(hook.args()), env: os(hook.env()), timeout })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn minimal() -> Value {
        json!({
            "ociVersion": "1.2.0",
            "root": {"path": "rootfs", "readonly": true},
            "process": {"user": {"uid": 5, "gid": 6}, "args": ["sh"], "cwd": "/"},
            "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
        })
    }

    fn read(value: &Value) -> Result<Config, ConfigError> {
        let none = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
        read_config(value.to_string().as_bytes(), Path::new("/bundle"), &none)
    }

    #[test]
    fn what_is_not_listed_is_the_callers() {
        let spec = read(&minimal()).expect("a config").spec;
        assert_eq!(spec.root, RootMount::Directory("/bundle/rootfs".into()));
        assert!(spec.root_read_only && spec.seccomp == SeccompChoice::Unconfined);
        assert_eq!(spec.namespaces.new_kinds().collect::<Vec<_>>(), [NsKind::Pid]);
        assert_eq!(
            (spec.process.user.uid, spec.process.capabilities),
            (5, Capabilities::default())
        );
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        for (pointer, value, word) in [
            (
                "/linux/personality",
                json!({"domain": "LINUX", "flags": ["X"]}),
                "linux.personality.flags",
            ),
            (
                "/linux/seccomp",
                json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_X"]}),
                "config.json",
            ),
            (
                "/linux/memoryPolicy",
                json!({"mode": "MPOL_DEFAULT", "nodes": "0"}),
                "linux.memoryPolicy",
            ),
            ("/linux/netDevices", json!({"eth0": {"name": "eth0"}}), "linux.netDevices"),
            (
                "/process/ioPriority",
                json!({"class": "IOPRIO_CLASS_BE", "priority": 9}),
                "process.ioPriority",
            ),
            (
                "/process/scheduler",
                json!({"policy": "SCHED_OTHER", "priority": -1}),
                "process.scheduler",
            ),
            ("/process/consoleSize", json!({"height": 70000, "width": 1}), "process.consoleSize"),
            ("/process/execCPUAffinity", json!({"initial": "3-1"}), "process"),
            ("/linux/intelRdt", json!({"closID": "a"}), "linux.intelRdt"),
            ("/linux/mountLabel", json!("x"), "linux.mountLabel"),
            ("/linux/timeOffsets", json!({"monotonic": {"secs": 1}}), "linux.timeOffsets"),
            (
                "/linux/namespaces",
                json!([{"type": "mount"}, {"type": "time", "path": "/proc/1/ns/time"}]),
                "/proc/1/ns/time",
            ),
            ("/linux/rootfsPropagation", json!("odd"), "linux.rootfsPropagation"),
            ("/linux/namespaces", json!([{"type": "pid"}]), "linux.namespaces"),
            ("/linux/namespaces/1/path", json!("/proc/1/ns/pid"), "/proc/1/ns/pid"),
            ("/process/args", json!([]), "process.args"),
            ("/process/cwd", json!("relative"), "process.cwd"),
            ("/process/env", json!(["A=b", "B"]), "process.env: \"B\" is not NAME=VALUE"),
            ("/process/env", json!(["=1"]), "process.env: \"=1\" is not"),
            ("/hostname", json!("box"), "hostname"),
            ("/ociVersion", json!("2.0.0"), "ociVersion"),
            ("/windows", json!({"layerFolders": []}), "windows"),
        ] {
            let mut config = minimal();
            let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
            match config.pointer_mut(parent).expect(parent) {
                Value::Object(map) => map.insert(name.to_owned(), value),
                other => panic!("{other}"),
            };
            let error = read(&config).expect_err(pointer).to_string();
            assert!(error.contains(word), "{pointer}: {error}");
        }
    }

    #[test]
    fn how_a_program_is_run_is_read() {
        let mut config = minimal();
        config["process"]["scheduler"] = json!({
            "policy": "SCHED_BATCH", "nice": 5, "flags": ["SCHED_RESET_ON_FORK"],
        });
        config["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE", "priority": 4});
        config["process"]["consoleSize"] = json!({"height": 33, "width": 101});
        config["process"]["execCPUAffinity"] = json!({"initial": "0-1", "final": "1"});
        config["linux"]["personality"] = json!({"domain": "LINUX32"});
        config["linux"]["namespaces"].as_array_mut().expect("a list").push(json!({"type": "time"}));
        config["linux"]["timeOffsets"] = json!({"boottime": {"secs": 60, "nanosecs": 7}});
        let spec = read(&config).expect("a config").spec;
        let tuning = &spec.process.tuning;
        let scheduler = tuning.scheduler.expect("a scheduler");
        assert_eq!((scheduler.policy, scheduler.nice, scheduler.flags), (3, 5, 1));
        assert_eq!(spec.process.terminal_size, Some((33, 101)));
        assert_eq!((tuning.io_priority, tuning.personality), (Some(3 << 13 | 4), Some(8)));
        assert_eq!((&tuning.first_cpus[..], &tuning.cpus[..]), (&[0, 1][..], &[1][..]));
        let clocks = Clocks { boottime: Some((60, 7)), monotonic: None };
        assert_eq!(spec.time, Some(Time::New(clocks)));
    }

    #[test]
    fn a_new_dev_gets_its_nodes_and_links() {
        let mut config = minimal();
        config["mounts"] = json!([
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "size=65536k", "tmpcopyup", "rro"]},
            {"destination": "/data", "source": "data", "options": ["rbind", "ro", "rslave"]},
        ]);
        let spec = read(&config).expect("a config").spec;
        let dev = &spec.mounts[0];
        let Kind::FileSystem { options, copy_up: true, .. } = &dev.kind else { panic!("{dev:?}") };
        assert_eq!(options, &["size=65536k"]);
        assert!(
            dev.attributes.no_suid && dev.recursive_attributes.is_some_and(|all| all.read_only)
        );
        assert!(spec.mounts.iter().any(|mount| mount.target == Path::new("/dev/null")));
        assert!(spec.links.iter().any(|(path, _)| path == Path::new("/dev/ptmx")));
        let data = spec.mounts.last().expect("data");
        let Kind::Bind { source, recursive: true, propagation: Propagation::Slave } = &data.kind
        else {
            panic!("{data:?}")
        };
        assert_eq!(source, Path::new("/bundle/data"));
    }
}
