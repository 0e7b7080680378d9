//! `pause`

use std::process::ExitCode;

use super::super::{Context, Error};
use super::which::Which;
use crate::engine::container::Status;

/// Stop the processes of containers for a while
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Every container that runs
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    which: Which,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let right = |status| status == Status::Running;
    let containers = args.which.look_up(&engine, args.all, false, &right)?;
    cx.each(&containers, |cx, container| {
        engine.pause(container)?;
        cx.out.line(container)
    })?;
    Ok(ExitCode::SUCCESS)
}
