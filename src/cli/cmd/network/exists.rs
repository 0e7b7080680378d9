//! `network exists`

use std::process::ExitCode;

use super::super::super::{Context, Error, complete};
use crate::engine::{self, network};

/// Tell by the exit code whether there is a network: 0 if so, 1 if not
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its name or ID
    #[arg(value_name = "NETWORK", add = complete::network_names())]
    name: String,
}

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    if super::builtin(&args.name).is_some() {
        return Ok(ExitCode::SUCCESS);
    }
    match cx.engine(None, None)?.named_network(&args.name) {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(engine::Error::Network(network::Error::NoSuchNetwork { .. })) => Ok(ExitCode::FAILURE),
        Err(error) => Err(error.into()),
    }
}
