//! `container prune`

use std::process::ExitCode;

use super::super::{Context, Error};
use super::prune::{CONTAINERS, Extent, PruneArgs};

/// Remove all containers that do not run
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    prune: PruneArgs,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let question = "WARNING! This will remove all stopped containers.\n";
    args.prune.run(cx, question, &[CONTAINERS], Extent { all: false })?;
    Ok(ExitCode::SUCCESS)
}
