//! `container exists`

use std::process::ExitCode;

use super::super::{Context, Error, complete};

/// Exit with 0 if a container is here, and with 1 if not
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A name, an ID or the beginning of one
    #[arg(add = complete::container_names())]
    container: String,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    match cx.engine(None, None)?.container(&args.container) {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(error) if super::is_missing(&error) => Ok(ExitCode::FAILURE),
        Err(error) => Err(error.into()),
    }
}
