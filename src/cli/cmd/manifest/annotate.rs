//! `manifest annotate`

use std::process::ExitCode;

use super::super::super::{Context, Error, complete};
use super::{DetailArgs, list_name};
use crate::engine::reference::Reference;

/// Say what an image of a list is for
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Say the annotations of the list itself
    #[arg(long, conflicts_with = "image")]
    index: bool,
    #[command(flatten)]
    details: DetailArgs,
    /// The list
    #[arg(value_name = "LIST", add = complete::list_names())]
    list: Reference,
    /// The image: its digest, or the name by which it was added
    #[arg(value_name = "IMAGE", required_unless_present = "index")]
    image: Option<String>,
}

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let list = list_name(&args.list)?;
    let engine = cx.engine(None, None)?;
    let details = args.details.details();
    match &args.image {
        Some(image) => {
            args.details.platform()?; // words that make a platform
            engine.annotate_list(list, &cx.local_image(&engine, image)?, &details)?;
        }
        None => {
            engine.annotate_whole_list(list, &details.annotations)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
