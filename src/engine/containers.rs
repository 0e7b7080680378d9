//! The list of containers, and their end.

use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::events::Event;
use super::{Engine, Error};
use crate::container::{self, Record, Remains, Status, Summary, Survey};
use crate::oci::ChainId;
use crate::sys;
use crate::userns::{self, IdMaps};

/// What `rm` may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Kill it first if it runs; one that does not exist is no error.
    pub force: bool,
    /// Its anonymous volumes too.
    pub volumes: bool,
}

/// What `rm` did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// It is gone.
    Container {
        /// Its ID.
        id: String,
    },
    /// There was none, and `force` takes that for done.
    Nothing,
}

/// How long who is at work on a container is waited for: the coracle of one that has just ended lets go of
/// it after it has told.
const PATIENCE: Duration = Duration::from_secs(10);

/// Does `work`, again and again while another coracle is at work on the container.
pub(super) fn waiting_for_others<T>(
    mut work: impl FnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match work() {
            Err(Error::Container(container::Error::Busy { .. })) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(2));
            }
            done => return done,
        }
    }
}

impl Engine {
    /// All containers, the newest first, with what each is at this moment. What killed commands
    /// left behind is cleared away on the way.
    pub fn containers(&self) -> Result<Vec<(Record, Status)>, Error> {
        self.survey(&|_| true)
    }

    /// Those whose status is right, with no more of each than lists show.
    pub fn summaries(
        &self,
        right: &(dyn Fn(Status) -> bool + Sync),
    ) -> Result<Vec<(Summary, Status)>, Error> {
        self.survey(right)
    }

    fn survey<C: DeserializeOwned + Send>(
        &self,
        right: &(dyn Fn(Status) -> bool + Sync),
    ) -> Result<Vec<(Record<C>, Status)>, Error> {
        // Whose end nobody has written down yet is always looked at.
        let wanted = |record: &Record<C>, status| right(status) || record.is_lost_by(status);
        let Survey { records, abandoned, unreadable } = self.containers.survey(&wanted)?;
        self.clear(self.containers.sweep_these(abandoned).unwrap_or_default());
        for (id, error) in unreadable {
            let id = id.get(..12).unwrap_or(&id);
            self.options.warn.tell(&format!("container {id} is left out: {error}"));
        }
        let now = |(record, status): (Record<C>, Status)| -> Result<_, Error> {
            if !record.is_lost_by(status) {
                return Ok((record, status));
            }
            let record = self.settle_lost(record)?;
            let status = record.status();
            Ok((record, status))
        };
        let found: Vec<_> = records.into_iter().map(now).collect::<Result<_, _>>()?;
        Ok(found.into_iter().filter(|(_, status)| right(*status)).collect())
    }

    /// One container by name, ID or the beginning of its ID.
    pub fn container(&self, query: &str) -> Result<(Record, Status), Error> {
        let record = self.container_named(query)?;
        let status = record.status();
        Ok((record, status))
    }

    /// Removes a container and all that it wrote.
    pub fn remove_container(&self, query: &str, removal: Removal) -> Result<Removed, Error> {
        let mut record = match self.container_named(query) {
            Err(container::Error::NoSuchContainer { .. }) if removal.force => {
                return Ok(Removed::Nothing);
            }
            // It can be of no use to anybody, and has to go somehow.
            Err(container::Error::Damaged { .. }) if removal.force => {
                let remains = self.containers.detach_unreadable(query)?;
                self.remove_tree(&remains.path)?;
                return Ok(Removed::Container { id: query.to_owned() });
            }
            other => other?,
        };
        if removal.force {
            self.end_now(&record)?;
            // Its coracle has written the end down by now, or, with --rm, removed it.
            match self.containers.reread(&record)? {
                Some(now) => record = now,
                None => return Ok(Removed::Container { id: record.id }),
            }
        }
        self.forget_mount(&record);
        let mut again = false;
        waiting_for_others(|| {
            // Whoever held it may have changed it, or removed it.
            if std::mem::replace(&mut again, true) {
                match self.containers.reread(&record)? {
                    Some(now) => record = now,
                    None => return Ok(()),
                }
            }
            self.remove_stopped(&record, removal.volumes)
        })?;
        Ok(Removed::Container { id: record.id })
    }

