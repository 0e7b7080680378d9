//! `network inspect`

use std::process::ExitCode;

use super::super::super::format::Format;
use super::super::super::{Context, Error, complete};
use super::super::inspect;
use super::described;

/// Print all there is to say of networks
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print with a Go template, or json
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Taken for docker's sake: all that is known is told anyway
    #[arg(short, long)]
    verbose: bool,
    /// Their names or IDs
    #[arg(required = true, value_name = "NETWORK", add = complete::network_names())]
    names: Vec<String>,
}

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let mut found = Vec::new();
    // What is there is printed, whatever is not.
    let looked_up = cx.each(&args.names, |_, name| {
        found.push(described(&engine, name)?);
        Ok(())
    });
    inspect::print(cx, found, args.format.as_ref())?;
    looked_up.map(|()| ExitCode::SUCCESS)
}
