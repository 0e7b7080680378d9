//! Scheduling, processors, personality and clocks: set by the process itself, on its way.

use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::thread::{CpuSet, LinkNameSpaceType};

use super::plan::TimeStep;
use super::stage::{At, Failure, Stage};
use crate::bundle::Tuning;
use crate::sys;
use crate::sys::tuning::SchedulerAttributes;

/// What a failure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Tuned {
    FirstCpus,
    Cpus,
    Scheduler,
    IoPriority,
    Personality,
}

/// Sets all but the processors.
pub(super) fn apply(tuning: &Tuning) -> Result<(), Failure> {
    if let Some(scheduler) = &tuning.scheduler {
        let attributes = SchedulerAttributes {
            size: 0,
            policy: scheduler.policy,
            flags: scheduler.flags,
            nice: scheduler.nice,
            priority: scheduler.priority,
            runtime: scheduler.runtime_ns,
            deadline: scheduler.deadline_ns,
            period: scheduler.period_ns,
        };
        let set = sys::tuning::set_scheduler(attributes);
        set.at_item(Stage::Tuning, Tuned::Scheduler as usize)?;
    }
    if let Some(priority) = tuning.io_priority {
        let set = sys::tuning::set_io_priority(priority);
        set.at_item(Stage::Tuning, Tuned::IoPriority as usize)?;
    }
    if let Some(personality) = tuning.personality {
        let set = sys::tuning::set_personality(personality);
        set.at_item(Stage::Tuning, Tuned::Personality as usize)?;
    }
    Ok(())
}

/// Runs on these processors from here on; on any where none are named.
pub(super) fn run_on(cpus: &[usize]) -> Result<(), Errno> {
    if cpus.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for cpu in cpus.iter().filter(|cpu| **cpu < CpuSet::MAX_CPU) {
        set.set(*cpu);
    }
    rustix::thread::sched_setaffinity(None, &set)
}

/// Goes into a time namespace of its own or another's.
pub(super) fn enter_time(time: &TimeStep) -> Result<(), Errno> {
    match time {
        TimeStep::New(offsets) => sys::tuning::enter_time_namespace(offsets),
        TimeStep::Join(joined) => {
            rustix::thread::move_into_link_name_space(joined.as_fd(), Some(LinkNameSpaceType::Time))
        }
    }
}

/// What was tried.
pub(super) fn describe(item: usize, tuning: &Tuning) -> String {
    const ALL: [Tuned; 5] =
        [Tuned::FirstCpus, Tuned::Cpus, Tuned::Scheduler, Tuned::IoPriority, Tuned::Personality];
    match ALL.get(item) {
        Some(Tuned::FirstCpus) => format!("start it on the processors {:?}", tuning.first_cpus),
        Some(Tuned::Cpus) => format!("run it on the processors {:?}", tuning.cpus),
        Some(Tuned::Scheduler) => "set the scheduler of the program".to_owned(),
        Some(Tuned::IoPriority) => "set the I/O priority of the program".to_owned(),
        Some(Tuned::Personality) | None => "set the personality of the program".to_owned(),
    }
}
