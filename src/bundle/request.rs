//! What the user asked for, parsed at the edge into types that cannot be wrong.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::LabelRequest;
use crate::cgroup::{self, Resources};
use crate::mount::Propagation;
use crate::network;

/// The flags of `run` that shape a container, in neutral types.
///
/// What is absent here falls to the image's configuration, then to the defaults. It is kept beside
/// the container's record, to start it from again: fields may be added, and have defaults there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(clippy::struct_excessive_bools)] // each is a flag of its own on the command line
pub struct Request {
    /// What stands behind the image's name.
    #[serde(with = "super::text")]
    pub command: Vec<OsString>,
    /// `--entrypoint`; `Some` and empty clears the image's.
    #[serde(with = "super::text::maybe")]
    pub entrypoint: Option<Vec<OsString>>,
    /// `--env` and `--env-file`, in order, host values filled in.
    #[serde(with = "super::text::pairs")]
    pub env: Vec<(OsString, OsString)>,
    /// `--http-proxy` and `--env-host`: variables of the host, which the image's go before.
    #[serde(with = "super::text::pairs")]
    pub host_env: Vec<(OsString, OsString)>,
    /// `--env-merge`: made of the variables that are there, `${NAME}` filled in.
    pub env_merge: Vec<(String, String)>,
    /// `--unsetenv`: taken out of what image and coracle set.
    pub unset_env: Vec<String>,
    /// `--unsetenv-all`
    pub unset_all_env: bool,
    /// `--workdir`, absolute.
    pub workdir: Option<PathBuf>,
    /// `--user`: name or id, optionally `:group`; resolved in the image's files.
    pub user: Option<String>,
    /// `--hostname`.
    pub hostname: Option<String>,
    /// `--domainname`
    pub domainname: Option<String>,
    /// `--no-hosts`: the image's /etc/hosts stays.
    pub no_hosts: bool,
    /// `--no-hostname`: the image's /etc/hostname stays.
    pub no_hostname: bool,
    /// `--hosts-file`: what /etc/hosts begins with: `image`, `none` or a file of the host.
    pub hosts_file: Option<String>,
    /// `--tz`: the name of a time zone, or `local`.
    pub timezone: Option<String>,
    /// `--chrootdirs`: directories in the container that have the files of /etc too.
    pub chroot_directories: Vec<PathBuf>,
    /// `--passwd=false`: no lines are added to /etc/passwd and /etc/group.
    pub no_passwd: bool,
    /// `--passwd-entry`
    pub passwd_entry: Option<String>,
    /// `--group-entry`
    pub group_entry: Option<String>,
    /// `--hostuser`
    pub host_users: Vec<String>,
    /// `--interactive`: keep stdin open.
    pub interactive: bool,
    /// `--tty`: a terminal of its own.
    pub tty: bool,
    /// `--network`; the host's where nothing is said. `Private` is one with a way out.
    pub network: Option<Sharing>,
    /// Named networks that a `Private` one is to be in, the first of which leads out; none of them
    /// where it is to be by itself.
    pub networks: Vec<network::Wanted>,
    /// What a private network is to be like.
    pub private: network::Settings,
    /// `--publish`
    pub publish: Vec<network::PortRequest>,
    /// `--publish-all`
    pub publish_all: bool,
    /// `--expose`
    pub expose: Vec<network::Expose>,
    /// `--pid`
    pub pid: Sharing,
    /// `--ipc`
    pub ipc: Sharing,
    /// `--uts`
    pub uts: Sharing,
    /// `--cgroupns`
    pub cgroup: Sharing,
    /// `--userns container:NAME`
    pub user_of: Option<String>,
    /// `--volume` and `--mount` of host paths, in order.
    pub binds: Vec<BindRequest>,
    /// `--volume` and `--mount` of volumes, in order; once the container is made, the image's too.
    pub volumes: Vec<VolumeRequest>,
    /// `--mount type=image`, in order.
    pub images: Vec<ImageRequest>,
    /// `--mount` of other file systems, in order.
    pub file_systems: Vec<FileSystemRequest>,
    /// `--volumes-from`; empty once the container is made.
    pub volumes_from: Vec<VolumesFrom>,
    /// `--tmpfs` and `--mount type=tmpfs`, in order.
    pub tmpfs: Vec<TmpfsRequest>,
    /// `--read-only`: the root, not the mounts below it.
    pub read_only: bool,
    /// `--shm-size`, in bytes.
    pub shm_size: Option<u64>,
    /// `--image-volume`
    pub image_volumes: ImageVolumes,
    /// `--systemd`
    pub systemd: Systemd,
    /// `--shm-size-systemd`, in bytes.
    pub systemd_size: Option<u64>,
    /// `--init`: a pid 1 that forwards signals and reaps.
    pub init: bool,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// `--annotation`.
    pub annotations: BTreeMap<String, String>,
    /// `--stop-signal`, a signal number.
    pub stop_signal: Option<i32>,
    /// `--ulimit`.
    pub ulimits: Vec<Ulimit>,
    /// `--memory`, `--cpus` and their kin.
    pub resources: Resources,
    /// `--cgroups`.
    pub cgroups: cgroup::Mode,
    /// `--privileged`: all that the user itself may do.
    pub privileged: bool,
    /// `--cap-add`, as typed.
    pub cap_add: Vec<String>,
    /// `--cap-drop`, as typed.
    pub cap_drop: Vec<String>,
    /// `--sysctl`
    pub sysctls: BTreeMap<String, String>,
    /// `--umask`
    pub umask: Option<u32>,
    /// `--personality` (personality(2)).
    pub personality: Option<u32>,
    /// `--oom-score-adj`
    pub oom_score_adj: Option<i32>,
    /// `--group-add`: names or ids.
    pub group_add: Vec<String>,
    /// `--group-add keep-groups`: the caller's groups stay.
    pub keep_groups: bool,
    /// `--device`
    pub devices: Vec<DeviceRequest>,
    /// `--read-only-tmpfs`: with `read_only`, temporary file systems on /run, /tmp and /var/tmp.
    pub read_only_tmpfs: bool,
    /// `--security-opt`.
    pub security: SecurityOptions,
    /// `--add-host`.
    pub add_hosts: Vec<(String, HostAddress)>,
    /// `--dns`.
    pub dns: Vec<IpAddr>,
    /// `--dns-search`.
    pub dns_search: Vec<String>,
    /// `--dns-option`.
    pub dns_options: Vec<String>,
}

