//! What a group has used: the files of both versions as one set of numbers.

use super::group::Group;
use super::resources::Device;

/// What a container has used; a controller that is not there is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Processors.
    pub cpu: Option<CpuStats>,
    /// Memory.
    pub memory: Option<MemoryStats>,
    /// Processes.
    pub pids: Option<PidsStats>,
    /// Block devices.
    pub io: Vec<IoStats>,
}

/// Processor time, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuStats {
    /// All.
    pub usage_us: u64,
    /// In programs.
    pub user_us: u64,
    /// In the kernel.
    pub system_us: u64,
    /// Periods of a quota.
    pub periods: u64,
    /// Those in which it was used up.
    pub throttled_periods: u64,
    /// How long processes waited then.
    pub throttled_us: u64,
}

/// Memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// Now, page cache included.
    pub usage: u64,
    /// Page cache that can be dropped at once; `docker stats` leaves it out.
    pub inactive_file: u64,
    /// The highest so far.
    pub peak: Option<u64>,
    /// The limit.
    pub limit: Option<u64>,
    /// Swap.
    pub swap: Option<u64>,
    /// How often the limit was met.
    pub limit_met: u64,
    /// Processes killed for want of memory.
    pub oom_kills: u64,
}

/// Processes and threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PidsStats {
    /// Now.
    pub current: u64,
    /// The limit.
    pub limit: Option<u64>,
}

/// What went to and from a block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoStats {
    /// Which.
    pub device: Device,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Operations of reading.
    pub reads: u64,
    /// Operations of writing.
    pub writes: u64,
}

/// What the kernel of version 1 shows in place of "no limit" is near this (`PAGE_COUNTER_MAX`).
const NO_LIMIT: u64 = 1 << 62;

impl Group {
    /// What its processes have used.
    pub fn stats(&self) -> Stats {
        let separate = self.parts.iter().any(|part| !part.controllers.is_empty());
        match separate {
            true => Stats {
                cpu: self.separate_cpu(),
                memory: self.separate_memory(),
                pids: self.pids(),
                io: self.separate_io(),
            },
            false => Stats {
                cpu: self.read("cpu", "cpu.stat").map(|text| unified_cpu(&text)),
                memory: self.unified_memory(),
                pids: self.pids(),
                io: self.read("io", "io.stat").map(|text| unified_io(&text)).unwrap_or_default(),
            },
        }
    }

    fn number(&self, controller: &str, file: &str) -> Option<u64> {
        self.read(controller, file)?.trim().parse().ok()
    }

    fn pids(&self) -> Option<PidsStats> {
        let current = self.number("pids", "pids.current")?;
        Some(PidsStats { current, limit: self.number("pids", "pids.max") })
    }

    fn unified_memory(&self) -> Option<MemoryStats> {
        let text = |file| self.read("memory", file).unwrap_or_default();
        Some(MemoryStats {
            usage: self.number("memory", "memory.current")?,
            inactive_file: value(&text("memory.stat"), "inactive_file"),
            peak: self.number("memory", "memory.peak"),
            limit: self.number("memory", "memory.max"),
            swap: self.number("memory", "memory.swap.current"),
            limit_met: value(&text("memory.events"), "max"),
            oom_kills: self.oom_kills(),
        })
    }

    fn separate_memory(&self) -> Option<MemoryStats> {
        let number = |file| self.number("memory", file);
        let usage = number("memory.usage_in_bytes")?;
        let stat = self.read("memory", "memory.stat").unwrap_or_default();
        Some(MemoryStats {
            usage,
            inactive_file: value(&stat, "total_inactive_file"),
            peak: number("memory.max_usage_in_bytes"),
            limit: number("memory.limit_in_bytes").filter(|limit| *limit < NO_LIMIT),
            swap: number("memory.memsw.usage_in_bytes").map(|both| both.saturating_sub(usage)),
            limit_met: number("memory.failcnt").unwrap_or_default(),
            oom_kills: self.oom_kills(),
        })
    }

    fn separate_cpu(&self) -> Option<CpuStats> {
        let usage = self.number("cpuacct", "cpuacct.usage")?;
        let split = self.read("cpuacct", "cpuacct.stat").unwrap_or_default();
        let quota = self.read("cpu", "cpu.stat").unwrap_or_default();
        let tick_us = 1_000_000 / rustix::param::clock_ticks_per_second().max(1);
        Some(CpuStats {
            usage_us: usage / 1000,
            user_us: value(&split, "user") * tick_us,
            system_us: value(&split, "system") * tick_us,
            periods: value(&quota, "nr_periods"),
            throttled_periods: value(&quota, "nr_throttled"),
            throttled_us: value(&quota, "throttled_time") / 1000,
        })
    }

    fn separate_io(&self) -> Vec<IoStats> {
        let text = |file| self.read("blkio", file).unwrap_or_default();
        separate_io(
            &text("blkio.throttle.io_service_bytes_recursive"),
            &text("blkio.throttle.io_serviced_recursive"),
        )
    }
}

/// The number behind a name at the beginning of a line.
fn value(text: &str, name: &str) -> u64 {
    let find = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(find).unwrap_or_default()
}

