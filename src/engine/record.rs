//! What is written down of a container: for `ps`, `inspect`, and for who comes after.

use super::run::{RunRequest, now};
use crate::bundle::{self, ContainerSpec};
use crate::cgroup::InForce;
use crate::container::{Config, Directory, MountPoint, Record, State, VERSION};
use crate::snapshot::Driver;
use crate::store::Image;

/// The record of a container that is about to start.
pub(super) fn record(
    request: &RunRequest,
    image: &Image,
    spec: &ContainerSpec,
    driver: Driver,
    directory: &Directory,
    network: String,
    emulated: bool,
) -> Record {
    Record {
        version: VERSION,
        id: directory.id.clone(),
        name: directory.name.to_string(),
        image: request.image.clone(),
        image_id: image.id.clone(),
        layers: image.layers.iter().map(|layer| layer.chain.clone()).collect(),
        created: now(),
        state: State::Created,
        remove: request.remove,
        in_force: InForce::default(),
        config: Config {
            process: spec.process.clone(),
            seccomp: spec.seccomp.clone(),
            user: request.container.user.clone().unwrap_or_default(),
            hostname: spec.hostname.clone().unwrap_or_default(),
            network,
            emulated,
            privileged: request.container.privileged,
            read_only: spec.root_read_only,
            init: spec.init,
            mounts: mount_points(&request.container),
            labels: spec.labels.clone(),
            annotations: spec.annotations.clone(),
            stop_signal: spec.stop_signal,
            driver: driver.to_string(),
            resources: spec.resources.clone(),
        },
    }
}

fn mount_points(request: &bundle::Request) -> Vec<MountPoint> {
    let binds = request.binds.iter().map(|bind| MountPoint {
        kind: "bind".to_owned(),
        source: bind.source.display().to_string(),
        target: bind.target.display().to_string(),
        writable: !bind.read_only,
    });
    let tmpfs = request.tmpfs.iter().map(|tmpfs| MountPoint {
        kind: "tmpfs".to_owned(),
        source: String::new(),
        target: tmpfs.target.display().to_string(),
        writable: !tmpfs.read_only,
    });
    binds.chain(tmpfs).collect()
}
