//! What a running container does and uses: its processes, its group's numbers, pausing, limits.

use std::fs;
use std::time::Duration;

use rustix::process::Pid;

use super::events::Event;
use super::{Engine, Error};
use crate::cgroup::{Group, Resources};
use crate::container::{Record, Restart, State, Status};

/// What a container has used since its start; `None` for what nobody counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time on processors.
    pub cpu: Duration,
    /// How long it has run.
    pub up: Duration,
    /// Bytes of memory, as docker counts them: without page cache that can be dropped.
    pub memory: u64,
    /// The most that it may use; the machine's where it has no limit.
    pub memory_limit: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Bytes received and sent, but over the loopback; `None` on the host's network.
    pub network: Option<(u64, u64)>,
    /// Bytes read from and written to block devices.
    pub block: Option<(u64, u64)>,
}

impl Engine {
    /// Stops all processes of a container until `unpause`.
    pub fn pause(&self, query: &str) -> Result<(), Error> {
        let record = self.container_named(query)?;
        match record.status() {
            Status::Running => {
                group(&record, "pause")?.freeze()?;
                self.emit(&[Event::of_container("pause", &record)]);
                Ok(())
            }
            Status::Paused => Err(Error::Paused { name: record.name }),
            _ => Err(Error::NotRunning { name: record.name }),
        }
    }

    /// Lets a paused container go on.
    pub fn unpause(&self, query: &str) -> Result<(), Error> {
        let record = self.container_named(query)?;
        match record.status() {
            Status::Paused => {
                group(&record, "unpause")?.thaw()?;
                self.emit(&[Event::of_container("unpause", &record)]);
                Ok(())
            }
            _ => Err(Error::NotPaused { name: record.name }),
        }
    }

    /// Changes limits and restart policy; what is absent stays as it is. A container that does not
    /// run has them from its next start on.
    pub fn update(
        &self,
        query: &str,
        resources: &Resources,
        restart: Option<Restart>,
    ) -> Result<(), Error> {
        let record = self.container_named(query)?;
        if !resources.is_empty() && matches!(record.state, State::Running { .. }) {
            group(&record, "update")?.update(resources)?;
        }
        if !resources.is_empty() {
            self.containers
                .change_creation(&record, |request| request.resources.merge(resources))?;
        }
        self.containers.edit(&record, |record| {
            record.config.resources.merge(resources);
            if let Some(restart) = restart {
                record.config.restart = restart;
            }
        })?;
        self.emit(&[Event::of_container("update", &record)]);
        Ok(())
    }

    /// What a running container has used.
    pub fn usage(&self, query: &str) -> Result<Usage, Error> {
        let held = self.hold(query)?;
        let pids = self.pids(query)?;
        let mut usage = Usage { memory_limit: machine_memory(), ..Usage::default() };
        if let State::Running { started, .. } = &held.record.state
            && let Ok(started) = started.parse::<jiff::Timestamp>()
        {
            let up = jiff::Timestamp::now().duration_since(started);
            usage.up = up.try_into().unwrap_or_default();
        }
        add_processes(&mut usage, &pids);
        let stats = held.record.in_force.group.as_ref().map(Group::stats).unwrap_or_default();
        if let Some(cpu) = stats.cpu {
            usage.cpu = Duration::from_micros(cpu.usage_us);
        }
        if let Some(memory) = stats.memory {
            usage.memory = memory.usage.saturating_sub(memory.inactive_file);
            usage.memory_limit = memory.limit.unwrap_or(usage.memory_limit).min(usage.memory_limit);
        }
        if let Some(pids) = stats.pids {
            usage.pids = pids.current;
        }
        if !stats.io.is_empty() {
            let sum = |of: fn(&crate::cgroup::IoStats) -> u64| stats.io.iter().map(of).sum();
            usage.block = Some((sum(|io| io.read_bytes), sum(|io| io.written_bytes)));
        }
        if held.record.config.network != "host" {
            usage.network = network(held.pid);
        }
        Ok(usage)
    }
}

fn group(record: &Record, action: &'static str) -> Result<Group, Error> {
    let group = record.in_force.group.clone();
    group.ok_or_else(|| Error::NoGroup { action, name: record.name.clone() })
}

/// Sums of what the kernel tells of each process; who may not be looked at counts as nothing.
fn add_processes(usage: &mut Usage, pids: &[Pid]) {
    let ticks = rustix::param::clock_ticks_per_second();
    let page = rustix::param::page_size() as u64;
    let mut block = None;
    for pid in pids {
        let read = |name: &str| {
            fs::read_to_string(format!("/proc/{}/{name}", pid.as_raw_nonzero())).unwrap_or_default()
        };
        let stat = read("stat");
        // proc_pid_stat(5): utime is field 14, num_threads 20; the name before may hold anything.
        let fields: Vec<u64> = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_whitespace().map(|it| it.parse().unwrap_or(0)).collect())
            .unwrap_or_default();
        let field = |number: usize| fields.get(number - 3).copied().unwrap_or_default();
        usage.cpu += Duration::from_millis((field(14) + field(15)) * 1000 / ticks.max(1));
        usage.pids += field(20);
        usage.memory += field(24) * page;
        let io = read("io");
        let bytes = |name: &str| {
            let line = io.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|count| count.trim().parse::<u64>().ok())
        };
        if let (Some(read), Some(written)) = (bytes("read_bytes:"), bytes("write_bytes:")) {
            let (before_read, before_written) = block.unwrap_or_default();
            block = Some((before_read + read, before_written + written));
        }
    }
    usage.block = block;
}

/// The interfaces of a process's network namespace (proc_pid_net(5)).
fn network(pid: Pid) -> Option<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{}/net/dev", pid.as_raw_nonzero())).ok()?;
    let mut sum = (0, 0);
    for (name, counts) in text.lines().filter_map(|line| line.split_once(':')) {
        let counts: Vec<u64> =
            counts.split_whitespace().map(|count| count.parse().unwrap_or(0)).collect();
        if let (false, [received, .., sent, _, _, _, _, _, _, _]) = (name.trim() == "lo", &*counts)
        {
            sum.0 += received;
            sum.1 += sent;
        }
    }
    Some(sum)
}

fn machine_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}
