//! Containers on disk: records, names, states.
//!
//! ```text
//! containers/ID/            0700; flock'ed on itself by the coracle that stays with the container
//!     record.json           the record, replaced by rename under a lock on `lock`
//!     creation.json         what it is started from again
//!     health.json           what its health checks have found
//!     ID-json.log           what it wrote (log/mod.rs)
//!     attach, monitor.pid   the socket of its monitor, and its pid
//!     stop, exit            a user asked for its end; somebody waits for it (wait.rs)
//!     upper/ work/ …        the root's changes; hosts, hostname, resolv.conf
//! names/NAME -> ID          a symbolic link (link.rs): making one is atomic, so of two with one name one wins
//! tmp/ID                    a container on its way out, or its empty directories (husk.rs)
//! tmp/spare                 a directory for the next container, with an empty upper/ and work/
//! ```
//!
//! No record is believed: that a container runs is checked against the process itself.

mod creation;
mod directory;
mod error;
mod health;
mod husk;
mod link;
mod list;
mod log;
mod name;
mod record;
mod restart;
mod wait;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, Mode};
use rustix::io::Errno;
use rustix::process::Pid;
use serde::de::DeserializeOwned;

use directory::lock;
use error::Tried;

use crate::oci::Digest;
use crate::sys::scratch::is_at;

pub use creation::{Creation, Rootfs};
pub use directory::Directory;
pub use error::Error;
pub use health::{Check, Health, HealthStatus, OnUnhealthy};
pub use husk::hollow_out;
pub use list::Survey;
pub use log::{Entry, Log, LogConfig, LogDriver, Reader, Stream, Subject, UnknownLogDriver};
pub use name::{InvalidName, Name};
pub use record::{
    Config, Instance, Keeper, MountPoint, Record, Shown, ShownProcess, State, Summary, VERSION,
    boot,
};
pub use restart::{InvalidRestart, Restart};
pub use wait::{Waiter, tell_exit};

/// The containers of one store.
#[derive(Debug)]
pub struct Containers {
    records: PathBuf,
    names: PathBuf,
    tmp: PathBuf,
}

/// What is left of a removed container, for who removed it to delete.
#[derive(Debug)]
pub struct Remains {
    /// Where it lies now.
    pub path: PathBuf,
    /// The ID of a container that never came to be.
    pub unmade: Option<String>,
    _lock: OwnedFd,
}

impl Remains {
    /// What it was; `None` where it never came to be, or is no more than half there.
    pub fn record(&self) -> Option<Record> {
        Record::parse(&std::fs::read(self.path.join("record.json")).ok()?).ok()
    }
}

/// What a container is at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Made, and not started.
    Created,
    /// Its first process runs.
    Running,
    /// Its processes are stopped until `unpause`.
    Paused,
    /// It ended with this status, and its monitor is about to start it again.
    Restarting(u8),
    /// It ended with this status; 137 where its coracle was killed before it could write it down.
    Stopped(u8),
}

impl Status {
    /// Whether it has processes, stopped ones too.
    pub fn is_up(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Restarting(_))
    }
}

impl<C> Record<C> {
    /// The image's ID; none where a directory stands for it (`--rootfs`).
    pub fn known_image(&self) -> Option<&Digest> {
        Some(&self.image_id).filter(|id| **id != Digest::of(b""))
    }

    /// What the container is now, whatever the record says.
    pub fn status(&self) -> Status {
        match &self.state {
            State::Created => Status::Created,
            State::Running { process, .. } if process.is_running() => match self.is_paused() {
                true => Status::Paused,
                false => Status::Running,
            },
            // Whoever stays with it is about to write its end down.
            State::Running { .. } if self.is_kept() => Status::Running,
            State::Running { .. } => Status::Stopped(128 + 9),
            State::Restarting { code, .. } if self.is_kept() => Status::Restarting(*code),
            State::Restarting { code, .. } | State::Stopped { code, .. } => Status::Stopped(*code),
        }
    }

    /// Its first process, and a descriptor of that; `None` where it does not run.
    pub fn hold(&self) -> Option<(OwnedFd, Pid)> {
        let State::Running { process, .. } = &self.state else { return None };
        Some((process.hold()?, Pid::from_raw(process.pid)?))
    }

    /// Whether it was to be removed at its end, and who was to do it is not there any more.
    fn is_abandoned(&self) -> bool {
        self.is_abandoned_by(self.status())
    }

    /// The same where the status is known.
    fn is_abandoned_by(&self, status: Status) -> bool {
        self.remove && matches!(status, Status::Stopped(_))
    }

