//! The image configuration: what an image says of itself and of its process.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::{DiffId, Platform};

/// An image configuration (image-spec, config.md), with docker's extensions.
///
/// The stored bytes stay what was shipped; this is a reading of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageConfig {
    /// What the image runs on.
    pub platform: Option<Platform>,
    /// RFC 3339 creation time, as shipped.
    pub created: Option<String>,
    /// Who made it.
    pub author: Option<String>,
    /// The layers unpacked, the lowest first.
    pub diff_ids: Vec<DiffId>,
    /// `User`: name or id, optionally `:group`.
    pub user: String,
    /// `Env`: `NAME=value` each.
    pub env: Vec<String>,
    /// `Entrypoint`.
    pub entrypoint: Vec<String>,
    /// `Cmd`.
    pub cmd: Vec<String>,
    /// `WorkingDir`.
    pub working_dir: String,
    /// `StopSignal`.
    pub stop_signal: Option<String>,
    /// `Volumes`: paths in the container.
    pub volumes: Vec<String>,
    /// `ExposedPorts`: `80/tcp` each.
    pub exposed_ports: Vec<String>,
    /// `Labels`.
    pub labels: BTreeMap<String, String>,
    /// `Healthcheck`, docker's extension.
    pub healthcheck: Option<Healthcheck>,
    /// `Shell`, docker's extension.
    pub shell: Vec<String>,
    /// How each layer came to be.
    pub history: Vec<History>,
}

/// One step of an image's history (image-spec, config.md, `history`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// RFC 3339 time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The command that made the layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Whether the step made no layer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
    /// A remark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// Docker's health check (moby image spec v1.2); times in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["CMD", …]`, `["CMD-SHELL", …]`, `["NONE"]` or nothing.
    pub test: Vec<String>,
    /// Time between checks.
    pub interval: u64,
    /// Time a check may take.
    pub timeout: u64,
    /// Time in which failures do not count.
    pub start_period: u64,
    /// Time between checks until one has succeeded, within the start period.
    pub start_interval: u64,
    /// Failures until unhealthy.
    pub retries: u32,
}

/// A configuration that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("invalid image configuration: {0}")]
pub struct InvalidConfig(#[from] serde_json::Error);

impl ImageConfig {
    /// Reads the bytes of a configuration blob.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidConfig> {
        let shipped: Shipped = serde_json::from_slice(bytes)?;
        let process = shipped.config.unwrap_or_default();
        let platform = match (shipped.os, shipped.architecture) {
            (os, architecture) if os.is_empty() && architecture.is_empty() => None,
            (os, architecture) => Some(Platform { os, architecture, variant: shipped.variant }),
        };
        Ok(Self {
            platform,
            created: shipped.created,
            author: shipped.author,
            diff_ids: shipped.rootfs.diff_ids,
            user: process.user,
            env: process.env,
            entrypoint: process.entrypoint,
            cmd: process.cmd,
            working_dir: process.working_dir,
            stop_signal: process.stop_signal.filter(|signal| !signal.is_empty()),
            volumes: process.volumes.into_keys().collect(),
            exposed_ports: process.exposed_ports.into_keys().collect(),
            labels: process.labels,
            healthcheck: process.healthcheck,
            shell: process.shell,
            history: shipped.history,
        })
    }
}

/// Go writes `null` where it means empty.
fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Deserialize)]
struct Shipped {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    author: Option<String>,
    #[serde(default)]
    config: Option<ShippedProcess>,
    rootfs: ShippedRootfs,
    #[serde(default, deserialize_with = "nullable")]
    history: Vec<History>,
}

#[derive(Deserialize)]
struct ShippedRootfs {
    #[serde(default, deserialize_with = "nullable")]
    diff_ids: Vec<DiffId>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct ShippedProcess {
    #[serde(deserialize_with = "nullable")]
    user: String,
    #[serde(deserialize_with = "nullable")]
    env: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    entrypoint: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    cmd: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    working_dir: String,
    stop_signal: Option<String>,
    #[serde(deserialize_with = "nullable")]
    volumes: BTreeMap<String, serde::de::IgnoredAny>,
    #[serde(deserialize_with = "nullable")]
    exposed_ports: BTreeMap<String, serde::de::IgnoredAny>,
    #[serde(deserialize_with = "nullable")]
    labels: BTreeMap<String, String>,
    healthcheck: Option<Healthcheck>,
    #[serde(deserialize_with = "nullable")]
    shell: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_means_empty() {
        let bytes =
            br#"{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":null},
            "config":{"Env":null,"Cmd":["sh"],"Volumes":{"/data":{}},"Labels":null}}"#;
        let config = ImageConfig::parse(bytes).expect("a config");
        assert_eq!(config.cmd, ["sh"]);
        assert_eq!(config.volumes, ["/data"]);
        assert!(config.env.is_empty() && config.diff_ids.is_empty());
    }

    #[test]
    fn a_diff_id_is_checked_at_the_door() {
        let bytes = br#"{"rootfs":{"type":"layers","diff_ids":["sha256:../../x"]}}"#;
        assert!(ImageConfig::parse(bytes).is_err());
    }
}
