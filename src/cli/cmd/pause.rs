//! `pause`

use std::process::ExitCode;

use super::super::{Context, Error, complete};
use crate::engine::container::Status;

/// Stop the processes of containers for a while
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Every container that runs
    #[arg(short, long, conflicts_with = "containers")]
    all: bool,
    /// Names, IDs or beginnings of IDs
    #[arg(required_unless_present = "all", value_name = "CONTAINER",
        add = complete::container_names())]
    containers: Vec<String>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let right = |status| status == Status::Running;
    let containers = super::named(&engine, args.all, &args.containers, right)?;
    cx.each(&containers, |cx, container| {
        engine.pause(container)?;
        cx.out.line(container)
    })?;
    Ok(ExitCode::SUCCESS)
}
