//! `network prune`

use std::process::ExitCode;

use super::super::super::{Context, Error};
use super::super::prune::{NETWORKS, PruneArgs};

/// Remove networks that no container is in, running or not
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    prune: PruneArgs,
}

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let question =
        "WARNING! This will remove all custom networks not used by at least one container.\n";
    args.prune.run_unsized(cx, question, NETWORKS)?;
    Ok(ExitCode::SUCCESS)
}