/// What becomes of the directories that an image names as volumes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageVolumes {
    /// They are made, and stay writable.
    #[default]
    Bind,
    /// Each is a temporary file system with the image's files.
    Tmpfs,
    /// Nothing.
    Ignore,
}

/// Whether a container is set up for systemd as its first process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Systemd {
    /// Where the program is one that usually is systemd.
    #[default]
    Auto,
    /// Yes.
    Always,
    /// No.
    Never,
}

/// Whose namespace of one kind the container has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sharing {
    /// One of its own.
    #[default]
    Private,
    /// The host's.
    Host,
    /// One of its own with nothing in it: no device but loopback, no /dev/shm.
    None,
    /// Another container's, by name or ID.
    Container(String),
    /// The one that a file leads to.
    Path(PathBuf),
}

/// A device node of the host in the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRequest {
    /// Absolute path on the host.
    #[serde(with = "super::text::path")]
    pub source: PathBuf,
    /// Absolute path in the container.
    pub target: PathBuf,
    /// Whether it may be written to.
    pub write: bool,
}

/// A file or directory of the host in the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools)] // each an option of its own
pub struct BindRequest {
    /// Absolute path on the host.
    #[serde(with = "super::text::path")]
    pub source: PathBuf,
    /// Absolute path in the container.
    pub target: PathBuf,
    /// Without writing.
    pub read_only: bool,
    /// With the mounts below the source.
    pub recursive: bool,
    /// Mount events.
    pub propagation: Propagation,
    /// `--volume` makes a missing source directory, `--mount` refuses (as docker does).
    pub create_source: bool,
    /// `nosuid`, `nodev`, `noexec`
    #[serde(default)]
    pub strict: Strict,
    /// `bind-recursive=writable`: what is mounted below may be written to though it may not.
    #[serde(default)]
    pub writable_below: bool,
    /// `O`: what the container writes lies over it, and is gone when it ends.
    #[serde(default)]
    pub overlay: bool,
    /// `U`: its files are given to the container's user.
    #[serde(default)]
    pub chown: bool,
    /// `idmap`: its files have the ids in the container that they have on the host.
    #[serde(default)]
    pub id_mapped: bool,
    /// The options as they were typed, for `inspect`.
    #[serde(default)]
    pub mode: String,
}

