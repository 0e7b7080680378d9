//! What is known of a container: `state.json`, and what it is at this moment.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use super::error::Tried;
use super::{Error, Runtime};
use crate::cgroup::{Group, InForce};
use crate::container::Instance;

/// What is written down of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Its ID.
    pub id: String,
    /// Absolute path of its bundle.
    pub bundle: PathBuf,
    /// Absolute path of its root file system.
    pub rootfs: PathBuf,
    /// Its first process; none while it is being made.
    pub process: Option<Instance>,
    /// RFC 3339 time.
    pub created: String,
    /// The user id of who made it.
    pub owner: u32,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its limits and its control group.
    #[serde(flatten)]
    pub in_force: InForce,
}

/// What a container is at a moment (runtime-spec, runtime.md, "State").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Being made.
    Creating,
    /// Made; its program waits for `start`.
    Created,
    /// Its program runs.
    Running,
    /// Its processes are stopped until `resume`.
    Paused,
    /// Its process has ended.
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

/// A container's directory, locked.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) path: PathBuf,
    _lock: OwnedFd,
}

/// A container's first process, held: its pid is no other's while this lives.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
}

impl Runtime {
    fn place(&self, id: &str) -> Result<PathBuf, Error> {
        // runc's rule, which keeps an ID from leading anywhere else.
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
        let sound = !id.is_empty() && id.len() <= 1024 && id.bytes().all(fits);
        if !sound || id == "." || id == ".." {
            return Err(Error::InvalidId(id.to_owned()));
        }
        Ok(self.root.join(id))
    }

    /// Makes the directory of a new container.
    pub(super) fn make(&self, id: &str) -> Result<Entry, Error> {
        let path = self.place(id)?;
        std::fs::create_dir_all(&self.root).tried("make", &self.root)?;
        match rustix::fs::mkdir(&path, Mode::from_raw_mode(0o700)) {
            Err(Errno::EXIST) => return Err(Error::Exists(id.to_owned())),
            other => other.tried("make", &path)?,
        }
        self.lock(id)
    }

    /// Waits for other commands on the container to end, and keeps them out.
    pub(super) fn lock(&self, id: &str) -> Result<Entry, Error> {
        let path = self.place(id)?;
        let file = path.join("lock");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let lock = match rustix::fs::open(&file, flags, Mode::from_raw_mode(0o600)) {
            Err(Errno::NOENT) => return Err(Error::Missing(id.to_owned())),
            other => other.tried("open", &file)?,
        };
        // A process's own (fcntl_locking(2)), not the descriptor's: a program that waits for its
        // start has a copy of the descriptor and would hold a lock of flock(2) for ever.
        rustix::fs::fcntl_lock(&lock, FlockOperation::LockExclusive).tried("lock", &file)?;
        // It may have been deleted while this waited.
        if !path.exists() {
            return Err(Error::Missing(id.to_owned()));
        }
        Ok(Entry { id: id.to_owned(), path, _lock: lock })
    }

    /// The state of a container, and what it is now.
    pub fn state(&self, id: &str) -> Result<(State, Status), Error> {
        let path = self.place(id)?;
        let state = read(&path).and_then(|state| state.ok_or(Error::Missing(id.to_owned())))?;
        let status = state.status(&path);
        Ok((state, status))
    }

    /// All containers, by ID.
    pub fn list(&self) -> Result<Vec<(State, Status)>, Error> {
        let entries = match std::fs::read_dir(&self.root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.tried("list", &self.root)?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.tried("list", &self.root)?.path();
            if let Some(state) = read(&path)? {
                let status = state.status(&path);
                found.push((state, status));
            }
        }
        found.sort_unstable_by(|(one, _), (other, _)| one.id.cmp(&other.id));
        Ok(found)
    }
}

fn read(directory: &Path) -> Result<Option<State>, Error> {
    let path = directory.join("state.json");
    let bytes = match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => return Ok(None),
        other => other.tried("read", &path)?,
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|source| Error::Damaged { path, source })
}

