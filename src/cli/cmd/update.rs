//! `update`

use std::process::ExitCode;

use super::super::{Context, Error, complete};
use super::limits::LimitArgs;
use crate::engine::container::Restart;

/// Change what containers may use, and whether they are started again
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  coracle update --restart always web
  coracle update -m 512m --cpus 1.5 web")]
pub(crate) struct Args {
    #[command(flatten)]
    limits: LimitArgs,
    /// Start the container again when it ends: no, on-failure[:N], always, unless-stopped
    #[arg(long, value_name = "POLICY")]
    restart: Option<Restart>,
    /// Names, IDs or beginnings of IDs
    #[arg(required = true, value_name = "CONTAINER", add = complete::container_names())]
    containers: Vec<String>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let resources = args.limits.resources()?;
    if resources.is_empty() && args.restart.is_none() {
        return Err(Error::usage("you must provide one or more flags when using this command"));
    }
    let engine = cx.engine(None, None)?;
    cx.each(&args.containers, |cx, container| {
        engine.update(container, &resources, args.restart)?;
        cx.out.line(container)
    })?;
    Ok(ExitCode::SUCCESS)
}
