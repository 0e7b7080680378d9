//! Resources to the files of a group: names and values of both versions.
//!
//! Version 1's values are the vocabulary, as in the runtime specification; version 2's are made
//! from them (runtime-spec, config-linux.md; kernel, cgroup-v2.rst).

use super::resources::{Resources, Throttle, ThrottleKind};

/// One limit as a group keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// As docker's flag or the specification calls it.
    pub(super) limit: String,
    /// How.
    pub(super) how: How,
}

/// How a limit is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// By writing to a file of a controller.
    Write {
        /// Which controller; `None` where every group has the file.
        controller: Option<String>,
        /// File and value; the first file that is there is written.
        choices: Vec<(String, String)>,
        /// Whether the limit may be left where no file is there: nobody asked for it by name.
        optional: bool,
    },
    /// Not in this version.
    Never(&'static str),
}

const V1_ONLY: &str = "cgroup v2 has no such setting, only v1";
const V2_ONLY: &str = "only cgroup v2 has such files";

/// Collects settings in the order in which they are to be written.
struct Settings(Vec<Setting>);

impl Settings {
    #[allow(clippy::needless_pass_by_value)] // numbers and texts, as they come
    fn write(&mut self, limit: &str, file: &str, value: impl ToString) {
        self.choose(limit, &[(file, value.to_string())]);
    }

    fn choose(&mut self, limit: &str, choices: &[(&str, String)]) {
        let controller = choices.first().and_then(|(file, _)| file.split_once('.'));
        let how = How::Write {
            controller: controller.map(|(controller, _)| controller.to_owned()),
            choices: choices
                .iter()
                .map(|(file, value)| ((*file).to_owned(), value.clone()))
                .collect(),
            optional: false,
        };
        self.0.push(Setting { limit: limit.to_owned(), how });
    }

    /// The last one is nobody's wish.
    fn optional(&mut self, yes: bool) {
        if let Some(Setting { how: How::Write { optional, .. }, .. }) = self.0.last_mut() {
            *optional = yes;
        }
    }

    fn never(&mut self, limit: &str, why: &'static str) {
        self.0.push(Setting { limit: limit.to_owned(), how: How::Never(why) });
    }
}

impl Resources {
    /// The files of a version 2 group.
    pub(super) fn unified_settings(&self) -> Vec<Setting> {
        let mut all = Settings(Vec::new());
        self.unified_memory(&mut all);
        self.unified_cpu(&mut all);
        if let Some(pids) = self.pids {
            all.write("pids-limit", "pids.max", maximum(pids, 1));
        }
        self.unified_io(&mut all);
        for (size, limit) in &self.hugetlb {
            let value = maximum(*limit, 0);
            all.write(&format!("hugetlb {size}"), &format!("hugetlb.{size}.max"), &value);
            all.write(&format!("hugetlb {size}"), &format!("hugetlb.{size}.rsvd.max"), value);
            all.optional(true);
        }
        for (file, value) in &self.unified {
            all.raw(file, value);
        }
        all.0
    }

    fn unified_memory(&self, all: &mut Settings) {
        let memory = &self.memory;
        if let Some(limit) = memory.limit {
            all.write("memory", "memory.max", maximum(limit, 0));
        }
        if let Some(swap) = memory.swap {
            // Version 1 counts memory and swap together, version 2 swap alone.
            let alone = match memory.limit {
                Some(limit) if swap >= 0 && limit >= 0 => swap.saturating_sub(limit).max(0),
                _ => swap,
            };
            all.write("memory-swap", "memory.swap.max", maximum(alone, 0));
            all.optional(memory.swap_is_implied || swap < 0);
        }
        if let Some(reservation) = memory.reservation {
            all.write("memory-reservation", "memory.low", maximum(reservation, 0));
        }
        if memory.swappiness.is_some() {
            all.never("memory-swappiness", V1_ONLY);
        }
        if memory.disable_oom_killer {
            all.never("oom-kill-disable", V1_ONLY);
        }
    }

