//! What a program asks of the kernel besides its limits: how it is scheduled, on which processors,
//! which interface it is shown (runtime-spec, config.md, "Process"; config-linux.md, "Personality").

use serde::{Deserialize, Serialize};

/// Scheduling, processors and personality of a program; nothing is changed where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tuning {
    /// sched_setattr(2)
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Scheduler>,
    /// ioprio_set(2): the class above 13 bits of priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_priority: Option<u16>,
    /// The processors that a program that joins is started on, before it is in the container's
    /// control group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub first_cpus: Vec<usize>,
    /// The processors that it runs on from there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<usize>,
    /// personality(2)
    #[serde(skip_serializing_if = "Option::is_none")]
    pub personality: Option<u32>,
}

/// A policy of the scheduler with its numbers, as `struct sched_attr` has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduler {
    /// `SCHED_OTHER` and its kin.
    pub policy: u32,
    /// `SCHED_FLAG_RESET_ON_FORK` and its kin.
    pub flags: u64,
    /// For `SCHED_OTHER` and `SCHED_BATCH`.
    pub nice: i32,
    /// For `SCHED_FIFO` and `SCHED_RR`.
    pub priority: u32,
    /// For `SCHED_DEADLINE`, in nanoseconds.
    pub runtime_ns: u64,
    /// For `SCHED_DEADLINE`, in nanoseconds.
    pub deadline_ns: u64,
    /// For `SCHED_DEADLINE`, in nanoseconds.
    pub period_ns: u64,
}

/// The policies, with their numbers (linux/sched.h).
pub(super) const POLICIES: [(&str, u32); 7] = [
    ("SCHED_OTHER", 0),
    ("SCHED_FIFO", 1),
    ("SCHED_RR", 2),
    ("SCHED_BATCH", 3),
    ("SCHED_ISO", 4),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", 6),
];

/// The flags of a scheduler that say all that they need in a bit (linux/sched.h).
pub(super) const SCHEDULER_FLAGS: [(&str, u64); 5] = [
    ("SCHED_FLAG_RESET_ON_FORK", 1),
    ("SCHED_FLAG_RECLAIM", 2),
    ("SCHED_FLAG_DL_OVERRUN", 4),
    ("SCHED_FLAG_KEEP_POLICY", 8),
    ("SCHED_FLAG_KEEP_PARAMS", 16),
];

/// The classes of ioprio_set(2).
pub(super) const IO_CLASSES: [(&str, u16); 3] =
    [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)];

/// The domains and flags of personality(2) (linux/personality.h).
const PERSONALITIES: [(&str, u32); 12] = [
    ("LINUX", 0),
    ("LINUX32", 0x8),
    ("UNAME26", 0x002_0000),
    ("ADDR_NO_RANDOMIZE", 0x004_0000),
    ("FDPIC_FUNCPTRS", 0x008_0000),
    ("MMAP_PAGE_ZERO", 0x010_0000),
    ("ADDR_COMPAT_LAYOUT", 0x020_0000),
    ("READ_IMPLIES_EXEC", 0x040_0000),
    ("ADDR_LIMIT_32BIT", 0x080_0000),
    ("SHORT_INODE", 0x100_0000),
    ("WHOLE_SECONDS", 0x200_0000),
    ("STICKY_TIMEOUTS", 0x400_0000),
];

/// The number of a domain or flag of personality(2), or of several with commas between them.
pub fn personality(text: &str) -> Option<u32> {
    text.split(',').try_fold(0, |all, word| {
        let word = word.trim();
        PERSONALITIES.iter().find(|(name, _)| *name == word).map(|(_, number)| all | number)
    })
}

/// The numbers of a list like `0-3,7`; none where it is no such list.
pub(super) fn cpus(text: &str) -> Option<Vec<usize>> {
    const MOST: usize = 1024; // CPU_SETSIZE
    let mut all = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.trim().split_once('-').unwrap_or((part.trim(), part.trim()));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        all.extend(first..=last);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_numbers() {
        assert_eq!(personality("LINUX32"), Some(8));
        assert_eq!(personality("LINUX,ADDR_NO_RANDOMIZE"), Some(0x4_0000));
        assert_eq!(personality("VMS"), None);
        assert_eq!(cpus("0-2,5"), Some(vec![0, 1, 2, 5]));
        for bad in ["", "2-1", "a", "0-", "9999"] {
            assert_eq!(cpus(bad), None, "{bad}");
        }
    }
}