    /// Whether it has ended, and who was to write that down is gone: killed, or with its machine.
    pub fn is_lost(&self) -> bool {
        self.is_lost_by(self.status())
    }

    /// The same where the status is known.
    pub fn is_lost_by(&self, status: Status) -> bool {
        matches!(self.state, State::Running { .. } | State::Restarting { .. })
            && matches!(status, Status::Stopped(_))
    }

    /// Whether its processes are stopped, by its control group.
    fn is_paused(&self) -> bool {
        self.in_force.group.as_ref().is_some_and(crate::cgroup::Group::is_frozen)
    }

    /// Whether the coracle that stays with it is there.
    pub fn is_kept(&self) -> bool {
        self.keeper.as_ref().is_some_and(|keeper| keeper.process.is_running())
    }

    /// The status with which it ended last; 0 where it has not.
    pub fn code(&self) -> u8 {
        match self.status() {
            Status::Created | Status::Running | Status::Paused => 0,
            Status::Restarting(code) | Status::Stopped(code) => code,
        }
    }
}

impl Containers {
    /// The containers below a store's root. Touches nothing.
    pub fn new(root: &Path) -> Self {
        Self { records: root.join("containers"), names: root.join("names"), tmp: root.join("tmp") }
    }

    /// Makes a directory for a new container and takes its name, a generated one where none is given.
    pub fn create(&self, name: Option<&Name>) -> Result<Directory, Error> {
        make_directory(&self.names)?;
        make_directory(&self.records)?;
        let (id, path, lock) = self.new_directory()?;
        match self.claim(name, &id) {
            Ok(name) => Ok(Directory { id, name, path, lock }),
            Err(error) => {
                let _ = crate::sys::remove_tree(&path);
                Err(error)
            }
        }
    }

    /// An empty directory or the spare, locked: a sweep that came between making it and that took it for
    /// rubbish, and another is made.
    fn new_directory(&self) -> Result<(String, PathBuf, OwnedFd), Error> {
        loop {
            let id = new_id().tried("read random bytes for", &self.records)?;
            let path = self.records.join(&id);
            if let Some(lock) = self.take_spare(&path) {
                return Ok((id, path, lock));
            }
            rustix::fs::mkdir(&path, Mode::from_raw_mode(0o700)).tried("make", &path)?;
            match lock(&path) {
                Ok(Some(lock)) if is_at(&lock, &path) => return Ok((id, path, lock)),
                Err(error) if path.exists() => return Err(error),
                _ => {}
            }
        }
    }

    fn claim(&self, name: Option<&Name>, id: &str) -> Result<Name, Error> {
        if let Some(name) = name {
            self.link_name(name, id)?;
            return Ok(name.clone());
        }
        let mut tries = 0;
        loop {
            let mut seed = [0; 8];
            fill_random(&mut seed).tried("read random bytes for", &self.names)?;
            let name = Name::generate(u64::from_ne_bytes(seed), tries);
            tries += 1;
            match self.link_name(&name, id) {
                Err(Error::NameTaken { .. }) => {}
                other => return other.map(|()| name),
            }
        }
    }

    fn link_name(&self, name: &Name, id: &str) -> Result<(), Error> {
        let path = self.names.join(name.as_str());
        let text = link::text_of(id);
        match rustix::fs::symlinkat(&text, CWD, &path) {
            Err(Errno::EXIST) => {}
            other => return other.tried("take the name", path),
        }
        let owner = link::id_at(&path).tried("read", &path)?;
        if self.records.join(&owner).exists() {
            return Err(Error::NameTaken { name: name.to_string(), id: owner });
        }
        // Its container was removed by a command that was killed before it freed the name. The new
        // link is renamed over the old one; of two doing so the last wins, and the other finds out.
        let mine = self.tmp.join(format!("name-{id}"));
        rustix::fs::symlinkat(&text, CWD, &mine).tried("take the name", &mine)?;
        std::fs::rename(&mine, &path).tried("take the name", &path)?;
        match link::id_at(&path) {
            Ok(owner) if owner == id => Ok(()),
            _ => Err(Error::NameTaken { name: name.to_string(), id: owner }),
        }
    }

    /// The container that a name, an ID or the beginning of one ID names.
    pub fn find(&self, query: &str) -> Result<Record, Error> {
        let missing = || Error::NoSuchContainer { query: query.to_owned() };
        if let Ok(name) = query.parse::<Name>()
            && let Ok(id) = link::id_at(&self.names.join(name.as_str()))
            && let Some(record) = self.read(&id)?
        {
            return Ok(record);
        }
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if query.is_empty() || !query.bytes().all(is_hex) {
            return Err(missing());
        }
        let mut found = None;
        for id in self.ids()?.into_iter().filter(|id| id.starts_with(query)) {
            let Some(record) = self.read(&id)? else { continue };
            if found.replace(record).is_some() {
                return Err(Error::Ambiguous { query: query.to_owned() });
            }
        }
        found.ok_or_else(missing)
    }

