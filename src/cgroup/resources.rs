//! What a container may use: the runtime specification's `linux.resources` as a value.

use std::collections::BTreeMap;

use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxDeviceCgroup, LinuxMemory, LinuxResources, LinuxThrottleDevice,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Refusal;

/// Limits; what is absent is without one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Memory.
    pub memory: Memory,
    /// Processors.
    pub cpu: Cpu,
    /// How many processes and threads; 0 and below are without limit.
    pub pids: Option<i64>,
    /// Block devices.
    pub io: Io,
    /// Bytes for each size of huge pages (`2MB`).
    pub hugetlb: BTreeMap<String, i64>,
    /// Files of a version 2 group, as they are.
    pub unified: BTreeMap<String, String>,
    /// What was asked for and no unprivileged user can have, with the reason.
    #[serde(skip)]
    pub refused: Vec<Refusal>,
}

/// Bytes of memory; -1 is without limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// At most.
    pub limit: Option<i64>,
    /// At most, swap included.
    pub swap: Option<i64>,
    /// Whether `swap` follows from the limit, and a kernel that does not count swap is no failure.
    pub swap_is_implied: bool,
    /// What it may keep when memory is short.
    pub reservation: Option<i64>,
    /// 0 to 100 (version 1).
    pub swappiness: Option<u64>,
    /// Waits at the limit in place of killing (version 1).
    pub disable_oom_killer: bool,
}

/// Shares of processors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cpu {
    /// Relative weight, 2 to 262144; 1024 is everyone's.
    pub shares: Option<u64>,
    /// Microseconds in each period; 0 and below are without limit.
    pub quota: Option<i64>,
    /// Microseconds.
    pub period: Option<u64>,
    /// Microseconds saved up at most.
    pub burst: Option<u64>,
    /// 1 runs only where nothing else wants to.
    pub idle: Option<i64>,
    /// Which processors.
    pub cpus: Option<String>,
    /// Which memory nodes.
    pub mems: Option<String>,
    /// Real-time microseconds in each period (version 1).
    pub realtime_runtime: Option<i64>,
    /// Real-time period in microseconds (version 1).
    pub realtime_period: Option<u64>,
}

/// Shares of block devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Io {
    /// Relative weight, 10 to 1000.
    pub weight: Option<u16>,
    /// The same for one device.
    pub device_weights: Vec<(Device, u16)>,
    /// Rates.
    pub throttles: Vec<Throttle>,
}

/// A block device by its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Major.
    pub major: u32,
    /// Minor.
    pub minor: u32,
}

/// The most that may be read or written in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttle {
    /// Of what.
    pub kind: ThrottleKind,
    /// Where.
    pub device: Device,
    /// How much; 0 is without limit.
    pub rate: u64,
}

/// What a throttle counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ThrottleKind {
    /// Bytes read.
    ReadBytes,
    /// Bytes written.
    WriteBytes,
    /// Operations of reading.
    ReadOperations,
    /// Operations of writing.
    WriteOperations,
}

impl Resources {
    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Takes over what `other` limits; the rest stays.
    pub fn merge(&mut self, other: &Self) {
        #[allow(clippy::ref_option)] // two fields of one name
        fn take<T: Clone>(own: &mut Option<T>, other: &Option<T>) {
            if other.is_some() {
                own.clone_from(other);
            }
        }
        let (memory, cpu) = (&mut self.memory, &mut self.cpu);
        take(&mut memory.limit, &other.memory.limit);
        if other.memory.swap.is_some() {
            memory.swap = other.memory.swap;
            memory.swap_is_implied = other.memory.swap_is_implied;
        }
        take(&mut memory.reservation, &other.memory.reservation);
        take(&mut memory.swappiness, &other.memory.swappiness);
        memory.disable_oom_killer |= other.memory.disable_oom_killer;
        take(&mut cpu.shares, &other.cpu.shares);
        take(&mut cpu.quota, &other.cpu.quota);
        take(&mut cpu.period, &other.cpu.period);
        take(&mut cpu.burst, &other.cpu.burst);
        take(&mut cpu.idle, &other.cpu.idle);
        take(&mut cpu.cpus, &other.cpu.cpus);
        take(&mut cpu.mems, &other.cpu.mems);
        take(&mut cpu.realtime_runtime, &other.cpu.realtime_runtime);
        take(&mut cpu.realtime_period, &other.cpu.realtime_period);
        take(&mut self.pids, &other.pids);
        take(&mut self.io.weight, &other.io.weight);
        if !other.io.device_weights.is_empty() {
            self.io.device_weights.clone_from(&other.io.device_weights);
        }
        if !other.io.throttles.is_empty() {
            self.io.throttles.clone_from(&other.io.throttles);
        }
        self.hugetlb.extend(other.hugetlb.clone());
        self.unified.extend(other.unified.clone());
    }

