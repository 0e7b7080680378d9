//! `create`

use std::process::ExitCode;

use super::super::parse::{self, Stream};
use super::super::{Context, Error};
use super::run::{self, Shape};

/// Make a new container, and do not start it
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  coracle create --name job -v data:/data app:1 report
  coracle start -a job")]
#[command(
    disable_help_flag = true,
    override_usage = "coracle create [OPTIONS] IMAGE [COMMAND] [ARG]..."
)]
pub(crate) struct Args {
    /// The streams that run would attach to: without stdin among them, that of an interactive
    /// container stays open when who was attached leaves
    #[arg(short, long, value_name = "STREAM", value_parser = parse::stream)]
    attach: Vec<Stream>,
    #[command(flatten)]
    shape: Shape,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let mut request = args.shape.request(cx)?;
    request.attach = run::streams(&args.attach);
    let engine = args.shape.engine(cx)?;
    let found = args.shape.find(cx, &engine, &request, None)?;
    let id = engine.create(&request, found)?;
    cx.out.line(id).map(|()| ExitCode::SUCCESS)
}
