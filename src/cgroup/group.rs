//! A group that was made: its processes, its end.

use std::fs;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};

use super::setting::How;
use super::{Error, Refusal, Resources};

/// A container's group: one directory, or with version 1 one in each hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The directories.
    pub parts: Vec<Part>,
    /// What was made on the way to them and is removed with them, if nobody else uses it by then.
    #[serde(default)]
    pub made: Vec<PathBuf>,
}

/// A group in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its directory.
    pub path: PathBuf,
    /// The controllers of a hierarchy of version 1.
    pub controllers: Vec<String>,
    /// Whether it is in the unified hierarchy.
    pub unified: bool,
}

/// The ways into a group, opened before a clone: the child goes in by itself.
#[derive(Debug, Default)]
pub struct Entrances(Vec<OwnedFd>);

impl Entrances {
    /// All of them.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(AsFd::as_fd)
    }

    /// Moves the calling process. Allocates nothing.
    pub fn enter(&self) -> Result<(), Errno> {
        self.0.iter().try_for_each(|file| rustix::io::write(file, b"0").map(|_| ()))
    }
}

/// How long the kernel may take to freeze, or to let go of the dead.
const PATIENCE: Duration = Duration::from_secs(5);

impl Group {
    /// The directory that has a controller.
    pub fn of(&self, controller: &str) -> Option<&Path> {
        let has = |part: &&Part| part.controllers.iter().any(|it| it == controller);
        let part = self.parts.iter().find(has).or_else(|| {
            // In version 2 every controller is in one place.
            self.parts.first().filter(|part| part.unified)
        });
        part.map(|part| part.path.as_path())
    }

    /// The directory in the unified hierarchy.
    pub fn unified(&self) -> Option<&Path> {
        self.parts.iter().find(|part| part.unified).map(|part| part.path.as_path())
    }

    /// Whether it was not removed, by hand or by a reboot.
    pub fn is_there(&self) -> bool {
        self.parts.iter().any(|part| part.path.exists())
    }

    /// Whether the controllers are in the unified hierarchy.
    fn is_unified(&self) -> bool {
        self.parts.iter().all(|part| part.unified)
    }

    pub(super) fn read(&self, controller: &str, file: &str) -> Option<String> {
        fs::read_to_string(self.of(controller)?.join(file)).ok()
    }

    /// Opens the ways in, for a process that is yet to be cloned.
    pub fn entrances(&self) -> Result<Entrances, Error> {
        let open = |part: &Part| {
            let path = part.path.join("cgroup.procs");
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            let opened = rustix::fs::open(&path, flags, Mode::empty());
            opened.map_err(|errno| failed("enter", &part.path, errno))
        };
        self.parts.iter().map(open).collect::<Result<_, _>>().map(Entrances)
    }

    /// Moves a process in.
    pub fn add(&self, pid: Pid) -> Result<(), Error> {
        let pid = pid.as_raw_nonzero().to_string();
        self.parts.iter().try_for_each(|part| {
            let written = fs::write(part.path.join("cgroup.procs"), &pid);
            written.map_err(|error| failed("move a process to", &part.path, errno(&error)))
        })
    }

