//! Containers on disk: records, names, states.
//!
//! ```text
//! containers/ID/            0700; flock'ed on itself by the coracle that stays with the container
//!     record.json           the record, replaced by rename
//!     upper/ work/ …        the root's changes; hosts, hostname, resolv.conf
//! names/NAME -> ID          a symbolic link: making one is atomic, so of two with one name one wins
//! tmp/ID                    a container on its way out
//! ```
//!
//! No record is believed: that a container runs is checked against the process itself.

mod error;
mod name;
mod record;

use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use error::Tried;

pub use error::Error;
pub use name::{InvalidName, Name};
pub use record::{Config, Instance, MountPoint, Record, State, VERSION};

/// The containers of one store.
#[derive(Debug)]
pub struct Containers {
    records: PathBuf,
    names: PathBuf,
    tmp: PathBuf,
}

/// A container's directory, locked for as long as this lives.
#[derive(Debug)]
pub struct Directory {
    /// 64 hexadecimal digits.
    pub id: String,
    /// The name, taken for this container.
    pub name: Name,
    /// `containers/ID`
    pub path: PathBuf,
    _lock: OwnedFd,
}

/// What a container is at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Made, and not started.
    Created,
    /// Its first process runs.
    Running,
    /// It ended with this status; 137 where its coracle was killed before it could write it down.
    Stopped(u8),
}

impl Record {
    /// What the container is now, whatever the record says.
    pub fn status(&self) -> Status {
        match &self.state {
            State::Created => Status::Created,
            State::Running { process, .. } if process.is_running() => Status::Running,
            State::Running { .. } => Status::Stopped(128 + 9),
            State::Stopped { code, .. } => Status::Stopped(*code),
        }
    }
}

