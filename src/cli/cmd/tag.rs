//! `tag`

use std::process::ExitCode;

use super::super::{Context, Error, complete};
use crate::engine::reference::Reference;

/// Give an image one more name
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  coracle tag app:1 registry.example/team/app:1")]
pub(crate) struct Args {
    /// The image: a name, an ID or the beginning of one
    #[arg(value_name = "IMAGE", add = complete::image_names())]
    image: String,
    /// The name, with a tag or for :latest
    #[arg(value_name = "NAME[:TAG]")]
    name: Reference,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    if args.name.digest().is_some() {
        return Err(Error::usage("refusing to create a tag with a digest reference"));
    }
    let engine = cx.engine(None, None)?;
    engine.tag(&cx.local_image(&engine, &args.image)?, &args.name)?;
    Ok(ExitCode::SUCCESS)
}
