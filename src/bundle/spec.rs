//! The specification of a container: everything a runtime needs, nothing looked up later.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::capabilities::{Capabilities, CapabilitySet};
use super::{
    Added, Error, Joined, Labels, Namespace, Namespaces, NsKind, SeccompChoice, Tuning, Ulimit,
    User, defaults, is_nothing,
};
use crate::cgroup::{self, Resources};
use crate::mount::{Mount, Propagation, RootMount};
use crate::network;

/// How to create a container; the runtime specification's `config.json` as a value.
///
/// Made by [`ContainerSpec::builder`], which refuses what makes no sense.
#[derive(Clone, Debug)]
pub struct ContainerSpec {
    /// The root file system.
    pub root: RootMount,
    /// Whether the root is read-only (the mounts below it need not be).
    pub root_read_only: bool,
    /// How mounts below the root pass, to it and from it; privately where nothing is said.
    pub root_propagation: Option<Propagation>,
    /// Which namespaces are new, the caller's, or another container's.
    pub namespaces: Namespaces,
    /// What its private network is like, where it has one.
    pub network: Option<network::Settings>,
    /// The named networks that it is in in place of that.
    pub networks: Vec<network::Wanted>,
    /// What is mounted below the root, in order.
    pub mounts: Vec<Mount>,
    /// Lines added to files of the root, where they are not there yet; before anything is mounted.
    pub added: Vec<Added>,
    /// Symbolic links made below the root: path and target.
    pub links: Vec<(PathBuf, PathBuf)>,
    /// Paths hidden from the container.
    pub masked_paths: Vec<PathBuf>,
    /// Paths the container may read only.
    pub read_only_paths: Vec<PathBuf>,
    /// The name in a new uts namespace; unchanged where there is none.
    pub hostname: Option<String>,
    /// The NIS domain name in a new uts namespace.
    pub domainname: Option<String>,
    /// Its time namespace (time_namespaces(7)); none where it has the caller's.
    pub time: Option<Time>,
    /// Kernel parameters of the container's namespaces, by sysctl(8)'s names.
    pub sysctls: BTreeMap<String, String>,
    /// The program and its circumstances.
    pub process: Process,
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
    /// Programs to run on the way.
    pub hooks: Hooks,
    /// Labels of image and command line.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// The program of a container, or another one that joins it (runtime-spec, config.md, "Process").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools)] // each a property of its own
pub struct Process {
    /// Program and arguments; never empty.
    #[serde(with = "super::text")]
    pub args: Vec<OsString>,
    /// `NAME=value` each.
    #[serde(with = "super::text")]
    pub env: Vec<OsString>,
    /// Working directory, made where it is missing.
    pub cwd: PathBuf,
    /// As whom.
    pub user: User,
    /// A pseudo-terminal of its own.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub terminal: bool,
    /// The size of that: rows and columns. The caller's terminal's where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal_size: Option<(u16, u16)>,
    /// Whether stdin is handed on; /dev/null otherwise.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub interactive: bool,
    /// Resource limits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Ulimit>,
    /// The bounding set, and what the process holds.
    pub capabilities: Capabilities,
    /// `PR_SET_NO_NEW_PRIVS`
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub no_new_privileges: bool,
    /// umask(2); the runtime's 022 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    /// `/proc/PID/oom_score_adj`; unchanged where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// What AppArmor and SELinux execute the program under.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub labels: Labels,
    /// Whether the caller's supplementary groups stay.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub keep_groups: bool,
    /// Scheduling, processors, personality.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub tuning: Tuning,
    /// Whether abstract sockets of the network namespace's other processes are out of reach, where
    /// the kernel can do that: for a container in the host's network.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub own_sockets: bool,
}

/// A time namespace other than the caller's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Time {
    /// One of its own.
    New(Clocks),
    /// Another's, which lives in the same user namespace.
    Join(Joined),
}

/// How far the clocks of a time namespace are ahead of the caller's: seconds and nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clocks {
    /// `CLOCK_MONOTONIC`
    pub monotonic: Option<(i64, u32)>,
    /// `CLOCK_BOOTTIME`
    pub boottime: Option<(i64, u32)>,
}

/// A program that is run at a point of a container's life (runtime-spec, config.md, "POSIX-platform
/// Hooks"), with the container's state as JSON on its stdin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Absolute path of the program.
    pub path: PathBuf,
    /// Its arguments, argv\[0\] first; the path alone where there are none.
    pub args: Vec<OsString>,
    /// Its whole environment, `NAME=value` each.
    pub env: Vec<OsString>,
    /// It is killed when it takes longer.
    pub timeout: Option<Duration>,
}

/// The hooks of a container. One that fails before the program runs ends the launch; one behind is
/// told and does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Deprecated by the specification, and run just before `create_runtime`.
    pub prestart: Vec<Hook>,
    /// In the caller's namespaces, when the container's are there and its root is not yet entered.
    pub create_runtime: Vec<Hook>,
    /// In the container's namespaces, before its root is entered.
    pub create_container: Vec<Hook>,
    /// In the container, before its program.
    pub start_container: Vec<Hook>,
    /// In the caller's namespaces, when the program runs.
    pub poststart: Vec<Hook>,
    /// In the caller's namespaces, when the container is deleted.
    pub poststop: Vec<Hook>,
}

