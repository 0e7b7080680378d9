//! The plan of a launch: everything the child needs, made before the fork.

use std::collections::BTreeMap;
use std::ffi::{CString, NulError};
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Error;
use super::hooks::ChildHooks;
use super::program::ProgramPlan;
use super::seccomp::Profile;
use super::target::Target;
use crate::bundle::{self, Clocks, ContainerSpec, Joined, Namespace, NsKind, Time};
use crate::mount::{Attributes, Detached, Kind, Mount, Propagation, RootMount};
use crate::userns::IdMaps;

/// What the child does, in its own terms.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // each a fact of its own
pub(super) struct Plan {
    pub(super) root: RootStep,
    /// Files, and what is written to their end.
    pub(super) added: Vec<(Target, Vec<u8>)>,
    pub(super) interior: Interior,
    pub(super) seal_root: bool,
    pub(super) propagation: Option<Propagation>,
    pub(super) no_pivot: bool,
    /// Whether it sees its own control group as the root of all.
    pub(super) own_cgroups: bool,
    pub(super) hostname: Option<Vec<u8>>,
    pub(super) domainname: Option<Vec<u8>>,
    pub(super) loopback: bool,
    pub(super) time: Option<TimeStep>,
    pub(super) hooks: ChildHooks,
    pub(super) program: ProgramPlan,
}

/// What is below the root, in the order in which it is made.
#[derive(Debug)]
pub(super) struct Interior {
    pub(super) mounts: Vec<MountStep>,
    pub(super) links: Vec<(Target, CString)>,
    /// Files below the root, and what is written there.
    pub(super) sysctls: Vec<(Target, Vec<u8>)>,
    pub(super) masked: Vec<Target>,
    /// How a masked file is covered.
    pub(super) null: MountStep,
    pub(super) read_only: Vec<Target>,
    /// Mounts that are read-only once those on them are made.
    pub(super) sealed: Vec<Target>,
}

/// The time namespace to go into.
#[derive(Debug)]
pub(super) enum TimeStep {
    /// A new one, with this text in its `/proc/PID/timens_offsets`.
    New(String),
    Join(Joined),
}

/// The root file system.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RootStep {
    pub(super) layers: Layers,
    /// A directory that the root is mounted over, in the container's namespace only.
    pub(super) mount_point: CString,
}

/// What the root is made of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Layers {
    Overlay {
        lowers: Vec<CString>,
        data: Option<CString>,
        upper: CString,
        work: CString,
        volatile: bool,
    },
    Directory(CString),
    /// A server outside has the layers.
    Union,
}

/// One mount below the root.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MountStep {
    pub(super) target: Target,
    pub(super) source: Source,
    pub(super) attributes: Attributes,
    pub(super) recursive_attributes: Option<Attributes>,
    /// Whether a missing target is made.
    pub(super) create: bool,
    /// Whether the container can do without: no cgroup directory, a kernel without mqueue.
    pub(super) optional: bool,
}

/// A file system's own option: a key with its value, or alone.
pub(super) type MountOption = (CString, Option<CString>);

/// Where a mount comes from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    Bind {
        path: CString,
        recursive: bool,
        propagation: Propagation,
        /// The device number that the node must have.
        device: Option<u64>,
    },
    Beneath {
        directory: CString,
        path: CString,
    },
    Overlay {
        lowers: Vec<CString>,
        upper: CString,
        work: CString,
    },
    Tmpfs {
        options: Vec<MountOption>,
    },
    Proc,
    Sysfs,
    Devpts {
        options: Vec<MountOption>,
    },
    Mqueue,
    Cgroup,
    FileSystem {
        name: CString,
        options: Vec<MountOption>,
        copy_up: bool,
    },
    Detached(Detached),
}