/// What is forbidden on a mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::struct_field_names)] // mount(8)'s words
pub struct Strict {
    /// `nosuid`
    pub no_suid: bool,
    /// `nodev`
    pub no_dev: bool,
    /// `noexec`
    pub no_exec: bool,
}

/// A volume in the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(clippy::struct_excessive_bools)] // each a fact of its own
pub struct VolumeRequest {
    /// Its name; a new one of the container's own where there is none.
    pub name: Option<String>,
    /// Absolute path in the container.
    pub target: PathBuf,
    /// Without writing.
    pub read_only: bool,
    /// `nosuid`, `nodev`, `noexec`
    pub strict: Strict,
    /// `nocopy`: an empty one stays empty, whatever the image has there.
    pub no_copy: bool,
    /// `volume-subpath`: a file or directory in it, in place of all of it.
    pub subpath: Option<PathBuf>,
    /// `U`: its files are given to the container's user.
    pub chown: bool,
    /// `volume-label`: its labels, where it is made.
    pub labels: BTreeMap<String, String>,
    /// `volume-opt`: its options, where it is made.
    pub options: BTreeMap<String, String>,
    /// Whether its name was made up: it goes with the container, if that is asked for.
    pub anonymous: bool,
    /// The options as they were typed, for `inspect`.
    pub mode: String,
}

/// The files of an image in the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRequest {
    /// The image, as typed; its ID once the container is made.
    pub image: String,
    /// Absolute path in the container.
    pub target: PathBuf,
    /// What the container writes lies over it, and is gone when it ends; else it may not.
    pub writable: bool,
    /// `image-subpath`: a directory in it, in place of all of it.
    pub subpath: Option<PathBuf>,
}

/// Another file system in the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSystemRequest {
    /// Its name, as the kernel has it.
    pub name: String,
    /// Absolute path in the container.
    pub target: PathBuf,
    /// Its own options.
    pub options: Vec<String>,
    /// Without writing.
    pub read_only: bool,
}

/// Whose volumes and host paths the container has besides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumesFrom {
    /// The container, by name or ID.
    pub container: String,
    /// Whether they may be written to; as they may there, where nothing is said.
    pub writable: Option<bool>,
}

/// A temporary file system in the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools)] // the kernel's own independent flags
pub struct TmpfsRequest {
    /// Absolute path in the container.
    pub target: PathBuf,
    /// `size=`, in bytes.
    pub size: Option<u64>,
    /// `mode=`; docker's default is 1777.
    pub mode: u32,
    /// `ro`
    pub read_only: bool,
    /// `exec` lifts the default `noexec`.
    pub exec: bool,
    /// `suid` lifts the default `nosuid`.
    pub suid: bool,
    /// `dev` lifts the default `nodev`.
    pub dev: bool,
    /// `uid=`, `gid=`, `nr_inodes=` and their kin: tmpfs's own.
    #[serde(default)]
    pub options: Vec<String>,
    /// `tmpcopyup`: it begins with a copy of what it covers.
    #[serde(default)]
    pub copy_up: bool,
    /// The options as they were typed, for `inspect`.
    #[serde(default)]
    pub typed: String,
}

/// A resource limit (getrlimit(2)); `u64::MAX` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Which resource.
    pub resource: Resource,
    /// The soft limit.
    pub soft: u64,
    /// The hard limit.
    pub hard: u64,
}

