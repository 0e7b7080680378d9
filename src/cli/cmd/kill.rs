//! `kill`

use std::process::ExitCode;

use super::super::{Context, Error, complete};
use super::stop::parse_signal;

/// Send a signal to running containers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Send this signal and not SIGKILL
    #[arg(short, long, value_name = "SIGNAL", value_parser = parse_signal)]
    signal: Option<i32>,
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
    let containers = super::named(&engine, args.all, &args.containers, super::is_up)?;
    let signal = args.signal.unwrap_or(libc::SIGKILL);
    cx.each(&containers, |cx, container| {
        engine.kill(container, signal)?;
        cx.out.line(container)
    })?;
    Ok(ExitCode::SUCCESS)
}