    fn unified_cpu(&self, all: &mut Settings) {
        let cpu = &self.cpu;
        if let Some(shares) = cpu.shares {
            all.write("cpu-shares", "cpu.weight", weight_of_shares(shares));
        }
        if cpu.quota.is_some() || cpu.period.is_some() {
            let quota = cpu.quota.map_or_else(|| "max".to_owned(), |quota| maximum(quota, 1));
            let period = cpu.period.unwrap_or(PERIOD);
            all.write("cpus", "cpu.max", format!("{quota} {period}"));
        }
        if let Some(burst) = cpu.burst {
            all.write("cpu burst", "cpu.max.burst", burst);
        }
        if let Some(idle) = cpu.idle {
            all.write("cpu idle", "cpu.idle", idle);
        }
        if cpu.realtime_runtime.is_some() || cpu.realtime_period.is_some() {
            all.never("cpu-rt-runtime", V1_ONLY);
        }
        cpuset(cpu.cpus.as_deref(), cpu.mems.as_deref(), all);
    }

    fn unified_io(&self, all: &mut Settings) {
        // bfq has a file of its own, with version 1's range; without it io.cost takes weights.
        if let Some(weight) = self.io.weight {
            let (bfq, cost) = (weight.to_string(), io_weight(weight).to_string());
            all.choose("blkio-weight", &[("io.bfq.weight", bfq), ("io.weight", cost)]);
        }
        for (device, weight) in &self.io.device_weights {
            let (bfq, cost) =
                (format!("{device} {weight}"), format!("{device} {}", io_weight(*weight)));
            let choices = [("io.bfq.weight", bfq), ("io.weight", cost)];
            all.choose("blkio-weight-device", &choices);
        }
        for Throttle { kind, device, rate } in &self.io.throttles {
            let key = match kind {
                ThrottleKind::ReadBytes => "rbps",
                ThrottleKind::WriteBytes => "wbps",
                ThrottleKind::ReadOperations => "riops",
                ThrottleKind::WriteOperations => "wiops",
            };
            let rate = if *rate == 0 { "max".to_owned() } else { rate.to_string() };
            all.write(throttle_flag(*kind), "io.max", format!("{device} {key}={rate}"));
        }
    }

    /// The files of the groups of version 1.
    pub(super) fn separate_settings(&self) -> Vec<Setting> {
        let mut all = Settings(Vec::new());
        self.separate_memory(&mut all);
        self.separate_cpu(&mut all);
        if let Some(pids) = self.pids {
            all.write("pids-limit", "pids.max", maximum(pids, 1));
        }
        if let Some(weight) = self.io.weight {
            let value = weight.to_string();
            let choices = [("blkio.bfq.weight", value.clone()), ("blkio.weight", value)];
            all.choose("blkio-weight", &choices);
        }
        for (device, weight) in &self.io.device_weights {
            let value = format!("{device} {weight}");
            let choices =
                [("blkio.bfq.weight_device", value.clone()), ("blkio.weight_device", value)];
            all.choose("blkio-weight-device", &choices);
        }
        for Throttle { kind, device, rate } in &self.io.throttles {
            let file = match kind {
                ThrottleKind::ReadBytes => "blkio.throttle.read_bps_device",
                ThrottleKind::WriteBytes => "blkio.throttle.write_bps_device",
                ThrottleKind::ReadOperations => "blkio.throttle.read_iops_device",
                ThrottleKind::WriteOperations => "blkio.throttle.write_iops_device",
            };
            all.write(throttle_flag(*kind), file, format!("{device} {rate}"));
        }
        for (size, limit) in &self.hugetlb {
            let file = format!("hugetlb.{size}.limit_in_bytes");
            all.write(&format!("hugetlb {size}"), &file, limit);
        }
        for file in self.unified.keys() {
            all.never(file, V2_ONLY);
        }
        all.0
    }

