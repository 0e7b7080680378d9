//! `healthcheck run`

use std::process::ExitCode;

use super::super::{Context, Error, complete};

/// Make a container's health check now; the exit code is 0 if it is well
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The container, by name or ID
    #[arg(add = complete::container_names())]
    container: String,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    if cx.engine(None, None)?.healthcheck(&args.container)? {
        return Ok(ExitCode::SUCCESS);
    }
    cx.out.line("unhealthy")?; // podman's word
    Ok(ExitCode::FAILURE)
}
