//! `image unmount`

use std::process::ExitCode;

use super::super::{Context, Error, complete};

/// Take the mounted files of images away again
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// All that are mounted
    #[arg(short, long, conflicts_with = "images")]
    all: bool,
    /// Though something uses the files: it keeps them until it ends
    #[arg(short, long)]
    force: bool,
    /// Names, IDs or beginnings of IDs
    #[arg(required_unless_present = "all", value_name = "IMAGE", add = complete::image_names())]
    images: Vec<String>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let images = match args.all {
        true => engine.mounted_images()?.into_iter().map(|mounted| mounted.id).collect(),
        false => args.images.clone(),
    };
    cx.each(&images, |cx, query| match engine.unmount_image(query, args.force)? {
        Some(id) => cx.out.line(id),
        None => Ok(()),
    })?;
    Ok(ExitCode::SUCCESS)
}