    fn separate_memory(&self, all: &mut Settings) {
        let memory = &self.memory;
        if let Some(limit) = memory.limit {
            all.write("memory", "memory.limit_in_bytes", limit);
        }
        if let Some(swap) = memory.swap {
            all.write("memory-swap", "memory.memsw.limit_in_bytes", swap);
            all.optional(memory.swap_is_implied || swap < 0);
        }
        if let Some(reservation) = memory.reservation {
            all.write("memory-reservation", "memory.soft_limit_in_bytes", reservation);
        }
        if let Some(swappiness) = memory.swappiness {
            all.write("memory-swappiness", "memory.swappiness", swappiness);
        }
        if memory.disable_oom_killer {
            all.write("oom-kill-disable", "memory.oom_control", 1);
        }
    }

    fn separate_cpu(&self, all: &mut Settings) {
        let cpu = &self.cpu;
        if let Some(shares) = cpu.shares {
            all.write("cpu-shares", "cpu.shares", shares);
        }
        if let Some(period) = cpu.period {
            // One limit in two files.
            let limit = if cpu.quota.is_some() { "cpus" } else { "cpu-period" };
            all.write(limit, "cpu.cfs_period_us", period);
        }
        if let Some(quota) = cpu.quota {
            all.write("cpus", "cpu.cfs_quota_us", quota);
        }
        if let Some(burst) = cpu.burst {
            all.write("cpu burst", "cpu.cfs_burst_us", burst);
        }
        if let Some(idle) = cpu.idle {
            all.write("cpu idle", "cpu.idle", idle);
        }
        if let Some(period) = cpu.realtime_period {
            all.write("cpu-rt-period", "cpu.rt_period_us", period);
        }
        if let Some(runtime) = cpu.realtime_runtime {
            all.write("cpu-rt-runtime", "cpu.rt_runtime_us", runtime);
        }
        cpuset(cpu.cpus.as_deref(), cpu.mems.as_deref(), all);
    }
}

impl Settings {
    /// A file of version 2 as it is. What moves processes or hands controllers on is the engine's.
    fn raw(&mut self, file: &str, value: &str) {
        const GROUP: [&str; 3] = ["cgroup.max.depth", "cgroup.max.descendants", "cgroup.pressure"];
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        match file.split_once('.') {
            Some(("cgroup", _)) if GROUP.contains(&file) => {
                let choices = vec![(file.to_owned(), value.to_owned())];
                let how = How::Write { controller: None, choices, optional: false };
                self.0.push(Setting { limit: file.to_owned(), how });
            }
            Some((controller, _)) if controller != "cgroup" && file.chars().all(plain) => {
                self.write(file, file, value);
            }
            _ => self.never(file, "it is no file of a controller"),
        }
    }
}

fn cpuset(cpus: Option<&str>, mems: Option<&str>, all: &mut Settings) {
    if let Some(cpus) = cpus {
        all.write("cpuset-cpus", "cpuset.cpus", cpus);
    }
    if let Some(mems) = mems {
        all.write("cpuset-mems", "cpuset.mems", mems);
    }
}

/// Microseconds; the kernel's default too.
const PERIOD: u64 = 100_000;

/// A number, or `max` below `least`.
fn maximum(value: i64, least: i64) -> String {
    if value < least { "max".to_owned() } else { value.to_string() }
}

/// Shares (2 to 262144, by default 1024) to a weight (1 to 10000, by default 100).
///
/// The curve of the OCI runtimes since 2025, which meets both ends and the default; the straight
/// line before it gave 39 to who had asked for the default.
fn weight_of_shares(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = f64::from(u32::try_from(shares).unwrap_or(u32::MAX)).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            let weight = 10_f64.powf(exponent).ceil();
            // Below 262144 shares the curve stays below 10000.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let weight = weight as u64;
            weight.clamp(1, 10_000)
        }
    }
}

/// Version 1's 10 to 1000 to 1 to 10000.
fn io_weight(weight: u16) -> u64 {
    1 + u64::from(weight.clamp(10, 1000) - 10) * 9999 / 990
}

fn throttle_flag(kind: ThrottleKind) -> &'static str {
    match kind {
        ThrottleKind::ReadBytes => "device-read-bps",
        ThrottleKind::WriteBytes => "device-write-bps",
        ThrottleKind::ReadOperations => "device-read-iops",
        ThrottleKind::WriteOperations => "device-write-iops",
    }
}

