//! A child's few bytes put into words, with the specification that the parent still holds.

use rustix::io::Errno;

use super::Error;
use super::error::ExecRefusal;
use super::program::ExecFailure;
use super::stage::{Failure, Stage};
use super::{hooks, tuning};
use crate::bundle::{ContainerSpec, Hook, Process, Time};
use crate::mount::{Kind, Mount, RootMount};
use crate::userns;

/// What the child's report means to the user.
pub(super) fn failure(failure: Failure, process: &Process, spec: Option<&ContainerSpec>) -> Error {
    let Failure { stage, item, errno } = failure;
    let item_number = usize::from(item);
    match (stage, spec) {
        (Stage::Exec, _) => return exec(ExecFailure::from_item(item), errno, process),
        (Stage::ChangeDirectory, _) => {
            return Error::WorkingDirectory { path: process.cwd.clone(), errno };
        }
        (Stage::Identity, _) if errno == Errno::INVAL => {
            return Error::ForeignId { user: process.user.uid, group: process.user.gid };
        }
        (Stage::IdMap, _) => return Error::Namespaces(userns::explain_refusal(errno)),
        (Stage::CreateContainerHook, Some(spec)) => {
            return hook(&spec.hooks.create_container, item_number, errno);
        }
        (Stage::StartContainerHook, Some(spec)) => {
            return hook(&spec.hooks.start_container, item_number, errno);
        }
        _ => {}
    }
    let of_program = of_program(stage, item_number, process);
    if let (Stage::MountKind, Some(mount)) = (stage, spec.and_then(|it| it.mounts.get(item_number)))
    {
        let (what, is_directory) = (self::mount(mount), errno == Errno::NOTDIR);
        return Error::MountKind { what, target: mount.target.clone(), is_directory };
    }
    let what = match (of_program, spec) {
        (Some(what), _) => what,
        (None, Some(spec)) => of_container(stage, item_number, spec),
        (None, None) => "join the container".to_owned(),
    };
    let hint = hint(stage, item_number, errno, process, spec);
    Error::Step { what, errno, hint }
}

fn hook(hooks: &[Hook], item: usize, errno: Errno) -> Error {
    let path = hooks.get(item).map(|hook| hook.path.clone()).unwrap_or_default();
    Error::Hook { path, why: hooks::reason(errno) }
}

/// The steps that every program goes.
fn of_program(stage: Stage, item: usize, process: &Process) -> Option<String> {
    Some(match stage {
        Stage::OomScore => format!(
            "set the OOM score to {}",
            process.oom_score_adj.map_or_else(String::new, |score| score.to_string())
        ),
        Stage::Terminal => "open a terminal in the container".into(),
        Stage::Limit => process.limits.get(item).map_or_else(String::new, |limit| {
            let word = |value: u64| match value {
                u64::MAX => "unlimited".to_owned(),
                value => value.to_string(),
            };
            let (soft, hard) = (word(limit.soft), word(limit.hard));
            format!("set the limit {}={soft}:{hard}", limit.resource.docker_name())
        }),
        Stage::Tuning => tuning::describe(item, &process.tuning),
        Stage::Keyring => "join a new session keyring".into(),
        Stage::Label => {
            let given = [&process.labels.apparmor, &process.labels.selinux];
            let given = given.into_iter().flatten().nth(item);
            format!("label the program {}", given.map_or("", String::as_str))
        }
        Stage::Landlock => "keep the container from the host's abstract sockets".into(),
        Stage::Switch => "have connections made for the container (--network fast)".into(),
        Stage::Seccomp => "load the filter of system calls".into(),
        Stage::Identity => format!("become user {}:{}", process.user.uid, process.user.gid),
        Stage::Capabilities => "limit the capabilities".into(),
        Stage::Stdio => "set up stdin, stdout and stderr".into(),
        Stage::Gate => "wait for the start".into(),
        Stage::Init => "start the program below --init".into(),
        _ => return None,
    })
}

/// The steps of a container's first process.
fn of_container(stage: Stage, item: usize, spec: &ContainerSpec) -> String {
    let path = |paths: &[std::path::PathBuf]| {
        paths.get(item).map_or_else(String::new, |path| path.display().to_string())
    };
    match stage {
        Stage::IdMap => "set up the ids of the user namespace".into(),
        Stage::Propagation => "cut the container's mounts off from the host's".into(),
        Stage::Layers => format!("open layer {} of the image", layer(item, &spec.root)),
        Stage::Root => match &spec.root {
            RootMount::Overlay { .. } => "mount the root file system (overlay)".into(),
            RootMount::Union { .. } => "mount the root file system (fuse)".into(),
            RootMount::Directory(path) => {
                format!("mount the root file system {}", path.display())
            }
        },
        Stage::Mount => spec.mounts.get(item).map_or_else(String::new, mount),
        Stage::MountTarget => spec.mounts.get(item).map_or_else(String::new, |mount| {
            format!("make the mount point {} in the image", mount.target.display())
        }),
        Stage::Added => spec.added.get(item).map_or_else(String::new, |added| {
            format!("add lines to {} in the container", added.path.display())
        }),
        Stage::Clocks => match spec.time {
            Some(Time::Join(_)) => "join the time namespace".into(),
            Some(Time::New(_)) | None => "set the clocks of a time namespace".into(),
        },
        Stage::Group => "go into the control group of the container".into(),
        Stage::Link => "make the links of /dev".into(),
        Stage::Mask => format!("hide {}", path(&spec.masked_paths)),
        Stage::ReadOnly => match path(&spec.read_only_paths) {
            path if path.is_empty() => "make the root read-only".into(),
            path => format!("make {path} read-only"),
        },
        Stage::Seal => "make a mount read-only that others lie on".into(),
        Stage::WorkingDirectory => {
            format!("make the working directory {}", spec.process.cwd.display())
        }
        Stage::Pivot => "enter the container's root".into(),
        Stage::Hostname => {
            format!("set the host name {:?}", spec.hostname.as_deref().unwrap_or_default())
        }
        Stage::Network => "make the private network's device (/dev/net/tun)".into(),
        Stage::Loopback => "bring the loopback device up".into(),
        Stage::Sysctl => spec.sysctls.iter().nth(item).map_or_else(String::new, |(name, value)| {
            format!("set the kernel parameter {name}={value}")
        }),
        Stage::Meeting => "meet the caller for the hooks".into(),
        _ => "execute the program".into(),
    }
}