impl Entry {
    /// The container's state and what it is now.
    pub(super) fn state(&self) -> Result<(State, Status), Error> {
        let state = read(&self.path)?.ok_or_else(|| Error::Missing(self.id.clone()))?;
        let status = state.status(&self.path);
        Ok((state, status))
    }

    /// Replaces the state; readers see the old one or the new one.
    pub(super) fn write(&self, state: &State) -> Result<(), Error> {
        let (path, new) = (self.path.join("state.json"), self.path.join(".state.json"));
        let text = serde_json::to_vec(state)
            .map_err(|source| Error::Damaged { path: path.clone(), source })?;
        let mut file = std::fs::File::create(&new).tried("create", &new)?;
        file.write_all(&text).tried("write", &new)?;
        std::fs::rename(&new, &path).tried("replace", path)
    }

    /// The socket behind which the program waits.
    pub(super) fn gate(&self) -> PathBuf {
        self.path.join("gate")
    }

    /// Forgets the container.
    pub(super) fn remove(self) -> Result<(), Error> {
        crate::sys::remove_tree(&self.path).tried("remove", &self.path)
    }
}

impl State {
    fn status(&self, directory: &Path) -> Status {
        match &self.process {
            None => Status::Creating,
            Some(process) if !process.is_running() => Status::Stopped,
            Some(_) if directory.join("gate").exists() => Status::Created,
            Some(_) if self.in_force.group.as_ref().is_some_and(Group::is_frozen) => Status::Paused,
            Some(_) => Status::Running,
        }
    }

    /// The first process, if it lives.
    pub(super) fn hold(&self) -> Option<Held> {
        let process = self.process.as_ref()?;
        Some(Held { pid: Pid::from_raw(process.pid)?, pidfd: process.hold()? })
    }

    /// The state as the specification has it (runtime.md, "State"), and runc's words beside it.
    pub fn json(&self, status: Status) -> serde_json::Value {
        let pid = self.process.as_ref().filter(|_| status != Status::Stopped);
        serde_json::json!({
            "ociVersion": "1.2.0",
            "id": self.id,
            "pid": pid.map_or(0, |process| process.pid),
            "status": status,
            "bundle": self.bundle,
            "rootfs": self.rootfs,
            "created": self.created,
            "owner": self.owner.to_string(),
            "annotations": self.annotations,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> (tempfile::TempDir, Runtime) {
        let root = tempfile::tempdir().expect("a directory");
        let runtime = Runtime { root: root.path().join("r"), path: "".into(), systemd: false };
        (root, runtime)
    }

    #[test]
    fn an_id_leads_nowhere_else() {
        let (_root, runtime) = runtime();
        for bad in ["", ".", "..", "a/b", "../x", "a\0b", "a b", "-/"] {
            assert!(matches!(runtime.make(bad), Err(Error::InvalidId(_))), "{bad:?}");
        }
    }

    #[test]
    fn a_container_goes_from_creating_to_stopped() {
        let (_root, runtime) = runtime();
        let entry = runtime.make("one").expect("made");
        assert!(matches!(runtime.make("one"), Err(Error::Exists(_))));
        let mut state = State {
            id: "one".into(),
            bundle: "/b".into(),
            rootfs: "/b/rootfs".into(),
            process: None,
            created: String::new(),
            owner: 0,
            annotations: BTreeMap::new(),
            in_force: InForce::default(),
        };
        let now = |entry: &Entry| entry.state().expect("a state").1;
        entry.write(&state).expect("written");
        assert_eq!(now(&entry), Status::Creating);
        state.process = Instance::of(i32::try_from(std::process::id()).expect("a pid"));
        entry.write(&state).expect("written");
        std::fs::write(entry.gate(), b"").expect("a gate");
        assert_eq!(now(&entry), Status::Created);
        std::fs::remove_file(entry.gate()).expect("opened");
        assert_eq!(now(&entry), Status::Running);
        state.process = Some(Instance { pid: i32::MAX, start_ticks: 1, boot: "x".into() });
        entry.write(&state).expect("written");
        assert_eq!(now(&entry), Status::Stopped);
        entry.remove().expect("removed");
        assert!(matches!(runtime.state("one"), Err(Error::Missing(_))));
    }
}
