//! `network`: networks that containers share.

pub(super) mod connect;
pub(super) mod create;
pub(super) mod disconnect;
pub(super) mod exists;
pub(super) mod inspect;
pub(super) mod list;
pub(super) mod prune;
pub(super) mod remove;

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::super::Error;
use crate::engine::network::{self, LinkPlan, Network, PRIVATE, Pool, Settings};
use crate::engine::{self, Engine};

/// The driver of networks with names.
const BRIDGE: &str = "bridge";

/// A network that is always there.
pub(super) struct Builtin {
    name: &'static str,
    driver: &'static str,
}

/// One of each container's own, the host's, none.
pub(super) const BUILTIN: [Builtin; 3] = [
    Builtin { name: PRIVATE, driver: PRIVATE },
    Builtin { name: "host", driver: "host" },
    Builtin { name: "none", driver: "null" },
];

/// A network that is always there, by its name or what docker calls it.
pub(super) fn builtin(name: &str) -> Option<&'static Builtin> {
    let name = if name == BRIDGE { PRIVATE } else { name };
    BUILTIN.iter().find(|it| it.name == name)
}

/// What docker says of a change to one of those.
fn predefined(name: &str) -> Option<Error> {
    builtin(name)?;
    let name = name.to_owned();
    Some(engine::Error::Network(network::Error::ReservedNetwork { name }).into())
}

/// A network as docker's `inspect` has it.
pub(super) fn described(engine: &Engine, query: &str) -> Result<Value, Error> {
    match builtin(query) {
        Some(builtin) => Ok(builtin.described()),
        None => document(engine, &engine.named_network(query)?),
    }
}

fn document(engine: &Engine, network: &Network) -> Result<Value, Error> {
    let members = engine.network_members(&network.name)?.into_iter();
    let containers: Map<String, Value> =
        members.map(|(record, link)| (record.id, member(&record.name, &link))).collect();
    let mut value = empty(&network.name, &network.id, BRIDGE);
    value["Created"] = network.created.as_str().into();
    value["EnableIPv6"] = network.pool(true).is_some().into();
    value["IPAM"]["Config"] = network.pools.iter().map(pool).collect();
    value["Internal"] = network.internal.into();
    value["Containers"] = containers.into();
    value["Options"] = json!(network.options);
    value["Labels"] = json!(network.labels);
    Ok(value)
}

fn empty(name: &str, id: &str, driver: &str) -> Value {
    json!({
        "Name": name,
        "Id": id,
        "Created": "",
        "Scope": "local",
        "Driver": driver,
        "EnableIPv4": true,
        "EnableIPv6": false,
        "IPAM": {"Driver": "default", "Options": null, "Config": []},
        "Internal": false,
        "Attachable": false,
        "Ingress": false,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": false,
        "Containers": {},
        "Options": {},
        "Labels": {},
    })
}

impl Builtin {
    /// Its name, as IDs of others are too: nobody makes one of that name.
    fn id(&self) -> &'static str {
        self.name
    }

    fn described(&self) -> Value {
        let mut value = empty(self.name, self.id(), self.driver);
        if self.name == PRIVATE {
            // Every container that has one has these.
            let link = LinkPlan::private(&Settings::default(), 0).addresses;
            let range = |ip: IpAddr, prefix| network::Subnet::around(ip, prefix);
            let mut config = vec![json!({
                "Subnet": range(link.guest.into(), link.prefix),
                "Gateway": link.gateway,
            })];
            config.extend(link.six.map(|six| {
                json!({"Subnet": range(six.guest.into(), six.prefix), "Gateway": six.gateway})
            }));
            value["EnableIPv6"] = true.into();
            value["IPAM"]["Config"] = config.into();
        }
        value
    }
}

fn pool(pool: &Pool) -> Value {
    let mut value = json!({"Subnet": pool.subnet, "Gateway": pool.gateway});
    if let Some(range) = &pool.range {
        value["IPRange"] = range.text.as_str().into();
    }
    value
}

fn member(name: &str, link: &LinkPlan) -> Value {
    let addresses = &link.addresses;
    let six = addresses.six.as_ref().map(|six| format!("{}/{}", six.guest, six.prefix));
    json!({
        "Name": name,
        "EndpointID": "",
        "MacAddress": link.mac.to_string(),
        "IPv4Address": format!("{}/{}", addresses.guest, addresses.prefix),
        "IPv6Address": six.unwrap_or_default(),
    })
}
