//! Docker's flags to `Resources`, with docker's checks and words (moby, daemon_unix.go,
//! `verifyPlatformContainerResources`).

use std::path::{Path, PathBuf};

use super::resources::{Cpu, Device, Io, Memory, Resources, Throttle, ThrottleKind};
use super::{Error, Processors};

/// The limits of a command line, as they stand there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--memory`, in bytes; 0 is without limit.
    pub memory: Option<u64>,
    /// `--memory-swap`, in bytes; -1 is without limit.
    pub memory_swap: Option<i64>,
    /// `--memory-reservation`, in bytes.
    pub memory_reservation: Option<u64>,
    /// `--memory-swappiness`; -1 is the host's.
    pub memory_swappiness: Option<i64>,
    /// `--oom-kill-disable`
    pub oom_kill_disable: bool,
    /// `--cpus`, in billionths of one.
    pub cpus: Option<u64>,
    /// `--cpu-shares`
    pub cpu_shares: Option<u64>,
    /// `--cpu-quota`, in microseconds.
    pub cpu_quota: Option<i64>,
    /// `--cpu-period`, in microseconds.
    pub cpu_period: Option<u64>,
    /// `--cpu-rt-runtime`, in microseconds.
    pub cpu_rt_runtime: Option<i64>,
    /// `--cpu-rt-period`, in microseconds.
    pub cpu_rt_period: Option<u64>,
    /// `--cpuset-cpus`
    pub cpuset_cpus: Option<String>,
    /// `--cpuset-mems`
    pub cpuset_mems: Option<String>,
    /// `--pids-limit`
    pub pids_limit: Option<i64>,
    /// `--blkio-weight`
    pub blkio_weight: Option<u16>,
    /// `--blkio-weight-device`
    pub device_weights: Vec<(PathBuf, u16)>,
    /// `--device-read-bps` and its kin.
    pub throttles: Vec<(ThrottleKind, PathBuf, u64)>,
}

/// What the machine has to share out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The processors that are online.
    pub processors: Processors,
    /// The memory nodes.
    pub nodes: Processors,
}

impl Machine {
    /// This one, or the one below `root` in tests.
    pub fn look(root: &Path) -> Self {
        let read = |path: &str| {
            let text = std::fs::read_to_string(root.join(path)).ok();
            text.and_then(|text| text.parse().ok()).filter(|set: &Processors| !set.is_empty())
        };
        let one = || std::iter::once(0).collect();
        Self {
            processors: read("sys/devices/system/cpu/online").unwrap_or_else(one),
            nodes: read("sys/devices/system/node/has_memory").unwrap_or_else(one),
        }
    }
}

/// Below this no program starts (moby).
const LEAST_MEMORY: u64 = 6 << 20;
/// Microseconds.
const PERIOD: u64 = 100_000;

impl Flags {
    /// The limits, if they make sense on this machine.
    pub fn resources(&self, machine: &Machine) -> Result<Resources, Error> {
        Ok(Resources {
            memory: self.memory()?,
            cpu: self.cpu(machine)?,
            pids: self.pids_limit.map(|limit| if limit <= 0 { -1 } else { limit }),
            io: self.io()?,
            ..Resources::default()
        })
    }

