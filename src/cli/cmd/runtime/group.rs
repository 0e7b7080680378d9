//! `pause`, `resume`, `update`, `events`

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::super::{Context, Error, parse};
use crate::engine::cgroup::{IoStats, Resources, Stats};
use crate::engine::oci::Runtime;

/// Stop the processes of a container for a while
#[derive(Debug, clap::Args)]
pub(super) struct PauseArgs {
    /// The container's ID
    id: String,
}

/// Let the processes of a paused container go on
#[derive(Debug, clap::Args)]
pub(super) struct ResumeArgs {
    /// The container's ID
    id: String,
}

/// Change what a container may use
#[derive(Debug, clap::Args)]
pub(super) struct UpdateArgs {
    /// Read linux.resources from this file, - for stdin; no other flag counts then
    #[arg(short, long, value_name = "FILE")]
    resources: Option<PathBuf>,
    /// Weigh its use of block devices, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<u16>,
    /// The period of the processor quota
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<u64>,
    /// Processor time in each period; -1 for any
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// What may be saved up of the quota
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_burst: Option<u64>,
    /// Weigh it against other containers; 1024 is everyone's
    #[arg(long, value_name = "WEIGHT")]
    cpu_share: Option<u64>,
    /// The period of real-time processes
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_rt_period: Option<u64>,
    /// What real-time processes may take of it
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true)]
    cpu_rt_runtime: Option<i64>,
    /// 1 to run only where nothing else wants to
    #[arg(long, value_name = "0|1")]
    cpu_idle: Option<i64>,
    /// Run on these CPUs only
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Use memory of these nodes only
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Limit memory; -1 for any
    #[arg(long, value_name = "BYTES", value_parser = parse::size_or_none,
        allow_negative_numbers = true)]
    memory: Option<i64>,
    /// Leave it this much where memory is short
    #[arg(long, value_name = "BYTES", value_parser = parse::size_or_none,
        allow_negative_numbers = true)]
    memory_reservation: Option<i64>,
    /// Limit memory and swap together; -1 for any
    #[arg(long, value_name = "BYTES", value_parser = parse::size_or_none,
        allow_negative_numbers = true)]
    memory_swap: Option<i64>,
    /// Refused: the kernel counts its own memory as the container's
    #[arg(long, hide = true, value_name = "BYTES", allow_negative_numbers = true)]
    kernel_memory: Option<String>,
    /// Refused likewise
    #[arg(long, hide = true, value_name = "BYTES", allow_negative_numbers = true)]
    kernel_memory_tcp: Option<String>,
    /// Refused: resctrl takes root
    #[arg(long, hide = true, value_name = "SCHEMA")]
    l3_cache_schema: Option<String>,
    /// Refused likewise
    #[arg(long, hide = true, value_name = "SCHEMA")]
    mem_bw_schema: Option<String>,
    /// Limit how many processes there are; -1 for any
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// The container's ID
    id: String,
}

/// Print what a container uses, and that it ran out of memory, as JSON lines
#[derive(Debug, clap::Args)]
pub(super) struct EventsArgs {
    /// Print again after so long: 5s, 500ms
    #[arg(long, value_name = "DURATION", value_parser = parse::duration, default_value = "5s")]
    interval: Duration,
    /// Print once
    #[arg(long)]
    stats: bool,
    /// The container's ID
    id: String,
}

