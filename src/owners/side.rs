//! `owners`: a line of JSON for each file that cannot carry its record itself.

use std::collections::BTreeMap;
use std::fmt::Write;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use super::Record;

/// One line of `owners`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The file below the root, percent-encoded where it is not printable ASCII.
    pub name: String,
    /// Owner, mode and kind, as in the attribute of the files that can carry it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stat: Option<String>,
    /// Attributes, their values in base64.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, String>,
}

impl Line {
    /// A line for a file; its name has no leading slash.
    pub fn of(name: &[u8]) -> Self {
        Self { name: percent_encoded(name), ..Self::default() }
    }

    /// The file's name as it is.
    pub fn name(&self) -> Vec<u8> {
        percent_decoded(&self.name)
    }

    /// The record.
    pub fn record(&self) -> Option<Record> {
        self.stat.as_ref().and_then(|text| Record::parse(text.as_bytes()))
    }

    /// Adds an attribute.
    pub fn add_xattr(&mut self, name: &[u8], value: &[u8]) {
        self.xattrs.insert(percent_encoded(name), BASE64_STANDARD.encode(value));
    }

    /// The attributes, their names and values as they are.
    pub fn xattrs(&self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
        self.xattrs.iter().filter_map(|(name, value)| {
            Some((percent_decoded(name), BASE64_STANDARD.decode(value).ok()?))
        })
    }

    /// Appends the line.
    pub fn write(&self, lines: &mut Vec<u8>) -> serde_json::Result<()> {
        serde_json::to_writer(&mut *lines, self)?;
        lines.push(b'\n');
        Ok(())
    }

    /// All lines of a text; what is cut off or damaged is left out, later lines come later.
    pub fn read(text: &[u8]) -> impl Iterator<Item = Self> {
        text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
    }
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

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let hex = |digits: &[u8]| {
            std::str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok())
        };
        match (first, tail.get(..2).and_then(hex)) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => bytes.push(*first),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_as_text() {
        assert_eq!(percent_encoded(b"a b%\xff"), "a%20b%25%FF");
        assert_eq!(percent_decoded("a%20b%25%FF"), b"a b%\xff");
        assert_eq!(percent_decoded("100%"), b"100%");
    }

    #[test]
    fn lines_come_back_and_a_torn_one_does_not() {
        let mut line = Line::of(b"run/a b");
        line.stat = Some("33:0:0777:symlink".into());
        let mut text = Vec::new();
        line.write(&mut text).expect("a line");
        text.extend_from_slice(b"{\"name\":\"torn");
        assert_eq!(Line::read(&text).collect::<Vec<_>>(), std::slice::from_ref(&line));
        assert_eq!(
            (line.name(), line.record().map(|record| record.uid)),
            (b"run/a b".to_vec(), Some(33))
        );
    }
}
