//! Mounts as values: made on one side, performed on the other.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

/// The root of a container, before anything is mounted on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RootMount {
    /// overlayfs with `userxattr`, mounted inside the user namespace.
    Overlay {
        /// Layer trees, the topmost first, as overlayfs counts them.
        lowers: Vec<PathBuf>,
        /// A data-only layer below them, where one of them is a tree of metadata.
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<PathBuf>,
        /// What the container writes.
        upper: PathBuf,
        /// overlayfs's scratch directory, on the file system of `upper`.
        work: PathBuf,
    },
    /// The same, served through FUSE by a process of ours.
    Union {
        /// Layer trees, the topmost first.
        lowers: Vec<PathBuf>,
        /// What the container writes, in the form that overlayfs gives it.
        upper: PathBuf,
        /// Scratch space on the file system of `upper`.
        work: PathBuf,
    },
    /// A plain directory, bound as it is.
    Directory(PathBuf),
}

/// How a bind mount passes mount events on (mount(2), "Shared subtrees").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Propagation {
    /// Nothing passes.
    #[default]
    Private,
    /// Host mounts appear in the container. The other way is closed to every user namespace: its
    /// mounts are slaves of the host's (mount_namespaces(7), "Restrictions on mount namespaces").
    Slave,
    /// The container's mounts pass between its own mount namespaces.
    Shared,
    /// Nothing passes, and it cannot be bound elsewhere.
    Unbindable,
}

/// When the time of the last access is written (`mount_setattr(2)`, `MOUNT_ATTR__ATIME`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccessTime {
    /// As the kernel or the source has it.
    #[default]
    Unsaid,
    /// `relatime`
    Relative,
    /// `noatime`
    Never,
    /// `strictatime`
    Always,
}

/// Mount attributes (`mount_setattr(2)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(clippy::struct_excessive_bools)] // they are the kernel's own independent flags
pub struct Attributes {
    /// `MOUNT_ATTR_RDONLY`
    pub read_only: bool,
    /// `MOUNT_ATTR_NOSUID`
    pub no_suid: bool,
    /// `MOUNT_ATTR_NODEV`
    pub no_dev: bool,
    /// `MOUNT_ATTR_NOEXEC`
    pub no_exec: bool,
    /// `MOUNT_ATTR_NOSYMFOLLOW` (Linux 5.14)
    pub no_symfollow: bool,
    /// `MOUNT_ATTR_NODIRATIME`
    pub no_dir_atime: bool,
    /// `MOUNT_ATTR__ATIME`
    pub access_time: AccessTime,
    /// Whether the mounts below a recursive bind are left as they are.
    pub here_only: bool,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A file or directory of the host.
    Bind {
        /// Path on the host.
        source: PathBuf,
        /// With the mounts below it.
        recursive: bool,
        /// Mount events.
        propagation: Propagation,
    },
    /// A file or directory at a path below a directory of the host. The path is resolved when it is
    /// mounted, and no link on it leads out.
    Beneath {
        /// The directory.
        directory: PathBuf,
        /// The path below it.
        path: PathBuf,
    },
    /// An overlay of its own, as `RootMount::Overlay`.
    Overlay {
        /// Directories, the topmost first.
        lowers: Vec<PathBuf>,
        /// What the container writes.
        upper: PathBuf,
        /// overlayfs's scratch directory.
        work: PathBuf,
    },
    /// A temporary file system.
    Tmpfs {
        /// `size=`, in bytes.
        size: Option<u64>,
        /// Mode of its root.
        mode: u32,
    },
    /// procfs of the new pid namespace.
    Proc,
    /// sysfs of the network namespace.
    Sysfs,
    /// A devpts instance of its own.
    Devpts,
    /// POSIX message queues of the ipc namespace.
    Mqueue,
    /// The cgroup namespace's own tree where the host has cgroup v2 at /sys/fs/cgroup, an empty
    /// directory otherwise.
    Cgroup,
    /// Any other file system that a user namespace may mount.
    FileSystem {
        /// Its name, as /proc/filesystems has it.
        name: String,
        /// What it is made of, for those that take it.
        source: Option<String>,
        /// Its own options: `key=value`, or a word.
        options: Vec<String>,
        /// Whether a tmpfs begins with a copy of what it covers (runc's `tmpcopyup`).
        copy_up: bool,
    },
    /// A tree that is open already, of another container.
    Detached(Detached),
}

/// A mount that lies nowhere yet (open_tree(2), `OPEN_TREE_CLONE`).
#[derive(Clone)]
pub struct Detached(Arc<OwnedFd>);

impl Detached {
    /// The mount behind a descriptor.
    pub fn new(mount: OwnedFd) -> Self {
        Self(Arc::new(mount))
    }
}

impl AsFd for Detached {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl PartialEq for Detached {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Detached {}

impl fmt::Debug for Detached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Detached({:?})", self.0)
    }
}

impl Serialize for Detached {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str("detached")
    }
}

/// One mount below the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// Absolute path in the container, resolved beneath its root.
    pub target: PathBuf,
    /// What is mounted there.
    pub kind: Kind,
    /// With which attributes.
    pub attributes: Attributes,
    /// With which attributes all that is mounted below it too (runtime-spec, `rro` and its kin).
    pub recursive_attributes: Option<Attributes>,
}
