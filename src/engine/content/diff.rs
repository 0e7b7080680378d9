//! `diff` and `export`.

use std::io::Write;

use crate::engine::events::Event;
use crate::engine::{Engine, Error};
use crate::layer::{self, Difference, Name};
use crate::snapshot;
use crate::store;

impl Engine {
    /// What a container has changed in its image's files, or an image's uppermost layer in those
    /// below; a directory stands before what is in it. This process gives up its own ids for it.
    pub fn diff(&self, query: &str) -> Result<Vec<(Name, Difference)>, Error> {
        let subject = match self.subject(query) {
            Err(error @ Error::Container(crate::container::Error::NoSuchContainer { .. })) => {
                return self.diff_image(query)?.ok_or(error);
            }
            subject => subject?,
        };
        subject.write_back();
        let differences = subject.written()?.differences()?;
        Ok(differences.iter().collect())
    }

    fn diff_image(&self, query: &str) -> Result<Option<Vec<(Name, Difference)>>, Error> {
        let image = match self.store.resolve(query) {
            Err(store::Error::NoSuchImage { .. }) => return Ok(None),
            image => image?,
        };
        let _hold = self.store.hold()?;
        let ids = self.ids((0, 0))?;
        let owners = self.owners_of(&ids);
        let layers = self.store.layers(&image, owners)?;
        self.become_owner(&ids)?;
        let differences = snapshot::differences_of_image(&layers, owners)??;
        Ok(Some(differences.iter().collect()))
    }

    /// Writes all that a container sees as its root, but for what is mounted there, as a tar archive.
    /// This process gives up its own ids for it.
    pub fn export(&self, query: &str, to: impl Write) -> Result<(), Error> {
        let subject = self.subject(query)?;
        subject.write_back();
        let root = subject.root()?;
        layer::write_all(&root, to)?;
        self.emit(&[Event::of_container("export", &subject.record)]);
        Ok(())
    }
}
