//! `unpause`

use std::process::ExitCode;

use super::super::{Context, Error, complete};
use crate::engine::container::Status;

/// Let the processes of paused containers go on
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Every container that is paused
    #[arg(short, long, conflicts_with = "containers")]
    all: bool,
    /// Names, IDs or beginnings of IDs
    #[arg(required_unless_present = "all", value_name = "CONTAINER",
        add = complete::container_names())]
    containers: Vec<String>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let right = |status| status == Status::Paused;
    let containers = super::named(&engine, args.all, &args.containers, right)?;
    cx.each(&containers, |cx, container| {
        engine.unpause(container)?;
        cx.out.line(container)
    })?;
    Ok(ExitCode::SUCCESS)
}
