//! `top`: what runs in a container.

use std::time::Duration;

use rustix::process::Pid;

use crate::container::State;
use crate::engine::processes::processes_of;
use crate::engine::{Engine, Error};

/// A process, as `ps -ef` tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The user in the container, as far as the kernel tells.
    pub uid: u32,
    /// On the host.
    pub pid: i32,
    /// On the host.
    pub parent: i32,
    /// When it started.
    pub started: jiff::Timestamp,
    /// The number of its terminal, as `tty_nr` of proc_pid_stat(5); 0 for none.
    pub terminal: u64,
    /// The processor time that it has used.
    pub used: Duration,
    /// Its command line, or its name in brackets.
    pub command: String,
}

impl Engine {
    /// The processes of a running container, the oldest first.
    pub fn top(&self, query: &str) -> Result<Vec<Process>, Error> {
        let pids = self.pids(query)?;
        let boot = boot_time();
        let ids = pids.first().map(|pid| uid_map(*pid)).unwrap_or_default();
        let mut processes: Vec<Process> =
            pids.iter().filter_map(|pid| process(*pid, boot, &ids)).collect();
        processes.sort_unstable_by_key(|process| (process.started, process.pid));
        Ok(processes)
    }

    /// The pids on the host of a running container's processes.
    pub fn pids(&self, query: &str) -> Result<Vec<Pid>, Error> {
        let record = self.container_named(query)?;
        let stopped = || Error::NotRunning { name: record.name.clone() };
        let State::Running { process, .. } = &record.state else { return Err(stopped()) };
        let held = process.hold().ok_or_else(stopped)?;
        let first = Pid::from_raw(process.pid).ok_or_else(stopped)?;
        let mut pids = processes_of(first).map_err(|source| Error::Io {
            action: "list",
            path: "/proc".into(),
            source,
        })?;
        // coracle's own first process is closed to those who look.
        if !pids.contains(&first) {
            pids.insert(0, first);
        }
        // What ran in it is its own only if it still runs.
        match crate::runtime::has_ended(&held) {
            true => Err(stopped()),
            false => Ok(pids),
        }
    }
}

/// First id inside, first outside, how many (user_namespaces(7)).
fn uid_map(pid: Pid) -> Vec<(u32, u32, u32)> {
    let path = format!("/proc/{}/uid_map", pid.as_raw_nonzero());
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let extent = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    text.lines().filter_map(extent).collect()
}

fn inside(uid: u32, map: &[(u32, u32, u32)]) -> u32 {
    let of = |(inside, outside, count): &(u32, u32, u32)| {
        uid.checked_sub(*outside).filter(|offset| offset < count).map(|offset| inside + offset)
    };
    map.iter().find_map(of).unwrap_or(uid)
}

/// When the machine started, in seconds since 1970 (proc_stat(5), `btime`).
fn boot_time() -> i64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("btime "));
    line.and_then(|time| time.trim().parse().ok()).unwrap_or_default()
}

fn process(pid: Pid, boot: i64, ids: &[(u32, u32, u32)]) -> Option<Process> {
    let pid = pid.as_raw_nonzero().get();
    let read = |name: &str| std::fs::read(format!("/proc/{pid}/{name}"));
    let text = String::from_utf8_lossy(&read("stat").ok()?).into_owned();
    let status = String::from_utf8_lossy(&read("status").ok()?).into_owned();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let uid = uid.split_whitespace().nth(1)?.parse().ok()?;
    let (name, fields) = fields(&text)?;
    // Field 4 of the man page is the second behind the name.
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    let started = boot + i64::try_from(number(22)? / per_second).ok()?;
    let used = Duration::from_millis((number(14)? + number(15)?) * 1000 / per_second);
    let line = read("cmdline").unwrap_or_default();
    let words: Vec<String> = line
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    let command = if words.is_empty() { format!("[{name}]") } else { words.join(" ") };
    Some(Process {
        uid: inside(uid, ids),
        pid,
        parent: i32::try_from(number(4)?).ok()?,
        started: jiff::Timestamp::from_second(started).ok()?,
        terminal: number(7)?,
        used,
        command,
    })
}

/// The name, which may hold anything, and what stands behind it.
fn fields(stat: &str) -> Option<(&str, Vec<&str>)> {
    let (before, behind) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    Some((name, behind.split_whitespace().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_inside() {
        let map = [(0, 1000, 1), (1, 200_000, 65536)];
        assert_eq!((inside(1000, &map), inside(200_041, &map), inside(7, &map)), (0, 42, 7));
    }

    #[test]
    fn this_process_is_told_of() {
        let own = process(rustix::process::getpid(), boot_time(), &[]).expect("this process");
        assert_eq!(own.uid, rustix::process::geteuid().as_raw());
        assert!(own.command.contains("coracle"), "{}", own.command);
        let age = jiff::Timestamp::now().as_second() - own.started.as_second();
        assert!((-2..3600).contains(&age), "{age}");
    }
}
