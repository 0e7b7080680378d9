//! `image exists`

use std::process::ExitCode;

use super::super::{Context, Error, complete};
use crate::engine::store;

/// Exit with 0 if an image is here, and with 1 if not
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A name, an ID or the beginning of one
    #[arg(value_name = "IMAGE", add = complete::image_names())]
    image: String,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    match engine.store().resolve(&cx.local_image(&engine, &args.image)?) {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(store::Error::NoSuchImage { .. }) => Ok(ExitCode::FAILURE),
        Err(error) => Err(error.into()),
    }
}
