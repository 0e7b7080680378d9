//! Why no specification could be made.

use std::path::PathBuf;

use super::NsKind;
use crate::diagnose::{Diagnose, Hint};

/// Why a request and an image make no container.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image's passwd(5) has no such name.
    #[error("unable to find user {user}: no matching entries in passwd file")]
    UnknownUser {
        /// What was asked for.
        user: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// The image's group(5) has no such name.
    #[error("unable to find group {group}: no matching entries in group file")]
    UnknownGroup {
        /// What was asked for.
        group: String,
    },
    /// Neither the command line nor the image names a command.
    #[error("no command specified: the image has neither Entrypoint nor Cmd")]
    NoCommand,
    /// A path in the container that is not absolute.
    #[error("{what} {} is not an absolute path in the container", path.display())]
    NotAbsolute {
        /// Which path.
        what: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// Two mounts on one path.
    #[error("Duplicate mount point: {}", path.display())]
    DuplicateMount {
        /// The path in the container.
        path: PathBuf,
    },
    /// A mount over the container's root.
    #[error("invalid mount: its target may not be /")]
    MountOnRoot,
    /// A mount that could fool what reads procfs.
    #[error("cannot mount on {}: it is inside /proc", path.display())]
    MountInProc {
        /// The path in the container.
        path: PathBuf,
    },
    /// The host's procfs is not the container's to change.
    #[error(
        "--security-opt proc-opts={options} is for a /proc of the container's own: with the host's pid \
         namespace it sees the host's, as that is mounted"
    )]
    ProcOfHost {
        /// The options.
        options: String,
    },
    /// An unknown capability.
    #[error("unknown capability {name:?}")]
    UnknownCapability {
        /// As typed.
        name: String,
        /// The one that may be meant.
        nearest: Option<String>,
    },
    /// A capability that is wanted and not wanted.
    #[error("--cap-add and --cap-drop both name {capability}")]
    AddedAndDropped {
        /// Which, or ALL.
        capability: String,
    },
    /// A container without a network has no gateway.
    #[error("--add-host {host}:host-gateway: a container without a network cannot reach the host")]
    NoGateway {
        /// The name that was to be added.
        host: String,
    },
    /// A namespace of another's is joined, its user namespace is not.
    #[error("cannot join a {} namespace without the user namespace that owns it", kind.spec_name())]
    StrandedJoin {
        /// Which kind.
        kind: NsKind,
    },
    /// A kernel parameter that belongs to no namespace of the container.
    #[error("sysctl {name:?} is not in a namespace of the container: {why}")]
    ForeignSysctl {
        /// The parameter.
        name: String,
        /// Which namespace it would take, or that there is none.
        why: &'static str,
        /// That namespace.
        kind: Option<NsKind>,
    },
    /// A host name for a container that shares another's.
    #[error("--hostname: the container shares its host name with {with}")]
    SharedHostname {
        /// Whom.
        with: String,
    },
    /// A host or domain name for a container without a uts namespace of its own.
    #[error("--domainname: the container shares its names with {with}")]
    SharedDomainname {
        /// Whom.
        with: String,
    },
    /// A line for passwd(5) or group(5) that is none.
    #[error("{flag} {text:?}: want one line of {fields} fields with colons between them")]
    InvalidEntry {
        /// Which flag.
        flag: &'static str,
        /// As typed.
        text: String,
        /// How many fields.
        fields: usize,
    },
    /// A size for file systems that are not mounted.
    #[error("--shm-size-systemd: the program is not systemd; --systemd=always takes it for it")]
    NoSystemd,
    /// A label for a security module that the host has not.
    #[error("--security-opt {option}: {module} is not active on this host")]
    NoSecurityModule {
        /// As typed.
        option: String,
        /// Which module.
        module: &'static str,
    },
    /// A label for the container's files.
    #[error(
        "--security-opt label=filetype:{kind}: the files of an image keep the labels that the store \
         gave them, since the layers are shared between containers"
    )]
    FileLabel {
        /// The type.
        kind: String,
    },
    /// A stop signal that is none.
    #[error("invalid stop signal {signal:?} in the image's configuration")]
    InvalidStopSignal {
        /// As the image has it.
        signal: String,
    },
}

impl Diagnose for Error {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::UnknownUser { known, .. } if !known.is_empty() => {
                let shown: Vec<_> = known.iter().take(12).map(String::as_str).collect();
                Some(Hint::new(format!("the image has {}", shown.join(", "))))
            }
            Self::UnknownCapability { nearest: Some(nearest), .. } => {
                Some(Hint::new(format!("did you mean {nearest}?")))
            }
            Self::ForeignSysctl { kind: Some(kind), .. } => match kind {
                NsKind::Network => {
                    Some(Hint::new("--network private or none has a network of its own"))
                }
                NsKind::Ipc => Some(Hint::new("--ipc private")),
                NsKind::Uts => Some(Hint::new("--uts private")),
                NsKind::User | NsKind::Pid | NsKind::Cgroup => None,
            },
            Self::NoSecurityModule { .. } => Some(Hint::new(
                "leave the option out: where the module is not active it confines nothing",
            )),
            Self::NoCommand => Some(Hint::new("name one: coracle run IMAGE COMMAND")),
            Self::UnknownUser { .. }
            | Self::UnknownGroup { .. }
            | Self::NotAbsolute { .. }
            | Self::DuplicateMount { .. }
            | Self::MountOnRoot
            | Self::MountInProc { .. }
            | Self::ProcOfHost { .. }
            | Self::UnknownCapability { nearest: None, .. }
            | Self::AddedAndDropped { .. }
            | Self::NoGateway { .. }
            | Self::FileLabel { .. }
            | Self::StrandedJoin { .. }
            | Self::ForeignSysctl { kind: None, .. }
            | Self::SharedHostname { .. }
            | Self::SharedDomainname { .. }
            | Self::InvalidEntry { .. }
            | Self::NoSystemd
            | Self::InvalidStopSignal { .. } => None,
        }
    }
}
