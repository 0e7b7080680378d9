//! `artifact pull`

use std::process::ExitCode;

use super::super::super::progress::Shown;
use super::super::super::{Context, Error};
use super::super::registry::{self, AccessArgs};
use crate::engine::reference::Reference;
use crate::engine::registry::{self as registries, Guarded, Remote, ways};
use crate::engine::trust::Origin;

/// Fetch an artifact from a registry
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    access: AccessArgs,
    /// Its name
    #[arg(value_name = "NAME")]
    name: Reference,
}

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let options = registry::options(cx, &args.access)?;
    let ways = ways(&options, &args.name)?;
    let remote = Remote::by(options, args.name.clone(), ways);
    let demands = registry::policy(cx, None)?.demands(Origin::Registry(&args.name));
    let demands = demands.map_err(registries::Error::from)?;
    let remote = Guarded::new(remote, args.name.clone(), demands);
    let shown = Shown::new(args.quiet, &cx.environment);
    let jobs = cx.config.pull_jobs.unwrap_or(3).clamp(1, 16);
    let digest = engine.pull_artifact(&args.name, &remote, jobs, &shown)?;
    cx.out.line(digest.hex())?;
    Ok(ExitCode::SUCCESS)
}
