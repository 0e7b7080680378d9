//! Why a bundle's container could not be made, or found.

use std::path::PathBuf;

use crate::bundle::ConfigError;
use crate::diagnose::{Diagnose, Hint};
use crate::userns::HelpersMissing;
use crate::{cgroup, runtime, userns};

/// Why the OCI runtime could not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bundle's configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The launch.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// The ids.
    #[error(transparent)]
    Ids(#[from] userns::Error),
    /// The filter of system calls.
    #[error(transparent)]
    Seccomp(#[from] runtime::seccomp::Error),
    /// The control group.
    #[error(transparent)]
    Group(#[from] cgroup::Error),
    /// Not the form of a path for systemd.
    #[error(
        "config.json: linux.cgroupsPath {}: want SLICE:PREFIX:NAME with --systemd-cgroup",
        .0.display()
    )]
    CgroupsPath(PathBuf),
    /// Groups that the kernel lets nobody have.
    #[error(
        "process.user.additionalGids cannot be honoured: with one id that is mapped nobody has more groups \
         (setgroups(2))"
    )]
    NoGroups,
    /// A root that is no directory.
    #[error("config.json: root.path: {} {why}", path.display())]
    Root {
        /// The path, absolute.
        path: PathBuf,
        /// What it is instead.
        why: &'static str,
    },
    /// A terminal that nobody would hold. runc's rule.
    #[error(
        "process.terminal takes --console-socket here: the container outlives this command, and somebody has to \
         hold its terminal"
    )]
    NoConsole,
    /// A socket that nothing would be sent to. runc's rule.
    #[error("--console-socket {}: {why}", path.display())]
    IdleConsole {
        /// The socket.
        path: PathBuf,
        /// Why nothing would be sent.
        why: &'static str,
    },
    /// There is no control group to do it with.
    #[error("cannot {action} {id}: it has no control group")]
    NoGroup {
        /// What was tried.
        action: &'static str,
        /// On which.
        id: String,
    },
    /// An ID that cannot be a directory's name.
    #[error("invalid container ID {0:?}: want letters, digits and _ + - .")]
    InvalidId(String),
    /// The ID is taken.
    #[error("container with id exists: {0}")]
    Exists(String),
    /// There is no such container.
    #[error("container does not exist: {0}")]
    Missing(String),
    /// The container is not in a state in which this can be done.
    #[error("cannot {action} {id}: it is {status}")]
    Status {
        /// What was tried.
        action: &'static str,
        /// On which.
        id: String,
        /// What it is.
        status: super::Status,
    },
    /// A container whose namespaces are not for its user to join yet.
    #[error(
        "cannot exec in {0}: it is created, and without root nobody can look into it before it is started"
    )]
    NotStarted(String),
    /// A field that cannot be honoured on this host.
    #[error("config.json: {field} cannot be honoured: {why}")]
    Refused {
        /// Which.
        field: String,
        /// Why not.
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
    /// A record that cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
}

impl Diagnose for Error {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Config(error) => error.hint(),
            Self::Runtime(runtime::Error::Ids(error)) | Self::Ids(error) => of_ids(error),
            Self::Runtime(runtime::Error::Group(error)) | Self::Group(error) => of_group(error),
            Self::Runtime(error) => of_launch(error),
            Self::Seccomp(error) => error.hint(),
            Self::NotStarted(id) => Some(Hint::new(format!("coracle runtime start {id}"))),
            Self::NoGroup { .. } => {
                Some(Hint::new("coracle doctor tells what a control group takes on this host"))
            }
            Self::NoConsole => Some(Hint::new("or \"terminal\": false in the process")),
            Self::Exists(id) => Some(Hint::new(format!("coracle runtime delete {id}"))),
            Self::InvalidId(_)
            | Self::NoGroups
            | Self::CgroupsPath(_)
            | Self::Root { .. }
            | Self::IdleConsole { .. }
            | Self::Missing(_)
            | Self::Status { .. }
            | Self::Refused { .. }
            | Self::Io { .. }
            | Self::Damaged { .. } => None,
        }
    }
}

// What a part says is for who has the flags of `run`; a bundle has its config.json.

fn of_launch(error: &runtime::Error) -> Option<Hint> {
    match error {
        runtime::Error::ForeignId { .. } => Some(Hint::new(
            "map the id in linux.uidMappings and linux.gidMappings of config.json, or have another process.user",
        )),
        runtime::Error::NoPower(_) => Some(Hint::new(
            "without root a container takes a user namespace: {\"type\": \"user\"} in linux.namespaces, and mappings; \
             coracle runtime spec --rootless writes such a config.json",
        )),
        error => error.hint(),
    }
}

fn of_ids(error: &userns::Error) -> Option<Hint> {
    match error {
        userns::Error::OneIdOnly { .. } | userns::Error::WithoutOwn => Some(Hint::new(
            "linux.uidMappings and linux.gidMappings with one id, the caller's: coracle runtime spec --rootless \
             writes them",
        )),
        userns::Error::Helper { .. }
        | userns::Error::NoRange {
            missing:
                HelpersMissing::Nosuid(_) | HelpersMissing::NoNewPrivileges | HelpersMissing::Nested,
            ..
        } => Some(Hint::new("a map of one id, the caller's, needs no helper")),
        error => error.hint(),
    }
}

fn of_group(error: &cgroup::Error) -> Option<Hint> {
    match error {
        cgroup::Error::NoPlace { .. } => {
            Some(Hint::new("without linux.cgroupsPath in config.json it goes on without a group"))
        }
        cgroup::Error::Refused { .. } => Some(Hint::new(
            "take them out of linux.resources in config.json; coracle doctor tells what a control group takes \
             on this host",
        )),
        error => error.hint(),
    }
}

/// Says what was tried on which path.
pub(super) trait Tried<T> {
    fn tried(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T, Error>;
}

impl<T, E: Into<std::io::Error>> Tried<T> for Result<T, E> {
    fn tried(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T, Error> {
        self.map_err(|source| Error::Io { action, path: path.into(), source: source.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_name_no_flag_of_run() {
        let user = || "me".to_owned();
        let missing = || HelpersMissing::NoNewPrivileges;
        for ids in [
            userns::Error::NoRange { user: user(), missing: missing() },
            userns::Error::OneIdOnly {
                what: "ids",
                line: "0:1:2".into(),
                user: user(),
                missing: missing(),
            },
            userns::Error::Helper { helper: "/bin/newuidmap".into(), message: String::new() },
            userns::Error::WithoutOwn,
        ] {
            let hint = Error::Runtime(runtime::Error::Ids(ids)).hint().expect("a hint").to_string();
            assert!(!hint.contains("--userns") && !hint.contains("--uidmap"), "{hint}");
        }
        let refused = cgroup::Error::Refused {
            refusals: Vec::new(),
            hint: Some("--cgroups=best-effort goes on without".into()),
        };
        let hint = Error::Group(refused).hint().expect("a hint").to_string();
        assert!(hint.contains("linux.resources") && !hint.contains("--cgroups"), "{hint}");
    }
}
