//! A container's limits from the plan to their end.

use std::path::{Path, PathBuf};

use super::host;
use crate::bundle::{ContainerSpec, Process, Resource, Ulimit};
use crate::cgroup::{self, InForce, Kept, Plan, Wish};
use crate::userns::IdMaps;

/// Takes what the user should know and is no failure.
pub(super) type Remark<'a> = &'a dyn Fn(&str);

/// What is known of processes that were killed for want of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory {
    /// How many.
    pub killed: u64,
    /// The limit, in bytes; `None` where it was the machine's.
    pub limit: Option<u64>,
}

/// What a container's group is called, and the scope if systemd makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GroupName {
    name: String,
    slice: Option<String>,
    path: Option<PathBuf>,
}

impl GroupName {
    /// The first digits of the ID would do; all of them leave no doubt.
    pub(super) fn of(id: &str) -> Self {
        Self { name: format!("coracle-{id}"), slice: None, path: None }
    }

    /// A bundle's `cgroupsPath`: a path, or with `--systemd-cgroup` SLICE:PREFIX:NAME
    /// (config-linux.md, "Control groups"; the latter is runc's). `None` where it is neither.
    pub(super) fn of_bundle(id: &str, path: Option<&Path>, systemd: bool) -> Option<Self> {
        match (path, systemd) {
            (None, _) => Some(Self::of(id)),
            (Some(path), false) => Some(Self { path: Some(path.to_owned()), ..Self::of(id) }),
            (Some(path), true) => {
                let mut parts = path.to_str()?.split(':');
                let (slice, prefix, name) = (parts.next()?, parts.next()?, parts.next()?);
                let whole =
                    if prefix.is_empty() { name.into() } else { format!("{prefix}-{name}") };
                let one = |text: &str| !text.contains('/') && !text.starts_with('.');
                let sound = parts.next().is_none() && !name.is_empty() && one(&whole) && one(slice);
                // runc's default is a slice of the system's; a user's systemd has its own.
                let slice = Some(slice).filter(|it| !it.is_empty() && *it != "system.slice");
                sound.then(|| Self { name: whole, slice: slice.map(Into::into), path: None })
            }
        }
    }
}

fn wish<'a>(spec: &'a ContainerSpec, ids: &IdMaps, name: &'a GroupName) -> Wish<'a> {
    Wish {
        resources: &spec.resources,
        mode: spec.cgroups,
        name: &name.name,
        slice: name.slice.as_deref(),
        path: name.path.as_deref(),
        kernel: host::version(&host::kernel()).unwrap_or_default(),
        one_id: matches!(ids.uids.as_slice(), [uid] if uid.count == 1 && uid.outside != 0),
    }
}

/// Decides how the limits of a container are kept. Makes nothing.
pub(super) fn plan(
    spec: &ContainerSpec,
    ids: &IdMaps,
    name: &GroupName,
) -> Result<Plan, cgroup::Error> {
    let wanted = !spec.resources.is_empty() || name.path.is_some();
    if !wanted && !cgroup::is_worth_a_look(Path::new("/")) {
        return Ok(Plan::default());
    }
    let host = cgroup::detect(Path::new("/"));
    cgroup::plan(&host, wish(spec, ids, name))
}

/// Adds to a program what it has to keep itself.
pub(super) fn limit(process: &mut Process, in_force: &InForce) {
    if let Some(count) = in_force.processes {
        limit_processes(&mut process.limits, count);
    }
}

/// A container whose limits are in force. The group goes when this does.
#[derive(Debug)]
pub(super) struct Limited(InForce);

impl Limited {
    /// Makes the group, and adds to the specification what the first process has to keep itself.
    pub(super) fn prepare(
        plan: Plan,
        spec: &mut ContainerSpec,
        ids: &IdMaps,
        name: &GroupName,
        tell: Remark<'_>,
    ) -> Result<Self, cgroup::Error> {
        let Plan { group, kept, warnings, .. } = cgroup::prepare(plan, wish(spec, ids, name))?;
        for warning in &warnings {
            tell(warning);
        }
        let mut limits = InForce { group, ..InForce::default() };
        for one in kept {
            match one {
                Kept::Processes(count) => limits.processes = Some(count),
                Kept::Affinity(processors) => limits.processors = Some(processors.to_string()),
            }
        }
        limit(&mut spec.process, &limits);
        Ok(Self(limits))
    }

    pub(super) fn in_force(&self) -> &InForce {
        &self.0
    }

    /// Leaves the group to whoever reads the record.
    pub(super) fn keep(mut self) {
        self.0.group = None;
    }

    /// What the group tells at the end. It is removed then.
    pub(super) fn end(self) -> Option<OutOfMemory> {
        let group = self.0.group.as_ref()?;
        let killed = group.oom_kills();
        let limit = group.stats().memory.and_then(|memory| memory.limit);
        (killed > 0).then_some(OutOfMemory { killed, limit })
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        if let Some(group) = &self.0.group {
            // An empty directory that stays does no harm.
            let _ = group.remove();
        }
    }
}

/// The tighter of a `--ulimit nproc` and the count that stands in for a group's.
fn limit_processes(limits: &mut Vec<Ulimit>, count: u64) {
    match limits.iter_mut().find(|limit| limit.resource == Resource::Nproc) {
        Some(limit) => {
            limit.soft = limit.soft.min(count);
            limit.hard = limit.hard.min(count);
        }
        None => limits.push(Ulimit { resource: Resource::Nproc, soft: count, hard: count }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tighter_limit_wins() {
        let mut limits = Vec::new();
        limit_processes(&mut limits, 10);
        limit_processes(&mut limits, 20);
        assert_eq!((limits.len(), limits[0].soft, limits[0].hard), (1, 10, 10));
    }
}
