//! Limits and a host to steps; what no group can keep, and what stands in for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::group::{Group, errno, write_choice};
use super::host::{Host, Version, detect};
use super::place::{Place, lacking, place};
use super::setting::{How, Setting};
use super::{Error, Processors, Refusal, Resources, systemd};

/// How much is asked of control groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// A limit is kept, or the container does not start.
    #[default]
    Enabled,
    /// What cannot be kept is warned about.
    BestEffort,
    /// No group is made.
    Disabled,
}

/// What is wanted of a host.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The limits.
    pub resources: &'a Resources,
    /// How much they are wanted.
    pub mode: Mode,
    /// The group's name.
    pub name: &'a str,
    /// The slice of a scope that systemd is asked for.
    pub slice: Option<&'a str>,
    /// `linux.cgroupsPath`
    pub path: Option<&'a Path>,
    /// The kernel's version.
    pub kernel: (u32, u32),
    /// Whether the container has one user id only, and not the host's root's.
    pub one_id: bool,
}

/// A limit that the first process keeps itself to, and all that come from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// `RLIMIT_NPROC`
    Processes(u64),
    /// sched_setaffinity(2)
    Affinity(Processors),
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask the user's systemd for a scope, and plan again there.
    AskSystemd {
        /// Its bus.
        bus: PathBuf,
    },
    /// Make a directory on the way, unless it is there.
    MakeDirectory {
        /// Which.
        path: PathBuf,
    },
    /// Make the group, or take an empty one over.
    MakeGroup {
        /// Its directory.
        path: PathBuf,
    },
    /// Hand controllers on to the groups in this one.
    Enable {
        /// This one.
        group: PathBuf,
        /// Which.
        controllers: Vec<String>,
    },
    /// Move this process.
    MoveSelf {
        /// Where to.
        group: PathBuf,
    },
    /// Write a value.
    Write {
        /// The limit.
        limit: String,
        /// The group.
        group: PathBuf,
        /// File and value; the first that is there.
        choices: Vec<(String, String)>,
        /// Whether a missing file is no failure.
        optional: bool,
    },
}

/// What will be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In order.
    pub steps: Vec<Step>,
    /// What they make.
    pub group: Option<Group>,
    /// What is kept without it.
    pub kept: Vec<Kept>,
    /// What the user has to know.
    pub warnings: Vec<String>,
    /// Whether the container can do without the group.
    optional: bool,
    mode: Mode,
}

/// Decides how limits are kept. Pure: nothing is looked up, nothing is done.
pub fn plan(host: &Host, wish: Wish<'_>) -> Result<Plan, Error> {
    let settings = match host.version {
        Version::V2 | Version::None => wish.resources.unified_settings(),
        Version::V1 | Version::Hybrid => wish.resources.separate_settings(),
    };
    let needed: BTreeSet<String> = settings.iter().filter_map(Setting::controller).collect();
    let place = match wish.mode {
        Mode::Disabled => lacking(&needed, "control groups were turned off (--cgroups=disabled)"),
        Mode::Enabled | Mode::BestEffort => place(host, &needed, wish.name, wish.path),
    };
    let optional = wish.resources.is_empty() && wish.path.is_none();
    let lacks = !place.lacking.is_empty() && wish.mode != Mode::Disabled;
    if let (true, Version::V2, Some(bus)) = (lacks, host.version, &host.bus) {
        let steps = vec![Step::AskSystemd { bus: bus.clone() }];
        return Ok(Plan { steps, mode: wish.mode, ..Plan::default() });
    }
    let Place { mut steps, group, lacking, refusal } = place;
    if let (Some(path), None, true) = (wish.path, &group, wish.resources.is_empty()) {
        let why = refusal.unwrap_or_default();
        return Err(Error::NoPlace { path: path.to_owned(), why });
    }
    let mut plan = Plan { optional, mode: wish.mode, ..Plan::default() };
    let mut refusals = wish.resources.refused.clone();
    for setting in settings {
        match keep(&setting, group.as_ref(), &lacking, wish, &mut plan.kept) {
            Ok(step) => steps.extend(step),
            Err(why) => refusals.push(Refusal { limit: setting.limit, why }),
        }
    }
    refusals.dedup();
    plan.group = group;
    plan.steps = steps;
    if plan.kept.iter().any(|kept| matches!(kept, Kept::Affinity(_))) {
        plan.warnings.push(
            "cpuset-cpus is kept by CPU affinity, which a program may widen for itself".to_owned(),
        );
    }
    match wish.mode {
        _ if refusals.is_empty() => {}
        Mode::BestEffort => {
            plan.warnings.extend(refusals.iter().map(|refusal| format!("no limit on {refusal}")));
        }
        Mode::Enabled | Mode::Disabled => {
            let hint = hint(host, &lacking, wish.mode);
            return Err(Error::Refused { refusals, hint });
        }
    }
    Ok(plan)
}

