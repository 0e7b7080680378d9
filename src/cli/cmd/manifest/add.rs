//! `manifest add`

use std::process::ExitCode;

use super::super::super::{Context, Error, complete};
use super::{AskArgs, DetailArgs, asking, list_name, wanted};
use crate::engine::manifest::Wanted;
use crate::engine::reference::Reference;

/// Add images to a list
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Of an image for several platforms, add all and not one
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    details: DetailArgs,
    #[command(flatten)]
    ask: AskArgs,
    /// The list
    #[arg(value_name = "LIST", add = complete::list_names())]
    list: Reference,
    /// Images of the store or, where they are not there, of a registry; docker://NAME is of a registry
    #[arg(value_name = "IMAGE", required = true, add = complete::image_names())]
    images: Vec<String>,
}

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let list = list_name(&args.list)?;
    let images = args.images.iter().map(|image| wanted(cx, image, args.all, &args.details));
    let images: Vec<Wanted> = images.collect::<Result<_, _>>()?;
    let (engine, options) = (cx.engine(None, None)?, args.ask.options(cx)?);
    cx.out.line(engine.add_to_list(list, &images, &asking(&options))?)?;
    Ok(ExitCode::SUCCESS)
}
