//! One record a container: what it is made of, and how far it came.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{LogConfig, OnUnhealthy, Restart};
use crate::bundle::{self, Added, Process, SeccompChoice, is_nothing};
use crate::cgroup::{InForce, Resources};
use crate::network::{self, Expose, LinkPlan, PortRequest, Published, Wanted};
use crate::oci::{ChainId, Digest, Healthcheck};

/// The version of the record's format that this binary writes.
pub const VERSION: u32 = 4;
/// The oldest version that it reads: what was added since has a default, what was moved is looked for
/// in its old place.
const OLDEST: u32 = 2;

/// What is known of a container: `containers/ID/record.json`.
///
/// The record says what was; whether a process still runs is checked each time (`Instance`). `C` is
/// what is read of its configuration: all of it, or as much as lists show. What is not so, not set or
/// empty is left out: a list reads a thousand of these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record<C = Config> {
    /// The format's version.
    pub version: u32,
    /// 64 hexadecimal digits.
    pub id: String,
    /// The name, unique among the containers of a store.
    pub name: String,
    /// The image as the user named it.
    pub image: String,
    /// The image's ID.
    pub image_id: Digest,
    /// The layers that are in use, the lowest first.
    pub layers: Vec<ChainId>,
    /// RFC 3339 time of creation.
    pub created: String,
    /// How far it came.
    pub state: State,
    /// Whether it is removed when it ends.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub remove: bool,
    /// Whether its image goes with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub remove_image: bool,
    /// The limits in force and its control group, while it runs.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub in_force: InForce,
    /// Who stays with it: its monitor, or the coracle in whose foreground it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keeper: Option<Keeper>,
    /// How often the restart policy has started it again since a user did.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub restarts: u32,
    /// Its ends of networks, while it runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkPlan>,
    /// Ports that the host has for it, while it runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Published>,
    /// The circumstances, for `inspect`.
    pub config: C,
}

impl<C: DeserializeOwned> Record<C> {
    /// Reads a record; one of an earlier version is of this one from here on.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        // Once for all of it, and not once more for every text in it.
        let text = std::str::from_utf8(bytes).map_err(serde::de::Error::custom)?;
        let mut record: Self = serde_json::from_str(text)?;
        if (OLDEST..VERSION).contains(&record.version) {
            // Until version 3 the limits in force stood among the record's own fields.
            record.in_force = serde_json::from_str(text)?;
            record.version = VERSION;
        }
        Ok(record)
    }
}

/// A container as lists have it: read in a part of the time.
pub type Summary = Record<Shown>;

/// What `inspect` and `ps` show of a container's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools)] // each a fact of its own
pub struct Config {
    /// The program and its circumstances: what a later program in the container starts from.
    pub process: Process,
    /// Which filter of system calls.
    pub seccomp: SeccompChoice,
    /// The user as given or as the image has it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// The name in the uts namespace.
    pub hostname: String,
    /// `host`, `private`, `none`, `container:ID` or a named network's name: the first of several.
    pub network: String,
    /// The named networks that it is in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Wanted>,
    /// What its private network is like, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private: Option<network::Settings>,
    /// Ports that the host is to have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<PortRequest>,
    /// Ports that others are told of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expose: Vec<Expose>,
    /// Whether ids that are not mapped are emulated.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub emulated: bool,
    /// All that the user itself may do.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub privileged: bool,
    /// The root is read-only.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub read_only: bool,
    /// A pid 1 of coracle's own.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub init: bool,
    /// Volumes, binds and file systems.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<MountPoint>,
    /// Lines that are added to files of its root at each start: nothing that it has changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<Added>,
    /// Labels of image and command line.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The signal that `stop` sends.
    pub stop_signal: i32,
    /// The root file system's driver.
    pub driver: String,
    /// What it may use.
    #[serde(default, skip_serializing_if = "Resources::is_empty")]
    pub resources: Resources,
    /// What happens when it ends.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub restart: Restart,
    /// Where what it writes goes.
    #[serde(default)]
    pub log: LogConfig,
    /// How it is found out whether it is well: the image's check, and what the flags change of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Healthcheck>,
    /// What happens when it is not.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub on_unhealthy: OnUnhealthy,
    /// Seconds between `stop`'s signal and SIGKILL; ten where nothing is said, negative: it is not killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_timeout_s: Option<i64>,
}

impl Config {
    /// How long it may take to stop; `None` is for ever.
    pub fn grace(&self) -> Option<Duration> {
        u64::try_from(self.stop_timeout_s.unwrap_or(10)).ok().map(Duration::from_secs)
    }
}

/// What lists show of a container's configuration; the fields are `Config`'s.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)] // said above
pub struct Shown {
    pub process: ShownProcess,
    pub network: String,
    #[serde(default)]
    pub networks: Vec<Wanted>,
    #[serde(default)]
    pub expose: Vec<Expose>,
    #[serde(default)]
    pub mounts: Vec<MountPoint>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub restart: Restart,
    #[serde(default)]
    pub health: Option<Healthcheck>,
}

