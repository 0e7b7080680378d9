//! `image tree`: an image's layers, and the images that end in each.

use std::process::ExitCode;

use super::super::{Context, Error, complete, human};
use crate::engine::images::Listed;
use crate::engine::reference;

/// Show the layers of an image
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show the images that stand on it instead
    #[arg(long)]
    whatrequires: bool,
    /// A name, an ID or the beginning of one
    #[arg(value_name = "IMAGE", add = complete::image_names())]
    image: String,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let image = engine.store().resolve(&cx.local_image(&engine, &args.image)?)?;
    let listed = engine.images()?;
    let names = |listed: &Listed| {
        let tags: Vec<String> =
            listed.names.tags.iter().map(|it| reference::familiar(it)).collect();
        format!("[{}]", tags.join(" "))
    };
    let own = listed.iter().find(|listed| listed.image.id == image.id);
    cx.out.line(format_args!("Image ID: {}", image.id.short()))?;
    cx.out.line(format_args!("Tags:     {}", own.map_or_else(|| "[]".into(), names)))?;
    cx.out.line(format_args!("Size:     {}", human::size(image.size())))?;
    let mut lines = Vec::new();
    if args.whatrequires {
        cx.out.line("Image Layers required by:")?;
        let above = |listed: &&Listed| {
            listed.image.id != image.id && listed.image.layers.starts_with(&image.layers)
        };
        for above in listed.iter().filter(above) {
            lines.push(format!("ID: {} Tags: {}", above.image.id.short(), names(above)));
        }
    } else {
        cx.out.line("Image Layers")?;
        for layer in &image.layers {
            let ends = |listed: &&Listed| {
                listed.image.layers.last().is_some_and(|last| last.chain == layer.chain)
            };
            let top: Vec<String> = listed.iter().filter(ends).map(names).collect();
            let (id, size) = (layer.chain.0.short(), human::size(layer.unpacked));
            let top = match top.is_empty() {
                true => String::new(),
                false => format!(" Top Layer of: {}", top.join(", ")),
            };
            lines.push(format!("ID: {id} Size: {size:>7}{top}"));
        }
    }
    for (place, line) in lines.iter().enumerate() {
        let branch = if place + 1 == lines.len() { "└──" } else { "├──" };
        cx.out.line(format_args!("{branch} {line}"))?;
    }
    Ok(ExitCode::SUCCESS)
}