    /// Removes a container that does not run; with `volumes`, its anonymous ones too.
    pub(super) fn remove_stopped(&self, record: &Record, volumes: bool) -> Result<(), Error> {
        let remains = self.containers.detach(record)?;
        if let Some(group) = &record.in_force.group {
            let _ = group.remove(); // that of a killed coracle; gone with a reboot
        }
        let removed = match volumes || record.remove {
            true => self.remove_anonymous(record),
            false => Ok(()),
        };
        self.remove_tree(&remains.path)?;
        removed?;
        self.emit(&[Event::of_container("destroy", record)]);
        Ok(())
    }

    /// The layers that containers use: a collection must leave them.
    pub fn layers_in_use(&self) -> Result<Vec<ChainId>, Error> {
        let mut layers: Vec<ChainId> =
            self.containers.list()?.into_iter().flat_map(|record| record.layers).collect();
        layers.sort_unstable();
        layers.dedup();
        Ok(layers)
    }

    /// Clears away what killed commands left; what cannot be is left for the next time.
    pub(super) fn sweep_containers(&self) {
        self.clear(self.containers.sweep().unwrap_or_default());
    }

    /// Deletes what killed commands left, with the volumes that were theirs alone, and tells of those
    /// that were containers.
    fn clear(&self, remains: Vec<Remains>) {
        for remains in remains {
            let record = remains.record();
            let _ = match (&remains.unmade, &record) {
                (Some(id), _) => self.remove_volumes_for(id),
                (None, Some(record)) if record.remove => self.remove_anonymous(record),
                (None, _) => Ok(()),
            };
            if self.remove_tree(&remains.path).is_ok()
                && let Some(record) = record
            {
                self.tell_lost(&record);
                self.emit(&[Event::of_container("destroy", &record)]);
            }
        }
    }

    /// Removes a tree that a container wrote, its files of subordinate ids too.
    pub(super) fn remove_tree(&self, path: &Path) -> Result<(), Error> {
        let Err(source) = sys::remove_tree(path) else { return Ok(()) };
        let failed = || Error::Io { action: "remove", path: path.to_owned(), source };
        // Files of other ids can be removed only by who is root over these ids.
        let ids = self.store_ids()?;
        if !matches!(ids.mode, userns::Mode::Range { .. }) {
            return Err(failed());
        }
        as_owner(&ids, &format!("remove {}", path.display()), || {
            sys::remove_tree(path).map_err(|error| error.to_string())
        })
    }
}

/// Does `work` in a child that is root over all ids of the store's files.
pub(super) fn as_owner(
    ids: &IdMaps,
    what: &str,
    work: impl FnOnce() -> Result<(), String>,
) -> Result<(), Error> {
    in_child(what, || {
        let entered = userns::enter_in_place(ids).map_err(|error| error.to_string());
        entered.and_then(|()| work())
    })
}

/// Does `work` in a child: it may start threads.
pub(super) fn in_child(what: &str, work: impl FnOnce() -> Result<(), String>) -> Result<(), Error> {
    let failed = |why: String| Error::Child { what: what.to_owned(), why };
    let flags = rustix::pipe::PipeFlags::CLOEXEC;
    let (reader, writer) =
        rustix::pipe::pipe_with(flags).map_err(|errno| failed(errno.to_string()))?;
    let child = sys::fork::in_child(|| {
        match work() {
            Ok(()) => 0,
            Err(why) => {
                // A message that does not get through is a failure all the same.
                let _ = rustix::io::write(&writer, why.as_bytes());
                1
            }
        }
    });
    let child = child.map_err(|error| failed(error.to_string()))?;
    drop(writer);
    let mut why = String::new();
    let _ = std::fs::File::from(reader).read_to_string(&mut why);
    match child.wait() {
        Ok(0) => Ok(()),
        Ok(_) => Err(failed(why)),
        Err(errno) => Err(failed(errno.to_string())),
    }
}
