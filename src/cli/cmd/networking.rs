//! The flags about a container's network: which, with what addresses, by which of the host's ports.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::super::parse::{self, Network};
use super::super::{Context, Error};
use crate::engine::bundle::{self, Sharing};
use crate::engine::network::{self, Expose, Mac, PortRequest};

/// Network and ports.
#[derive(Debug, clap::Args)]
pub(super) struct Networking {
    /// Use a network of its own (where it can be made, that is what is used), the host's, none, or a
    /// container's
    #[arg(long, alias = "net", value_name = "private|host|none|container:NAME",
        value_parser = parse::network)]
    pub(super) network: Option<Network>,
    /// Let the host's port lead to the container's: [[IP:][HOST-PORT]:]PORT[/udp]
    #[arg(short, long, value_name = "PORTS", value_parser = parse::publish)]
    publish: Vec<Arc<[PortRequest]>>,
    /// Let a port of the host's lead to each port that is exposed
    #[arg(short = 'P', long)]
    publish_all: bool,
    /// Tell others of a port
    #[arg(long, value_name = "PORT[/udp]", value_parser = parse::expose)]
    expose: Vec<Arc<[Expose]>>,
    /// Have this address in a private network
    #[arg(long, value_name = "ADDRESS", value_parser = parse::ip)]
    ip: Option<Ipv4Addr>,
    /// Have this IPv6 address in a private network
    #[arg(long, value_name = "ADDRESS", value_parser = parse::ip6)]
    ip6: Option<Ipv6Addr>,
    /// Have this hardware address in a private network
    #[arg(long, value_name = "MAC")]
    mac_address: Option<Mac>,
}

impl Networking {
    /// Fills in the request.
    pub(super) fn apply(&self, request: &mut bundle::Request, cx: &Context) -> Result<(), Error> {
        let configured = || match &cx.config.network {
            Some(name) => parse::network(name)
                .map(Some)
                .map_err(|error| Error::usage(format!("configuration: {error}"))),
            None => Ok(None),
        };
        let asked = match &self.network {
            Some(network) => Some(network.clone()),
            None => configured()?,
        };
        let publishes = self.publish_all || !self.publish.is_empty();
        let addressed = self.ip.is_some() || self.ip6.is_some() || self.mac_address.is_some();
        let Network { sharing, mut settings } = match asked {
            Some(network) => network,
            // What takes a private network asks for one.
            None if publishes || addressed => private(),
            None => by_default(cx),
        };
        let refuse = |what: &str| Err(Error::usage(format!("conflicting options: {what}")));
        match &sharing {
            Sharing::Private => {}
            _ if addressed => {
                return refuse(
                    "an address of its own and a network that is not (--network private)",
                );
            }
            Sharing::Container(_) if publishes => {
                return refuse("port publishing and the container type network mode");
            }
            // docker's words.
            Sharing::Host if publishes => {
                cx.report.note("Published ports are discarded when using host network mode");
            }
            _ if publishes => cx
                .report
                .note("published ports are discarded: the container has no network of coracle's"),
            _ => {}
        }
        settings.ip = self.ip.or(settings.ip);
        settings.ip6 = self.ip6.or(settings.ip6);
        settings.mac = self.mac_address.or(settings.mac);
        (request.network, request.private) = (Some(sharing), settings);
        request.publish = self.publish.iter().flat_map(|all| all.iter().cloned()).collect();
        request.publish_all = self.publish_all;
        request.expose = self.expose.iter().flat_map(|all| all.iter().copied()).collect();
        Ok(())
    }
}

fn private() -> Network {
    Network { sharing: Sharing::Private, ..Network::default() }
}

/// A network of its own, where one can be made; else the host's, which is said.
fn by_default(cx: &Context) -> Network {
    match network::usable() {
        Ok(()) => private(),
        Err(error) => {
            cx.report.note(&format!(
                "the container shares the host's network: {error} (--network host or none says \
                 which it is to be)"
            ));
            Network { sharing: Sharing::Host, ..Network::default() }
        }
    }
}