    /// Takes a container that does not run out of the list and frees its name. What is left of it is
    /// the directory returned, for the caller to delete.
    pub fn detach(&self, record: &Record) -> Result<Remains, Error> {
        if record.status().is_up() {
            return Err(Error::Running { name: record.name.clone() });
        }
        let path = self.records.join(&record.id);
        let Some(directory) = self.take(record)? else {
            return Err(Error::Busy { name: record.name.clone() });
        };
        let path = self.detach_locked(&record.id, &record.name, &path)?;
        Ok(Remains { path, unmade: None, _lock: directory.lock })
    }

    /// The same for the one who holds the lock.
    pub fn detach_own(&self, directory: &Directory) -> Result<PathBuf, Error> {
        self.detach_locked(&directory.id, directory.name.as_str(), &directory.path)
    }

    fn detach_locked(&self, id: &str, name: &str, path: &Path) -> Result<PathBuf, Error> {
        let gone = self.tmp.join(id);
        make_directory(&self.tmp)?;
        std::fs::rename(path, &gone).tried("move away", path)?;
        // After the directory: a name without one is free, a directory without a name is not seen.
        if !self.free(name, id)?
            && let Ok(bytes) = std::fs::read(gone.join("record.json"))
            && let Ok(record) = Record::<Shown>::parse(&bytes)
        {
            // It was given another one while it ran.
            self.free(&record.name, id)?;
        }
        Ok(gone)
    }

    /// Where a container's own files lie.
    pub fn directory<C>(&self, record: &Record<C>) -> PathBuf {
        self.records.join(&record.id)
    }

    /// Reads the record anew: another command may have changed or removed it.
    pub fn reread<C: DeserializeOwned>(
        &self,
        record: &Record<C>,
    ) -> Result<Option<Record<C>>, Error> {
        self.read(&record.id)
    }

    /// Directories that no record and no lock belongs to: a coracle was killed while it made or
    /// removed a container. Each is moved to `tmp/`; the paths there are returned.
    pub fn sweep(&self) -> Result<Vec<Remains>, Error> {
        let ids = self.ids()?.into_iter().filter(|id| self.is_abandoned(id)).collect();
        self.sweep_these(ids)
    }

    /// Sweeps these, if they are what they seemed to be, and what killed removals left.
    pub fn sweep_these(&self, ids: Vec<String>) -> Result<Vec<Remains>, Error> {
        let mut swept = self.rests();
        self.free_of(&swept);
        for id in ids {
            let path = self.records.join(&id);
            // Asked again under the lock: until it was free the container may have come to a record,
            // or have gone.
            if let Ok(Some(lock)) = lock(&path)
                && is_at(&lock, &path)
                && self.is_abandoned(&id)
            {
                let record: Option<Record> = self.read(&id).ok().flatten();
                if let Some(group) = record.as_ref().and_then(|it| it.in_force.group.as_ref()) {
                    let _ = group.remove(); // gone with a reboot
                }
                let name = record.map(|record| record.name);
                if name.is_none() {
                    // Before the directory goes: until then nobody takes the name over.
                    self.free_where(|_, owner| owner == id);
                }
                let path = self.detach_locked(&id, name.as_deref().unwrap_or(&id), &path)?;
                swept.push(Remains { path, unmade: name.is_none().then_some(id), _lock: lock });
            }
        }
        Ok(swept)
    }

    /// Frees the names that lead to removed containers.
    fn free_of(&self, remains: &[Remains]) {
        let is_of = |remains: &Remains, id: &str| remains.path.ends_with(id);
        if !remains.is_empty() {
            self.free_where(|_, owner| remains.iter().any(|remains| is_of(remains, owner)));
        }
    }

