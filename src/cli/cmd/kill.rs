//! `kill`

use std::process::ExitCode;

use super::super::{Context, Error};
use super::stop::parse_signal;
use super::which::Which;

/// Send a signal to running containers
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  coracle kill -s HUP web")]
pub(crate) struct Args {
    /// Send this signal and not SIGKILL
    #[arg(short, long, value_name = "SIGNAL", value_parser = parse_signal)]
    signal: Option<i32>,
    /// Every container that runs
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    which: Which,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let containers = args.which.look_up(&engine, args.all, false, &super::is_up)?;
    let signal = args.signal.unwrap_or(libc::SIGKILL);
    cx.each(&containers, |cx, container| {
        engine.kill(container, signal)?;
        cx.out.line(container)
    })?;
    Ok(ExitCode::SUCCESS)
}