impl Plan {
    /// Translates a specification. Pure: nothing is opened, nothing is done.
    pub(super) fn new(
        spec: &ContainerSpec,
        ids: &IdMaps,
        profile: Option<&Profile>,
        volatile: bool,
    ) -> Result<Self, Error> {
        Ok(Self {
            root: root_step(&spec.root, volatile)?,
            interior: Interior::new(&Wanted::from(spec), ids)?,
            added: spec
                .added
                .iter()
                .map(|added| Ok((Target::new(&added.path)?, added.text.clone().into_bytes())))
                .collect::<Result<_, NulError>>()?,
            seal_root: spec.root_read_only,
            propagation: spec.root_propagation,
            no_pivot: false,
            own_cgroups: spec.namespaces[NsKind::Cgroup] == Namespace::New,
            hostname: spec.hostname.clone().map(String::into_bytes),
            domainname: spec.domainname.clone().map(String::into_bytes),
            loopback: spec.namespaces[NsKind::Network] == Namespace::New,
            time: spec.time.as_ref().map(|time| match time {
                Time::New(ahead) => TimeStep::New(clocks(ahead)),
                Time::Join(joined) => TimeStep::Join(joined.clone()),
            }),
            hooks: ChildHooks::new(&spec.hooks)?,
            program: ProgramPlan::new(&spec.process, &spec.seccomp, spec.init, ids, profile)?,
        })
    }
}

/// What a specification, or a request alone, wants below the root.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    mounts: &'a [Mount],
    links: &'a [(PathBuf, PathBuf)],
    sysctls: &'a BTreeMap<String, String>,
    masked_paths: &'a [PathBuf],
    read_only_paths: &'a [PathBuf],
}

impl<'a> From<&'a ContainerSpec> for Wanted<'a> {
    fn from(spec: &'a ContainerSpec) -> Self {
        let ContainerSpec { mounts, links, sysctls, masked_paths, read_only_paths, .. } = spec;
        Self { mounts, links, sysctls, masked_paths, read_only_paths }
    }
}

impl<'a> From<&'a bundle::Interior> for Wanted<'a> {
    fn from(interior: &'a bundle::Interior) -> Self {
        let bundle::Interior { mounts, links, sysctls, masked_paths, read_only_paths } = interior;
        Self { mounts, links, sysctls, masked_paths, read_only_paths }
    }
}

impl Interior {
    /// Translates what is wanted.
    pub(super) fn new(wanted: &Wanted<'_>, ids: &IdMaps) -> Result<Self, NulError> {
        let has_tty = ids.maps_gid(TTY);
        let (mounts, sealed) = mount_steps(wanted.mounts, has_tty)?;
        let link = |(path, target): &(PathBuf, PathBuf)| Ok((Target::new(path)?, c_path(target)?));
        Ok(Self {
            mounts,
            sealed,
            links: wanted.links.iter().map(link).collect::<Result<_, NulError>>()?,
            sysctls: wanted.sysctls.iter().map(sysctl).collect::<Result<_, _>>()?,
            masked: targets(wanted.masked_paths)?,
            null: mount_step(&null_device(), has_tty)?,
            read_only: targets(wanted.read_only_paths)?,
        })
    }
}

/// The lines of `/proc/PID/timens_offsets` (time_namespaces(7)).
fn clocks(clocks: &Clocks) -> String {
    let mut text = String::new();
    for (name, ahead) in [("monotonic", clocks.monotonic), ("boottime", clocks.boottime)] {
        if let Some((seconds, nanoseconds)) = ahead {
            let _ = writeln!(text, "{name} {seconds} {nanoseconds}");
        }
    }
    text
}

/// `net.ipv4.ip_forward` is `/proc/sys/net/ipv4/ip_forward`; a slash stands for a dot of a name
/// (sysctl(8)).
fn sysctl((name, value): (&String, &String)) -> Result<(Target, Vec<u8>), NulError> {
    let path: String = name
        .chars()
        .map(|letter| match letter {
            '.' => '/',
            '/' => '.',
            letter => letter,
        })
        .collect();
    Ok((Target::new(&Path::new("/proc/sys").join(path))?, value.clone().into_bytes()))
}

fn targets(paths: &[PathBuf]) -> Result<Vec<Target>, NulError> {
    paths.iter().map(|path| Target::new(path)).collect()
}

fn c_path(path: &Path) -> Result<CString, NulError> {
    CString::new(path.as_os_str().as_bytes())
}