    /// The processes in it and in the groups that the container made in it.
    pub fn processes(&self) -> Vec<Pid> {
        let mut left: Vec<PathBuf> = self.parts.iter().take(1).map(|it| it.path.clone()).collect();
        let mut found = Vec::new();
        while let Some(path) = left.pop() {
            let text = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
            // A process of another pid namespace is shown as 0.
            found.extend(text.lines().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)));
            left.extend(below(&path));
        }
        found
    }

    /// Whether its processes can be stopped.
    pub fn can_freeze(&self) -> bool {
        self.freezer(true).is_some()
    }

    /// Stops every process, until `thaw`.
    pub fn freeze(&self) -> Result<(), Error> {
        self.set_frozen(true)
    }

    /// Lets every process go on.
    pub fn thaw(&self) -> Result<(), Error> {
        self.set_frozen(false)
    }

    fn set_frozen(&self, frozen: bool) -> Result<(), Error> {
        let action = if frozen { "pause" } else { "unpause" };
        let (path, file, value) = self.freezer(frozen).ok_or_else(|| Error::Cannot {
            action,
            why: "its control group has no freezer".to_owned(),
        })?;
        fs::write(path.join(file), value).map_err(|error| failed(action, &path, errno(&error)))?;
        match wait_until(|| self.is_frozen() == frozen) {
            true => Ok(()),
            false => Err(failed(action, &path, Errno::TIMEDOUT)),
        }
    }

    /// Directory, file and value that freeze or thaw.
    fn freezer(&self, frozen: bool) -> Option<(PathBuf, &'static str, &'static str)> {
        let separate =
            self.parts.iter().find(|part| part.controllers.iter().any(|it| it == "freezer"));
        if let Some(part) = separate {
            let value = if frozen { "FROZEN" } else { "THAWED" };
            return Some((part.path.clone(), "freezer.state", value));
        }
        let path = self.unified().filter(|path| path.join("cgroup.freeze").exists())?;
        Some((path.to_owned(), "cgroup.freeze", if frozen { "1" } else { "0" }))
    }

    /// Whether every process is stopped.
    pub fn is_frozen(&self) -> bool {
        match self.freezer(true) {
            Some((path, "freezer.state", _)) => {
                let text = fs::read_to_string(path.join("freezer.state"));
                text.is_ok_and(|text| text.trim() == "FROZEN")
            }
            Some((path, ..)) => {
                let text = fs::read_to_string(path.join("cgroup.events"));
                text.is_ok_and(|text| text.lines().any(|line| line == "frozen 1"))
            }
            None => false,
        }
    }

    /// Kills every process. Waits until none is left.
    pub fn kill(&self) -> Result<(), Error> {
        let at_once = self.unified().map(|path| path.join("cgroup.kill"));
        if at_once.is_some_and(|file| fs::write(file, "1").is_err()) || self.unified().is_none() {
            self.kill_each();
        }
        let gone = wait_until(|| {
            self.kill_each();
            self.processes().is_empty()
        });
        let path = self.parts.first().map(|part| part.path.clone()).unwrap_or_default();
        if gone { Ok(()) } else { Err(failed("empty", &path, Errno::TIMEDOUT)) }
    }

    /// Before Linux 5.14, and in version 1: one after the other, as often as new ones appear.
    fn kill_each(&self) {
        for pid in self.processes() {
            let Ok(held) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { continue };
            // Held now: if it is still in the group it is no other that took over the pid.
            if self.processes().contains(&pid) {
                let _ = rustix::process::pidfd_send_signal(&held, Signal::KILL);
            }
        }
        // The frozen die when they thaw.
        if self.is_frozen() {
            let _ = self.thaw();
        }
    }

    /// How many of its processes were killed for want of memory.
    pub fn oom_kills(&self) -> u64 {
        let file = if self.is_unified() { "memory.events" } else { "memory.oom_control" };
        let text = self.read("memory", file).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.trim().parse().ok()).unwrap_or_default()
    }

    /// Changes limits; what is absent stays as it is.
    pub fn update(&self, resources: &Resources) -> Result<(), Error> {
        let mut settings = match self.is_unified() {
            true => resources.unified_settings(),
            false => resources.separate_settings(),
        };
        // Memory may never be above memory with swap: a raise of both begins with the latter.
        let swap = self.read("memory", "memory.memsw.limit_in_bytes");
        let swap = swap.and_then(|text| text.trim().parse::<i64>().ok());
        if resources.memory.limit.zip(swap).is_some_and(|(limit, swap)| limit > swap) {
            settings.sort_by_key(|setting| setting.limit != "memory-swap");
        }
        let mut refusals = resources.refused.clone();
        let mut steps = Vec::new();
        for setting in settings {
            let why = match setting.how {
                How::Never(why) => why.to_owned(),
                How::Write { controller, choices, optional } => {
                    let directory = match &controller {
                        Some(controller) => self.of(controller),
                        None => self.unified(),
                    };
                    let there = |at: &&Path| choices.iter().any(|(file, _)| at.join(file).exists());
                    match directory.filter(there) {
                        Some(directory) => {
                            steps.push((setting.limit, directory, choices));
                            continue;
                        }
                        None if optional => continue,
                        None => "the container's control group has no controller for it".to_owned(),
                    }
                }
            };
            refusals.push(Refusal { limit: setting.limit, why });
        }
        if !refusals.is_empty() {
            return Err(Error::Refused { refusals, hint: None });
        }
        steps.into_iter().try_for_each(|(limit, directory, choices)| {
            write_choice(directory, &choices).map_err(|(path, value, errno)| Error::Write {
                limit,
                path,
                value,
                errno,
            })
        })
    }

    /// Removes it, with the groups that the container made in it. The dead may linger for a moment.
    pub fn remove(&self) -> Result<(), Error> {
        let mut result = Ok(());
        for part in &self.parts {
            let mut last = Errno::BUSY;
            let gone = wait_until(|| match remove_below(&part.path) {
                Ok(()) => true,
                Err(errno) => {
                    last = errno;
                    errno != Errno::BUSY && errno != Errno::NOTEMPTY
                }
            });
            if (!gone || part.path.exists()) && result.is_ok() {
                result = Err(failed("remove", &part.path, last));
            }
        }
        for path in self.made.iter().rev() {
            let _ = fs::remove_dir(path);
        }
        result
    }

    /// Removes what was made of it when making it failed.
    pub(super) fn discard(&self) {
        let parts = self.parts.iter().map(|part| &part.path);
        for path in parts.chain(self.made.iter().rev()) {
            let _ = fs::remove_dir(path);
        }
    }
}

fn failed(action: &'static str, path: &Path, errno: Errno) -> Error {
    Error::Group { action, path: path.to_owned(), errno }
}

pub(super) fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// Writes the first of the files that is there. Tells which file and value failed, and why.
pub(super) fn write_choice(
    group: &Path,
    choices: &[(String, String)],
) -> Result<(), (PathBuf, String, Errno)> {
    let mut last = (group.to_owned(), String::new(), Errno::NOENT);
    for (file, value) in choices {
        let path = group.join(file);
        // Never made: a control file is there, or the controller is not.
        let opened = fs::OpenOptions::new().write(true).open(&path);
        match opened.and_then(|mut file| file.write_all(value.as_bytes())) {
            Ok(()) => return Ok(()),
            Err(error) => last = (path, value.clone(), errno(&error)),
        }
        if last.2 != Errno::NOENT {
            break;
        }
    }
    Err(last)
}

fn below(path: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let groups = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    groups.map(|entry| entry.path())
}

fn remove_below(path: &Path) -> Result<(), Errno> {
    for group in below(path) {
        remove_below(&group)?;
    }
    match rustix::fs::rmdir(path) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// Tries more and more seldom, for as long as patience lasts.
fn wait_until(mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(100);
    loop {
        if done() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
