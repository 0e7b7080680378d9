//! `network connect`

use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::ExitCode;

use super::super::super::{Context, Error, complete, parse};
use crate::engine::network::{Mac, Wanted};

/// Have a container be in another network too, at once where it runs
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Have this name too, for others in the network
    #[arg(long, value_name = "NAME", value_parser = parse::network_alias)]
    alias: Vec<String>,
    /// Have this address in it
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<Ipv4Addr>,
    /// Have this IPv6 address in it
    #[arg(long, value_name = "ADDRESS")]
    ip6: Option<Ipv6Addr>,
    /// Have this hardware address in it
    #[arg(long, value_name = "MAC")]
    mac_address: Option<Mac>,
    /// The network
    #[arg(value_name = "NETWORK", add = complete::network_names())]
    network: String,
    /// The container
    #[arg(value_name = "CONTAINER", add = complete::container_names())]
    container: String,
}

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    if let Some(error) = super::predefined(&args.network) {
        return Err(error);
    }
    let wanted = Wanted {
        name: args.network.clone(),
        ip: args.ip,
        ip6: args.ip6,
        mac: args.mac_address,
        aliases: args.alias.clone(),
    };
    cx.engine(None, None)?.connect_network(&wanted, &args.container)?;
    Ok(ExitCode::SUCCESS)
}
