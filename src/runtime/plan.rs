//! The plan of a launch: everything the child needs, made before the fork.

use std::ffi::{CString, NulError};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Error;
use super::label::{self, Label};
use super::seccomp::{Profile, Program};
use super::target::Target;
use crate::bundle::capabilities::CapabilitySet;
use crate::bundle::{ContainerSpec, Network, Resource, SeccompChoice};
use crate::mount::{Attributes, Kind, Mount, Propagation, RootMount};
use crate::sys::exec::CStrings;
use crate::userns::IdMaps;

/// What the child does, in its own terms.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // each a step of its own
pub(super) struct Plan {
    pub(super) root: RootStep,
    pub(super) mounts: Vec<MountStep>,
    pub(super) links: Vec<(Target, CString)>,
    pub(super) volumes: Vec<Target>,
    pub(super) masked: Vec<Target>,
    pub(super) read_only: Vec<Target>,
    pub(super) seal_root: bool,
    /// How a masked file is covered.
    pub(super) null: MountStep,
    pub(super) hostname: Vec<u8>,
    pub(super) loopback: bool,
    pub(super) limits: Vec<Limit>,
    pub(super) cwd: Target,
    pub(super) identity: Identity,
    pub(super) capabilities: CapabilitySet,
    pub(super) no_new_privileges: bool,
    pub(super) seccomp: Option<Program>,
    pub(super) labels: Vec<Label>,
    pub(super) own_sockets: bool,
    pub(super) terminal: bool,
    pub(super) init: bool,
    pub(super) exec: Exec,
}

/// The root file system.
#[derive(Debug)]
pub(super) struct RootStep {
    pub(super) layers: Layers,
    /// A directory that the root is mounted over, in the container's namespace only.
    pub(super) mount_point: CString,
}

/// What the root is made of.
#[derive(Debug)]
pub(super) enum Layers {
    Overlay { lowers: Vec<CString>, upper: CString, work: CString, volatile: bool },
    Directory(CString),
}

/// One mount below the root.
#[derive(Debug)]
pub(super) struct MountStep {
    pub(super) target: Target,
    pub(super) source: Source,
    pub(super) attributes: Attributes,
    /// Whether a missing target is made.
    pub(super) create: bool,
    /// Whether the container can do without: no cgroup directory, a kernel without mqueue.
    pub(super) optional: bool,
}

/// Where a mount comes from.
#[derive(Debug)]
pub(super) enum Source {
    Bind {
        path: CString,
        recursive: bool,
        propagation: Propagation,
        /// The device number that the node must have.
        device: Option<u64>,
    },
    Tmpfs {
        options: Vec<(CString, CString)>,
    },
    Proc,
    Sysfs,
    Devpts {
        options: Vec<(CString, CString)>,
    },
    Mqueue,
    Cgroup,
}

/// A resource limit in the kernel's numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) resource: u32,
    pub(super) soft: u64,
    pub(super) hard: u64,
}

/// As whom the program runs.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// `None` where the namespace may not call setgroups(2): one id only.
    pub(super) groups: Option<Vec<u32>>,
    /// Whether the namespace has a root to set things up as.
    pub(super) has_root: bool,
}

/// The program: each path to try, arguments, environment.
#[derive(Debug)]
pub(super) struct Exec {
    pub(super) candidates: Vec<CString>,
    pub(super) arguments: CStrings,
    pub(super) environment: CStrings,
}

impl Plan {
    /// Translates a specification. Pure: nothing is opened, nothing is done.
    pub(super) fn new(
        spec: &ContainerSpec,
        ids: &IdMaps,
        profile: Option<&Profile>,
        volatile: bool,
    ) -> Result<Self, Error> {
        let program = match (&spec.seccomp, profile) {
            (SeccompChoice::Unconfined, _) | (_, None) => None,
            (_, Some(profile)) => Some(profile.compile(spec.capabilities)?),
        };
        Ok(Self {
            root: root_step(&spec.root, volatile)?,
            mounts: spec
                .mounts
                .iter()
                .map(|mount| mount_step(mount, ids))
                .collect::<Result<_, _>>()?,
            links: spec
                .links
                .iter()
                .map(|(path, target)| Ok((Target::new(path)?, CString::new(*target)?)))
                .collect::<Result<_, NulError>>()?,
            volumes: targets(&spec.volumes)?,
            masked: targets(&spec.masked_paths)?,
            read_only: targets(&spec.read_only_paths)?,
            seal_root: spec.root_read_only,
            null: mount_step(&null_device(), ids)?,
            hostname: spec.hostname.clone().into_bytes(),
            loopback: spec.network == Network::None,
            limits: spec
                .process
                .limits
                .iter()
                .map(|limit| Limit {
                    resource: number(limit.resource),
                    soft: limit.soft,
                    hard: limit.hard,
                })
                .collect(),
            cwd: Target::new(&spec.process.cwd)?,
            identity: identity(spec, ids),
            capabilities: spec.capabilities,
            no_new_privileges: spec.no_new_privileges,
            seccomp: program,
            labels: label::plan(&spec.security_labels)?,
            own_sockets: spec.own_sockets,
            terminal: spec.process.terminal,
            init: spec.init,
            exec: exec(spec)?,
        })
    }
}

fn targets(paths: &[PathBuf]) -> Result<Vec<Target>, NulError> {
    paths.iter().map(|path| Target::new(path)).collect()
}