pub(super) fn root_step(root: &RootMount, volatile: bool) -> Result<RootStep, NulError> {
    let (layers, mount_point) = match root {
        RootMount::Overlay { lowers, data, upper, work } => {
            let data = data.as_deref().map(c_path).transpose()?;
            let lowers = lowers.iter().map(|path| c_path(path)).collect::<Result<_, _>>()?;
            let (upper, work) = (c_path(upper)?, c_path(work)?);
            // Hides nothing that a later mount could want as its source.
            let mount_point = upper.clone();
            (Layers::Overlay { lowers, data, upper, work, volatile }, mount_point)
        }
        RootMount::Union { upper, .. } => (Layers::Union, c_path(upper)?),
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
        recursive_attributes: None,
    }
}

/// The mounts in their order, and those of them that are made read-only in the end: file systems of the
/// container's own, in which the places for later mounts have yet to be made.
fn mount_steps(mounts: &[Mount], has_tty: bool) -> Result<(Vec<MountStep>, Vec<Target>), NulError> {
    let (mut steps, mut sealed) = (Vec::with_capacity(mounts.len()), Vec::new());
    for (place, mount) in mounts.iter().enumerate() {
        let mut step = mount_step(mount, has_tty)?;
        let is_empty = matches!(
            step.source,
            Source::Tmpfs { .. } | Source::Cgroup | Source::FileSystem { .. }
        );
        let is_below =
            |later: &Mount| later.target.starts_with(&mount.target) && later.target != mount.target;
        if is_empty && step.attributes.read_only && mounts[place + 1..].iter().any(is_below) {
            step.attributes.read_only = false;
            sealed.push(Target::new(&mount.target)?);
        }
        steps.push(step);
    }
    Ok((steps, sealed))
}

/// One of them; `has_tty` says whether group tty is there.
pub(super) fn mount_step(mount: &Mount, has_tty: bool) -> Result<MountStep, NulError> {
    let source = match &mount.kind {
        Kind::Bind { source, recursive, propagation } => Source::Bind {
            path: c_path(source)?,
            recursive: *recursive,
            propagation: *propagation,
            device: device_number(source),
        },
        Kind::Beneath { directory, path } => {
            Source::Beneath { directory: c_path(directory)?, path: c_path(path)? }
        }
        Kind::Overlay { lowers, upper, work } => Source::Overlay {
            lowers: lowers.iter().map(|path| c_path(path)).collect::<Result<_, _>>()?,
            upper: c_path(upper)?,
            work: c_path(work)?,
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
            if has_tty {
                options.push(option("gid", &TTY.to_string())?);
            }
            Source::Devpts { options }
        }
        Kind::Mqueue => Source::Mqueue,
        Kind::Cgroup => Source::Cgroup,
        Kind::FileSystem { name, source, options, copy_up } => {
            let mut pairs = Vec::new();
            if let Some(source) = source {
                pairs.push((CString::new("source")?, Some(CString::new(source.as_str())?)));
            }
            for text in options {
                let (key, value) = match text.split_once('=') {
                    Some((key, value)) => (key, Some(CString::new(value)?)),
                    None => (text.as_str(), None),
                };
                pairs.push((CString::new(key)?, value));
            }
            Source::FileSystem {
                name: CString::new(name.as_str())?,
                options: pairs,
                copy_up: *copy_up,
            }
        }
        Kind::Detached(tree) => Source::Detached(tree.clone()),
    };
    // A host may have no message queues mounted, to share.
    let optional = matches!(mount.kind, Kind::Cgroup | Kind::Mqueue)
        || mount.target == Path::new("/dev/mqueue");
    Ok(MountStep {
        target: Target::new(&mount.target)?,
        source,
        attributes: mount.attributes,
        recursive_attributes: mount.recursive_attributes,
        create: !matches!(mount.kind, Kind::Cgroup),
        optional,
    })
}

const TTY: u32 = 5;

fn option(key: &str, value: &str) -> Result<MountOption, NulError> {
    Ok((CString::new(key)?, Some(CString::new(value)?)))
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
