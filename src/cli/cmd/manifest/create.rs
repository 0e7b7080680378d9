//! `manifest create`

use std::process::ExitCode;

use super::super::super::{Context, Error, complete, parse};
use super::{AskArgs, DetailArgs, asking, list_name, wanted};
use crate::engine::manifest::Wanted;
use crate::engine::reference::Reference;

/// Make a list of images for several platforms
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  coracle manifest create app:1 registry.example/app:1-amd64 registry.example/app:1-arm64
  coracle manifest push app:1 registry.example/app:1")]
pub(crate) struct Args {
    /// Add to the list if there is one
    #[arg(short, long)]
    amend: bool,
    /// Of an image for several platforms, add all and not this machine's
    #[arg(long)]
    all: bool,
    /// Say something of the list itself
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse::pair)]
    annotation: Vec<(String, String)>,
    #[command(flatten)]
    ask: AskArgs,
    /// The list's name
    #[arg(value_name = "LIST")]
    list: Reference,
    /// Images of the store or, where they are not there, of a registry; docker://NAME is of a registry
    #[arg(value_name = "IMAGE", add = complete::image_names())]
    images: Vec<String>,
}

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let list = list_name(&args.list)?;
    let images = args.images.iter();
    let images = images.map(|image| wanted(cx, image, args.all, &DetailArgs::default()));
    let images: Vec<Wanted> = images.collect::<Result<_, _>>()?;
    let (engine, options) = (cx.engine(None, None)?, args.ask.options(cx)?);
    engine.create_list(list, &images, args.amend, &asking(&options))?;
    if !args.annotation.is_empty() {
        engine.annotate_whole_list(list, &args.annotation)?;
    }
    cx.out.line(format_args!("Created manifest list {list}"))?;
    Ok(ExitCode::SUCCESS)
}
