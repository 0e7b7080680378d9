//! `image mount`

use std::process::ExitCode;

use super::super::{Context, Error, complete};

/// Mount the files of images, within coracle unshare, and print where
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// All images
    #[arg(short, long, conflicts_with = "images")]
    all: bool,
    /// Those that are mounted are listed where none is named
    #[arg(value_name = "IMAGE", add = complete::image_names())]
    images: Vec<String>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let images = match args.all {
        true => engine.images()?.into_iter().map(|listed| listed.image.id.to_string()).collect(),
        false => args.images.clone(),
    };
    if images.is_empty() && !args.all {
        for mounted in engine.mounted_images()? {
            cx.out.line(format_args!("{} {}", mounted.id, mounted.path.display()))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    // One alone is for a script: its path and nothing else, as podman prints it.
    let alone = args.images.len() == 1;
    cx.each(&images, |cx, query| {
        let mounted = engine.mount_image(query)?;
        let path = mounted.path.display();
        if alone { cx.out.line(path) } else { cx.out.line(format_args!("{} {path}", mounted.id)) }
    })?;
    Ok(ExitCode::SUCCESS)
}
