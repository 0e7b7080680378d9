//! `system prune`

use std::process::ExitCode;

use super::super::{Context, Error};
use super::prune::{Extent, KINDS, PruneArgs};

/// Remove all that nothing needs: containers that do not run, images without a tag
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Images with a tag too, where no container was made from them
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    prune: PruneArgs,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let extent = Extent { all: args.all };
    let question = args.prune.question(KINDS, extent);
    args.prune.run(cx, &question, KINDS, extent)?;
    Ok(ExitCode::SUCCESS)
}
