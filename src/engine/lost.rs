//! Ends that nobody lived to write down: a monitor was killed, or the machine went down.
//!
//! A record is never believed, so such a container has ended whatever is written of it. The first command
//! that comes upon it writes that down, and tells it, once.

use serde::de::DeserializeOwned;

use super::Engine;
use super::events::Event;
use crate::container::{Error, Record, Shown, State, Status};

impl Engine {
    /// A container by name, ID or the beginning of its ID.
    pub(super) fn container_named(&self, query: &str) -> Result<Record, Error> {
        let record = self.containers.find(query)?;
        self.settle_lost(record)
    }

    /// A record as it should be. What cannot be written (a full disk) is as true unwritten.
    pub(super) fn settle_lost<C: DeserializeOwned>(
        &self,
        record: Record<C>,
    ) -> Result<Record<C>, Error> {
        // One that was to be removed at its end is, by a sweep.
        if !record.is_lost() || record.remove {
            return Ok(record);
        }
        if let Ok(Some(before)) = self.containers.end_lost(&record.id) {
            self.tell_lost(&before);
        }
        Ok(self.containers.reread(&record)?.unwrap_or(record))
    }

    /// Tells of the end of a run. Between two runs that of the last one was told.
    pub(super) fn tell_lost(&self, before: &Record) {
        if let (State::Running { .. }, Status::Stopped(code)) = (&before.state, before.status()) {
            let die = Event::of_container("die", before).with("exitCode", code.to_string());
            let mut events = vec![die];
            events.extend(self.told_of_networks("disconnect", before));
            self.emit(&events);
        }
    }

    /// The same for all containers: for who asks what happened. One that cannot be read is passed over.
    pub(super) fn settle_all_lost(&self) {
        let lost = |record: &Record<Shown>, status| record.is_lost_by(status);
        let records = self.containers.survey(&lost).map(|survey| survey.records);
        for (record, _) in records.unwrap_or_default() {
            let _ = self.settle_lost(record);
        }
    }
}
