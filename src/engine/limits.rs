//! A container's limits from the plan to their end.

use std::path::Path;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::run::Tell;
use super::{Error, host};
use crate::bundle::{ContainerSpec, Resource, Ulimit};
use crate::cgroup::{self, Group, Kept, Plan, Processors, Wish};
use crate::userns::IdMaps;

/// What is known of processes that were killed for want of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory {
    /// How many.
    pub killed: u64,
    /// The limit, in bytes; `None` where it was the machine's.
    pub limit: Option<u64>,
}

/// The group's name. The first digits of the ID would do; all of them leave no doubt.
fn name(id: &str) -> String {
    format!("coracle-{id}")
}

fn wish<'a>(spec: &'a ContainerSpec, ids: &IdMaps, name: &'a str) -> Wish<'a> {
    Wish {
        resources: &spec.resources,
        mode: spec.cgroups,
        name,
        path: spec.cgroups_path.as_deref(),
        kernel: host::version(&host::kernel()).unwrap_or_default(),
        one_id: matches!(ids.uids.as_slice(), [uid] if uid.count == 1 && uid.outside != 0),
    }
}

/// Decides how the limits of a container are kept. Makes nothing.
pub(super) fn plan(spec: &ContainerSpec, ids: &IdMaps, id: &str) -> Result<Plan, Error> {
    let host = cgroup::detect(Path::new("/"));
    Ok(cgroup::plan(&host, wish(spec, ids, &name(id)))?)
}

/// A container whose limits are in force. The group goes when this does.
#[derive(Debug)]
pub(super) struct Limited {
    group: Option<Group>,
    processors: Option<Processors>,
}

impl Limited {
    /// Makes the group, and adds to the specification what the first process has to keep itself.
    pub(super) fn prepare(
        plan: Plan,
        spec: &mut ContainerSpec,
        ids: &IdMaps,
        id: &str,
        tell: Tell<'_>,
    ) -> Result<Self, Error> {
        let Plan { group, kept, warnings, .. } = cgroup::prepare(plan, wish(spec, ids, &name(id)))?;
        for warning in &warnings {
            tell(warning);
        }
        let mut limited = Self { group, processors: None };
        for one in kept {
            match one {
                Kept::Processes(count) => limit_processes(&mut spec.process.limits, count),
                Kept::Affinity(processors) => limited.processors = Some(processors),
            }
        }
        Ok(limited)
    }

    pub(super) fn group(&self) -> Option<&Group> {
        self.group.as_ref()
    }

    /// Does `start` on the processors of the container, which its child inherits.
    pub(super) fn on_its_processors<T>(&self, start: impl FnOnce() -> T) -> Result<T, Error> {
        let Some(processors) = &self.processors else { return Ok(start()) };
        let failed = |errno| cgroup::Error::Affinity { processors: processors.to_string(), errno };
        let before = sched_getaffinity(None).map_err(failed)?;
        let mut set = CpuSet::new();
        for number in processors.iter().map(|number| number as usize) {
            if number < CpuSet::MAX_CPU {
                set.set(number);
            }
        }
        sched_setaffinity(None, &set).map_err(failed)?;
        let started = start();
        sched_setaffinity(None, &before).map_err(failed)?;
        Ok(started)
    }

    /// What the group tells at the end. It is removed then.
    pub(super) fn end(self) -> Option<OutOfMemory> {
        let group = self.group.as_ref()?;
        let killed = group.oom_kills();
        let limit = group.stats().memory.and_then(|memory| memory.limit);
        (killed > 0).then_some(OutOfMemory { killed, limit })
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        if let Some(group) = &self.group {
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
