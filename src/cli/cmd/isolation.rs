//! The flags that say how far a container is apart from the host: namespaces, ids, capabilities,
//! filters, devices.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::Error;
use super::super::parse::{self, Label, SecurityOption, UserNamespace};
use super::run::read;
use crate::engine::bundle::{
    self, DeviceRequest, LabelRequest, SeccompChoice, SecurityOptions, Sharing, Ulimit,
};
use crate::engine::devices_below;
use crate::engine::userns::{self, Line};

/// Namespaces, ids, capabilities, filters, devices.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Isolation {
    /// See the host's processes, or a container's
    #[arg(long, value_name = "private|host|container:NAME", value_parser = parse::namespace)]
    pid: Option<Sharing>,
    /// Share System V IPC, message queues and /dev/shm
    #[arg(long, value_name = "private|host|none|container:NAME", value_parser = parse::ipc)]
    ipc: Option<Sharing>,
    /// Share the host name
    #[arg(long, value_name = "private|host|container:NAME", value_parser = parse::namespace)]
    uts: Option<Sharing>,
    /// Share the view of the control groups
    #[arg(long, value_name = "private|host|container:NAME", value_parser = parse::namespace)]
    cgroupns: Option<Sharing>,
    /// Choose the ids in the container: auto, single, nomap, range, host-id[:uid=N,gid=N,size=N],
    /// container:NAME
    #[arg(long, value_name = "IDS", value_parser = parse::user_namespace)]
    userns: Option<UserNamespace>,
    /// Map user ids: INSIDE:OUTSIDE[:COUNT], where OUTSIDE 0 is the caller and 1 its first
    /// subordinate id; @OUTSIDE for the host's, + before it to add to the usual map
    #[arg(long, value_name = "MAP")]
    uidmap: Vec<Line>,
    /// Map group ids likewise; those of --uidmap where there are none
    #[arg(long, value_name = "MAP")]
    gidmap: Vec<Line>,
    /// Take the subordinate user ids of this name: the caller's own
    #[arg(long, value_name = "NAME")]
    subuidname: Option<String>,
    /// Take the subordinate group ids of this name: the caller's own
    #[arg(long, value_name = "NAME")]
    subgidname: Option<String>,
    /// Add a group, by name or id; keep-groups for the caller's own
    #[arg(long, value_name = "GROUP")]
    group_add: Vec<String>,
    /// Add a capability, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,
    /// Drop a capability, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,
    /// Give the container all that the user may do, and no more
    #[arg(long)]
    privileged: bool,
    /// Tighten or loosen: no-new-privileges, seccomp=FILE, mask=PATH, unmask=PATH,
    /// proc-opts=OPTION, apparmor=PROFILE, label=OPTION
    #[arg(long, value_name = "OPTION", value_parser = parse::security_option)]
    security_opt: Vec<SecurityOption>,
    /// Show a device of the host in the container
    #[arg(long, value_name = "PATH[:PATH][:rwm]", value_parser = parse::device)]
    device: Vec<DeviceRequest>,
    /// Refused: rules for devices take root
    #[arg(long, value_name = "RULE", hide = true, value_parser = parse::device_cgroup_rule)]
    #[allow(dead_code)] // its parser refuses every value
    device_cgroup_rule: Option<std::convert::Infallible>,
    /// Set a kernel parameter of the container's namespaces
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse::sysctl)]
    sysctl: Vec<(String, String)>,
    /// Limit a resource: NAME=SOFT[:HARD]
    #[arg(long, value_name = "NAME=SOFT[:HARD]|host", value_parser = parse::ulimit)]
    ulimit: Vec<Option<Ulimit>>,
    /// Let the OOM killer come to the container sooner, from -1000 to 1000
    #[arg(long, value_name = "SCORE", allow_hyphen_values = true,
        value_parser = clap::value_parser!(i32).range(-1000..=1000))]
    oom_score_adj: Option<i32>,
    /// Show the program another interface of the kernel: LINUX32, or a flag of personality(2)
    #[arg(long, value_name = "NAME", value_parser = parse::personality)]
    personality: Option<u32>,
    /// Make files without these permissions, in octal
    #[arg(long, value_name = "MODE", value_parser = parse::umask)]
    umask: Option<u32>,
}

