//! Both sides joined: pull, run, list, remove.
//!
//! ```text
//! pull    reference ─► registry ─► store, layer
//! run     store ─► snapshot ─► bundle ─► runtime, with a record in container/
//! ```

pub mod artifact;
pub mod check;
pub mod doctor;
pub mod events;
pub mod hello;
pub mod images;
pub mod info;
pub mod manifest;
pub mod oci;
pub mod probe;
pub mod pull;
pub mod push;
pub mod save;

mod chown;
mod containers;
mod content;
mod described;
mod disk;
mod driver;
mod error;
mod exec;
mod explain;
mod flat;
mod ground;
mod history;
mod host;
mod host_mounts;
mod life;
mod limits;
mod load;
mod lost;
mod made;
mod mounted;
mod mounts;
mod networks;
mod of_host;
mod ports;
mod processes;
mod prune;
mod record;
mod rootfs;
mod run;
mod share;
mod unshare;
mod usage;
mod volumes;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::container::Containers;
use crate::network::Networks;
use crate::owners::Owners;
use crate::snapshot::Driver;
use crate::store::Store;
use crate::userns::IdMaps;
use crate::volume::Volumes;

// What the command line needs of the folders below, which it does not import itself.
pub use crate::{
    bundle, cgroup, container, network, reference, registry, runtime, snapshot, store, trust,
    userns, volume,
};

pub use crate::layer::Difference;
pub use containers::{Removal, Removed};
pub use content::{CommitRequest, CopyOptions, Format, InContainer, Outside, UnknownFormat};
pub use described::Described;
pub use disk::{ContainerUse, DiskUse, ImageUse, VolumeUse};
pub use error::Error;
pub use exec::{ExecRequest, Execution};
pub use history::Step;
pub use life::{
    Attend, Begun, Condition, HealthRequest, InvalidHealth, LogRequest, Logs, ProcessLine, Tell,
};
pub use limits::OutOfMemory;
pub use load::{Import, Intake, Loaded};
pub use mounted::Mounted;
pub use of_host::devices_below;
pub use prune::{Fits, Pruned};
pub use run::{Fetch, Found, Outcome, Phase, Prepared, Preserved, RunRequest, Streams};
pub use usage::Usage;
pub use volumes::VolumeRequest;

/// What an engine works with, as the command line and the configuration have it.
#[derive(Clone, Debug)]
pub struct Options {
    /// The store's root.
    pub root: PathBuf,
    /// `--storage-driver`; chosen by a probe where nothing is said.
    pub driver: Option<Driver>,
    /// `--userns`
    pub userns: userns::Request,
    /// Where newuidmap is looked for: the PATH variable.
    pub path: OsString,
    /// What the host says of ids, where it has been asked already.
    pub facts: Option<userns::Facts>,
    /// Whose the store's files are, as `unshare` has told the processes in it.
    pub unshared: Option<Owners>,
    /// Takes what the user should know and is no failure.
    pub warn: Warn,
}

/// Where remarks go.
#[derive(Clone)]
pub struct Warn(std::sync::Arc<dyn Fn(&str) + Send + Sync>);

impl Warn {
    /// To this function.
    pub fn new(warn: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(std::sync::Arc::new(warn))
    }

    /// Makes a remark.
    pub fn tell(&self, text: &str) {
        (self.0)(text);
    }
}

impl std::fmt::Debug for Warn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Warn")
    }
}

/// A store, its containers, and how to use them.
#[derive(Debug)]
pub struct Engine {
    options: Options,
    store: Store,
    containers: Containers,
    volumes: Volumes,
    networks: Networks,
    facts: OnceLock<userns::Facts>,
}

impl Engine {
    /// Opens the store, making it where there is none. Starts no thread, asks no network.
    pub fn open(options: Options) -> Result<Self, Error> {
        let store = Store::open(&options.root)?;
        let containers = Containers::new(&options.root);
        let volumes = Volumes::new(&options.root);
        let networks = Networks::new(&options.root);
        let facts = options.facts.clone().map_or_else(OnceLock::new, OnceLock::from);
        Ok(Self { options, store, containers, volumes, networks, facts })
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What it was opened with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What the host says of ids.
    fn facts(&self) -> &userns::Facts {
        let gather = || userns::gather(std::path::Path::new("/"), &self.options.path);
        self.facts.get_or_init(gather)
    }

    /// The ids of a container whose program runs as `user`, and why these.
    pub fn ids(&self, user: (u32, u32)) -> Result<IdMaps, Error> {
        Ok(userns::choose(&self.options.userns, user, self.facts())?)
    }

    /// The ids that the store's layers are unpacked with, whatever a container has.
    pub fn store_ids(&self) -> Result<IdMaps, Error> {
        Ok(userns::choose_for_store(&self.options.userns, self.facts())?)
    }

    /// How unpacked files carry their owners in this mode.
    pub fn owners(&self) -> Result<Owners, Error> {
        Ok(self.owners_of(&self.store_ids()?))
    }

    /// Enters the user namespace in which the store's files have their real owners. Before any
    /// thread is started; with one id, or as root, there is nothing to enter.
    pub fn enter_owners(&self) -> Result<Owners, Error> {
        let ids = self.store_ids()?;
        if matches!(ids.mode, userns::Mode::Range { .. }) {
            userns::enter_in_place(&ids)?;
        }
        Ok(self.owners_of(&ids))
    }

    /// How files carry their owners that a namespace with these ids sees.
    fn owners_of(&self, ids: &IdMaps) -> Owners {
        match (ids.range_start(), self.options.unshared) {
            // Root of what `unshare` made is root over the ids of that range, and of no other: the
            // variable alone, handed on into some other namespace, means nothing.
            (Some(0), Some(Owners::Range { first }))
                if userns::own_range_start() == Some(first) =>
            {
                Owners::Range { first }
            }
            (Some(first), _) => Owners::Range { first },
            (None, _) => Owners::Recorded,
        }
    }
}

/// Goes on with `work` in a child of its own session and without the caller's streams, which the caller does
/// not wait for.
pub fn in_background(work: impl FnOnce()) -> Result<(), Error> {
    // Until it has its own session the caller's terminal may hang up on it.
    let _held = runtime::Signals::hold()?;
    let child = crate::sys::fork::in_child(|| {
        // A leader of its own session gets no signal of the caller's terminal.
        let _ = rustix::process::setsid();
        let _ = crate::sys::process::leave_streams();
        work();
        0
    });
    child.map(drop).map_err(|error| Error::Child {
        what: "stay with the container".to_owned(),
        why: error.to_string(),
    })
}
