//! `image prune`

use std::process::ExitCode;

use super::super::{Context, Error};
use super::prune::{Extent, IMAGES, PruneArgs};

/// Remove images that no container was made from: those without a tag
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Those with a tag too
    #[arg(short, long)]
    all: bool,
    /// What builds keep too (nothing is kept of builds)
    #[arg(long)]
    build_cache: bool,
    /// Those that other tools' containers use too (each tool has a store of its own)
    #[arg(long)]
    external: bool,
    #[command(flatten)]
    prune: PruneArgs,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let question = match args.all {
        true => {
            "WARNING! This will remove all images without at least one container associated to \
             them.\n"
        }
        false => "WARNING! This will remove all dangling images.\n",
    };
    args.prune.run(cx, question, &[IMAGES], Extent { all: args.all })?;
    Ok(ExitCode::SUCCESS)
}
