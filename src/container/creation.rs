//! What a container was made from: enough to start it again.

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
    /// Whether its input ends with that of whom it was started for (docker's `StdinOnce`).
    #[serde(default)]
    pub stdin_once: bool,
}
