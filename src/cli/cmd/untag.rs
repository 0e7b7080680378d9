//! `untag`

use std::process::ExitCode;

use super::super::{Context, Error, complete};
use crate::engine::reference::Reference;

/// Take names from an image, which stays
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image: a name, an ID or the beginning of one
    #[arg(value_name = "IMAGE", add = complete::image_names())]
    image: String,
    /// The names to take; all of them where none is given
    #[arg(value_name = "NAME[:TAG]", add = complete::image_names())]
    names: Vec<Reference>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    engine.untag(&cx.local_image(&engine, &args.image)?, &args.names)?;
    Ok(ExitCode::SUCCESS)
}
