//! `volume prune`

use std::process::ExitCode;

use super::super::super::{Context, Error};
use super::super::prune::{Extent, PruneArgs, VOLUMES};

/// Remove volumes that no container has: those without a name of their own, or all
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Those with names too
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    prune: PruneArgs,
}

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let extent = Extent { all: args.all };
    let which = if args.all { "all" } else { "anonymous" };
    let question = format!(
        "WARNING! This will remove {which} local volumes not used by at least one container.\n"
    );
    args.prune.run(cx, &question, &[VOLUMES], extent)?;
    Ok(ExitCode::SUCCESS)
}
