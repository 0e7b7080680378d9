//! `system prune`

use std::process::ExitCode;

use super::super::{Context, Error};
use super::prune::{Extent, KINDS, KINDS_AND_VOLUMES, PruneArgs};

/// Remove all that nothing needs: containers that do not run, images without a tag
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  coracle system prune
  coracle system prune -a -f --volumes")]
pub(crate) struct Args {
    /// Images with a tag too, where no container was made from them
    #[arg(short, long)]
    all: bool,
    /// Volumes without a name of their own too, that no container has
    #[arg(long)]
    volumes: bool,
    #[command(flatten)]
    prune: PruneArgs,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let extent = Extent { all: args.all };
    let kinds = if args.volumes { KINDS_AND_VOLUMES } else { KINDS };
    let question = args.prune.question(kinds, extent);
    args.prune.run(cx, &question, kinds, extent)?;
    Ok(ExitCode::SUCCESS)
}
