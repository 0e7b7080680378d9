//! Namespaces that a container shares: names and paths of the request become open namespaces.

use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags};

use super::{Engine, Error};
use crate::bundle::{Joined, Namespace, Namespaces, NsKind, Request, Sharing};
use crate::container::{self, Record};
use crate::mount::Detached;
use crate::{runtime, userns};

/// What a request's sharing comes to.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) namespaces: Namespaces,
    /// /dev/shm of the container whose ipc namespace is joined.
    pub(super) shm: Option<Detached>,
    /// The directory of the files in /etc of the container whose network is joined.
    pub(super) files: Option<PathBuf>,
    /// The ids that fit the joined user namespace.
    pub(super) ids: Option<userns::Request>,
    /// Whether nobody may call setgroups(2) there.
    pub(super) denies_groups: bool,
    /// `host`, `private`, `none`, `container:ID` or a network's name, for the record.
    pub(super) network: String,
}

/// A container that runs, held: its pid is no other's while this lives.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) record: Record,
    pub(super) pid: Pid,
    pub(super) pidfd: std::os::fd::OwnedFd,
}

impl Engine {
    /// Opens everything that the request shares.
    pub(super) fn share(&self, request: &Request) -> Result<Shared, Error> {
        let mut shared = Shared {
            namespaces: Namespaces::default(),
            shm: None,
            files: None,
            ids: None,
            denies_groups: false,
            network: match network(request) {
                Sharing::Host => "host".to_owned(),
                Sharing::Private => self.first_network(&request.networks)?,
                _ => "none".to_owned(),
            },
        };
        let mut owner = None;
        if let Some(query) = &request.user_of {
            let held = self.hold(query)?;
            adopt(&held, &mut owner, &mut shared)?;
        }
        for (kind, sharing) in wanted(request) {
            shared.namespaces[kind] = match sharing {
                Sharing::Private | Sharing::None => Namespace::New,
                Sharing::Host => Namespace::Host,
                Sharing::Path(path) => Namespace::Join(open(path)?),
                Sharing::Container(query) => {
                    let held = self.hold(query)?;
                    adopt(&held, &mut owner, &mut shared)?;
                    if kind == NsKind::Network {
                        shared.files = Some(self.files_of(&held.record)?);
                        shared.network = format!("container:{}", held.record.id);
                    }
                    if kind == NsKind::Ipc {
                        let shm = runtime::borrow_mount(held.pid, &held.pidfd, c"dev/shm")?;
                        shared.shm = shm.map(Detached::new);
                    }
                    held.namespace(kind)?
                }
            };
        }
        Ok(shared)
    }

    /// A container by name or ID, which must run.
    pub(super) fn hold(&self, query: &str) -> Result<Held, Error> {
        let record = self.containers.find(query)?;
        let stopped = || Error::NotRunning { name: record.name.clone() };
        let Some((pidfd, pid)) = record.hold() else {
            let error = stopped();
            self.settle_lost(record)?;
            return Err(error);
        };
        if record.config.init {
            let (pid, pidfd) = program_below(pid).ok_or_else(stopped)?;
            return Ok(Held { record, pid, pidfd });
        }
        Ok(Held { record, pid, pidfd })
    }

    /// Where a container's files in /etc lie: its own, or those of whom it shares the network with.
    fn files_of(&self, record: &Record) -> Result<PathBuf, container::Error> {
        let mut record = record.clone();
        // Each joined one that ran already, so the chain has an end.
        while let Some(id) = record.config.network.strip_prefix("container:") {
            record = self.container_named(id)?;
        }
        Ok(self.containers.directory(&record))
    }
}

/// The namespaces of a container that shares none with another; `None` where it does.
pub(super) fn new_namespaces(request: &Request) -> Option<Namespaces> {
    if request.user_of.is_some() {
        return None;
    }
    let mut namespaces = Namespaces::default();
    for (kind, sharing) in wanted(request) {
        namespaces[kind] = match sharing {
            Sharing::Private | Sharing::None => Namespace::New,
            Sharing::Host => Namespace::Host,
            Sharing::Path(_) | Sharing::Container(_) => return None,
        };
    }
    Some(namespaces)
}

fn network(request: &Request) -> &Sharing {
    request.network.as_ref().unwrap_or(&Sharing::Host)
}

fn wanted(request: &Request) -> [(NsKind, &Sharing); 5] {
    [
        (NsKind::Network, network(request)),
        (NsKind::Pid, &request.pid),
        (NsKind::Ipc, &request.ipc),
        (NsKind::Uts, &request.uts),
        (NsKind::Cgroup, &request.cgroup),
    ]
}

/// The new container lives in the user namespace of those that it joins: there is one only.
fn adopt(held: &Held, owner: &mut Option<(u64, String)>, shared: &mut Shared) -> Result<(), Error> {
    let joined = held.namespace(NsKind::User)?;
    let inode = match &joined {
        Namespace::Join(joined) => rustix::fs::fstat(joined).map(|stat| stat.st_ino),
        Namespace::New | Namespace::Host => Ok(0),
    };
    let inode = inode.map_err(|errno| Error::Io {
        action: "look at the user namespace of",
        path: PathBuf::from(&held.record.name),
        source: errno.into(),
    })?;
    match owner {
        Some((known, name)) if *known != inode => {
            return Err(Error::TwoOwners { one: name.clone(), other: held.record.name.clone() });
        }
        Some(_) => {}
        None => {
            *owner = Some((inode, held.record.name.clone()));
            let maps = userns::maps_of(held.pid)?;
            shared.ids = Some(match held.record.config.emulated {
                true => userns::Request::Single,
                false => userns::request_for(&maps),
            });
            shared.denies_groups = !maps.may_set_groups();
            shared.namespaces[NsKind::User] = joined;
        }
    }
    Ok(())
}

/// The program below `--init`. The way in leads through it: pid 1 is coracle itself, into which
/// nobody may look, not even the container's owner (its memory is the caller's user namespace's).
fn program_below(init: Pid) -> Option<(Pid, std::os::fd::OwnedFd)> {
    let init = init.as_raw_nonzero();
    let children = std::fs::read_to_string(format!("/proc/{init}/task/{init}/children")).ok()?;
    // The first is the oldest; what was orphaned comes behind it (proc_pid_task(5)).
    let pid = Pid::from_raw(children.split_whitespace().next()?.parse().ok()?)?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
    // Asked after the descriptor was opened: a pid of another would have another parent.
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<i32>().ok()?;
    (parent == init.get()).then_some((pid, pidfd))
}

impl Held {
    fn namespace(&self, kind: NsKind) -> Result<Namespace, Error> {
        let joined = runtime::namespace_of(self.pid, kind)?;
        // The pid was its own while the file was opened, if it still is.
        if runtime::has_ended(&self.pidfd) {
            return Err(Error::NotRunning { name: self.record.name.clone() });
        }
        // What it shares with the host is shared by staying there: going in again takes root.
        let own = runtime::namespace_of(rustix::process::getpid(), kind)?;
        let inode = |of: &Joined| rustix::fs::fstat(of).map(|stat| (stat.st_dev, stat.st_ino)).ok();
        match inode(&own) == inode(&joined) {
            true => Ok(Namespace::Host),
            false => Ok(Namespace::Join(joined)),
        }
    }
}

fn open(path: &Path) -> Result<Joined, Error> {
    let file = std::fs::File::open(path).map_err(|source| Error::Io {
        action: "open the namespace",
        path: path.to_owned(),
        source,
    })?;
    Ok(Joined::new(file.into()))
}