pub(super) fn pause(args: &PauseArgs, runtime: &Runtime) -> Result<ExitCode, Error> {
    runtime.pause(&args.id)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn resume(args: &ResumeArgs, runtime: &Runtime) -> Result<ExitCode, Error> {
    runtime.resume(&args.id)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn update(args: &UpdateArgs, runtime: &Runtime) -> Result<ExitCode, Error> {
    let kernel =
        "the kernel no longer limits its own memory apart (Linux 5.16); --memory counts it";
    let refused = [
        ("--kernel-memory", &args.kernel_memory, kernel),
        ("--kernel-memory-tcp", &args.kernel_memory_tcp, kernel),
        ("--l3-cache-schema", &args.l3_cache_schema, "resctrl takes root of the host"),
        ("--mem-bw-schema", &args.mem_bw_schema, "resctrl takes root of the host"),
    ];
    // runc's callers pass 0 and nothing for what they do not limit.
    let asked = |value: &&String| !matches!(value.as_str(), "" | "0");
    for (flag, value, why) in refused {
        if let Some(value) = value.as_ref().filter(asked) {
            return Err(Error::usage(format!("{flag} {value}: {why}")));
        }
    }
    let resources = match &args.resources {
        Some(path) => read(path)?,
        None => args.resources(),
    };
    runtime.update(&args.id, &resources)?;
    Ok(ExitCode::SUCCESS)
}

impl UpdateArgs {
    fn resources(&self) -> Resources {
        let mut resources = Resources::default();
        resources.memory.limit = self.memory;
        resources.memory.swap = self.memory_swap;
        resources.memory.reservation = self.memory_reservation;
        resources.cpu.shares = self.cpu_share;
        resources.cpu.quota = self.cpu_quota;
        resources.cpu.period = self.cpu_period;
        resources.cpu.burst = self.cpu_burst;
        resources.cpu.idle = self.cpu_idle;
        resources.cpu.cpus.clone_from(&self.cpuset_cpus);
        resources.cpu.mems.clone_from(&self.cpuset_mems);
        resources.cpu.realtime_period = self.cpu_rt_period;
        resources.cpu.realtime_runtime = self.cpu_rt_runtime;
        resources.io.weight = self.blkio_weight;
        resources.pids = self.pids_limit;
        resources
    }
}

fn read(path: &PathBuf) -> Result<Resources, Error> {
    let mut text = Vec::new();
    let read = match path.to_str() {
        Some("-") => std::io::stdin().read_to_end(&mut text).map(drop),
        _ => std::fs::read(path).map(|bytes| text = bytes),
    };
    read.map_err(|source| Error::File { action: "read", path: path.clone(), source })?;
    let spec = serde_json::from_slice(&text)
        .map_err(|error| Error::usage(format!("{}: {error}", path.display())))?;
    Ok(Resources::from_spec(&spec))
}

pub(super) fn events(
    args: &EventsArgs,
    runtime: &Runtime,
    cx: &mut Context,
) -> Result<ExitCode, Error> {
    let mut kills = None;
    loop {
        let stats = runtime.stats(&args.id)?;
        let now = stats.memory.map(|memory| memory.oom_kills);
        if !args.stats && kills.is_some_and(|before| before < now) {
            cx.out.line(json!({"type": "oom", "id": args.id}).to_string())?;
        }
        kills = Some(now);
        let event = json!({"type": "stats", "id": args.id, "data": data(&stats)});
        cx.out.line(event.to_string())?;
        if args.stats || runtime.ends_within(&args.id, args.interval)? {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// The numbers in runc's shape.
fn data(stats: &Stats) -> Value {
    let mut data = json!({});
    if let Some(cpu) = stats.cpu {
        let nanoseconds = |us: u64| us.saturating_mul(1000);
        data["cpu"] = json!({
            "usage": {
                "total": nanoseconds(cpu.usage_us),
                "kernel": nanoseconds(cpu.system_us),
                "user": nanoseconds(cpu.user_us),
            },
            "throttling": {
                "periods": cpu.periods,
                "throttledPeriods": cpu.throttled_periods,
                "throttledTime": nanoseconds(cpu.throttled_us),
            },
        });
    }
    if let Some(memory) = stats.memory {
        data["memory"] = json!({
            "usage": {
                "limit": memory.limit.unwrap_or(u64::MAX),
                "usage": memory.usage,
                "max": memory.peak,
                "failcnt": memory.limit_met,
            },
            "swap": {"usage": memory.swap},
            "raw": {"inactive_file": memory.inactive_file},
        });
    }
    if let Some(pids) = stats.pids {
        data["pids"] = json!({"current": pids.current, "limit": pids.limit.unwrap_or_default()});
    }
    let entry = |io: &IoStats, op: &str, value: u64| json!({"major": io.device.major, "minor": io.device.minor, "op": op, "value": value});
    let both = |of: fn(&IoStats) -> (u64, u64)| -> Vec<Value> {
        let pair = |io: &IoStats| [entry(io, "Read", of(io).0), entry(io, "Write", of(io).1)];
        stats.io.iter().flat_map(pair).collect()
    };
    data["blkio"] = json!({
        "ioServiceBytesRecursive": both(|io| (io.read_bytes, io.written_bytes)),
        "ioServicedRecursive": both(|io| (io.reads, io.writes)),
    });
    data
}