/// What lists show of a container's program.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ShownProcess {
    /// Program and arguments; never empty.
    #[serde(deserialize_with = "bundle::texts")]
    pub args: Vec<OsString>,
}

/// The coracle that stays with a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keeper {
    /// Its process.
    pub process: Instance,
    /// Whether it is a monitor, to which others can attach.
    pub monitor: bool,
}

/// A mount that the user or the image asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountPoint {
    /// `bind`, `volume`, `image`, `tmpfs` or another file system.
    pub kind: String,
    /// The volume's name; empty for all else.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The path on the host, an image's ID, empty for a file system.
    pub source: String,
    /// The path in the container.
    pub target: String,
    /// Its options as they were typed.
    pub mode: String,
    /// Whether the container may write.
    pub writable: bool,
    /// How mount events pass: `rprivate` and its kin; empty where there are none.
    pub propagation: String,
}

/// How far a container came, as it was written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "status")]
pub enum State {
    /// Made, and not started.
    Created,
    /// Started.
    Running {
        /// Its first process.
        process: Instance,
        /// RFC 3339 time.
        started: String,
    },
    /// Ended; its monitor waits before it starts it again.
    Restarting {
        /// Its exit status.
        code: u8,
        /// RFC 3339 time.
        started: String,
        /// RFC 3339 time.
        finished: String,
    },
    /// Ended.
    Stopped {
        /// Its exit status; 137 stands for one that was lost with its coracle.
        code: u8,
        /// RFC 3339 time.
        started: String,
        /// RFC 3339 time.
        finished: String,
        /// Whether the kernel killed it for want of memory.
        #[serde(default)]
        oom: bool,
        /// Whether a user ended it, by `stop` or `kill`.
        #[serde(default)]
        by_user: bool,
    },
}

/// A process that cannot be taken for another: its pid alone could be, after a reboot or a reuse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// The pid.
    pub pid: i32,
    /// Its start in clock ticks since the boot (proc_pid_stat(5), field 22).
    pub start_ticks: u64,
    /// Which boot (random(4), `boot_id`).
    pub boot: String,
}

impl Instance {
    /// The process that has `pid` now; `None` when there is none.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, start_ticks) = parse_stat(&stat)?;
        (!matches!(state, 'Z' | 'X')).then_some(Self { pid, start_ticks, boot: boot()?.to_owned() })
    }

    /// This process.
    pub fn own() -> Option<Self> {
        Self::of(i32::try_from(std::process::id()).ok()?)
    }

    /// A descriptor of this very process, as long as it runs: signals through it reach no other.
    pub fn hold(&self) -> Option<OwnedFd> {
        let pid = rustix::process::Pid::from_raw(self.pid)?;
        let flags = rustix::process::PidfdFlags::empty();
        let pidfd = rustix::process::pidfd_open(pid, flags).ok()?;
        // Asked after the descriptor was opened: now it can be no other's.
        self.is_running().then_some(pidfd)
    }

    /// Whether this very process runs now.
    pub fn is_running(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }
}

/// Which boot this is (random(4), `boot_id`); it cannot change while this process lives.
pub fn boot() -> Option<&'static str> {
    static BOOT: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let read = || std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    BOOT.get_or_init(|| Some(read()?.trim().to_owned())).as_deref()
}

/// State and start time of a line of `/proc/PID/stat`; the name in it may hold anything.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let start_ticks = fields.nth(18)?.parse().ok()?;
    Some((state, start_ticks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_itself_and_no_other() {
        let own = Instance::of(i32::try_from(std::process::id()).expect("a pid")).expect("self");
        assert!(own.is_running());
        let reused = Instance { start_ticks: own.start_ticks + 1, ..own.clone() };
        let rebooted = Instance { boot: "another".into(), ..own };
        assert!(!reused.is_running() && !rebooted.is_running());
    }

    /// As version 3 wrote it: names of capabilities, limits among the record's own fields.
    #[test]
    fn a_record_of_an_earlier_version_is_read() {
        let text = include_str!("record-3.json");
        let record = Record::<Config>::parse(text.as_bytes()).expect("a record");
        assert_eq!(record.version, VERSION);
        assert_eq!(record.in_force.processors.as_deref(), Some("0-1"));
        let capabilities = record.config.process.capabilities;
        assert_eq!((capabilities.bounding.bits(), capabilities.ambient.bits()), (0xa804_25fb, 0));
        let again = serde_json::to_vec(&record).expect("JSON");
        assert_eq!(Record::<Config>::parse(&again).expect("a record"), record);
        let shown = Record::<Shown>::parse(text.as_bytes()).expect("a record");
        assert_eq!((shown.in_force, shown.state), (record.in_force, record.state));
        assert_eq!(shown.config.process.args, record.config.process.args);
    }

    #[test]
    fn a_name_with_parentheses_is_no_trap() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 777 9 10";
        assert_eq!(parse_stat(stat), Some(('S', 777)));
    }
}
