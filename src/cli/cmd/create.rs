//! `create`

use std::process::ExitCode;

use super::super::{Context, Error};
use super::run::Shape;

/// Make a new container, and do not start it
#[derive(Debug, clap::Args)]
#[command(
    disable_help_flag = true,
    override_usage = "coracle create [OPTIONS] IMAGE [COMMAND] [ARG]..."
)]
pub(crate) struct Args {
    #[command(flatten)]
    shape: Shape,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let request = args.shape.request(cx)?;
    let (engine, found) = args.shape.find(cx, &request)?;
    let id = engine.create(&request, found)?;
    cx.out.line(id).map(|()| ExitCode::SUCCESS)
}
