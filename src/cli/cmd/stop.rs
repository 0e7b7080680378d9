//! `stop`

use std::process::ExitCode;

use super::super::{Context, Error};
use super::which::Which;
use crate::engine::bundle::signal;

/// Stop running containers
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  coracle stop web db
  coracle stop -t 60 db                                    # a minute, before SIGKILL
  coracle stop --all")]
pub(crate) struct Args {
    /// Seconds between the signal and SIGKILL; -1 for no SIGKILL [default: the container's, or 10]
    #[arg(short, long, alias = "timeout", value_name = "SECONDS", allow_hyphen_values = true)]
    time: Option<i64>,
    /// Send this signal and not the container's own
    #[arg(short, long, value_name = "SIGNAL", value_parser = parse_signal)]
    signal: Option<i32>,
    /// Take containers that are not there for stopped
    #[arg(short, long)]
    ignore: bool,
    /// Every container that runs
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    which: Which,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let containers = args.which.look_up(&engine, args.all, args.ignore, &super::is_up)?;
    // One failure does not spare the rest; the exit code tells.
    cx.each(&containers, |cx, container| match engine.stop(container, args.time, args.signal) {
        Err(error) if args.ignore && super::is_missing(&error) => Ok(()),
        // The name as it was given, as docker echoes it.
        other => other.map_err(Error::from).and_then(|_| cx.out.line(container)),
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn parse_signal(text: &str) -> Result<i32, String> {
    signal::parse(text).ok_or_else(|| format!("invalid signal: {text}"))
}
