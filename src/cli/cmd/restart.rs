//! `restart`

use std::process::ExitCode;

use super::super::{Context, Error};
use super::stop::parse_signal;
use super::which::Which;

/// Stop containers and start them again
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Seconds between the signal and SIGKILL; -1 for no SIGKILL [default: the container's, or 10]
    #[arg(short, long, alias = "timeout", value_name = "SECONDS", allow_hyphen_values = true)]
    time: Option<i64>,
    /// Send this signal and not the container's own
    #[arg(short, long, value_name = "SIGNAL", value_parser = parse_signal)]
    signal: Option<i32>,
    /// Leave alone what does not run
    #[arg(long)]
    running: bool,
    /// Every container
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    which: Which,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let tell = cx.teller("restart");
    let right = |status| !args.running || super::is_up(status);
    let containers = args.which.look_up(&engine, args.all, false, &right)?;
    cx.each(&containers, |cx, container| {
        // A monitor is forked: it must not hold what is yet to be printed.
        cx.out.flush()?;
        engine.restart(container, args.time, args.signal, &tell)?;
        cx.out.line(container)
    })?;
    Ok(ExitCode::SUCCESS)
}