impl Process {
    /// A root process with docker's capabilities and nothing on stdin.
    pub fn new(args: Vec<OsString>) -> Self {
        Self {
            args,
            env: vec![format!("PATH={}", defaults::PATH).into()],
            cwd: PathBuf::from("/"),
            user: User::default(),
            terminal: false,
            terminal_size: None,
            interactive: false,
            limits: Vec::new(),
            capabilities: Capabilities::of_user(CapabilitySet::docker_default(), 0),
            no_new_privileges: false,
            umask: None,
            oom_score_adj: None,
            labels: Labels::default(),
            keep_groups: false,
            tuning: Tuning::default(),
            own_sockets: false,
        }
    }
}

impl Process {
    /// The arguments as text, for people.
    pub fn args_text(&self) -> Vec<String> {
        self.args.iter().map(|text| text.to_string_lossy().into_owned()).collect()
    }

    /// The variables as text, for people.
    pub fn env_text(&self) -> Vec<String> {
        self.env.iter().map(|text| text.to_string_lossy().into_owned()).collect()
    }
}

/// Puts a specification together; [`Builder::build`] refuses what makes no sense.
#[derive(Clone, Debug)]
pub struct Builder {
    spec: ContainerSpec,
}

impl ContainerSpec {
    /// A container as docker makes it by default, with nothing but its own namespaces, on a root.
    pub fn builder(root: RootMount, process: Process) -> Builder {
        let namespaces = Namespaces::default();
        Builder {
            spec: Self {
                root,
                root_read_only: false,
                root_propagation: None,
                network: None,
                networks: Vec::new(),
                mounts: defaults::mounts(&namespaces, false, Some(defaults::SHM_SIZE)),
                namespaces,
                added: Vec::new(),
                links: defaults::links(),
                time: None,
                masked_paths: defaults::masked_paths(),
                read_only_paths: defaults::read_only_paths(),
                hostname: None,
                domainname: None,
                sysctls: BTreeMap::new(),
                process,
                seccomp: SeccompChoice::Default,
                resources: Resources::default(),
                cgroups: cgroup::Mode::default(),
                cgroups_path: None,
                init: false,
                stop_signal: super::signal::TERM,
                hooks: Hooks::default(),
                labels: BTreeMap::new(),
                annotations: BTreeMap::new(),
            },
        }
    }
}

impl Builder {
    /// Changes anything else of the specification.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut ContainerSpec)) -> Self {
        change(&mut self.spec);
        self
    }

    /// Takes some namespaces from the host or leaves them new; the default mounts follow.
    #[must_use]
    pub fn namespace(mut self, kind: NsKind, from: Namespace) -> Self {
        self.spec.namespaces[kind] = from;
        self.spec.mounts = defaults::mounts(&self.spec.namespaces, false, Some(defaults::SHM_SIZE));
        self
    }

    /// Shares namespaces with a running container, as a pod does.
    #[must_use]
    pub fn stitch(self, shared: impl IntoIterator<Item = (NsKind, Joined)>) -> Self {
        let shared = shared.into_iter();
        shared.fold(self, |builder, (kind, from)| builder.namespace(kind, Namespace::Join(from)))
    }

    /// The specification, if it is sound.
    pub fn build(self) -> Result<ContainerSpec, Error> {
        let spec = self.spec;
        if spec.process.args.is_empty() {
            return Err(Error::NoCommand);
        }
        // Joining needs power over the owner, so the user namespace comes along. Whoever has no
        // user namespace of its own (an outer container's root) joins with the power it has.
        let stranded = spec.namespaces.joined().find(|(kind, _)| *kind != NsKind::User);
        match (stranded, &spec.namespaces[NsKind::User]) {
            (Some((kind, _)), Namespace::New) => Err(Error::StrandedJoin { kind }),
            _ => Ok(spec),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> Builder {
        let process = Process::new(vec!["true".into()]);
        ContainerSpec::builder(RootMount::Directory("/rootfs".into()), process)
    }

    fn joined() -> Joined {
        Joined::new(std::fs::File::open("/dev/null").expect("a file").into())
    }

    #[test]
    fn a_join_without_its_user_namespace_is_refused() {
        let alone = builder().stitch([(NsKind::Ipc, joined())]).build();
        assert!(matches!(alone, Err(Error::StrandedJoin { kind: NsKind::Ipc })));
        let both = [(NsKind::Ipc, joined()), (NsKind::User, joined())];
        assert!(builder().stitch(both).build().is_ok());
    }

    #[test]
    fn nothing_to_run_is_refused() {
        let empty = builder().with(|spec| spec.process.args.clear()).build();
        assert!(matches!(empty, Err(Error::NoCommand)));
    }
}
