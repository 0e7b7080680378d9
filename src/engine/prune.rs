//! `prune`: what nothing needs is cleared away, a kind of thing at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::events::{Event, Kind};
use super::images::{self, User};
use super::{Engine, Error};
use crate::container::{self, Status};
use crate::owners::Owners;
use crate::store::PATIENCE;

/// Whether something may go, by when it was made (RFC 3339) and its labels.
pub type Fits<'a> = &'a dyn Fn(&str, &BTreeMap<String, String>) -> bool;

/// What was cleared away.
#[derive(Debug, Default)]
pub struct Pruned {
    /// A line each, in docker's words.
    pub lines: Vec<String>,
    /// The bytes that its files held.
    pub reclaimed: u64,
    /// What could not be; it does not spare the rest.
    pub failures: Vec<Error>,
}

impl Engine {
    /// Removes containers that do not run. One that another command is at work on is left.
    pub fn prune_containers(&self, fits: Fits<'_>) -> Result<Pruned, Error> {
        let ended = |status| matches!(status, Status::Created | Status::Stopped(_));
        let mut going = self.containers()?;
        going.retain(|(record, status)| {
            ended(*status) && fits(&record.created, &record.config.labels)
        });
        let records: Vec<_> = going.into_iter().map(|(record, _)| record).collect();
        let sizes = self.written(&records)?;
        let mut pruned = Pruned::default();
        for (record, size) in records.into_iter().zip(sizes) {
            match self.remove_stopped(&record, false) {
                Ok(()) => {
                    pruned.reclaimed += size;
                    pruned.lines.push(record.id);
                }
                Err(Error::Container(
                    container::Error::Running { .. }
                    | container::Error::Busy { .. }
                    | container::Error::NoSuchContainer { .. },
                )) => {}
                Err(error) => pruned.failures.push(error),
            }
        }
        self.containers.free_lost_names();
        self.emit(&[Event::of_prune(Kind::Container, pruned.reclaimed)]);
        Ok(pruned)
    }

    /// Removes images that no container was made from: those without a tag, or `all`, which takes what
    /// broken downloads left too. `owners` as [`Engine::enter_owners`] gave them.
    pub fn prune_images(&self, all: bool, fits: Fits<'_>, owners: Owners) -> Result<Pruned, Error> {
        // Who has a record that cannot be read keeps everything: nothing is removed then.
        self.layers_in_use()?;
        let containers = self.containers()?.into_iter();
        let users: Vec<User> =
            containers.flat_map(|(record, status)| User::of(&record, status)).collect();
        let mut pruned = Pruned::default();
        for listed in self.images()? {
            let id = &listed.image.id;
            let is_used = users.iter().any(|user| user.image == *id);
            if is_used || !all && !listed.names.tags.is_empty() {
                continue;
            }
            let labels = self.store().config(&listed.image).map(|config| config.labels);
            let created = listed.image.created.as_deref().unwrap_or_default();
            if !fits(created, &labels.unwrap_or_default()) {
                continue;
            }
            // By its ID, with all its names.
            match images::remove(self.store(), &id.to_string(), true, &users) {
                Ok(removed) => {
                    self.emit(&images::told(id, &removed));
                    pruned.lines.extend(removed.iter().map(|part| match part {
                        images::Removed::Untagged(name) => format!("untagged: {name}"),
                        images::Removed::Deleted(id) => format!("deleted: {id}"),
                    }));
                }
                Err(error) => pruned.failures.push(error.into()),
            }
        }
        // What killed commands left goes too, with or without an image.
        let patience = if all { Duration::ZERO } else { PATIENCE };
        pruned.reclaimed = self.store().collect(|| self.layers_in_use(), owners, patience)?;
        self.emit(&[Event::of_prune(Kind::Image, pruned.reclaimed)]);
        Ok(pruned)
    }
}