impl Directory {
    /// Replaces the record; readers see the old one or the new one.
    pub fn write(&self, record: &Record) -> Result<(), Error> {
        let (path, new) = (self.path.join("record.json"), self.path.join(".record.json"));
        let text = serde_json::to_vec(record)
            .map_err(|source| Error::Damaged { path: path.clone(), source })?;
        let mut file = std::fs::File::create(&new).tried("create", &new)?;
        file.write_all(&text).tried("write", &new)?;
        std::fs::rename(&new, &path).tried("replace", path)
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
            Ok(name) => Ok(Directory { id, name, path, _lock: lock }),
            Err(error) => {
                let _ = std::fs::remove_dir(&path);
                Err(error)
            }
        }
    }

    /// An empty directory, locked: a sweep that came between the two calls took it for rubbish, and
    /// another is made.
    fn new_directory(&self) -> Result<(String, PathBuf, OwnedFd), Error> {
        loop {
            let id = new_id().tried("read random bytes for", &self.records)?;
            let path = self.records.join(&id);
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
        loop {
            let mut seed = [0; 8];
            fill_random(&mut seed).tried("read random bytes for", &self.names)?;
            let name = Name::generate(u64::from_ne_bytes(seed));
            match self.link_name(&name, id) {
                Err(Error::NameTaken { .. }) => {}
                other => return other.map(|()| name),
            }
        }
    }

    fn link_name(&self, name: &Name, id: &str) -> Result<(), Error> {
        let path = self.names.join(name.as_str());
        match rustix::fs::symlinkat(id, CWD, &path) {
            Err(Errno::EXIST) => {}
            other => return other.tried("take the name", path),
        }
        let owner = std::fs::read_link(&path).tried("read", &path)?;
        let owner = owner.to_string_lossy().into_owned();
        if self.records.join(&owner).exists() {
            return Err(Error::NameTaken { name: name.to_string(), id: owner });
        }
        // Its container was removed by a command that was killed before it freed the name. The new
        // link is renamed over the old one; of two doing so the last wins, and the other finds out.
        let mine = self.tmp.join(format!("name-{id}"));
        rustix::fs::symlinkat(id, CWD, &mine).tried("take the name", &mine)?;
        std::fs::rename(&mine, &path).tried("take the name", &path)?;
        match std::fs::read_link(&path) {
            Ok(owner) if owner == Path::new(id) => Ok(()),
            _ => Err(Error::NameTaken { name: name.to_string(), id: owner }),
        }
    }

    /// All records, the newest first. A directory without a record is a container in the making or
    /// the rest of one, and no container.
    pub fn list(&self) -> Result<Vec<Record>, Error> {
        let entries = match std::fs::read_dir(&self.records) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.tried("list", &self.records)?,
        };
        let mut records = Vec::new();
        for entry in entries {
            let entry = entry.tried("list", &self.records)?;
            if let Some(record) = self.read(&entry.file_name().to_string_lossy())? {
                records.push(record);
            }
        }
        records.sort_by(|one, other| other.created.cmp(&one.created));
        Ok(records)
    }

    fn read(&self, id: &str) -> Result<Option<Record>, Error> {
        let path = self.records.join(id).join("record.json");
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            // A stray file among the directories is none of ours.
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => return Ok(None),
            other => other.tried("read", &path)?,
        };
        let version = |value: serde_json::Value| value.get("version")?.as_u64();
        match serde_json::from_slice::<Record>(&bytes) {
            Ok(record) if record.version == VERSION => Ok(Some(record)),
            Ok(record) => Err(Error::Newer { id: id.to_owned(), version: record.version }),
            Err(source) => match serde_json::from_slice(&bytes).ok().and_then(version) {
                Some(newer) if newer > u64::from(VERSION) => Err(Error::Newer {
                    id: id.to_owned(),
                    version: u32::try_from(newer).unwrap_or(u32::MAX),
                }),
                _ => Err(Error::Damaged { path, source }),
            },
        }
    }

    /// The container that a name, an ID or the beginning of one ID names.
    pub fn find(&self, query: &str) -> Result<Record, Error> {
        let missing = || Error::NoSuchContainer { query: query.to_owned() };
        if let Ok(name) = query.parse::<Name>()
            && let Ok(id) = std::fs::read_link(self.names.join(name.as_str()))
            && let Some(record) = self.read(&id.to_string_lossy())?
        {
            return Ok(record);
        }
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if query.is_empty() || !query.bytes().all(is_hex) {
            return Err(missing());
        }
        let mut matching = self.list()?.into_iter().filter(|record| record.id.starts_with(query));
        match (matching.next(), matching.next()) {
            (None, _) => Err(missing()),
            (Some(record), None) => Ok(record),
            (Some(_), Some(_)) => Err(Error::Ambiguous { query: query.to_owned() }),
        }
    }

    /// Takes a container that does not run out of the list and frees its name. What is left of it is
    /// the directory returned, for the caller to delete.
    pub fn detach(&self, record: &Record) -> Result<PathBuf, Error> {
        if record.status() == Status::Running {
            return Err(Error::Running { name: record.name.clone() });
        }
        let path = self.records.join(&record.id);
        let Some(_lock) = lock(&path)? else {
            return Err(Error::Busy { name: record.name.clone() });
        };
        self.detach_locked(&record.id, &record.name, &path)
    }

    /// The same for the one who holds the lock.
    pub fn detach_own(&self, directory: &Directory) -> Result<PathBuf, Error> {
        self.detach_locked(&directory.id, directory.name.as_str(), &directory.path)
    }

    fn detach_locked(&self, id: &str, name: &str, path: &Path) -> Result<PathBuf, Error> {
        let gone = self.tmp.join(id);
        make_directory(&self.tmp)?;
        std::fs::rename(path, &gone).tried("move away", path)?;
        let link = self.names.join(name);
        // After the directory: a name without one is free, a directory without a name is not seen.
        if std::fs::read_link(&link).is_ok_and(|owner| owner == Path::new(id)) {
            match rustix::fs::unlinkat(CWD, &link, AtFlags::empty()) {
                Err(Errno::NOENT) => {}
                other => other.tried("free the name", link)?,
            }
        }
        Ok(gone)
    }

    /// Where a container's own files lie.
    pub fn directory(&self, record: &Record) -> PathBuf {
        self.records.join(&record.id)
    }

    /// Ends a running container's first process, and with it all others; waits until it is gone.
    pub fn kill(&self, record: &Record) -> Result<(), Error> {
        let State::Running { process, .. } = &record.state else { return Ok(()) };
        let path = self.records.join(&record.id);
        let pid = rustix::process::Pid::from_raw(process.pid);
        let flags = rustix::process::PidfdFlags::empty();
        let pidfd = match pid.map(|pid| rustix::process::pidfd_open(pid, flags)) {
            None | Some(Err(Errno::SRCH)) => return Ok(()),
            Some(other) => other.tried("open the first process of", &path)?,
        };
        // Asked after the descriptor was opened: now it can be no other's.
        if !process.is_running() {
            return Ok(());
        }
        match rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL) {
            Err(Errno::SRCH) => return Ok(()),
            other => other.tried("kill", &path)?,
        }
        let mut polled = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
        let patience = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
        rustix::event::poll(&mut polled, Some(&patience)).tried("wait for", &path)?;
        // Its coracle writes the end down and lets go of the lock; it need not be there any more.
        Self::wait_unlocked(&path);
        Ok(())
    }

    fn wait_unlocked(path: &Path) {
        for _ in 0..200 {
            match lock(path) {
                Ok(None) => std::thread::sleep(std::time::Duration::from_millis(10)),
                _ => return,
            }
        }
    }

    /// Reads the record anew: another command may have changed or removed it.
    pub fn reread(&self, record: &Record) -> Result<Option<Record>, Error> {
        self.read(&record.id)
    }

    /// Directories that no record and no lock belongs to: a coracle was killed while it made or
    /// removed a container. Each is moved to `tmp/`; the paths there are returned.
    pub fn sweep(&self) -> Result<Vec<PathBuf>, Error> {
        let mut swept = Vec::new();
        let Ok(entries) = std::fs::read_dir(&self.records) else { return Ok(swept) };
        for entry in entries.flatten() {
            let id = entry.file_name().to_string_lossy().into_owned();
            if !self.is_abandoned(&id) {
                continue;
            }
            let path = self.records.join(&id);
            // Asked again under the lock: until it was free the container may have come to a record,
            // or have gone.
            if let Ok(Some(lock)) = lock(&path)
                && is_at(&lock, &path)
                && self.is_abandoned(&id)
            {
                let record = self.read(&id).ok().flatten();
                if let Some(group) = record.as_ref().and_then(|it| it.in_force.group.as_ref()) {
                    let _ = group.remove(); // gone with a reboot
                }
                let name = record.map(|record| record.name);
                swept.push(self.detach_locked(&id, name.as_deref().unwrap_or(&id), &path)?);
            }
        }
        Ok(swept)
    }

    fn is_abandoned(&self, id: &str) -> bool {
        match self.read(id) {
            Ok(None) => true,
            // `--rm` of a coracle that was killed before it could.
            Ok(Some(record)) => record.remove && !matches!(record.status(), Status::Running),
            Err(_) => false,
        }
    }
}

