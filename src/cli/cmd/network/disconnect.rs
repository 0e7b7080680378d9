//! `network disconnect`

use std::process::ExitCode;

use super::super::super::{Context, Error, complete};

/// Have a container be in a network no more, at once where it runs
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Take a container that is not there, or not in it, for disconnected
    #[arg(short, long)]
    force: bool,
    /// The network
    #[arg(value_name = "NETWORK", add = complete::network_names())]
    network: String,
    /// The container
    #[arg(value_name = "CONTAINER", add = complete::container_names())]
    container: String,
}

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    use crate::engine::{Error as Failure, container::Error as Missing};
    let network = super::builtin(&args.network).map_or(args.network.as_str(), |it| it.name);
    match cx.engine(None, None)?.disconnect_network(network, &args.container) {
        Err(Failure::NotConnected { .. } | Failure::Container(Missing::NoSuchContainer { .. }))
            if args.force => {}
        other => other?,
    }
    Ok(ExitCode::SUCCESS)
}
