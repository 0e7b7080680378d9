//! A container's private network and its ports on the host.

use std::net::SocketAddr;

use super::of_host::host_files;
use super::{Engine, Error};
use crate::bundle::{ContainerSpec, Request, Sharing};
use crate::container::Directory;
use crate::network::{self, Expose, Options, PortRequest, Protocol, Resolvers};

/// What the image and the request expose. What an image says that is no port is nothing.
pub(super) fn exposed(request: &Request, image: &[String]) -> Vec<Expose> {
    let of_image = image.iter().filter_map(|text| Expose::parse(text).ok()).flatten();
    let mut exposed: Vec<Expose> = of_image.chain(request.expose.iter().copied()).collect();
    exposed.sort_unstable();
    exposed.dedup();
    exposed
}

/// What the host is to have for it.
pub(super) fn wanted(request: &Request, exposed: &[Expose]) -> Vec<PortRequest> {
    match request.network {
        Some(Sharing::Private) => {
            network::plan_ports(&request.publish, exposed, request.publish_all)
        }
        _ => Vec::new(),
    }
}

impl Engine {
    /// Opens the ports, joins the networks, and makes what a server is told.
    pub(super) fn network(
        &self,
        spec: &ContainerSpec,
        ports: &[PortRequest],
        directory: &Directory,
        request: &Request,
    ) -> Result<Option<Options>, Error> {
        let Some(settings) = &spec.network else { return Ok(None) };
        network::usable()?;
        if settings.fast {
            network::Switch::usable()?;
        }
        let publications = network::publish(ports).map_err(|error| self.name_holder(error))?;
        let links = self.join_networks(settings, &spec.networks, directory, request)?;
        if !ports.is_empty() && links.iter().all(|link| link.plan.internal) {
            self.options
                .warn
                .tell("published ports lead nowhere: the container's networks are internal");
        }
        let named = links.iter().any(|link| link.plan.addresses.shared);
        let resolvers = match named && !request.dns.is_empty() {
            true => Resolvers::at(&request.dns),
            false => network::read_resolvers(&host_files().resolv_conf, device_number),
        };
        let control = network::listen(&directory.path).map_err(|errno| Error::Io {
            action: "listen in",
            path: directory.path.clone(),
            source: errno.into(),
        })?;
        Ok(Some(Options { links, control, resolvers, publications }))
    }

    /// Who has a port that is taken: a container of this store's, by its name.
    fn name_holder(&self, error: network::Error) -> network::Error {
        let network::Error::PortTaken { address, protocol, holder: None } = error else {
            return error;
        };
        let containers = self.containers().unwrap_or_default();
        let up = containers.into_iter().filter(|(_, status)| status.is_up());
        let holder = up
            .map(|(record, _)| record)
            .find(|record| record.ports.iter().any(|port| has(port, address, protocol)))
            .map(|record| format!("container {}", record.name))
            .or_else(|| network::holder(address, protocol));
        network::Error::PortTaken { address, protocol, holder }
    }
}

fn has(port: &network::Published, address: SocketAddr, protocol: Protocol) -> bool {
    let meets = port.host_ip == address.ip()
        || port.host_ip.is_unspecified()
        || address.ip().is_unspecified();
    meets && (port.host_port, port.protocol) == (address.port(), protocol)
}

fn device_number(name: &str) -> Option<u32> {
    std::fs::read_to_string(format!("/sys/class/net/{name}/ifindex")).ok()?.trim().parse().ok()
}
