//! What containers write, kept for `logs`.
//!
//! ```text
//! containers/ID/ID-json.log      {"log":"a line\n","stream":"stdout","time":"2026-…Z"}
//! containers/ID/ID-json.log.1    the one before it, and so on: max-size, max-file
//! ```
//!
//! With `labels` or `env` each line has `"attrs":{"name":"value"}` too. The format and the names are docker's json-file driver's, so that what collects its logs reads
//! these. A line of more than 16 KiB comes in pieces without an end of line.

mod journal;
mod read;
mod write;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use read::{Entry, Reader};
pub use write::Log;

/// Which of a container's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// stdout, or the terminal.
    Stdout,
    /// stderr
    Stderr,
}

/// `--log-driver`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDriver {
    /// Files of JSON lines beside the container.
    #[default]
    JsonFile,
    /// systemd's journal.
    Journald,
    /// Nowhere.
    None,
}

/// Where what a container writes goes: `--log-driver`, `--log-opt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogConfig {
    /// Which way.
    pub driver: LogDriver,
    /// `max-size`: a file of more bytes is put aside; `None` for no limit.
    pub max_size: Option<u64>,
    /// `max-file`: how many files there are at most.
    pub max_file: u32,
    /// `tag`: by what the journal knows it, the ID's first twelve digits where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// `labels`: those of the container's that go with every line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// `env`: variables of the container's that go with every line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
}

/// Whose log it is.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The container's ID.
    pub id: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its image, as the user named it.
    pub image: &'a str,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
    /// Its environment, `NAME=value` each.
    pub env: &'a [OsString],
}

impl LogConfig {
    /// What goes with every line, by name; what the container has not got does not.
    fn attributes(&self, of: &Subject<'_>) -> BTreeMap<String, String> {
        let variable = |name: &str| {
            let values = of.env.iter().filter_map(|line| line.to_str()?.split_once('='));
            values.rev().find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
        };
        let labels =
            self.labels.iter().filter_map(|name| Some((name, of.labels.get(name)?.clone())));
        let variables = self.env.iter().filter_map(|name| Some((name, variable(name)?)));
        labels.chain(variables).map(|(name, value)| (name.clone(), value)).collect()
    }
}

impl Default for LogConfig {
    /// Unlike docker's these logs cannot fill the disk: five files of 20 MB.
    fn default() -> Self {
        Self {
            driver: LogDriver::default(),
            max_size: Some(20_000_000),
            max_file: 5,
            tag: None,
            labels: Vec::new(),
            env: Vec::new(),
        }
    }
}

#[cfg(test)]
impl Subject<'static> {
    fn unknown() -> Self {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        Self { id: "id", name: "name", image: "image", labels: &NONE, env: &[] }
    }
}

/// A text that `--log-driver` does not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no log driver is called {0:?}: want json-file, journald or none")]
pub struct UnknownLogDriver(String);

impl FromStr for LogDriver {
    type Err = UnknownLogDriver;

    fn from_str(text: &str) -> Result<Self, UnknownLogDriver> {
        match text {
            // What docker and podman have for "the usual" means this one.
            "json-file" | "local" | "k8s-file" => Ok(Self::JsonFile),
            "journald" => Ok(Self::Journald),
            "none" => Ok(Self::None),
            _ => Err(UnknownLogDriver(text.to_owned())),
        }
    }
}

impl fmt::Display for LogDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::JsonFile => "json-file",
            Self::Journald => "journald",
            Self::None => "none",
        })
    }
}

/// The log of a container in its directory.
fn path_in(directory: &std::path::Path, id: &str) -> std::path::PathBuf {
    directory.join(format!("{id}-json.log"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_with_a_line_is_what_the_container_has() {
        let labels = [("tier", "front"), ("other", "x")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let env = ["A=1", "B=2", "A=3"].map(OsString::from);
        let of = Subject { labels: &labels, env: &env, ..Subject::unknown() };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (labels, env) = (names(&["tier", "none"]), names(&["A", "none"]));
        let config = LogConfig { labels, env, ..LogConfig::default() };
        let attributes: Vec<_> = config.attributes(&of).into_iter().collect();
        let wanted = [("A", "3"), ("tier", "front")];
        assert_eq!(attributes, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
