//! A child's few bytes put into words, with the specification that the parent still holds.

use rustix::io::Errno;

use super::Error;
use super::error::ExecRefusal;
use super::init::ExecFailure;
use super::stage::{Failure, Stage};
use crate::bundle::ContainerSpec;
use crate::mount::{Kind, Mount, RootMount};
use crate::userns;

/// What the child's report means to the user.
pub(super) fn failure(failure: Failure, spec: &ContainerSpec) -> Error {
    let Failure { stage, item, errno } = failure;
    if stage == Stage::Exec {
        return exec(ExecFailure::from_item(item), errno, spec);
    }
    if stage == Stage::IdMap {
        return Error::Namespaces(userns::explain_refusal(errno));
    }
    let item = usize::from(item);
    Error::Step { what: what(stage, item, spec), errno, hint: hint(stage, item, errno, spec) }
}

fn what(stage: Stage, item: usize, spec: &ContainerSpec) -> String {
    let path = |paths: &[std::path::PathBuf]| {
        paths.get(item).map_or_else(String::new, |path| path.display().to_string())
    };
    match stage {
        Stage::IdMap => "set up the ids of the user namespace".into(),
        Stage::Propagation => "cut the container's mounts off from the host's".into(),
        Stage::Layers => format!("open layer {} of the image", layer(item, &spec.root)),
        Stage::Root => match &spec.root {
            RootMount::Overlay { .. } => "mount the root file system (overlay)".into(),
            RootMount::Directory(path) => {
                format!("mount the root file system {}", path.display())
            }
        },
        Stage::Mount => spec.mounts.get(item).map_or_else(String::new, mount),
        Stage::MountTarget => spec.mounts.get(item).map_or_else(String::new, |mount| {
            format!("make the mount point {} in the image", mount.target.display())
        }),
        Stage::Group => "go into the control group of the container".into(),
        Stage::Link => "make the links of /dev".into(),
        Stage::Volume => format!("keep the volume {} writable", path(&spec.volumes)),
        Stage::Mask => format!("hide {}", path(&spec.masked_paths)),
        Stage::ReadOnly => match path(&spec.read_only_paths) {
            path if path.is_empty() => "make the root read-only".into(),
            path => format!("make {path} read-only"),
        },
        Stage::WorkingDirectory => {
            format!("make the working directory {}", spec.process.cwd.display())
        }
        Stage::ChangeDirectory => {
            format!("enter the working directory {}", spec.process.cwd.display())
        }
        Stage::Terminal => "open a terminal in the container".into(),
        Stage::Pivot => "enter the container's root".into(),
        Stage::Hostname => format!("set the host name {:?}", spec.hostname),
        Stage::Loopback => "bring the loopback device up".into(),
        Stage::Limit => spec.process.limits.get(item).map_or_else(String::new, |limit| {
            let (name, soft, hard) = (limit.resource.docker_name(), limit.soft, limit.hard);
            format!("set the limit {name}={soft}:{hard}")
        }),
        Stage::Keyring => "join a new session keyring".into(),
        Stage::Seccomp => "load the filter of system calls".into(),
        Stage::Identity => {
            let user = &spec.process.user;
            format!("become user {}:{}", user.uid, user.gid)
        }
        Stage::Capabilities => "limit the capabilities".into(),
        Stage::Stdio => "set up stdin, stdout and stderr".into(),
        Stage::Init => "start the program below --init".into(),
        Stage::Exec => "execute the program".into(),
    }
}

fn layer(topmost_first: usize, root: &RootMount) -> String {
    match root {
        RootMount::Overlay { lowers, .. } => {
            format!("{} of {}", lowers.len().saturating_sub(topmost_first), lowers.len())
        }
        RootMount::Directory(_) => topmost_first.to_string(),
    }
}

fn mount(mount: &Mount) -> String {
    let target = mount.target.display();
    match &mount.kind {
        Kind::Bind { source, .. } => format!("mount {} on {target}", source.display()),
        Kind::Tmpfs { .. } => format!("mount a tmpfs on {target}"),
        Kind::Proc => format!("mount proc on {target}"),
        Kind::Sysfs => format!("mount sysfs on {target}"),
        Kind::Devpts => format!("mount devpts on {target}"),
        Kind::Mqueue => format!("mount mqueue on {target}"),
        Kind::Cgroup => format!("mount cgroup2 on {target}"),
    }
}

/// A next step, for the causes that the error itself proves.
fn hint(stage: Stage, item: usize, errno: Errno, spec: &ContainerSpec) -> Option<String> {
    let limit = || spec.process.limits.get(item);
    match (stage, errno) {
        (Stage::Limit, Errno::PERM) => Some(format!(
            "a limit cannot be raised above the caller's own hard limit (ulimit -H, {})",
            limit()?.resource.spec_name()
        )),
        (Stage::Identity, Errno::INVAL) => Some(
            "the user or group is outside the ids of this container; see --userns and coracle info"
                .into(),
        ),
        (Stage::Root, Errno::INVAL | Errno::NODEV | Errno::PERM) => {
            matches!(spec.root, RootMount::Overlay { .. }).then(|| {
                "try --storage-driver copy; coracle doctor says why overlay is refused".into()
            })
        }
        (Stage::MountTarget, Errno::ROFS) => {
            Some("the mount above it is read-only: make the mount point there first".into())
        }
        _ => None,
    }
}

fn exec(kind: ExecFailure, errno: Errno, spec: &ContainerSpec) -> Error {
    let command = spec.process.args[0].to_string_lossy().into_owned();
    let reason = match (kind, errno) {
        (ExecFailure::NotFound, _) => {
            let path = (!command.contains('/')).then(|| search_path(spec));
            return Error::CommandNotFound { command, path };
        }
        (ExecFailure::NoInterpreter, _) => ExecRefusal::Interpreter,
        (ExecFailure::Directory, _) => ExecRefusal::Directory,
        (ExecFailure::Refused, Errno::ACCESS) => ExecRefusal::Permission,
        (ExecFailure::Refused, Errno::NOEXEC) => ExecRefusal::Format,
        (ExecFailure::Refused, errno) => ExecRefusal::Other(errno),
    };
    Error::CommandNotExecutable { command, reason }
}

fn search_path(spec: &ContainerSpec) -> String {
    let mut lines = spec.process.env.iter().map(|line| line.to_string_lossy());
    lines.find_map(|line| line.strip_prefix("PATH=").map(str::to_owned)).unwrap_or_default()
}
