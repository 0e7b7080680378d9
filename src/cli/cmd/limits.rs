//! The limits of `run`, with docker's names.

use std::path::{Path, PathBuf};

use clap::ArgAction;
use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser as _;

use super::super::{Error, human, parse};
use crate::engine::OutOfMemory;
use crate::engine::cgroup::{Flags, Machine, Mode, Resources, ThrottleKind};

/// What a container may use, all its processes together.
#[derive(Debug, Default, clap::Args)]
pub(super) struct LimitArgs {
    /// Limit memory: BYTES with k, m or g
    #[arg(short, long, value_name = "BYTES", value_parser = parse::size)]
    memory: Option<u64>,
    /// Limit memory and swap together; -1 for any amount of swap [default: twice the memory]
    #[arg(long, value_name = "BYTES", value_parser = parse::size_or_none,
        allow_negative_numbers = true)]
    memory_swap: Option<i64>,
    /// Leave it this much where memory is short
    #[arg(long, value_name = "BYTES", value_parser = parse::size)]
    memory_reservation: Option<u64>,
    /// Set how readily it swaps, 0 to 100 (cgroup v1 only)
    #[arg(long, value_name = "0-100", allow_negative_numbers = true)]
    memory_swappiness: Option<i64>,
    /// Wait at the memory limit in place of killing (cgroup v1 only)
    #[arg(long)]
    oom_kill_disable: bool,
    /// Refused: the kernel counts its own memory as the container's
    #[arg(long, hide = true, value_name = "BYTES")]
    kernel_memory: Option<String>,
    /// Limit processor time to that of so many CPUs, such as 1.5
    #[arg(long, value_name = "NUMBER", value_parser = parse::billionths)]
    cpus: Option<u64>,
    /// Weigh it against other containers; 1024 is everyone's
    #[arg(short, long, value_name = "WEIGHT")]
    cpu_shares: Option<u64>,
    /// Limit microseconds of processor time in each period
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// Set the period of that limit
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<u64>,
    /// Limit microseconds of real-time processes in each of their periods (cgroup v1 only)
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true)]
    cpu_rt_runtime: Option<i64>,
    /// Set the period of real-time processes (cgroup v1 only)
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_rt_period: Option<u64>,
    /// Run on these CPUs only: 0-3,5
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Use memory of these nodes only: 0-3,5
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Limit how many processes and threads there are; -1 for none
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// Weigh its use of block devices, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<u16>,
    /// The same for one device: /dev/sda:WEIGHT
    #[arg(long, value_name = "DEVICE:WEIGHT", value_parser = parse::device_weight)]
    blkio_weight_device: Vec<(PathBuf, u16)>,
    /// Limit reading from a device: /dev/sda:BYTES a second
    #[arg(long, value_name = "DEVICE:BYTES", value_parser = parse::device_size)]
    device_read_bps: Vec<(PathBuf, u64)>,
    /// Limit writing to a device: /dev/sda:BYTES a second
    #[arg(long, value_name = "DEVICE:BYTES", value_parser = parse::device_size)]
    device_write_bps: Vec<(PathBuf, u64)>,
    /// Limit reading from a device: /dev/sda:OPERATIONS a second
    #[arg(long, value_name = "DEVICE:NUMBER", value_parser = parse::device_rate)]
    device_read_iops: Vec<(PathBuf, u64)>,
    /// Limit writing to a device: /dev/sda:OPERATIONS a second
    #[arg(long, value_name = "DEVICE:NUMBER", value_parser = parse::device_rate)]
    device_write_iops: Vec<(PathBuf, u64)>,
    /// Set a file of the control group (cgroup v2): memory.high=1073741824
    #[arg(long, value_name = "FILE=TEXT", value_parser = parse::pair)]
    cgroup_conf: Vec<(String, String)>,
    /// Insist on limits (enabled), warn of those that cannot be kept, or make no control group
    #[arg(long, value_name = "MODE", action = ArgAction::Set, hide_possible_values = true,
        value_parser = PossibleValuesParser::new(MODES).map(|word| mode(&word)))]
    cgroups: Option<Mode>,
}

/// podman's words, and the middle way. There is no conmon to leave out.
const MODES: [&str; 4] = ["enabled", "best-effort", "disabled", "no-conmon"];

fn mode(word: &str) -> Mode {
    match word {
        "best-effort" => Mode::BestEffort,
        "disabled" => Mode::Disabled,
        _ => Mode::Enabled,
    }
}

impl LimitArgs {
    /// How much limits are wanted.
    pub(super) fn mode(&self) -> Mode {
        self.cgroups.unwrap_or_default()
    }

    /// The limits, checked against this machine.
    pub(super) fn resources(&self) -> Result<Resources, Error> {
        if self.kernel_memory.is_some() {
            return Err(Error::usage(
                "--kernel-memory: the kernel no longer limits it apart (Linux 5.16); --memory counts it",
            ));
        }
        let flags = self.flags();
        let mut resources = Resources::default();
        if flags != Flags::default() {
            let machine = Machine::look(Path::new("/"));
            resources = flags.resources(&machine).map_err(crate::engine::Error::from)?;
        }
        resources.unified.extend(self.cgroup_conf.iter().cloned());
        Ok(resources)
    }

    fn flags(&self) -> Flags {
        let throttles = [
            (ThrottleKind::ReadBytes, &self.device_read_bps),
            (ThrottleKind::WriteBytes, &self.device_write_bps),
            (ThrottleKind::ReadOperations, &self.device_read_iops),
            (ThrottleKind::WriteOperations, &self.device_write_iops),
        ];
        Flags {
            memory: self.memory,
            memory_swap: self.memory_swap,
            memory_reservation: self.memory_reservation,
            memory_swappiness: self.memory_swappiness,
            oom_kill_disable: self.oom_kill_disable,
            cpus: self.cpus,
            cpu_shares: self.cpu_shares,
            cpu_quota: self.cpu_quota,
            cpu_period: self.cpu_period,
            cpu_rt_runtime: self.cpu_rt_runtime,
            cpu_rt_period: self.cpu_rt_period,
            cpuset_cpus: self.cpuset_cpus.clone(),
            cpuset_mems: self.cpuset_mems.clone(),
            pids_limit: self.pids_limit,
            blkio_weight: self.blkio_weight,
            device_weights: self.blkio_weight_device.clone(),
            throttles: throttles
                .into_iter()
                .flat_map(|(kind, all)| {
                    all.iter().map(move |(path, rate)| (kind, path.clone(), *rate))
                })
                .collect(),
        }
    }
}

/// Why a container was killed, as far as its memory tells.
pub(super) fn out_of_memory(out: OutOfMemory) -> String {
    match out.limit {
        Some(limit) => format!(
            "the container was killed: over its memory limit of {}",
            human::binary_size(limit)
        ),
        None => "the container was killed: the machine is out of memory".to_owned(),
    }
}