    fn free_where(&self, is_dead: impl Fn(&Path, &str) -> bool) {
        let Ok(entries) = std::fs::read_dir(&self.names) else { return };
        for entry in entries.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if let (Ok(owner), Some(name)) = (link::id_at(&path), name.to_str())
                && is_dead(&path, &owner)
            {
                let _ = self.free(name, &owner);
            }
        }
    }

    /// Frees the names that have led nowhere for a while: those of commands that were killed.
    pub fn free_lost_names(&self) {
        /// Who removes a container frees its name at once.
        const WHILE: Duration = Duration::from_secs(60);
        self.free_where(|link, owner| {
            let made = std::fs::symlink_metadata(link).and_then(|link| link.modified());
            let is_old = made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age >= WHILE));
            is_old && is_id(owner) && !self.records.join(owner).exists()
        });
    }

    /// Removed containers that nobody deletes any more.
    fn rests(&self) -> Vec<Remains> {
        let Ok(entries) = std::fs::read_dir(&self.tmp) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let paths = names.filter(|name| is_id(name)).map(|name| self.tmp.join(name));
        let take = |path: PathBuf| {
            let lock = lock(&path).ok().flatten()?;
            is_at(&lock, &path).then_some(Remains { path, unmade: None, _lock: lock })
        };
        paths.filter_map(take).collect()
    }

    fn is_abandoned(&self, id: &str) -> bool {
        match self.read::<Shown>(id) {
            Ok(None) => true,
            // `--rm` of a coracle that was killed before it could.
            Ok(Some(record)) => record.is_abandoned(),
            Err(_) => false,
        }
    }
}

fn make_directory(path: &Path) -> Result<(), Error> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o700)) {
        Err(Errno::EXIST) => Ok(()),
        other => other.tried("make", path),
    }
}