    /// Reads `linux.resources`. What no group of an unprivileged user can do goes to `refused`.
    pub fn from_spec(spec: &LinuxResources) -> Self {
        let mut resources = Self::default();
        if let Some(memory) = spec.memory() {
            resources.read_memory(memory);
        }
        if let Some(cpu) = spec.cpu() {
            resources.cpu = read_cpu(cpu);
        }
        if let Some(io) = spec.block_io() {
            resources.read_io(io);
        }
        resources.pids = spec.pids().as_ref().map(oci_spec::runtime::LinuxPids::limit);
        for limit in spec.hugepage_limits().iter().flatten() {
            resources.hugetlb.insert(limit.page_size().clone(), limit.limit());
        }
        resources.unified = spec.unified().clone().unwrap_or_default().into_iter().collect();
        if spec.network().as_ref().is_some_and(|it| {
            it.class_id().is_some() || it.priorities().as_ref().is_some_and(|all| !all.is_empty())
        }) {
            resources.refuse("network", "net_cls and net_prio take root of the host");
        }
        if spec.rdma().as_ref().is_some_and(|devices| !devices.is_empty()) {
            resources.refuse("rdma", "coracle gives a container no rdma device to limit");
        }
        for rule in spec.devices().iter().flatten() {
            resources.read_device_rule(rule);
        }
        resources
    }

    /// The same as `linux.resources`.
    pub fn to_spec(&self) -> Value {
        let Self { memory, cpu, io, .. } = self;
        let throttles = |kind: ThrottleKind| -> Vec<Value> {
            let of_kind = io.throttles.iter().filter(|throttle| throttle.kind == kind);
            let value = |Throttle { device, rate, .. }: &Throttle| json!({"major": device.major, "minor": device.minor, "rate": rate});
            of_kind.map(value).collect()
        };
        let weight = |(device, weight): &(Device, u16)| json!({"major": device.major, "minor": device.minor, "weight": weight});
        let hugetlb = |(size, limit): (&String, &i64)| json!({"pageSize": size, "limit": limit});
        let mut spec = json!({
            "memory": {
                "limit": memory.limit, "swap": memory.swap, "reservation": memory.reservation,
                "swappiness": memory.swappiness,
                "disableOOMKiller": memory.disable_oom_killer.then_some(true),
            },
            "cpu": {
                "shares": cpu.shares, "quota": cpu.quota, "period": cpu.period,
                "burst": cpu.burst, "idle": cpu.idle, "cpus": cpu.cpus, "mems": cpu.mems,
                "realtimeRuntime": cpu.realtime_runtime, "realtimePeriod": cpu.realtime_period,
            },
            "pids": {"limit": self.pids},
            "blockIO": {
                "weight": io.weight,
                "weightDevice": io.device_weights.iter().map(weight).collect::<Vec<_>>(),
                "throttleReadBpsDevice": throttles(ThrottleKind::ReadBytes),
                "throttleWriteBpsDevice": throttles(ThrottleKind::WriteBytes),
                "throttleReadIOPSDevice": throttles(ThrottleKind::ReadOperations),
                "throttleWriteIOPSDevice": throttles(ThrottleKind::WriteOperations),
            },
            "hugepageLimits": self.hugetlb.iter().map(hugetlb).collect::<Vec<_>>(),
            "unified": self.unified,
        });
        drop_empty(&mut spec);
        spec
    }

    fn refuse(&mut self, limit: impl Into<String>, why: &str) {
        self.refused.push(Refusal { limit: limit.into(), why: why.to_owned() });
    }

    fn read_memory(&mut self, memory: &LinuxMemory) {
        let set = |value: Option<i64>| value.filter(|value| *value != 0);
        self.memory = Memory {
            limit: set(memory.limit()),
            swap: set(memory.swap()),
            swap_is_implied: false,
            reservation: set(memory.reservation()),
            swappiness: memory.swappiness(),
            disable_oom_killer: memory.disable_oom_killer().unwrap_or_default(),
        };
        if set(memory.kernel()).or(set(memory.kernel_tcp())).is_some() {
            self.refuse("kernel memory", GONE_KERNEL_MEMORY);
        }
    }

    fn read_io(&mut self, io: &LinuxBlockIo) {
        let device = |major: i64, minor: i64| Device {
            major: u32::try_from(major).unwrap_or(u32::MAX),
            minor: u32::try_from(minor).unwrap_or(u32::MAX),
        };
        let set = |weight: Option<u16>| weight.filter(|weight| *weight != 0);
        self.io.weight = set(io.weight());
        let mut leaf = set(io.leaf_weight()).is_some();
        for weights in io.weight_device().iter().flatten() {
            leaf |= set(weights.leaf_weight()).is_some();
            if let Some(weight) = set(weights.weight()) {
                let device = device(weights.major(), weights.minor());
                self.io.device_weights.push((device, weight));
            }
        }
        if leaf {
            self.refuse("leafWeight", "it went with the CFQ scheduler (Linux 5.0)");
        }
        let mut read = |kind, throttles: &Option<Vec<LinuxThrottleDevice>>| {
            self.io.throttles.extend(throttles.iter().flatten().map(|throttle| Throttle {
                kind,
                device: device(throttle.major(), throttle.minor()),
                rate: throttle.rate(),
            }));
        };
        read(ThrottleKind::ReadBytes, io.throttle_read_bps_device());
        read(ThrottleKind::WriteBytes, io.throttle_write_bps_device());
        read(ThrottleKind::ReadOperations, io.throttle_read_iops_device());
        read(ThrottleKind::WriteOperations, io.throttle_write_iops_device());
    }