impl std::fmt::Display for super::Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cpu, Device, Io, Memory};
    use super::*;

    fn written(settings: &[Setting]) -> Vec<String> {
        let line = |setting: &Setting| match &setting.how {
            How::Write { choices, .. } => {
                choices.iter().map(|(file, value)| format!("{file}={value}")).collect::<Vec<_>>()
            }
            How::Never(_) => vec![format!("never {}", setting.limit)],
        };
        settings.iter().flat_map(line).collect()
    }

    fn many() -> Resources {
        let device = Device { major: 8, minor: 0 };
        let kind = ThrottleKind::WriteOperations;
        Resources {
            memory: Memory {
                limit: Some(64),
                swap: Some(96),
                reservation: Some(32),
                swappiness: Some(10),
                ..Memory::default()
            },
            cpu: Cpu {
                shares: Some(1024),
                quota: Some(50_000),
                cpus: Some("0-1".into()),
                ..Cpu::default()
            },
            pids: Some(5),
            io: Io {
                weight: Some(500),
                device_weights: vec![(device, 10)],
                throttles: vec![Throttle { kind, device, rate: 7 }],
            },
            hugetlb: [("2MB".to_owned(), 4)].into(),
            ..Resources::default()
        }
    }

    #[test]
    fn version_2_has_its_own_values() {
        assert_eq!(
            written(&many().unified_settings()),
            [
                "memory.max=64",
                "memory.swap.max=32",
                "memory.low=32",
                "never memory-swappiness",
                "cpu.weight=100",
                "cpu.max=50000 100000",
                "cpuset.cpus=0-1",
                "pids.max=5",
                "io.bfq.weight=500",
                "io.weight=4950",
                "io.bfq.weight=8:0 10",
                "io.weight=8:0 1",
                "io.max=8:0 wiops=7",
                "hugetlb.2MB.max=4",
                "hugetlb.2MB.rsvd.max=4",
            ]
        );
    }

    #[test]
    fn version_1_takes_them_as_they_are() {
        assert_eq!(
            written(&many().separate_settings()),
            [
                "memory.limit_in_bytes=64",
                "memory.memsw.limit_in_bytes=96",
                "memory.soft_limit_in_bytes=32",
                "memory.swappiness=10",
                "cpu.shares=1024",
                "cpu.cfs_quota_us=50000",
                "cpuset.cpus=0-1",
                "pids.max=5",
                "blkio.bfq.weight=500",
                "blkio.weight=500",
                "blkio.bfq.weight_device=8:0 10",
                "blkio.weight_device=8:0 10",
                "blkio.throttle.write_iops_device=8:0 7",
                "hugetlb.2MB.limit_in_bytes=4",
            ]
        );
    }

    #[test]
    fn without_limit_is_max() {
        let memory = Memory { limit: Some(64), swap: Some(-1), ..Memory::default() };
        let cpu = Cpu { quota: Some(-1), period: Some(1000), ..Cpu::default() };
        let resources = Resources { memory, cpu, pids: Some(-1), ..Resources::default() };
        assert_eq!(
            written(&resources.unified_settings()),
            ["memory.max=64", "memory.swap.max=max", "cpu.max=max 1000", "pids.max=max"]
        );
    }

    #[test]
    fn shares_meet_both_ends_and_the_default() {
        for (shares, weight) in [(2, 1), (1024, 100), (262_144, 10_000), (512, 59), (2048, 174)] {
            assert_eq!(weight_of_shares(shares), weight, "{shares}");
        }
        assert_eq!((io_weight(10), io_weight(1000), io_weight(500)), (1, 10_000, 4950));
    }

    #[test]
    fn raw_files_are_those_of_controllers() {
        let file = |name: &str| {
            let unified = [(name.to_owned(), "1".to_owned())].into();
            let resources = Resources { unified, ..Resources::default() };
            written(&resources.unified_settings()).remove(0)
        };
        assert_eq!(file("memory.high"), "memory.high=1");
        assert_eq!(file("cgroup.max.depth"), "cgroup.max.depth=1");
        for name in ["cgroup.procs", "../memory.max", "memory", "memory./../x"] {
            assert_eq!(file(name), format!("never {name}"));
        }
    }
}