fn c_path(path: &Path) -> Result<CString, NulError> {
    CString::new(path.as_os_str().as_bytes())
}

fn root_step(root: &RootMount, volatile: bool) -> Result<RootStep, NulError> {
    let (layers, mount_point) = match root {
        RootMount::Overlay { lowers, upper, work } => {
            let lowers = lowers.iter().map(|path| c_path(path)).collect::<Result<_, _>>()?;
            let (upper, work) = (c_path(upper)?, c_path(work)?);
            // Hides nothing that a later mount could want as its source.
            let mount_point = upper.clone();
            (Layers::Overlay { lowers, upper, work, volatile }, mount_point)
        }
        RootMount::Directory(path) => (Layers::Directory(c_path(path)?), c_path(path)?),
    };
    Ok(RootStep { layers, mount_point })
}

fn null_device() -> Mount {
    Mount {
        target: "/dev/null".into(),
        kind: Kind::Bind {
            source: "/dev/null".into(),
            recursive: false,
            propagation: Propagation::Private,
        },
        attributes: Attributes::default(),
    }
}

fn mount_step(mount: &Mount, ids: &IdMaps) -> Result<MountStep, NulError> {
    let source = match &mount.kind {
        Kind::Bind { source, recursive, propagation } => Source::Bind {
            path: c_path(source)?,
            recursive: *recursive,
            propagation: *propagation,
            device: device_number(source),
        },
        Kind::Tmpfs { size, mode } => {
            let mut options = vec![option("mode", &format!("{mode:o}"))?];
            if let Some(size) = size {
                options.push(option("size", &size.to_string())?);
            }
            Source::Tmpfs { options }
        }
        Kind::Proc => Source::Proc,
        Kind::Sysfs => Source::Sysfs,
        Kind::Devpts => {
            let mut options = vec![option("ptmxmode", "0666")?, option("mode", "0620")?];
            // Terminals belong to group tty, which is 5 everywhere, where that group exists.
            if ids.maps_gid(TTY) {
                options.push(option("gid", &TTY.to_string())?);
            }
            Source::Devpts { options }
        }
        Kind::Mqueue => Source::Mqueue,
        Kind::Cgroup => Source::Cgroup,
    };
    let optional = matches!(mount.kind, Kind::Cgroup | Kind::Mqueue);
    Ok(MountStep {
        target: Target::new(&mount.target)?,
        source,
        attributes: mount.attributes,
        create: !matches!(mount.kind, Kind::Cgroup),
        optional,
    })
}

const TTY: u32 = 5;

fn option(key: &str, value: &str) -> Result<(CString, CString), NulError> {
    Ok((CString::new(key)?, CString::new(value)?))
}

/// The numbers of the nodes that every container gets (Documentation/admin-guide/devices.txt).
fn device_number(path: &Path) -> Option<u64> {
    let minor = match path.to_str()? {
        "/dev/null" => 3,
        "/dev/zero" => 5,
        "/dev/full" => 7,
        "/dev/random" => 8,
        "/dev/urandom" => 9,
        "/dev/tty" => return Some(rustix::fs::makedev(5, 0)),
        _ => return None,
    };
    Some(rustix::fs::makedev(1, minor))
}

fn identity(spec: &ContainerSpec, ids: &IdMaps) -> Identity {
    let user = &spec.process.user;
    Identity {
        uid: user.uid,
        gid: user.gid,
        groups: ids.may_set_groups().then(|| user.groups.clone()),
        has_root: ids.maps_uid(0) && ids.maps_gid(0),
    }
}

fn exec(spec: &ContainerSpec) -> Result<Exec, NulError> {
    let process = &spec.process;
    let name = process.args[0].as_bytes();
    let candidates = if name.contains(&b'/') {
        vec![CString::new(name)?]
    } else {
        let path = process.env.iter().find_map(|pair| pair.as_bytes().strip_prefix(b"PATH="));
        path.unwrap_or_default()
            .split(|byte| *byte == b':')
            .map(|directory| {
                // An empty entry is the working directory (environ(7)).
                let directory = if directory.is_empty() { b"." } else { directory };
                CString::new([directory, b"/", name].concat())
            })
            .collect::<Result<_, _>>()?
    };
    Ok(Exec {
        candidates,
        arguments: CStrings::new(&process.args)?,
        environment: CStrings::new(&process.env)?,
    })
}

fn number(resource: Resource) -> u32 {
    match resource {
        Resource::As => libc::RLIMIT_AS,
        Resource::Core => libc::RLIMIT_CORE,
        Resource::Cpu => libc::RLIMIT_CPU,
        Resource::Data => libc::RLIMIT_DATA,
        Resource::Fsize => libc::RLIMIT_FSIZE,
        Resource::Locks => libc::RLIMIT_LOCKS,
        Resource::Memlock => libc::RLIMIT_MEMLOCK,
        Resource::Msgqueue => libc::RLIMIT_MSGQUEUE,
        Resource::Nice => libc::RLIMIT_NICE,
        Resource::Nofile => libc::RLIMIT_NOFILE,
        Resource::Nproc => libc::RLIMIT_NPROC,
        Resource::Rss => libc::RLIMIT_RSS,
        Resource::Rtprio => libc::RLIMIT_RTPRIO,
        Resource::Rttime => libc::RLIMIT_RTTIME,
        Resource::Sigpending => libc::RLIMIT_SIGPENDING,
        Resource::Stack => libc::RLIMIT_STACK,
    }
}