    fn memory(&self) -> Result<Memory, Error> {
        let limit = self.memory.filter(|bytes| *bytes != 0);
        let reservation = self.memory_reservation.filter(|bytes| *bytes != 0);
        let swap = self.memory_swap.filter(|bytes| *bytes != 0);
        if limit.is_some_and(|bytes| bytes < LEAST_MEMORY) {
            return Err(invalid("Minimum memory limit allowed is 6MB"));
        }
        match (limit, swap) {
            (None, Some(1..)) => {
                return Err(invalid(
                    "You should always set the Memory limit when using Memoryswap limit, see usage",
                ));
            }
            (Some(limit), Some(swap)) if swap > 0 && swap.unsigned_abs() < limit => {
                return Err(invalid(
                    "Minimum memoryswap limit should be larger than memory limit, see usage",
                ));
            }
            _ => {}
        }
        let swappiness = match self.memory_swappiness {
            None | Some(-1) => None,
            Some(value) => match u64::try_from(value) {
                Ok(value @ 0..=100) => Some(value),
                _ => {
                    return Err(invalid(format!(
                        "Invalid value: {value}, valid memory swappiness range is 0-100"
                    )));
                }
            },
        };
        if reservation.is_some_and(|bytes| bytes < LEAST_MEMORY) {
            return Err(invalid("Minimum memory reservation allowed is 6MB"));
        }
        if limit.zip(reservation).is_some_and(|(limit, reservation)| limit < reservation) {
            return Err(invalid(
                "Minimum memory limit can not be less than memory reservation limit, see usage",
            ));
        }
        Ok(Memory {
            limit: limit.map(signed),
            // As docker has it: as much swap again.
            swap: swap.or(limit.map(|limit| signed(limit.saturating_mul(2)))),
            swap_is_implied: swap.is_none() && limit.is_some(),
            reservation: reservation.map(signed),
            swappiness,
            disable_oom_killer: self.oom_kill_disable,
        })
    }

    fn cpu(&self, machine: &Machine) -> Result<Cpu, Error> {
        let cpus = self.cpus.filter(|billionths| *billionths != 0);
        let period = self.cpu_period.filter(|period| *period != 0);
        let quota = self.cpu_quota.filter(|quota| *quota != 0);
        for (other, name) in [(period.is_some(), "Period"), (quota.is_some(), "Quota")] {
            if cpus.is_some() && other {
                return Err(invalid(format!(
                    "Conflicting options: Nano CPUs and CPU {name} cannot both be set"
                )));
            }
        }
        let count = machine.processors.len();
        let most = u64::try_from(count).unwrap_or(u64::MAX).saturating_mul(1_000_000_000);
        if cpus.is_some_and(|cpus| !(10_000_000..=most).contains(&cpus)) {
            return Err(invalid(format!(
                "Range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available"
            )));
        }
        if period.is_some_and(|period| !(1000..=1_000_000).contains(&period)) {
            return Err(invalid(
                "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
            ));
        }
        if quota.is_some_and(|quota| (1..1000).contains(&quota)) {
            return Err(invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)"));
        }
        let shares = self.cpu_shares.filter(|shares| *shares != 0);
        match shares {
            Some(..2) => return Err(invalid("The minimum allowed cpu-shares is 2")),
            Some(262_145..) => return Err(invalid("The maximum allowed cpu-shares is 262144")),
            _ => {}
        }
        Ok(Cpu {
            shares,
            quota: quota.or(cpus.map(|cpus| signed(cpus / (1_000_000_000 / PERIOD)))),
            period: period.or(cpus.map(|_| PERIOD)),
            cpus: within(self.cpuset_cpus.as_deref(), &machine.processors, "cpus", "CPUs")?,
            mems: within(self.cpuset_mems.as_deref(), &machine.nodes, "mems", "memory nodes")?,
            realtime_runtime: self.cpu_rt_runtime.filter(|runtime| *runtime != 0),
            realtime_period: self.cpu_rt_period.filter(|period| *period != 0),
            ..Cpu::default()
        })
    }