    /// Device rules take root: an eBPF program or the devices controller. The user namespace keeps
    /// the usual "nothing but what is allowed": no node can be made in it or opened below its
    /// mounts, so that the bound ones are all there is. A rule that forbids one of these cannot be
    /// kept.
    fn read_device_rule(&mut self, rule: &LinuxDeviceCgroup) {
        use oci_spec::runtime::LinuxDeviceType;
        let any = |number: Option<i64>| number.is_none_or(|number| number < 0);
        let all = matches!(rule.typ(), None | Some(LinuxDeviceType::A))
            && any(rule.major())
            && any(rule.minor());
        if !rule.allow() && !all {
            let number = |number: Option<i64>| number.map_or("*".to_owned(), |it| it.to_string());
            let (major, minor) = (number(rule.major()), number(rule.minor()));
            self.refuse(
                format!("device {major}:{minor}"),
                "forbidding one device takes root of the host (an eBPF device filter)",
            );
        }
    }
}

/// Leaves out what says nothing.
fn drop_empty(value: &mut Value) {
    let Value::Object(fields) = value else { return };
    fields.values_mut().for_each(drop_empty);
    fields.retain(|_, value| match value {
        Value::Null => false,
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(values) => !values.is_empty(),
        _ => true,
    });
}

/// Why no group limits the kernel's own memory any more.
pub(super) const GONE_KERNEL_MEMORY: &str =
    "the kernel no longer limits it apart (Linux 5.16); the memory limit counts it";

fn read_cpu(cpu: &LinuxCpu) -> Cpu {
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    Cpu {
        shares: cpu.shares().filter(|shares| *shares != 0),
        quota: cpu.quota().filter(|quota| *quota != 0),
        period: cpu.period().filter(|period| *period != 0),
        burst: cpu.burst(),
        idle: cpu.idle(),
        cpus: text(cpu.cpus()),
        mems: text(cpu.mems()),
        realtime_runtime: cpu.realtime_runtime().filter(|runtime| *runtime != 0),
        realtime_period: cpu.realtime_period().filter(|period| *period != 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: serde_json::Value) -> Resources {
        Resources::from_spec(&serde_json::from_value(json).expect("resources"))
    }

    #[test]
    fn a_usual_specification_is_read() {
        let resources = read(serde_json::json!({
            "devices": [
                {"allow": false, "access": "rwm"},
                {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
            ],
            "memory": {"limit": 64, "swap": 128, "reservation": 0},
            "cpu": {"shares": 1024, "quota": 50000, "period": 100_000, "cpus": "0-1", "mems": ""},
            "pids": {"limit": 7},
            "blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 5}]},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 9}],
            "unified": {"memory.high": "50"},
        }));
        assert_eq!(resources.memory.limit, Some(64));
        assert_eq!(resources.memory.reservation, None);
        assert_eq!((resources.cpu.cpus.as_deref(), &resources.cpu.mems), (Some("0-1"), &None));
        assert_eq!((resources.pids, resources.hugetlb["2MB"]), (Some(7), 9));
        assert_eq!(resources.io.throttles[0].kind, ThrottleKind::ReadBytes);
        assert_eq!(resources.unified["memory.high"], "50");
        assert!(resources.refused.is_empty(), "{:?}", resources.refused);
        assert!(read(serde_json::json!({})).is_empty());
        assert_eq!(read(resources.to_spec()), resources);
        assert_eq!(Resources::default().to_spec(), json!({}));
    }

    #[test]
    fn an_update_changes_what_it_says() {
        let mut resources = read(json!({"memory": {"limit": 64}, "cpu": {"shares": 7}}));
        resources.merge(&read(json!({"memory": {"limit": 32}, "pids": {"limit": 9}})));
        let both = json!({"memory": {"limit": 32}, "cpu": {"shares": 7}, "pids": {"limit": 9}});
        assert_eq!(resources, read(both));
    }

    #[test]
    fn what_no_user_can_do_is_named() {
        let resources = read(serde_json::json!({
            "devices": [{"allow": false, "type": "c", "major": 1, "minor": 3, "access": "w"}],
            "memory": {"kernel": 5},
            "network": {"classID": 1},
            "rdma": {"mlx5_1": {"hcaHandles": 3}},
        }));
        let names: Vec<_> = resources.refused.iter().map(|it| it.limit.as_str()).collect();
        assert_eq!(names, ["kernel memory", "network", "rdma", "device 1:3"]);
    }
}