fn unified_cpu(text: &str) -> CpuStats {
    CpuStats {
        usage_us: value(text, "usage_usec"),
        user_us: value(text, "user_usec"),
        system_us: value(text, "system_usec"),
        periods: value(text, "nr_periods"),
        throttled_periods: value(text, "nr_throttled"),
        throttled_us: value(text, "throttled_usec"),
    }
}

impl IoStats {
    fn of(device: Device) -> Self {
        Self { device, read_bytes: 0, written_bytes: 0, reads: 0, writes: 0 }
    }
}

fn device(text: &str) -> Option<Device> {
    let (major, minor) = text.split_once(':')?;
    Some(Device { major: major.parse().ok()?, minor: minor.parse().ok()? })
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`
fn unified_io(text: &str) -> Vec<IoStats> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let mut stats = IoStats::of(device(words.next()?)?);
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let value = value.parse().unwrap_or_default();
            match key {
                "rbytes" => stats.read_bytes = value,
                "wbytes" => stats.written_bytes = value,
                "rios" => stats.reads = value,
                "wios" => stats.writes = value,
                _ => {}
            }
        }
        Some(stats)
    };
    text.lines().filter_map(line).collect()
}

/// `8:0 Read 1` and `8:0 Write 2`, of bytes and of operations.
fn separate_io(bytes: &str, operations: &str) -> Vec<IoStats> {
    let mut all: Vec<IoStats> = Vec::new();
    for (text, of_bytes) in [(bytes, true), (operations, false)] {
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [name, kind, value] = words[..] else { continue };
            let Some(device) = device(name) else { continue };
            let value = value.parse().unwrap_or_default();
            let at = all.iter().position(|stats| stats.device == device).unwrap_or_else(|| {
                all.push(IoStats::of(device));
                all.len() - 1
            });
            match (kind, of_bytes) {
                ("Read", true) => all[at].read_bytes = value,
                ("Write", true) => all[at].written_bytes = value,
                ("Read", false) => all[at].reads = value,
                ("Write", false) => all[at].writes = value,
                _ => {}
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::group::Part;
    use super::*;

    fn group(unified: bool, files: &[(&str, &str)]) -> (tempfile::TempDir, Group) {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).expect("a file");
        }
        let all = ["memory", "cpu", "cpuacct", "pids", "blkio"].map(str::to_owned);
        let controllers = if unified { Vec::new() } else { all.to_vec() };
        let part = Part { path: directory.path().to_owned(), controllers, unified };
        (directory, Group { parts: vec![part], made: Vec::new() })
    }

    #[test]
    fn version_2_is_read() {
        let (_kept, group) = group(
            true,
            &[
                ("cpu.stat", "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 4\n"),
                ("memory.current", "4096\n"),
                ("memory.max", "8192\n"),
                ("memory.stat", "anon 1\ninactive_file 100\n"),
                ("memory.events", "low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\n"),
                ("pids.current", "3\n"),
                ("pids.max", "max\n"),
                ("io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n"),
            ],
        );
        let stats = group.stats();
        let cpu = stats.cpu.expect("cpu");
        assert_eq!((cpu.usage_us, cpu.user_us, cpu.system_us, cpu.periods), (30, 20, 10, 4));
        let memory = stats.memory.expect("memory");
        assert_eq!((memory.usage, memory.limit, memory.inactive_file), (4096, Some(8192), 100));
        assert_eq!((memory.limit_met, memory.oom_kills, memory.peak), (7, 1, None));
        assert_eq!(stats.pids, Some(PidsStats { current: 3, limit: None }));
        let device = Device { major: 8, minor: 0 };
        let io = IoStats { device, read_bytes: 1, written_bytes: 2, reads: 3, writes: 4 };
        assert_eq!(stats.io, [io]);
    }

    #[test]
    fn version_1_is_read() {
        let (_kept, group) = group(
            false,
            &[
                ("cpuacct.usage", "30000\n"),
                ("cpu.stat", "nr_periods 4\nnr_throttled 2\nthrottled_time 5000\n"),
                ("memory.usage_in_bytes", "4096\n"),
                ("memory.max_usage_in_bytes", "5000\n"),
                ("memory.limit_in_bytes", "9223372036854771712\n"),
                ("memory.memsw.usage_in_bytes", "4100\n"),
                ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
                ("blkio.throttle.io_service_bytes_recursive", "8:0 Read 1\n8:0 Write 2\nTotal 3\n"),
                ("blkio.throttle.io_serviced_recursive", "8:0 Read 3\n8:0 Write 4\n"),
            ],
        );
        let stats = group.stats();
        let cpu = stats.cpu.expect("cpu");
        assert_eq!((cpu.usage_us, cpu.throttled_periods, cpu.throttled_us), (30, 2, 5));
        let memory = stats.memory.expect("memory");
        assert_eq!((memory.limit, memory.swap, memory.oom_kills), (None, Some(4), 2));
        assert_eq!((stats.io[0].written_bytes, stats.io[0].reads), (2, 3));
        assert_eq!(stats.pids, None);
    }
}
