//! `network create`

use std::net::IpAddr;
use std::process::ExitCode;

use super::super::super::parse;
use super::super::super::{Context, Error};
use crate::engine;
use crate::engine::network::{self, Draft, Range, Subnet};

/// Make a network that containers share: they reach each other by address and by name
#[derive(Debug, clap::Args)]
#[command(after_help = r#"Examples:
  coracle network create shop
  coracle run -d --name db --network shop postgres:17
  coracle run -d --network shop -p 8080:80 my/shop         # reaches "db""#)]
#[allow(clippy::struct_excessive_bools)] // each is a flag of its own on the command line
pub(crate) struct Args {
    /// Its driver: there is bridge
    #[arg(short, long, value_name = "DRIVER", value_parser = driver)]
    driver: Option<()>,
    /// Its addresses: ADDRESS/BITS, once for IPv4 and once for IPv6 [default: a free range]
    #[arg(long, value_name = "SUBNET")]
    subnet: Vec<Subnet>,
    /// The address that stands for the host in it [default: the subnet's first]
    #[arg(long, value_name = "ADDRESS")]
    gateway: Vec<IpAddr>,
    /// The addresses that containers get that ask for none: ADDRESS/BITS or FIRST-LAST
    #[arg(long, value_name = "RANGE")]
    ip_range: Vec<Range>,
    /// IPv6 too
    #[arg(long)]
    ipv6: bool,
    /// Nothing but its containers is reached by it
    #[arg(long)]
    internal: bool,
    /// Its containers do not find each other by name
    #[arg(long)]
    disable_dns: bool,
    /// Label it
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = parse::pair)]
    label: Vec<(String, String)>,
    /// An option: mtu=BYTES is the longest packet
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = parse::pair)]
    opt: Vec<(String, String)>,
    /// Take one that is there already for it
    #[arg(long)]
    ignore: bool,
    /// Its name
    #[arg(value_name = "NETWORK")]
    name: String,
}

fn driver(name: &str) -> Result<(), String> {
    match name {
        "bridge" => Ok(()),
        "macvlan" | "ipvlan" => Err(format!(
            "{name} puts containers into a network of the host's, which takes root: the only driver is bridge"
        )),
        _ => Err(format!("could not find plugin {name}: the only driver is bridge")),
    }
}

/// docker's longer name for it too.
const MTU: [&str; 2] = ["mtu", "com.docker.network.driver.mtu"];

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let mut mtu = None;
    for (name, value) in &args.opt {
        if !MTU.contains(&name.as_str()) {
            return Err(Error::usage(format!(
                "the driver bridge has no option {name:?} here: there is no bridge of the \
                 kernel's, and mtu is all that can be chosen"
            )));
        }
        mtu = Some(parse::mtu(value).map_err(Error::usage)?);
    }
    let draft = Draft {
        name: args.name.clone(),
        subnets: args.subnet.clone(),
        gateways: args.gateway.clone(),
        ranges: args.ip_range.clone(),
        ipv6: args.ipv6,
        internal: args.internal,
        dns: !args.disable_dns,
        mtu,
        labels: args.label.iter().cloned().collect(),
        options: args.opt.iter().cloned().collect(),
    };
    let engine = cx.engine(None, None)?;
    let network = match engine.create_network(&draft) {
        Err(engine::Error::Network(network::Error::NetworkExists { name })) if args.ignore => {
            engine.named_network(&name)?
        }
        other => other?,
    };
    cx.out.line(network.id).map(|()| ExitCode::SUCCESS)
}
