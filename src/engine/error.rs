//! Whatever went wrong, as the part that it went wrong in tells it.

use std::path::PathBuf;

use super::{images, pull, push, save};
use crate::container::LogDriver;
use crate::diagnose::{Diagnose, Hint};
use crate::oci::Platform;
use crate::snapshot::Driver;
use crate::{bundle, cgroup, container, layer, network, runtime, snapshot, store, userns, volume};

/// Why the engine could not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image could not be pulled.
    #[error(transparent)]
    Pull(#[from] pull::Error),
    /// The image could not be pushed.
    #[error(transparent)]
    Push(#[from] push::Error),
    /// An artifact.
    #[error(transparent)]
    Artifact(#[from] super::artifact::Error),
    /// A list of manifests.
    #[error(transparent)]
    Manifest(#[from] super::manifest::Error),
    /// A pull in a child failed, and has said why.
    #[error("the image could not be pulled")]
    PullReported {
        /// The child's exit status.
        code: u8,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The files of a container or a layer.
    #[error(transparent)]
    Layer(#[from] layer::Error),
    /// The root file system.
    #[error(transparent)]
    Snapshot(#[from] snapshot::Error),
    /// The specification.
    #[error(transparent)]
    Bundle(#[from] bundle::Error),
    /// The launch.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// The network, or its ports.
    #[error(transparent)]
    Network(#[from] network::Error),
    /// It is in the network already. The words are docker's.
    #[error("endpoint with name {container} already exists in network {network}")]
    AlreadyConnected {
        /// The container's name.
        container: String,
        /// The network's.
        network: String,
    },
    /// It is not in the network.
    #[error("container {container} is not connected to network {network}")]
    NotConnected {
        /// The container's name.
        container: String,
        /// The network's.
        network: String,
    },
    /// It shares somebody else's network, or has none.
    #[error("container {container} cannot be connected to networks: its own is {mode:?}")]
    NoNetworks {
        /// The container's name.
        container: String,
        /// What it has.
        mode: String,
    },
    /// Nobody serves its network any more.
    #[error(
        "cannot change the networks of {container}: its network server does not answer ({errno})"
    )]
    NoNetworkServer {
        /// The container's name.
        container: String,
        /// What was answered.
        errno: rustix::io::Errno,
    },
    /// The limits.
    #[error(transparent)]
    Limits(#[from] cgroup::Error),
    /// The launch of an image for another machine.
    #[error("{error}: the image is {image}, this machine is {host}")]
    Foreign {
        /// What the kernel said.
        error: runtime::Error,
        /// What the image is for.
        image: Platform,
        /// What this machine is.
        host: Platform,
    },
    /// The records.
    #[error(transparent)]
    Container(#[from] container::Error),
    /// The volumes.
    #[error(transparent)]
    Volume(#[from] volume::Error),
    /// The ids.
    #[error(transparent)]
    Ids(#[from] userns::Error),
    /// The profile that was named cannot be used.
    #[error(transparent)]
    Seccomp(#[from] runtime::seccomp::Error),
    /// `--cidfile` names a file that is there.
    #[error("container ID file found, make sure the other container isn't running or delete {}",
        path.display())]
    CidFileExists {
        /// The file.
        path: PathBuf,
    },
    /// A bind source that is not there.
    #[error("bind source path does not exist: {}", path.display())]
    NoBindSource {
        /// The path.
        path: PathBuf,
    },
    /// `O` where no overlay can be mounted.
    #[error(
        "cannot lay an overlay over {}: storage driver {driver} mounts none", path.display()
    )]
    NoOverlay {
        /// The directory of the host.
        path: PathBuf,
        /// What makes root file systems here.
        driver: Driver,
    },
    /// `O` on what is no directory.
    #[error("cannot lay an overlay over {}: it is no directory", path.display())]
    OverlayOfFile {
        /// The path on the host.
        path: PathBuf,
    },
    /// `unshare` for root.
    #[error("there is nothing to unshare for root: its ids are the containers' ids")]
    NothingToUnshare,
    /// What takes the power to mount.
    #[error(
        "cannot run command \"coracle {command}\" in rootless mode, must execute `coracle unshare` \
         first"
    )]
    NotUnshared {
        /// The command.
        command: &'static str,
    },
    /// `idmap` without root.
    #[error(
        "cannot map the ids of {}: the kernel keeps idmapped mounts from users (EPERM)",
        path.display()
    )]
    IdMapped {
        /// The path on the host.
        path: PathBuf,
    },
    /// Mount events are wanted where the host passes none on.
    #[error(
        "path {} is mounted on {} but it is not a shared{} mount",
        path.display(), point.display(), if *wants_shared { "" } else { " or slave" }
    )]
    NotPropagated {
        /// The path on the host.
        path: PathBuf,
        /// The mount point above it.
        point: PathBuf,
        /// Whether `shared` was asked for.
        wants_shared: bool,
    },
    /// A volume that became another one while a container was made.
    #[error("volume {name} was removed and made anew meanwhile")]
    VolumeReplaced {
        /// Its name.
        name: String,
    },
    /// An image that cannot be removed or described.
    #[error(transparent)]
    Image(#[from] images::Error),
    /// An image that cannot be saved.
    #[error(transparent)]
    Save(#[from] save::Error),
    /// A child that was to do a part of the work failed.
    #[error("cannot {what}: {why}")]
    Child {
        /// What it was to do.
        what: String,
        /// Why not.
        why: String,
    },
    /// A container that should run does not.
    #[error("container {name} is not running")]
    NotRunning {
        /// Its name.
        name: String,
    },
    /// A container that is paused can do nothing.
    #[error("container {name} is paused")]
    Paused {
        /// Its name.
        name: String,
    },
    /// A container that should be paused is not.
    #[error("container {name} is not paused")]
    NotPaused {
        /// Its name.
        name: String,
    },
    /// A container without a control group.
    #[error("cannot {action} container {name}: it has no control group")]
    NoGroup {
        /// What was tried.
        action: &'static str,
        /// Its name.
        name: String,
    },
    /// A monitor could not start its container, and has said why.
    #[error("the container could not be started")]
    Reported {
        /// The exit code for that.
        code: u8,
    },
    /// What the container writes cannot be kept.
    #[error("cannot open the container's log: {source}")]
    Log {
        /// Why not.
        source: std::io::Error,
    },
    /// The log is elsewhere.
    #[error("configured logging driver does not support reading ({driver})")]
    NoLog {
        /// Where.
        driver: LogDriver,
    },
    /// A signal for a container that does not run.
    #[error("cannot kill container: {name}: container {id} is not running")]
    CannotKill {
        /// As it was asked for.
        name: String,
        /// Its ID.
        id: String,
    },
    /// A process that does not end.
    #[error("container {name} was killed and has not ended yet: its process waits in the kernel")]
    StillThere {
        /// Its name.
        name: String,
    },
    /// `attach` to one that has ended.
    #[error("You cannot attach to a stopped container, start it first")]
    CannotAttach,
    /// `attach` to one that has no monitor.
    #[error("cannot attach to {name}: it runs in the foreground of another coracle")]
    InForeground {
        /// Its name.
        name: String,
    },
    /// `rename` to what it is called.
    #[error("Renaming a container with the same name as its current name")]
    SameName,
    /// `healthcheck run` without one.
    #[error("container {name} has no defined healthcheck")]
    NoHealthCheck {
        /// Its name.
        name: String,
    },
    /// Two containers to join live in two user namespaces.
    #[error("cannot join both {one} and {other}: each has a user namespace of its own")]
    TwoOwners {
        /// The first.
        one: String,
        /// The second.
        other: String,
    },
    /// Descriptors for a container that lives on.
    #[error(
        "--preserve-fds: a container with a monitor (--detach, --restart, health checks) keeps no \
         descriptor of this command"
    )]
    NothingPreserved,
    /// The host's own root as a container's.
    #[error("--rootfs /: the host's root cannot be mounted over itself")]
    HostAsRoot,
    /// A directory with the store in it as a container's root.
    #[error("--rootfs {}:O: the store lies in it ({})", path.display(), store.display())]
    StoreInRoot {
        /// The directory.
        path: PathBuf,
        /// The store.
        store: PathBuf,
    },
    /// A time zone that the host does not know.
    #[error("--tz {name}: {why}")]
    NoTimeZone {
        /// As typed.
        name: String,
        /// What is missing.
        why: String,
    },
    /// An account that the host has not.
    #[error("--hostuser {name}: the host's /etc/passwd has no such user")]
    NoHostUser {
        /// As typed.
        name: String,
    },
    /// A user outside the container's ids.
    #[error(
        "user {uid}:{gid} is outside the ids of the container, which has {count} of them ({reason})"
    )]
    UnmappedUser {
        /// The user.
        uid: u32,
        /// Its group.
        gid: u32,
        /// How many user ids there are.
        count: u64,
        /// Why no more.
        reason: String,
        /// A user and a group that it has, where its ids are another container's.
        joined: Option<(u32, u32)>,
    },
    /// A group outside the container's ids.
    #[error(
        "group {gid} is outside the ids of the container, which has groups {groups} ({reason})"
    )]
    UnmappedGroup {
        /// The group.
        gid: u32,
        /// Those that there are.
        groups: String,
        /// Why no more.
        reason: String,
    },
    /// Groups that the kernel lets nobody have.
    #[error(
        "--group-add {}: where one id is mapped and no other is emulated nobody has more groups (setgroups(2))",
        groups.join(",")
    )]
    NoGroups {
        /// As typed.
        groups: Vec<String>,
    },
    /// What a copy was refused for, on either side: docker's words.
    #[error("{why}")]
    InContainer {
        /// Why.
        why: String,
    },
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl Diagnose for Error {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Pull(error) => error.hint(),
            Self::Push(error) => error.hint(),
            Self::Artifact(error) => error.hint(),
            Self::Manifest(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Layer(error) => error.hint(),
            Self::Snapshot(error) => error.hint(),
            Self::Bundle(error) => error.hint(),
            Self::Runtime(error) => error.hint(),
            Self::Network(error) => error.hint(),
            Self::NoNetworks { .. } => Some(Hint::new(
                "a container that was made with --network private, or with a network's name, can be",
            )),
            Self::NoNetworkServer { container, .. } => Some(Hint::new(format!(
                "a restart gives it another one: coracle restart {container}"
            ))),
            Self::Limits(error) => error.hint(),
            Self::Foreign { image, .. } => Some(Hint::new(format!(
                "pull the image for this machine, or have an administrator install qemu-user-static for {}",
                image.architecture
            ))),
            Self::Container(error) => error.hint(),
            Self::Volume(error) => error.hint(),
            Self::Ids(error) => error.hint(),
            Self::NoOverlay { .. } => {
                Some(Hint::new("coracle doctor says why overlayfs is not used here"))
            }
            Self::IdMapped { .. } => Some(Hint::new(
                "--userns host-id gives the container your own ids; U gives it the files",
            )),
            Self::NotPropagated { point, .. } => Some(Hint::new(format!(
                "an administrator can share it: mount --make-rshared {}",
                point.display()
            ))),
            Self::NotUnshared { command } => Some(Hint::new(format!(
                "coracle unshare coracle {command}, or within a shell of it"
            ))),
            Self::VolumeReplaced { .. } => Some(Hint::new("try again")),
            Self::OverlayOfFile { .. } => Some(Hint::new("bind it with ro or rw")),
            Self::Seccomp(error) => error.hint(),
            Self::NoBindSource { .. } => {
                Some(Hint::new("make it first, or use --volume, which makes it"))
            }
            Self::TwoOwners { one, .. } => {
                Some(Hint::new(format!("start the second one with --userns container:{one}")))
            }
            Self::NoGroup { .. } => {
                Some(Hint::new("coracle doctor tells what a control group takes on this host"))
            }
            Self::Image(error) => error.hint(),
            Self::Save(error) => error.hint(),
            Self::NoLog { driver: LogDriver::Journald } => {
                Some(Hint::new("journalctl CONTAINER_NAME=<name>"))
            }
            Self::InForeground { name } => {
                Some(Hint::new(format!("coracle exec -it {name} sh, or run it with --detach")))
            }
            Self::NoHealthCheck { .. } => {
                Some(Hint::new("run it with --health-cmd, from an image that has none"))
            }
            Self::HostAsRoot => Some(Hint::new(
                "--rootfs /:O, whose changes lie apart and go with the container, and a store on \
                 another file system (--root)",
            )),
            Self::StoreInRoot { .. } => Some(Hint::new(
                "keep a store on another file system: coracle --root DIRECTORY run …",
            )),
            Self::NoTimeZone { .. } => Some(Hint::new(
                "a program whose image has the time zones reads the variable: -e TZ=Europe/Vienna",
            )),
            Self::UnmappedUser { joined: Some((uid, gid)), .. } => Some(Hint::new(format!(
                "who joins a container has its ids and no others: -u {uid}:{gid}"
            ))),
            Self::UnmappedUser { joined: None, .. } | Self::NoGroups { .. } => {
                Some(Hint::new("--userns auto has every id: those of a range, or emulated ones"))
            }
            Self::NoHostUser { .. }
            | Self::UnmappedGroup { .. }
            | Self::AlreadyConnected { .. }
            | Self::NotConnected { .. }
            | Self::NothingPreserved
            | Self::NothingToUnshare
            | Self::Reported { .. }
            | Self::Log { .. }
            | Self::NoLog { .. }
            | Self::CannotKill { .. }
            | Self::StillThere { .. }
            | Self::CannotAttach
            | Self::SameName
            | Self::PullReported { .. }
            | Self::CidFileExists { .. }
            | Self::Child { .. }
            | Self::NotRunning { .. }
            | Self::Paused { .. }
            | Self::NotPaused { .. }
            | Self::InContainer { .. }
            | Self::Io { .. } => None,
        }
    }
}