impl Isolation {
    /// The ids asked for, for the engine to choose from.
    pub(super) fn ids(&self) -> Result<Option<userns::Request>, Error> {
        let names = [("--subuidname", &self.subuidname), ("--subgidname", &self.subgidname)];
        for (flag, name) in names {
            let Some(name) = name else { continue };
            let caller = userns::caller();
            if *name != caller && *name != rustix::process::getuid().as_raw().to_string() {
                return Err(Error::usage(format!(
                    "{flag} {name}: newuidmap and newgidmap map the ranges of who calls them, which is \
                     {caller}"
                )));
            }
        }
        let named = self.subuidname.is_some() || self.subgidname.is_some();
        let lines = self.lines();
        match (&self.userns, lines.is_empty()) {
            (Some(_), false) => Err(Error::usage(
                "--uidmap and --gidmap are a map of their own: leave --userns out",
            )),
            (Some(UserNamespace::Own(request)), true) => Ok(Some(request.clone())),
            (Some(UserNamespace::Container(_)), true) => Ok(None),
            (None, false) => Ok(Some(userns::Request::Lines(lines))),
            (None, true) => Ok(named.then_some(userns::Request::Range)),
        }
    }

    /// The lines of both maps; those of one alone are for both kinds of ids.
    fn lines(&self) -> Vec<Line> {
        let users = self.uidmap.iter().map(|line| match self.gidmap.is_empty() {
            true => *line,
            false => Line { groups: false, users: true, ..*line },
        });
        let groups = self.gidmap.iter().map(|line| Line { users: false, groups: true, ..*line });
        let groups = groups.map(|line| Line { users: self.uidmap.is_empty(), ..line });
        users.chain(groups).collect()
    }

    /// What is asked for and counts for nothing.
    pub(super) fn remark(&self) -> Option<&'static str> {
        let is_lost = self.privileged && !self.cap_drop.is_empty();
        is_lost.then_some("--cap-drop drops nothing: --privileged gives all capabilities")
    }

    /// Fills in the request.
    pub(super) fn apply(&self, request: &mut bundle::Request) -> Result<(), Error> {
        request.pid = self.pid.clone().unwrap_or_default();
        request.ipc = self.ipc.clone().unwrap_or_default();
        request.uts = self.uts.clone().unwrap_or_default();
        request.cgroup = self.cgroupns.clone().unwrap_or_default();
        if let Some(UserNamespace::Container(name)) = &self.userns {
            request.user_of = Some(name.clone());
        }
        request.group_add = list(&self.group_add);
        request.keep_groups = request.group_add.iter().any(|group| group == "keep-groups");
        if request.keep_groups && request.group_add.len() > 1 {
            return Err(Error::usage(
                "--group-add keep-groups goes with no other group: only root of the host adds to them",
            ));
        }
        request.group_add.retain(|group| group != "keep-groups");
        request.personality = self.personality;
        request.cap_add = list(&self.cap_add);
        request.cap_drop = list(&self.cap_drop);
        request.privileged = self.privileged;
        request.security = security(&self.security_opt)?;
        for device in &self.device {
            request.devices.extend(devices(device)?);
        }
        request.sysctls = self.sysctl.iter().cloned().collect::<BTreeMap<_, _>>();
        request.ulimits = self.ulimit.iter().flatten().copied().collect();
        request.oom_score_adj = self.oom_score_adj;
        request.umask = self.umask;
        Ok(())
    }
}

