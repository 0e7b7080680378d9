//! Limits that were set, as they are written down.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};

use super::{Error, Group, Processors};

/// The limits that are in force: what programs that join the container later need to know, and who
/// ends it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InForce {
    /// Its control group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Group>,
    /// The processors that affinity keeps it to, where no group does (`0-3,5`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processors: Option<String>,
    /// The count of processes that `RLIMIT_NPROC` keeps it to, where no group does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
}

impl InForce {
    /// Does `start` on the processors of the container, which its child inherits.
    pub fn on_its_processors<T>(&self, start: impl FnOnce() -> T) -> Result<T, Error> {
        let Some(text) = &self.processors else { return Ok(start()) };
        let processors: Processors = text.parse().unwrap_or_default();
        let failed = |errno| Error::Affinity { processors: text.clone(), errno };
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
}
