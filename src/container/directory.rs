//! A container's directory: who holds it, and the files in it.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::Tried;
use super::link::id_at;
use super::{Check, Containers, Creation, Error, Health, HealthStatus, Name, Record};
use crate::bundle::Request;
use crate::sys::scratch::is_at;

/// A container's directory, held for as long as this lives: nobody else starts or removes it.
#[derive(Debug)]
pub struct Directory {
    /// 64 hexadecimal digits.
    pub id: String,
    /// The name, taken for this container.
    pub name: Name,
    /// `containers/ID`
    pub path: PathBuf,
    pub(super) lock: OwnedFd,
}

const CREATION: &str = "creation.json";
const HEALTH: &str = "health.json";
/// Locked by whoever changes the record, and made by the first.
const EDITING: &str = "lock";
/// Beside the record while a user's `stop` or `kill` is under way, and after it.
const STOP: &str = "stop";

impl Directory {
    /// Replaces the record; readers see the old one or the new one.
    pub fn write(&self, record: &Record) -> Result<(), Error> {
        replace(&self.path, "record.json", record)
    }

    /// Writes what the container can be started from again.
    pub fn keep(&self, creation: &Creation) -> Result<(), Error> {
        replace(&self.path, CREATION, creation)
    }

    /// Changes the record as it is now: another command may have renamed it meanwhile.
    pub fn edit(&self, change: impl FnOnce(&mut Record)) -> Result<Record, Error> {
        let _lock = edit_lock(&self.path)?;
        let path = self.path.join("record.json");
        let bytes = std::fs::read(&path).tried("read", &path)?;
        let mut record = Record::parse(&bytes).map_err(|source| Error::Damaged { path, source })?;
        change(&mut record);
        self.write(&record)?;
        Ok(record)
    }

    /// Writes down what health checks have found.
    pub fn write_health(&self, health: &Health) -> Result<(), Error> {
        replace(&self.path, HEALTH, health)
    }

    /// Whether another command may have changed the record: who does leaves its lock.
    pub fn is_edited(&self) -> bool {
        self.path.join(EDITING).symlink_metadata().is_ok()
    }

    /// Lets go of it though this process stays: others may start or remove the container.
    pub fn let_go(&self) {
        let _ = rustix::fs::flock(&self.lock, FlockOperation::Unlock);
    }

    /// Whether a user has asked for the container's end since it was started.
    pub fn is_to_stop(&self) -> bool {
        self.path.join(STOP).symlink_metadata().is_ok()
    }

    /// The signal that a user's SIGKILL stood for: that of `stop`, which the kernel would have kept
    /// from a first process that does not catch it.
    pub fn stop_signal(&self) -> Option<u8> {
        std::fs::read_to_string(self.path.join(STOP)).ok()?.trim().parse().ok()
    }

    /// Forgets that: the container is started anew.
    pub fn forget_stop(&self) -> Result<(), Error> {
        remove_file(&self.path.join(STOP))
    }
}

