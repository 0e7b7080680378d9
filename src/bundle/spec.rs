//! The specification of a container: everything a runtime needs, nothing looked up later.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::capabilities::CapabilitySet;
use super::{Network, SeccompChoice, Ulimit, User};
use crate::cgroup::{self, Resources};
use crate::mount::{Mount, RootMount};

/// How to create a container; the runtime specification's `config.json` as a value.
#[derive(Clone, Debug)]
pub struct ContainerSpec {
    /// The root file system.
    pub root: RootMount,
    /// Whether the root is read-only (the mounts below it need not be).
    pub root_read_only: bool,
    /// The image's volumes that nothing is mounted on: made where they are missing, and writable
    /// when the root is not.
    pub volumes: Vec<PathBuf>,
    /// What is mounted below the root, in order.
    pub mounts: Vec<Mount>,
    /// Symbolic links made below the root: path and target.
    pub links: Vec<(PathBuf, &'static str)>,
    /// Paths hidden from the container.
    pub masked_paths: Vec<PathBuf>,
    /// Paths the container may read only.
    pub read_only_paths: Vec<PathBuf>,
    /// The name in the uts namespace.
    pub hostname: String,
    /// Whose network.
    pub network: Network,
    /// The program and its circumstances.
    pub process: Process,
    /// The bounding set, and what a root process holds.
    pub capabilities: CapabilitySet,
    /// `PR_SET_NO_NEW_PRIVS`
    pub no_new_privileges: bool,
    /// Which filter of system calls.
    pub seccomp: SeccompChoice,
    /// What all of it together may use.
    pub resources: Resources,
    /// How much that is wanted.
    pub cgroups: cgroup::Mode,
    /// Where its control group is to be; below the caller's own where nothing is said.
    pub cgroups_path: Option<PathBuf>,
    /// A pid 1 of coracle's own before the program.
    pub init: bool,
    /// The signal that `stop` sends.
    pub stop_signal: i32,
    /// Labels of image and command line.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// The program of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Program and arguments; never empty.
    pub args: Vec<OsString>,
    /// `NAME=value` each.
    pub env: Vec<OsString>,
    /// Working directory, made where it is missing.
    pub cwd: PathBuf,
    /// As whom.
    pub user: User,
    /// A pseudo-terminal of its own.
    pub terminal: bool,
    /// Whether stdin is handed on; /dev/null otherwise.
    pub interactive: bool,
    /// Resource limits.
    pub limits: Vec<Ulimit>,
}
