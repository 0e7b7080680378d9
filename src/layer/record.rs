//! What a file cannot carry itself: side records for links, pipes and full attribute spaces.

use std::collections::BTreeMap;

use super::entry::{Attributes, Kind};
use super::name::Name;
use crate::owners::{self, Line};

/// The records of a layer, by name.
#[derive(Debug, Default)]
pub(super) struct Records(BTreeMap<Name, Line>);

impl Records {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The record of one file.
    pub(super) fn of(&mut self, name: &Name) -> &mut Line {
        self.0.entry(name.clone()).or_insert_with(|| Line::of(name.as_bytes()))
    }

    /// Forgets a file that was replaced, and all below it.
    pub(super) fn forget(&mut self, name: &Name) {
        self.0.retain(|known, _| known != name && !known.is_below(name));
    }

    /// Gives a second name of a file its first one's record.
    pub(super) fn link(&mut self, name: &Name, target: &Name) {
        if let Some(line) = self.0.get(target) {
            let copy = Line { name: Line::of(name.as_bytes()).name, ..line.clone() };
            self.0.insert(name.clone(), copy);
        }
    }

    /// All records, a line of JSON each.
    pub(super) fn to_lines(&self) -> serde_json::Result<Vec<u8>> {
        let mut lines = Vec::new();
        for line in self.0.values() {
            line.write(&mut lines)?;
        }
        Ok(lines)
    }
}

/// Owner, mode and kind of an entry.
pub(super) fn stat(attributes: &Attributes, kind: &Kind) -> String {
    let Attributes { uid, gid, mode, .. } = *attributes;
    let kind = match *kind {
        Kind::File { .. } | Kind::HardLink(_) => owners::Kind::File,
        Kind::Directory => owners::Kind::Directory,
        Kind::Symlink(_) => owners::Kind::Symlink,
        Kind::Fifo => owners::Kind::Pipe,
        Kind::Device { block: true, major, minor } => owners::Kind::Block(major, minor),
        Kind::Device { block: false, major, minor } => owners::Kind::Char(major, minor),
    };
    owners::Record { uid, gid, mode, kind }.to_string()
}