/// The nodes that are meant: with a directory those below it, as docker has it.
fn devices(device: &DeviceRequest) -> Result<Vec<DeviceRequest>, Error> {
    if !device.source.is_dir() {
        return check_device(device).map(|()| vec![device.clone()]);
    }
    let below = devices_below(&device.source).into_iter().filter_map(|source| {
        let target = device.target.join(source.strip_prefix(&device.source).ok()?);
        Some(DeviceRequest { source, target, write: device.write })
    });
    let below: Vec<_> = below.collect();
    if below.is_empty() {
        let name = device.source.display();
        return Err(Error::usage(format!(
            "--device {name}: no device node below it may be opened"
        )));
    }
    below.iter().try_for_each(check_device)?;
    Ok(below)
}

/// A node that the user may not open would be there and no good.
fn check_device(device: &DeviceRequest) -> Result<(), Error> {
    use std::os::unix::fs::FileTypeExt;

    use rustix::fs::Access;
    let refuse =
        |why: String| Err(Error::usage(format!("--device {}: {why}", device.source.display())));
    match std::fs::metadata(&device.source) {
        Err(error) => return refuse(error.to_string()),
        Ok(node) if !node.file_type().is_char_device() && !node.file_type().is_block_device() => {
            return refuse("it is not a device node".to_owned());
        }
        Ok(_) => {}
    }
    let mut wanted = Access::READ_OK;
    if device.write {
        wanted |= Access::WRITE_OK;
    }
    match rustix::fs::access(&device.source, wanted) {
        // A mount that is read-only does not keep a node from being written to.
        Ok(()) if !device.write && rustix::fs::access(&device.source, Access::WRITE_OK).is_ok() => {
            refuse(
                "the user may write to it, and :r would not keep the container from that, which takes root's \
                 control groups: leave :r out"
                    .to_owned(),
            )
        }
        Ok(()) => Ok(()),
        Err(errno) => refuse(format!("the user may not open it ({errno})")),
    }
}

fn security(options: &[SecurityOption]) -> Result<SecurityOptions, Error> {
    let mut security = SecurityOptions::default();
    for option in options {
        match option {
            SecurityOption::NoNewPrivileges(on) => security.no_new_privileges = *on,
            SecurityOption::SeccompUnconfined => security.seccomp = SeccompChoice::Unconfined,
            SecurityOption::SeccompDefault => security.seccomp = SeccompChoice::Default,
            SecurityOption::SeccompFile(path) => security.seccomp = profile(path)?,
            SecurityOption::Mask(paths) => security.mask.extend(paths.iter().cloned()),
            SecurityOption::Unmask(paths) => security.unmask.extend(paths.iter().cloned()),
            SecurityOption::UnmaskAll => security.unmask_all = true,
            SecurityOption::ProcOptions(options) => {
                security.proc_options.extend(options.iter().cloned());
            }
            SecurityOption::AppArmor(profile) => security.labels.apparmor.clone_from(profile),
            SecurityOption::Label(one) => label(&mut security.labels, one),
        }
    }
    Ok(security)
}

/// Adds an option to those before it; `disable` takes them back.
fn label(labels: &mut LabelRequest, option: &Label) {
    let apparmor = labels.apparmor.clone();
    match option.clone() {
        Label::Disable => *labels = LabelRequest { apparmor, ..LabelRequest::default() },
        Label::User(user) => labels.user = Some(user),
        Label::Role(role) => labels.role = Some(role),
        Label::Kind(kind) => labels.kind = Some(kind),
        Label::Level(level) => labels.level = Some(level),
        Label::FileKind(kind) => labels.file_kind = Some(kind),
        Label::Nested => labels.nested = true,
    }
}

fn profile(path: &Path) -> Result<SeccompChoice, Error> {
    let text = String::from_utf8(read(path)?)
        .map_err(|_| Error::usage(format!("{}: not UTF-8", path.display())))?;
    Ok(SeccompChoice::Json(text))
}

/// `--cap-add A,B` as podman has it, and each alone.
fn list(names: &[String]) -> Vec<String> {
    names.iter().flat_map(|names| names.split(',')).map(str::to_owned).collect()
}