impl Setting {
    fn controller(&self) -> Option<String> {
        match &self.how {
            How::Write { controller, .. } => controller.clone(),
            How::Never(_) => None,
        }
    }
}

/// The step that keeps a limit; what stands in for it; or why neither will do.
fn keep(
    setting: &Setting,
    group: Option<&Group>,
    lacking: &BTreeMap<String, String>,
    wish: Wish<'_>,
    kept: &mut Vec<Kept>,
) -> Result<Option<Step>, String> {
    let (controller, choices, optional) = match &setting.how {
        How::Never(why) => return Err((*why).to_owned()),
        How::Write { controller, choices, optional } => (controller, choices, *optional),
    };
    let why = controller.as_ref().and_then(|controller| lacking.get(controller));
    let directory = match controller {
        Some(controller) => group.and_then(|group| group.of(controller)),
        None => group.and_then(Group::unified),
    };
    match (why, directory) {
        (None, Some(directory)) => Ok(Some(Step::Write {
            limit: setting.limit.clone(),
            group: directory.to_owned(),
            choices: choices.clone(),
            optional,
        })),
        (why, _) => {
            let why = why.map_or("there is no group to keep it", String::as_str);
            if optional || stand_in(&setting.limit, why, wish, kept)? {
                return Ok(None);
            }
            Err(why.to_owned())
        }
    }
}

/// Keeps a limit without a group, where that truly can be.
///
/// `RLIMIT_NPROC` counts what a user id runs in a user namespace (Linux 5.14; before, all that it
/// runs anywhere): with one id that is the container. With more each has a count of its own, and
/// root of the host is not counted at all.
fn stand_in(limit: &str, why: &str, wish: Wish<'_>, kept: &mut Vec<Kept>) -> Result<bool, String> {
    match (limit, &wish.resources.cpu.cpus, wish.resources.pids) {
        ("cpuset-cpus", Some(cpus), _) => {
            let processors = cpus.parse().map_err(|()| format!("{cpus:?} is no list"))?;
            kept.push(Kept::Affinity(processors));
            Ok(true)
        }
        ("pids-limit", _, Some(count)) => {
            let Some(count) = u64::try_from(count).ok().filter(|count| *count > 0) else {
                return Ok(true); // no limit at all
            };
            let rough = if wish.kernel < (5, 14) {
                "RLIMIT_NPROC counts processes outside of the container too, before Linux 5.14"
            } else if !wish.one_id {
                "RLIMIT_NPROC counts for each of the container's ids apart, and not for root"
            } else {
                kept.push(Kept::Processes(count));
                return Ok(true);
            };
            if wish.mode == Mode::BestEffort && wish.kernel >= (5, 14) {
                kept.push(Kept::Processes(count));
            }
            Err(format!("{why}; {rough}"))
        }
        _ => Ok(false),
    }
}

fn hint(host: &Host, lacking: &BTreeMap<String, String>, mode: Mode) -> Option<String> {
    const WITHOUT: &str = "--cgroups=best-effort goes on without";
    if lacking.is_empty() {
        return (mode == Mode::Enabled).then(|| WITHOUT.to_owned());
    }
    if mode == Mode::Disabled {
        return Some("drop --cgroups=disabled, or the limits".to_owned());
    }
    let delegated = host.own().is_some_and(|own| own.writable && own.others == 0);
    Some(match (&host.bus_refusal, host.version, host.systemd) {
        (Some(refusal), ..) => format!("{refusal}; {WITHOUT}"),
        // The user's systemd has made a scope, and has no more to give than it was given.
        (None, Version::V2, true) if delegated => {
            let names: Vec<_> = lacking.keys().map(String::as_str).collect();
            let names = names.join(" ");
            format!(
                "an administrator can delegate {names}: systemctl edit user@.service; {WITHOUT}"
            )
        }
        (None, Version::V2, true) => format!(
            "start it in a scope: systemd-run --user --scope -p Delegate=yes coracle ...; {WITHOUT}"
        ),
        _ => WITHOUT.to_owned(),
    })
}

