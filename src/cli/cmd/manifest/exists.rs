//! `manifest exists`

use std::process::ExitCode;

use super::super::super::{Context, Error, complete};
use crate::engine::reference::Reference;

/// Tell by the exit code whether there is a list: 0 if so, 1 if not
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its name
    #[arg(value_name = "LIST", add = complete::list_names())]
    list: Reference,
}

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    match cx.engine(None, None)?.list(&args.list)? {
        Some(_) => Ok(ExitCode::SUCCESS),
        None => Ok(ExitCode::FAILURE),
    }
}
