//! `volume`: directories that outlive their containers.

pub(super) mod create;
pub(super) mod exists;
pub(super) mod export;
pub(super) mod import;
pub(super) mod inspect;
pub(super) mod list;
pub(super) mod prune;
pub(super) mod remove;

use serde_json::{Value, json};

use crate::engine::volume::Volume;

/// A volume as docker's `inspect` has it.
pub(super) fn described(volume: &Volume) -> Value {
    json!({
        "CreatedAt": volume.created,
        "Driver": DRIVER,
        "Labels": volume.labels,
        "Mountpoint": volume.data(),
        "Name": volume.name.as_str(),
        "Options": volume.options.given,
        "Scope": "local",
    })
}

/// The only driver.
pub(super) const DRIVER: &str = "local";

/// Refuses every driver but `local`.
fn driver(name: &str) -> Result<(), String> {
    if name == DRIVER {
        Ok(())
    } else {
        Err(format!("error looking up volume plugin {name}: the only driver is local"))
    }
}