/// 64 random hexadecimal digits: an ID.
pub fn new_id() -> Result<String, Errno> {
    let mut bytes = [0; 32];
    fill_random(&mut bytes)?;
    Ok(hexadecimal(&bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn is_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn fill_random(bytes: &mut [u8]) -> Result<(), Errno> {
    // Up to 256 bytes come whole and at once (getrandom(2)).
    let length = bytes.len();
    let filled = rustix::rand::getrandom(bytes, rustix::rand::GetRandomFlags::empty())?;
    if filled == length { Ok(()) } else { Err(Errno::AGAIN) }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn record(directory: &Directory, state: State) -> Record {
        Record {
            version: VERSION,
            id: directory.id.clone(),
            name: directory.name.to_string(),
            image: "debian:12".into(),
            image_id: Digest::of(b"config"),
            layers: Vec::new(),
            created: "2026-11-23T12:00:00Z".into(),
            state,
            in_force: crate::cgroup::InForce::default(),
            remove: false,
            remove_image: false,
            keeper: None,
            restarts: 0,
            links: Vec::new(),
            ports: Vec::new(),
            config: config(),
        }
    }

    fn config() -> Config {
        Config {
            process: crate::bundle::Process::new(vec!["true".into()]),
            resources: crate::cgroup::Resources::default(),
            seccomp: crate::bundle::SeccompChoice::Default,
            user: String::new(),
            hostname: "box".into(),
            network: "host".into(),
            networks: Vec::new(),
            private: None,
            publish: Vec::new(),
            expose: Vec::new(),
            emulated: false,
            privileged: false,
            read_only: false,
            init: false,
            mounts: Vec::new(),
            added: Vec::new(),
            labels: std::collections::BTreeMap::new(),
            annotations: std::collections::BTreeMap::new(),
            stop_signal: 15,
            driver: "overlay".into(),
            restart: Restart::default(),
            log: LogConfig::default(),
            health: None,
            on_unhealthy: OnUnhealthy::None,
            stop_timeout_s: None,
        }
    }

    fn containers() -> (tempfile::TempDir, Containers) {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(root.path().join("tmp")).expect("tmp");
        let containers = Containers::new(root.path());
        (root, containers)
    }

    #[test]
    fn what_is_not_killed_has_all_time() {
        for (seconds, grace) in [(None, Some(10)), (Some(0), Some(0)), (Some(-1), None)] {
            let config = Config { stop_timeout_s: seconds, ..config() };
            assert_eq!(config.grace(), grace.map(Duration::from_secs));
        }
    }

    #[test]
    fn a_name_is_one_containers_until_it_is_removed() {
        let (_root, containers) = containers();
        let name: Name = "web".parse().expect("a name");
        let first = containers.create(Some(&name)).expect("first");
        first.write(&record(&first, State::Created)).expect("a record");
        assert!(matches!(containers.create(Some(&name)), Err(Error::NameTaken { .. })));
        assert!(!first.is_edited());
        let found = containers.find("web").expect("by name");
        containers.edit(&found, |record| record.name = "web".to_owned()).expect("edited");
        assert!(first.is_edited());
        assert_eq!(containers.find(&found.id[..5]).expect("by prefix"), found);
        assert!(matches!(containers.detach(&found), Err(Error::Busy { .. })));
        drop(first);
        assert!(containers.detach(&found).expect("detached").path.exists());
        assert!(containers.find("web").is_err());
        assert!(containers.create(Some(&name)).is_ok());
    }

    #[test]
    fn what_a_killed_coracle_left_is_swept_and_what_lives_is_not() {
        let (_root, containers) = containers();
        let name: Name = "half".parse().expect("a name");
        let living = containers.create(None).expect("living");
        drop(containers.create(Some(&name)).expect("abandoned"));
        assert_eq!(containers.sweep().expect("swept").len(), 1);
        assert!(living.path.exists());
        assert_eq!(names(&containers), [living.name.as_str()]);
        // The name that the dead one took is free again.
        assert!(containers.create(Some(&name)).is_ok());
    }

    /// All names that are taken.
    fn names(containers: &Containers) -> Vec<String> {
        let entries = std::fs::read_dir(&containers.names).expect("names").flatten();
        entries.map(|entry| entry.file_name().into_string().expect("text")).collect()
    }

    #[test]
    fn names_that_lead_nowhere_are_freed() {
        let (_root, containers) = containers();
        let living = containers.create(None).expect("living");
        // A removal that was killed before it freed the name.
        let gone = containers.create(None).expect("made");
        make_directory(&containers.tmp).expect("tmp");
        std::fs::rename(&gone.path, containers.tmp.join(&gone.id)).expect("moved away");
        drop(gone);
        assert_eq!(containers.sweep().expect("swept").len(), 1);
        assert_eq!(names(&containers), [living.name.as_str()]);
        // Of a killed one that nothing is left of, and of one that is at it.
        for (name, age_s) in [("old", 100), ("new", 0)] {
            let link = containers.names.join(name);
            let id = new_id().expect("an ID");
            std::os::unix::fs::symlink(link::text_of(&id), &link).expect("a link");
            let mut times = rustix::fs::Timestamps {
                last_access: rustix::fs::Timespec { tv_sec: 0, tv_nsec: 0 },
                last_modification: rustix::fs::Timespec { tv_sec: 0, tv_nsec: 0 },
            };
            times.last_modification.tv_sec = jiff::Timestamp::now().as_second() - age_s;
            let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::utimensat(CWD, &link, &times, flags).expect("times");
        }
        containers.free_lost_names();
        let mut left = names(&containers);
        left.sort_unstable();
        let mut expected = ["new", living.name.as_str()];
        expected.sort_unstable();
        assert_eq!(left, expected);
    }

    #[test]
    fn a_sweep_in_the_middle_takes_no_container_in_the_making() {
        let (_root, containers) = containers();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    containers.sweep().expect("swept");
                }
            });
            for _ in 0..500 {
                let made = containers.create(None);
                let there = made.as_ref().is_ok_and(|made| made.path.exists());
                done.store(!there, std::sync::atomic::Ordering::Relaxed);
                assert!(there, "{made:?}");
                let path = containers.detach_own(&made.expect("made")).expect("detached");
                std::fs::remove_dir(path).expect("removed");
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    #[test]
    fn a_process_that_is_gone_is_not_running() {
        let (_root, containers) = containers();
        let directory = containers.create(None).expect("a container");
        let process = Instance { pid: i32::MAX, start_ticks: 1, boot: "x".into() };
        let state = State::Running { process, started: String::new() };
        assert_eq!(record(&directory, state).status(), Status::Stopped(137));
    }

    #[test]
    fn who_waits_is_told_after_the_directory_went() {
        let (_root, containers) = containers();
        let make = || {
            let directory = containers.create(None).expect("made");
            let mut record = record(&directory, State::Created);
            record.keeper = Instance::own().map(|process| Keeper { process, monitor: false });
            directory.write(&record).expect("written");
            (directory, record)
        };
        let (directory, record) = make();
        let waiter = containers.waiter(&record).expect("a waiter");
        let gone = containers.detach_own(&directory).expect("moved away");
        assert!(!hollow_out(&gone), "somebody waits");
        let soon = Instant::now() + Duration::from_millis(20);
        assert_eq!(waiter.wait(Some(soon)).expect("patience"), None);
        tell_exit(&gone, 7).expect("told");
        assert_eq!(waiter.wait(None).expect("a code"), Some(7));
        // One that is removed without a word.
        let (directory, record) = make();
        let waiter = containers.waiter(&record).expect("a waiter");
        let gone = containers.detach_own(&directory).expect("moved away");
        std::fs::remove_dir_all(gone).expect("removed");
        assert!(matches!(waiter.wait(None), Err(Error::NoSuchContainer { .. })));
    }
}