/// Whether an open directory is still the one of this name.
fn is_at(directory: &OwnedFd, path: &Path) -> bool {
    let (Ok(open), Ok(named)) = (rustix::fs::fstat(directory), rustix::fs::lstat(path)) else {
        return false;
    };
    (open.st_dev, open.st_ino) == (named.st_dev, named.st_ino)
}

/// Locks a container's directory; `None` when another command holds it.
fn lock(path: &Path) -> Result<Option<OwnedFd>, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty()).tried("open", path)?;
    match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Ok(None),
        other => other.map(|()| Some(directory)).tried("lock", path),
    }
}

fn make_directory(path: &Path) -> Result<(), Error> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o700)) {
        Err(Errno::EXIST) => Ok(()),
        other => other.tried("make", path),
    }
}

fn new_id() -> Result<String, Errno> {
    use std::fmt::Write;
    let mut bytes = [0; 32];
    fill_random(&mut bytes)?;
    Ok(bytes.iter().fold(String::with_capacity(64), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    }))
}

fn fill_random(bytes: &mut [u8]) -> Result<(), Errno> {
    // Up to 256 bytes come whole and at once (getrandom(2)).
    let length = bytes.len();
    let filled = rustix::rand::getrandom(bytes, rustix::rand::GetRandomFlags::empty())?;
    if filled == length { Ok(()) } else { Err(Errno::AGAIN) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(directory: &Directory, state: State) -> Record {
        Record {
            version: VERSION,
            id: directory.id.clone(),
            name: directory.name.to_string(),
            image: "debian:12".into(),
            image_id: crate::oci::Digest::of(b"config"),
            layers: Vec::new(),
            created: "2026-11-23T12:00:00Z".into(),
            state,
            in_force: crate::cgroup::InForce::default(),
            remove: false,
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
            emulated: false,
            privileged: false,
            read_only: false,
            init: false,
            mounts: Vec::new(),
            labels: std::collections::BTreeMap::new(),
            annotations: std::collections::BTreeMap::new(),
            stop_signal: 15,
            driver: "overlay".into(),
        }
    }

    fn containers() -> (tempfile::TempDir, Containers) {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(root.path().join("tmp")).expect("tmp");
        let containers = Containers::new(root.path());
        (root, containers)
    }

    #[test]
    fn a_name_is_one_containers_until_it_is_removed() {
        let (_root, containers) = containers();
        let name: Name = "web".parse().expect("a name");
        let first = containers.create(Some(&name)).expect("first");
        first.write(&record(&first, State::Created)).expect("a record");
        assert!(matches!(containers.create(Some(&name)), Err(Error::NameTaken { .. })));
        let found = containers.find("web").expect("by name");
        assert_eq!(containers.find(&found.id[..5]).expect("by prefix"), found);
        assert!(matches!(containers.detach(&found), Err(Error::Busy { .. })));
        drop(first);
        assert!(containers.detach(&found).expect("detached").exists());
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
        // The name that the dead one took is free again.
        assert!(containers.create(Some(&name)).is_ok());
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
}
