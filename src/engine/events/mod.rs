//! What happened: `events`, without anybody who would have to be running for it.
//!
//! ```text
//! events/log      {"time":NANOSECONDS,"type":"container","action":"start","id":"…","attributes":{…}}
//! events/log.1    the one before it; together they take a few megabytes at most
//! ```
//!
//! Whoever does something appends what happened by one write(2) with `O_APPEND`: lines of several
//! processes never mix, and nobody waits for anybody. Who follows watches the directory. An event that
//! cannot be written is lost, and what it tells of happens all the same.
//!
//! The end of a container whose monitor was killed is told by the next command (`lost.rs`): this one, if
//! no other comes before.

mod event;
mod follow;
mod log;

pub use event::{Event, Kind};
pub use follow::{Events, Window};

use super::{Engine, Error};

impl Engine {
    /// Writes down what happened. Never fails: see above.
    pub fn emit(&self, events: &[Event]) {
        let _ = log::append(&self.options.root, events);
    }

    /// What happened in a window of time, and, where that has not ended, what happens from now on.
    pub fn events(&self, window: Window) -> Result<Events, Error> {
        self.settle_all_lost();
        let directory = log::directory(&self.options.root);
        Events::open(&directory, window).map_err(|source| Error::Io {
            action: "read the events in",
            path: directory,
            source,
        })
    }
}
