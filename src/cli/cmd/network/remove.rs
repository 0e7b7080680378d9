//! `network rm`

use std::process::ExitCode;

use super::super::super::{Context, Error, complete};
use crate::engine::{self, network};

/// Remove networks that no container is in
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Take those that are not there for removed
    #[arg(short, long)]
    force: bool,
    /// Their names or IDs
    #[arg(required = true, value_name = "NETWORK", add = complete::network_names())]
    names: Vec<String>,
}

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    // One failure does not spare the rest; the exit code tells.
    cx.each(&args.names, |cx, name| {
        if let Some(error) = super::predefined(name) {
            return Err(error);
        }
        match engine.remove_network(name) {
            Ok(()) => cx.out.line(name),
            Err(engine::Error::Network(network::Error::NoSuchNetwork { .. })) if args.force => {
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    })?;
    Ok(ExitCode::SUCCESS)
}
