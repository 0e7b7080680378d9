//! What is written down of a container: for `ps`, `inspect`, and for who comes after.

use super::Engine;
use super::run::{Prepared, RunRequest, now};
use crate::cgroup::InForce;
use crate::container::{Config, Creation, Directory, Record, State, VERSION};

/// The record of a container that is new.
pub(super) fn record(request: &RunRequest, prepared: &Prepared, directory: &Directory) -> Record {
    let Prepared { image, ids, spec, .. } = prepared;
    Record {
        version: VERSION,
        id: directory.id.clone(),
        name: directory.name.to_string(),
        image: request.image.clone(),
        image_id: image.id.clone(),
        layers: image
            .layers
            .iter()
            .map(|layer| layer.chain.clone())
            .chain(prepared.settled.layers.iter().cloned())
            .collect(),
        created: now(),
        state: State::Created,
        remove: request.remove,
        remove_image: request.remove_image,
        in_force: InForce::default(),
        keeper: None,
        restarts: 0,
        links: Vec::new(),
        ports: Vec::new(),
        config: Config {
            process: spec.process.clone(),
            seccomp: spec.seccomp.clone(),
            user: request.container.user.clone().unwrap_or_default(),
            hostname: spec.hostname.clone().unwrap_or_default(),
            network: prepared.network.clone(),
            networks: prepared.spec.networks.clone(),
            private: prepared.spec.network.clone(),
            publish: prepared.ports.clone(),
            expose: prepared.exposed.clone(),
            emulated: ids.emulated,
            privileged: request.container.privileged,
            read_only: spec.root_read_only,
            init: spec.init,
            mounts: prepared.settled.points.clone(),
            added: spec.added.clone(),
            labels: spec.labels.clone(),
            annotations: spec.annotations.clone(),
            stop_signal: spec.stop_signal,
            driver: prepared.driver.to_string(),
            resources: spec.resources.clone(),
            restart: request.restart,
            log: request.log.clone(),
            health: prepared.health.clone(),
            on_unhealthy: request.health.on_failure,
            stop_timeout_s: request.stop_timeout_s,
        },
    }
}

impl Engine {
    /// What a container that is made now can be started from again.
    pub(super) fn creation(&self, request: &RunRequest, prepared: &Prepared) -> Creation {
        Creation {
            container: prepared.settled.request.clone(),
            userns: self.options.userns.to_string(),
            pid_file: request.pid_file.clone(),
            keeper_pid_file: request.keeper_pid_file.clone(),
            requires: request.requires.clone(),
            rootfs: request.rootfs.clone(),
            timeout_s: request.timeout.map(|timeout| timeout.as_secs()),
            stdin_once: request.stdin_once(),
        }
    }
}
