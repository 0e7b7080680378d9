//! `wait`

use std::process::ExitCode;

use super::super::{Context, Error, complete};

/// Wait until containers end, and print their exit codes
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names, IDs or beginnings of IDs
    #[arg(required = true, value_name = "CONTAINER", add = complete::container_names())]
    containers: Vec<String>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    cx.each(&args.containers, |cx, container| {
        let code = engine.wait(container)?;
        cx.out.line(code)?;
        cx.out.flush()
    })?;
    Ok(ExitCode::SUCCESS)
}
