//! `image mount`

use std::process::ExitCode;

use super::super::{Context, Error, complete};

/// Mount the files of images, within coracle unshare, and print where
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Those that are mounted are listed where none is named
    #[arg(value_name = "IMAGE", add = complete::image_names())]
    images: Vec<String>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    if args.images.is_empty() {
        for mounted in engine.mounted_images()? {
            cx.out.line(format_args!("{} {}", mounted.id, mounted.path.display()))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    // One alone is for a script: its path and nothing else, as podman prints it.
    let alone = args.images.len() == 1;
    cx.each(&args.images, |cx, query| {
        let mounted = engine.mount_image(query)?;
        let path = mounted.path.display();
        if alone { cx.out.line(path) } else { cx.out.line(format_args!("{} {path}", mounted.id)) }
    })?;
    Ok(ExitCode::SUCCESS)
}
