//! An image as docker's JSON (moby, `api/types/image`).

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{graph_driver, or_null, set};
use crate::engine::images::Details;
use crate::engine::reference;
use crate::oci::DiffId;

/// `trees` are its layers unpacked, the lowest first; `driver` is what containers made from it have.
pub(super) fn json(details: &Details, trees: &[PathBuf], driver: &str) -> Value {
    let Details { image, names, config } = details;
    let familiar = |names: &[String]| -> Vec<String> {
        names.iter().map(|name| reference::familiar(name)).collect()
    };
    let layers: Vec<&DiffId> = image.layers.iter().map(|layer| &layer.diff_id).collect();
    let comment = config.history.last().and_then(|step| step.comment.as_deref());
    // docker's upper directory of an image is its last layer.
    let (upper, lowers) = match trees.split_last() {
        Some((upper, lowers)) => (upper.as_path(), lowers),
        None => (Path::new(""), &[][..]),
    };
    json!({
        "Id": image.id,
        "RepoTags": familiar(&names.tags),
        "RepoDigests": familiar(&names.digests),
        "Parent": "",
        "Comment": comment.unwrap_or_default(),
        "Created": image.created,
        "DockerVersion": "",
        "Author": config.author.as_deref().unwrap_or_default(),
        "Architecture": image.platform.architecture,
        "Variant": image.platform.variant.as_deref().unwrap_or_default(),
        "Os": image.platform.os,
        "Size": image.size(),
        "VirtualSize": image.size(),
        "Digest": image.digest(),
        "Config": config_of(details),
        "GraphDriver": graph_driver(driver, lowers, upper, Path::new(""), ""),
        "RootFS": {"Type": "layers", "Layers": layers},
        "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
        "History": config.history,
    })
}

fn config_of(details: &Details) -> Value {
    let config = &details.config;
    let mut value = json!({
        "Hostname": "",
        "Domainname": "",
        "User": config.user,
        "AttachStdin": false,
        "AttachStdout": false,
        "AttachStderr": false,
        "Tty": false,
        "OpenStdin": false,
        "StdinOnce": false,
        "Env": config.env,
        "Cmd": or_null(&config.cmd),
        "Image": "",
        "Volumes": set(&config.volumes),
        "WorkingDir": config.working_dir,
        "Entrypoint": or_null(&config.entrypoint),
        "OnBuild": null,
        "Labels": config.labels,
        "StopSignal": config.stop_signal.as_deref().unwrap_or_default(),
        "Shell": or_null(&config.shell),
        "ExposedPorts": set(&config.exposed_ports),
    });
    if let Some(check) = &config.healthcheck {
        value["Healthcheck"] = json!(check);
    }
    value
}
