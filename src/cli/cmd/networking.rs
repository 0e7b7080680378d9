//! The flags about a container's network: which, with what addresses, by which of the host's ports.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::super::parse::{self, Network};
use super::super::seldom::Seldom;
use super::super::{Context, Error};
use crate::engine::bundle::{self, Sharing};
use crate::engine::network::{self, Expose, Mac, PortRequest, Wanted};

/// Network and ports.
#[derive(Debug, clap::Args)]
pub(super) struct Networking {
    /// Use a network of its own (where it can be made, that is what is used), one whose connections to the
    /// outside are made by the host's sockets (fast), the host's, none, a container's, or one that network create has made: NAME[:ip=ADDRESS,ip6=ADDRESS,mac=MAC,alias=NAME],
    /// more than once for several of those
    #[arg(long, alias = "net", value_name = "private|fast|host|none|container:NAME|NETWORK",
        action = clap::ArgAction::Append, value_parser = parse::network)]
    pub(super) network: Vec<Network>,
    /// Let the host's port lead to the container's: [[IP:][HOST-PORT]:]PORT[/udp]
    #[arg(short, long, value_name = "PORTS", value_parser = parse::publish)]
    publish: Vec<Arc<[PortRequest]>>,
    #[command(flatten)]
    more: Seldom<MoreNetworking>,
}

/// Names and addresses in the network, and ports that are not named one by one.
#[derive(Debug, Default, clap::Args)]
struct MoreNetworking {
    /// Have this name too, for others in its networks
    #[arg(long, alias = "net-alias", value_name = "NAME", value_parser = parse::network_alias)]
    network_alias: Vec<String>,
    /// Let a port of the host's lead to each port that is exposed
    #[arg(short = 'P', long)]
    publish_all: bool,
    /// Tell others of a port
    #[arg(long, value_name = "PORT[/udp]", value_parser = parse::expose)]
    expose: Vec<Arc<[Expose]>>,
    /// Have this address in its network
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<Ipv4Addr>,
    /// Have this IPv6 address in its network
    #[arg(long, value_name = "ADDRESS")]
    ip6: Option<Ipv6Addr>,
    /// Have this hardware address in its network
    #[arg(long, value_name = "MAC")]
    mac_address: Option<Mac>,
}

impl Networking {
    /// Fills in the request.
    pub(super) fn apply(&self, request: &mut bundle::Request, cx: &Context) -> Result<(), Error> {
        let configured = || match &cx.config.network {
            Some(name) => parse::network(name)
                .map(|network| vec![network])
                .map_err(|error| Error::usage(format!("configuration: {error}"))),
            None => Ok(Vec::new()),
        };
        let mut asked = match &self.network[..] {
            [] => configured()?,
            asked => asked.to_vec(),
        };
        let publishes = self.more.publish_all || !self.publish.is_empty();
        let addressed =
            self.more.ip.is_some() || self.more.ip6.is_some() || self.more.mac_address.is_some();
        if asked.is_empty() {
            // What takes a private network asks for one.
            asked.push(if publishes || addressed { private() } else { by_default(cx) });
        }
        // Names go together; a kind of network is one, and alone.
        asked.dedup_by(|one, other| one.named.is_none() && one == other);
        if asked.len() > 1 && asked.iter().any(|network| network.named.is_none()) {
            return Err(Error::usage(
                "conflicting options: several networks are for names that network create has made: \
                 --network private, fast, host, none and container:NAME go alone",
            ));
        }
        let networks = self.named(&asked, addressed)?;
        let Network { sharing, mut settings, .. } = asked.swap_remove(0);
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
        if networks.is_empty() {
            self.address(&mut settings)?;
        }
        (request.network, request.private) = (Some(sharing), settings);
        request.networks = networks;
        request.publish = self.publish.iter().flat_map(|all| all.iter().cloned()).collect();
        request.publish_all = self.more.publish_all;
        request.expose = self.more.expose.iter().flat_map(|all| all.iter().copied()).collect();
        Ok(())
    }

    /// The addresses of a network that the container has alone.
    fn address(&self, settings: &mut network::Settings) -> Result<(), Error> {
        let usage = |error: parse::Invalid| Error::usage(error.0);
        if let Some(ip) = self.more.ip {
            settings.ip = Some(parse::private_ip(&ip.to_string()).map_err(usage)?);
        }
        if let Some(ip) = self.more.ip6 {
            settings.ip6 = Some(parse::private_ip6(&ip.to_string()).map_err(usage)?);
        }
        settings.mac = self.more.mac_address.or(settings.mac);
        Ok(())
    }

    /// The networks with names among those that were asked for: all of them, or none.
    fn named(&self, asked: &[Network], addressed: bool) -> Result<Vec<Wanted>, Error> {
        let mut networks: Vec<Wanted> = asked.iter().filter_map(|it| it.named.clone()).collect();
        // docker's words.
        for (place, network) in networks.iter().enumerate() {
            if networks[..place].iter().any(|other| other.name == network.name) {
                return Err(Error::usage(format!(
                    "network {:?} is specified multiple times",
                    network.name
                )));
            }
        }
        if networks.is_empty() && !self.more.network_alias.is_empty() {
            return Err(Error::usage(
                "network-scoped alias is supported only for containers in user defined networks",
            ));
        }
        if addressed && networks.len() > 1 {
            return Err(Error::usage(
                "conflicting options: an address goes with one network: \
                 --network NAME:ip=ADDRESS says which",
            ));
        }
        for network in &mut networks {
            network.aliases.extend(self.more.network_alias.iter().cloned());
            network.ip = self.more.ip.or(network.ip);
            network.ip6 = self.more.ip6.or(network.ip6);
            network.mac = self.more.mac_address.or(network.mac);
        }
        Ok(networks)
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