/// Carries a plan out, asking systemd and planning again where that is the plan. Gives the plan
/// that was carried out, with the group if it was made.
pub fn prepare(planned: Plan, wish: Wish<'_>) -> Result<Plan, Error> {
    let mut done = planned;
    if let [Step::AskSystemd { bus }] = done.steps.as_slice() {
        let asked = systemd::ask_for_scope(bus, wish.name, wish.slice);
        let mut host = detect(Path::new("/"));
        host.bus = None;
        host.bus_refusal = asked.err().map(|error| error.to_string());
        done = plan(&host, wish)?;
    }
    match done.perform() {
        Ok(()) => {}
        // Nobody asked for the group: without it there are no statistics, and that is all.
        Err(_) if done.optional => done.group = None,
        Err(error) => return Err(error),
    }
    Ok(done)
}

impl Plan {
    fn perform(&mut self) -> Result<(), Error> {
        for step in &self.steps {
            match step.perform() {
                Err(error @ Error::Write { .. }) if self.mode == Mode::BestEffort => {
                    self.warnings.push(error.to_string());
                }
                Err(error) => {
                    if let Some(group) = &self.group {
                        group.discard();
                    }
                    return Err(error);
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AskSystemd { bus } => {
                write!(f, "ask systemd for a scope ({}), then see", bus.display())
            }
            Self::MakeDirectory { path } | Self::MakeGroup { path } => {
                write!(f, "make {}", path.display())
            }
            Self::Enable { group, controllers } => {
                write!(f, "hand {} on from {}", controllers.join(", "), group.display())
            }
            Self::MoveSelf { group } => write!(f, "move coracle to {}", group.display()),
            Self::Write { group, choices, .. } => {
                let (file, value) = choices.first().map_or(("", ""), |(f, v)| (f, v));
                write!(f, "{}={value}", group.join(file).display())
            }
        }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Processes(count) => write!(f, "nproc {count}:{count}"),
            Self::Affinity(processors) => write!(f, "affinity {processors}"),
        }
    }
}

impl Step {
    fn perform(&self) -> Result<(), Error> {
        let failed = |action: &'static str, path: &Path| {
            let path = path.to_owned();
            move |error: std::io::Error| Error::Group { action, path, errno: errno(&error) }
        };
        match self {
            // Planning again takes more than a step: `prepare` has done it.
            Self::AskSystemd { .. } => Ok(()),
            Self::MakeDirectory { path } => match fs::create_dir(path) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    Err(failed("make", path)(error))
                }
                _ => Ok(()),
            },
            Self::MakeGroup { path } => match fs::create_dir(path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    let listed = fs::read_to_string(path.join("cgroup.procs"));
                    match listed.is_ok_and(|pids| pids.trim().is_empty()) {
                        true => Ok(()),
                        false => Err(Error::InUse { path: path.clone() }),
                    }
                }
                other => other.map_err(failed("make", path)),
            },
            Self::Enable { group, controllers } => {
                let words: Vec<_> = controllers.iter().map(|name| format!("+{name}")).collect();
                let written = fs::write(group.join("cgroup.subtree_control"), words.join(" "));
                written.map_err(failed("hand controllers on from", group))
            }
            Self::MoveSelf { group } => {
                let written = fs::write(group.join("cgroup.procs"), "0");
                written.map_err(failed("move to", group))
            }
            Self::Write { limit, group, choices, optional } => write_choice(group, choices)
                .or_else(|(path, value, errno)| match errno {
                    Errno::NOENT if *optional => Ok(()),
                    _ => Err(Error::Write { limit: limit.clone(), path, value, errno }),
                }),
        }
    }
}