/// A resource that setrlimit(2) limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// `RLIMIT_AS`
    As,
    /// `RLIMIT_CORE`
    Core,
    /// `RLIMIT_CPU`
    Cpu,
    /// `RLIMIT_DATA`
    Data,
    /// `RLIMIT_FSIZE`
    Fsize,
    /// `RLIMIT_LOCKS`
    Locks,
    /// `RLIMIT_MEMLOCK`
    Memlock,
    /// `RLIMIT_MSGQUEUE`
    Msgqueue,
    /// `RLIMIT_NICE`
    Nice,
    /// `RLIMIT_NOFILE`
    Nofile,
    /// `RLIMIT_NPROC`
    Nproc,
    /// `RLIMIT_RSS`
    Rss,
    /// `RLIMIT_RTPRIO`
    Rtprio,
    /// `RLIMIT_RTTIME`
    Rttime,
    /// `RLIMIT_SIGPENDING`
    Sigpending,
    /// `RLIMIT_STACK`
    Stack,
}

impl Resource {
    /// Every resource, with docker's name and the runtime-spec's.
    const TABLE: [(Self, &'static str, &'static str); 16] = [
        (Self::As, "as", "RLIMIT_AS"),
        (Self::Core, "core", "RLIMIT_CORE"),
        (Self::Cpu, "cpu", "RLIMIT_CPU"),
        (Self::Data, "data", "RLIMIT_DATA"),
        (Self::Fsize, "fsize", "RLIMIT_FSIZE"),
        (Self::Locks, "locks", "RLIMIT_LOCKS"),
        (Self::Memlock, "memlock", "RLIMIT_MEMLOCK"),
        (Self::Msgqueue, "msgqueue", "RLIMIT_MSGQUEUE"),
        (Self::Nice, "nice", "RLIMIT_NICE"),
        (Self::Nofile, "nofile", "RLIMIT_NOFILE"),
        (Self::Nproc, "nproc", "RLIMIT_NPROC"),
        (Self::Rss, "rss", "RLIMIT_RSS"),
        (Self::Rtprio, "rtprio", "RLIMIT_RTPRIO"),
        (Self::Rttime, "rttime", "RLIMIT_RTTIME"),
        (Self::Sigpending, "sigpending", "RLIMIT_SIGPENDING"),
        (Self::Stack, "stack", "RLIMIT_STACK"),
    ];

    /// The resource that docker's `--ulimit` calls `name`.
    pub fn from_docker_name(name: &str) -> Option<Self> {
        Self::TABLE.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// The resource that the runtime specification calls `name`.
    pub fn from_spec_name(name: &str) -> Option<Self> {
        Self::TABLE.iter().find(|row| row.2 == name).map(|row| row.0)
    }

    /// The name that docker's `--ulimit` uses.
    pub fn docker_name(self) -> &'static str {
        Self::TABLE.iter().find(|row| row.0 == self).map_or("", |row| row.1)
    }

    /// The runtime specification's name, `RLIMIT_…` (runtime-spec, config.md, `rlimits`).
    pub fn spec_name(self) -> &'static str {
        Self::TABLE.iter().find(|row| row.0 == self).map_or("", |row| row.2)
    }
}

/// What `--security-opt` set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecurityOptions {
    /// `no-new-privileges`
    pub no_new_privileges: bool,
    /// `seccomp=`
    pub seccomp: SeccompChoice,
    /// `mask=PATH[:PATH]`
    pub mask: Vec<PathBuf>,
    /// `unmask=PATH[:PATH]`; `ALL` is in `unmask_all`.
    pub unmask: Vec<PathBuf>,
    /// `unmask=ALL` or `systempaths=unconfined`
    pub unmask_all: bool,
    /// `proc-opts=`: mount options of /proc.
    pub proc_options: Vec<String>,
    /// `apparmor=`, `label=`
    pub labels: LabelRequest,
}

/// Which filter of system calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SeccompChoice {
    /// Docker's default profile.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// The text of a profile in docker's JSON format.
    Json(String),
}

/// Where `--add-host` points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostAddress {
    /// An address.
    Ip(IpAddr),
    /// `host-gateway`: the address by which the container reaches the host.
    Gateway,
}
