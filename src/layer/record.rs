//! What a file cannot carry itself: side records for links, pipes and full attribute spaces.

use std::collections::BTreeMap;
use std::fmt::Write;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

use super::entry::{Attributes, Kind};
use super::name::Name;

/// One line of `owners`.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Record {
    /// The file, percent-encoded where it is not printable ASCII.
    pub(super) name: String,
    /// Owner, mode and kind, as in the attribute of the files that can carry it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stat: Option<String>,
    /// Attributes, their values in base64.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) xattrs: BTreeMap<String, String>,
}

/// The records of a layer, by name.
#[derive(Debug, Default)]
pub(super) struct Records(BTreeMap<Name, Record>);

impl Records {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The record of one file.
    pub(super) fn of(&mut self, name: &Name) -> &mut Record {
        let empty = || Record { name: percent_encoded(name.as_bytes()), ..Record::default() };
        self.0.entry(name.clone()).or_insert_with(empty)
    }

    /// Forgets a file that was replaced, and all below it.
    pub(super) fn forget(&mut self, name: &Name) {
        self.0.retain(|known, _| known != name && !known.is_below(name));
    }

    /// Gives a second name of a file its first one's record.
    pub(super) fn link(&mut self, name: &Name, target: &Name) {
        if let Some(record) = self.0.get(target) {
            let copy = Record { name: percent_encoded(name.as_bytes()), ..record.clone() };
            self.0.insert(name.clone(), copy);
        }
    }

    /// All records, a line of JSON each.
    pub(super) fn to_lines(&self) -> serde_json::Result<Vec<u8>> {
        let mut lines = Vec::new();
        for record in self.0.values() {
            serde_json::to_writer(&mut lines, record)?;
            lines.push(b'\n');
        }
        Ok(lines)
    }
}

impl Record {
    pub(super) fn add_xattr(&mut self, name: &[u8], value: &[u8]) {
        self.xattrs.insert(percent_encoded(name), BASE64_STANDARD.encode(value));
    }
}

/// Owner, mode and kind as `containers-storage` writes them (`FormatContainersOverrideXattrDevice`).
pub(super) fn stat(attributes: &Attributes, kind: &Kind) -> String {
    let Attributes { uid, gid, mode, .. } = attributes;
    let mut text = format!("{uid}:{gid}:{mode:04o}:");
    text.push_str(match kind {
        Kind::File { .. } | Kind::HardLink(_) => "file",
        Kind::Directory => "dir",
        Kind::Symlink(_) => "symlink",
        Kind::Fifo => "pipe",
        Kind::Device { block: true, .. } => "block",
        Kind::Device { block: false, .. } => "char",
    });
    if let Kind::Device { major, minor, .. } = kind {
        let _ = write!(text, "-{major}-{minor}");
    }
    text
}

fn percent_encoded(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len()), |mut text, &byte| {
        if byte.is_ascii_graphic() && byte != b'%' {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_as_containers_storage_writes_them() {
        let attributes = Attributes { uid: 33, gid: 42, mode: 0o2755, ..Attributes::default() };
        let file = Kind::File { size: 0, extents: None };
        assert_eq!(stat(&attributes, &file), "33:42:2755:file");
        let root = Attributes { mode: 0o600, ..Attributes::default() };
        let disk = Kind::Device { block: true, major: 8, minor: 1 };
        assert_eq!(stat(&root, &disk), "0:0:0600:block-8-1");
    }

    #[test]
    fn names_survive_as_text() {
        assert_eq!(percent_encoded(b"a b%\xff"), "a%20b%25%FF");
    }
}