    fn io(&self) -> Result<Io, Error> {
        let check = |weight: u16| match weight {
            0 | 10..=1000 => Ok(weight),
            _ => Err(invalid("Range of blkio weight is from 10 to 1000")),
        };
        let weight = self.blkio_weight.map(check).transpose()?.filter(|weight| *weight != 0);
        let mut io = Io { weight, ..Io::default() };
        for (path, weight) in &self.device_weights {
            io.device_weights.push((device(path)?, check(*weight)?));
        }
        for (kind, path, rate) in &self.throttles {
            io.throttles.push(Throttle { kind: *kind, device: device(path)?, rate: *rate });
        }
        Ok(io)
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::Invalid(message.into())
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A list of processors or nodes, in one spelling.
fn within(
    text: Option<&str>,
    there: &Processors,
    flag: &str,
    what: &str,
) -> Result<Option<String>, Error> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let set: Processors =
        text.parse().map_err(|()| invalid(format!("Invalid value {text} for cpuset {flag}")))?;
    if !set.is_within(there) {
        return Err(invalid(format!(
            "Requested {what} are not available - requested {text}, available: {there}"
        )));
    }
    Ok(Some(set.to_string()))
}

fn device(path: &Path) -> Result<Device, Error> {
    let error = |why: String| Error::Device { path: path.to_owned(), why };
    let stat = rustix::fs::stat(path).map_err(|errno| error(errno.to_string()))?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::BlockDevice {
        return Err(error("it is no block device".to_owned()));
    }
    let number = stat.st_rdev;
    Ok(Device { major: rustix::fs::major(number), minor: rustix::fs::minor(number) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine { processors: (0..4).collect(), nodes: (0..1).collect() }
    }

    fn refusal(flags: &Flags) -> String {
        flags.resources(&machine()).expect_err("refused").to_string()
    }

    #[test]
    fn memory_brings_as_much_swap() {
        let flags = Flags { memory: Some(64 << 20), ..Flags::default() };
        let memory = flags.resources(&machine()).expect("valid").memory;
        assert_eq!((memory.limit, memory.swap), (Some(64 << 20), Some(128 << 20)));
        assert!(memory.swap_is_implied);
        let flags = Flags { memory_swap: Some(-1), ..flags };
        let memory = flags.resources(&machine()).expect("valid").memory;
        assert!(memory.swap == Some(-1) && !memory.swap_is_implied);
    }

    #[test]
    fn cpus_are_a_quota() {
        let flags = Flags { cpus: Some(1_500_000_000), ..Flags::default() };
        let cpu = flags.resources(&machine()).expect("valid").cpu;
        assert_eq!((cpu.quota, cpu.period), (Some(150_000), Some(100_000)));
    }

    #[test]
    fn nothing_is_nothing() {
        let zeros = Flags { memory: Some(0), cpus: Some(0), ..Flags::default() };
        for flags in [zeros, Flags::default()] {
            assert!(flags.resources(&machine()).expect("valid").is_empty());
        }
        let flags = Flags { pids_limit: Some(0), ..Flags::default() };
        assert_eq!(flags.resources(&machine()).expect("valid").pids, Some(-1));
    }

    #[test]
    fn nonsense_is_refused_in_dockers_words() {
        let flags = Flags::default;
        for (flags, why) in [
            (Flags { memory: Some(1 << 20), ..flags() }, "Minimum memory limit allowed is 6MB"),
            (Flags { memory_swap: Some(1 << 30), ..flags() }, "always set the Memory limit"),
            (
                Flags { memory: Some(64 << 20), memory_swap: Some(32 << 20), ..flags() },
                "Minimum memoryswap limit",
            ),
            (Flags { memory_swappiness: Some(101), ..flags() }, "swappiness range is 0-100"),
            (
                Flags { memory: Some(8 << 20), memory_reservation: Some(9 << 20), ..flags() },
                "memory reservation limit",
            ),
            (Flags { cpus: Some(5_000_000_000), ..flags() }, "from 0.01 to 4.00"),
            (
                Flags { cpus: Some(1_000_000_000), cpu_quota: Some(5000), ..flags() },
                "Conflicting options: Nano CPUs and CPU Quota",
            ),
            (Flags { cpu_period: Some(10), ..flags() }, "CPU cfs period"),
            (Flags { cpu_quota: Some(10), ..flags() }, "CPU cfs quota"),
            (Flags { cpu_shares: Some(1), ..flags() }, "minimum allowed cpu-shares"),
            (Flags { cpuset_cpus: Some("0-9".into()), ..flags() }, "requested 0-9, available: 0-3"),
            (Flags { cpuset_cpus: Some("a".into()), ..flags() }, "Invalid value a for cpuset cpus"),
            (Flags { cpuset_mems: Some("1".into()), ..flags() }, "memory nodes are not available"),
            (Flags { blkio_weight: Some(9), ..flags() }, "Range of blkio weight"),
            (
                Flags { device_weights: vec![("/dev/null".into(), 10)], ..flags() },
                "no block device",
            ),
        ] {
            let message = refusal(&flags);
            assert!(message.contains(why), "{message}");
        }
    }
}
