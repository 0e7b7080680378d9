//! `rename`

use std::process::ExitCode;

use super::super::{Context, Error, complete};
use crate::engine::container::Name;

/// Give a container another name
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The container, by name or ID
    #[arg(add = complete::container_names())]
    container: String,
    /// Its new name
    name: Name,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    cx.engine(None, None)?.rename(&args.container, &args.name)?;
    Ok(ExitCode::SUCCESS)
}
