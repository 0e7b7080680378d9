//! What a container was made from: enough to start it again.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::bundle::Request;

/// `containers/ID/creation.json`: written once, read when the container is started.
///
/// It is apart from the record, so that a list of containers need not read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Creation {
    /// The container, as the user asked for it.
    pub container: Request,
    /// `--userns`, in its own words.
    pub userns: String,
    /// `--timeout`: seconds after which each run of it is killed.
    #[serde(default)]
    pub timeout_s: Option<u64>,
    /// `--pidfile`: where the pid of its first process is written at each start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_file: Option<PathBuf>,
    /// `--conmon-pidfile`: where that of the coracle that stays with it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keeper_pid_file: Option<PathBuf>,
    /// `--requires`: containers that are started first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// `--rootfs`: the directory that is its root, in place of an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rootfs: Option<Rootfs>,
    /// Whether its input ends with that of whom it was started for (docker's `StdinOnce`).
    #[serde(default)]
    pub stdin_once: bool,
}

/// A directory of the host as a container's root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rootfs {
    /// The directory, absolute.
    pub path: PathBuf,
    /// `:O`: what is written lies apart, and goes with the container.
    pub overlay: bool,
}