impl Containers {
    /// Holds a container, which is not running then; `None` when another command does.
    pub fn take(&self, record: &Record) -> Result<Option<Directory>, Error> {
        let path = self.records.join(&record.id);
        let lock = match lock(&path) {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::NoSuchContainer { query: record.id.clone() });
            }
            other => other?,
        };
        let name = record.name.parse().map_err(|_| Error::NoSuchContainer {
            query: record.name.clone(), // no coracle has written that
        })?;
        let hold = |lock| Directory { id: record.id.clone(), name, path: path.clone(), lock };
        Ok(lock.filter(|lock| is_at(lock, &path)).map(hold))
    }

    /// Changes the record of a container that another process may hold.
    pub fn edit(&self, record: &Record, change: impl FnOnce(&mut Record)) -> Result<Record, Error> {
        let path = self.records.join(&record.id);
        let _lock = edit_lock(&path)?;
        let mut now = self
            .reread(record)?
            .ok_or_else(|| Error::NoSuchContainer { query: record.name.clone() })?;
        change(&mut now);
        replace(&path, "record.json", &now)?;
        Ok(now)
    }

    /// Changes what a container can be started from; nothing, where it cannot be started again.
    pub fn change_creation(
        &self,
        record: &Record,
        change: impl FnOnce(&mut Request),
    ) -> Result<(), Error> {
        let path = self.records.join(&record.id);
        let _lock = edit_lock(&path)?;
        let Some(mut creation) = read::<Creation>(&path, CREATION)? else { return Ok(()) };
        change(&mut creation.container);
        replace(&path, CREATION, &creation)
    }

    /// What a container can be started from.
    pub fn creation(&self, record: &Record) -> Result<Creation, Error> {
        let path = self.records.join(&record.id);
        read(&path, CREATION)?.ok_or_else(|| Error::NotKept { name: record.name.clone() })
    }

    /// What its health checks have found; `None` where there was none.
    pub fn health<C>(&self, record: &Record<C>) -> Result<Option<Health>, Error> {
        read(&self.records.join(&record.id), HEALTH)
    }

    /// Adds a health check to those that were made; what they come to now, where that has changed.
    pub fn add_check(
        &self,
        directory: &Path,
        check: Check,
        retries: u32,
        counts: bool,
    ) -> Result<Option<HealthStatus>, Error> {
        let _lock = edit_lock(directory)?;
        let mut health: Health = read(directory, HEALTH)?.unwrap_or_default();
        let before = health.status;
        health.add(check, retries, counts);
        replace(directory, HEALTH, &health)?;
        Ok(Some(health.status).filter(|now| *now != before))
    }

    /// Has the container stay ended: no policy starts it again until a user does.
    /// `signal` is what a SIGKILL stands for, if one does.
    pub fn ask_to_stop(&self, record: &Record, signal: Option<i32>) -> Result<(), Error> {
        let path = self.records.join(&record.id).join(STOP);
        let text = signal.map(|signal| signal.to_string()).unwrap_or_default();
        match std::fs::write(&path, text) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(Error::NoSuchContainer { query: record.name.clone() })
            }
            other => other.tried("write", path),
        }
    }

    /// Whether a user has asked for its end, and nobody has started it since.
    pub fn is_to_stop(&self, record: &Record) -> bool {
        self.records.join(&record.id).join(STOP).symlink_metadata().is_ok()
    }

    /// Gives a container another name.
    pub fn rename(&self, record: &Record, name: &Name) -> Result<(), Error> {
        self.link_name(name, &record.id)?;
        let mut old = None;
        let edited = self.edit(record, |record| {
            old = Some(std::mem::replace(&mut record.name, name.to_string()));
        });
        if let Err(error) = edited {
            self.free(name.as_str(), &record.id)?;
            return Err(error);
        }
        match old {
            Some(old) if old != name.as_str() => self.free(&old, &record.id).map(drop),
            _ => Ok(()),
        }
    }

    /// Frees a name if it is this container's.
    pub(super) fn free(&self, name: &str, id: &str) -> Result<bool, Error> {
        let link = self.names.join(name);
        if !id_at(&link).is_ok_and(|owner| owner == id) {
            return Ok(false);
        }
        match rustix::fs::unlinkat(CWD, &link, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(true),
            other => other.map(|()| true).tried("free the name", link),
        }
    }
}

/// Puts a file in place of another, whole or not at all.
fn replace(directory: &Path, name: &str, value: &impl Serialize) -> Result<(), Error> {
    // Two that write at once, each its own: the last rename wins.
    let new = directory.join(format!(".{name}.{}", std::process::id()));
    let path = directory.join(name);
    let text = serde_json::to_vec(value)
        .map_err(|source| Error::Damaged { path: path.clone(), source })?;
    let written = File::create(&new).tried("create", &new).and_then(|mut file| {
        file.write_all(&text).tried("write", &new)?;
        std::fs::rename(&new, &path).tried("replace", &path)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    written
}

fn read<T: DeserializeOwned>(directory: &Path, name: &str) -> Result<Option<T>, Error> {
    let path = directory.join(name);
    let bytes = match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.tried("read", &path)?,
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|source| Error::Damaged { path, source })
}

pub(super) fn remove_file(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.tried("remove", path),
    }
}

/// Held by whoever changes a record, for no longer than that takes.
fn edit_lock(directory: &Path) -> Result<OwnedFd, Error> {
    let path = directory.join(EDITING);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let file = rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600)).tried("open", &path)?;
    loop {
        match rustix::fs::flock(&file, FlockOperation::LockExclusive) {
            Err(Errno::INTR) => {}
            other => return other.map(|()| file).tried("lock", path),
        }
    }
}

/// Locks a container's directory; `None` when another command holds it.
pub(super) fn lock(path: &Path) -> Result<Option<OwnedFd>, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty()).tried("open", path)?;
    match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Ok(None),
        other => other.map(|()| Some(directory)).tried("lock", path),
    }
}