fn layer(topmost_first: usize, root: &RootMount) -> String {
    match root {
        RootMount::Overlay { lowers, .. } | RootMount::Union { lowers, .. } => {
            format!("{} of {}", lowers.len().saturating_sub(topmost_first), lowers.len())
        }
        RootMount::Directory(_) => topmost_first.to_string(),
    }
}

fn mount(mount: &Mount) -> String {
    let target = mount.target.display();
    match &mount.kind {
        Kind::Bind { source, .. } => format!("mount {} on {target}", source.display()),
        Kind::Beneath { directory, path } => {
            format!("mount {} below {} on {target}", path.display(), directory.display())
        }
        Kind::Overlay { .. } => format!("mount an overlay on {target}"),
        Kind::Tmpfs { .. } => format!("mount a tmpfs on {target}"),
        Kind::Proc => format!("mount proc on {target}"),
        Kind::Sysfs => format!("mount sysfs on {target}"),
        Kind::Devpts => format!("mount devpts on {target}"),
        Kind::Mqueue => format!("mount mqueue on {target}"),
        Kind::Cgroup => format!("mount cgroup2 on {target}"),
        Kind::FileSystem { name, .. } => format!("mount {name} on {target}"),
        Kind::Detached(_) => format!("mount another container's {target}"),
    }
}

/// A next step, for the causes that the error itself proves.
fn hint(
    stage: Stage,
    item: usize,
    errno: Errno,
    process: &Process,
    spec: Option<&ContainerSpec>,
) -> Option<String> {
    let limit = || process.limits.get(item);
    match (stage, errno) {
        (Stage::Limit, Errno::PERM) => Some(format!(
            "a limit cannot be raised above the caller's own hard limit (ulimit -H, {})",
            limit()?.resource.spec_name()
        )),
        (Stage::Root, Errno::INVAL | Errno::NODEV | Errno::PERM) => {
            matches!(spec?.root, RootMount::Overlay { .. }).then(|| {
                "try --storage-driver fuse or copy; coracle doctor says why overlay is refused"
                    .into()
            })
        }
        (Stage::Tuning, Errno::PERM | Errno::ACCESS) => Some(
            "without root a program can be made to run later and less, and not sooner and more"
                .into(),
        ),
        (Stage::Switch, Errno::BUSY) => Some(
            "calls of this process go to a supervisor already, as in a container in a container, and \
             there can be one alone; --network private works"
                .into(),
        ),
        (Stage::Switch, _) => Some("--network private does the same without".into()),
        (Stage::Clocks, Errno::PERM) => Some(
            "to join it takes power over it: join the user namespace that it was made in".into(),
        ),
        (Stage::Clocks, Errno::INVAL | Errno::NOSYS) => {
            Some("time namespaces take Linux 5.6 and CONFIG_TIME_NS".into())
        }
        (Stage::Mount, Errno::XDEV) => {
            let mount = spec?.mounts.get(item)?;
            matches!(mount.kind, Kind::Beneath { .. })
                .then(|| "a link on that path leads out of the volume".into())
        }
        (Stage::OomScore, Errno::ACCESS) => {
            Some("without root the score can only be raised above the caller's own".into())
        }
        (Stage::Label, Errno::NOENT) if process.labels.apparmor.is_some() => {
            Some("no such profile is loaded; aa-status lists those that are".into())
        }
        (Stage::MountTarget, Errno::NOTDIR) => Some("a part of that path is a file there".into()),
        (Stage::MountTarget, Errno::ROFS) => {
            Some("the mount above it is read-only: make the mount point there first".into())
        }
        _ => None,
    }
}

fn exec(kind: ExecFailure, errno: Errno, process: &Process) -> Error {
    let command = process.args[0].to_string_lossy().into_owned();
    let reason = match (kind, errno) {
        (ExecFailure::NotFound, _) => {
            let path = (!command.contains('/')).then(|| search_path(process));
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

fn search_path(process: &Process) -> String {
    let mut lines = process.env.iter().map(|line| line.to_string_lossy());
    lines.find_map(|line| line.strip_prefix("PATH=").map(str::to_owned)).unwrap_or_default()
}
