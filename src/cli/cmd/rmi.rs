//! `rmi`

use std::process::ExitCode;

use super::super::{Context, Error, complete};
use crate::engine::{self, images, store};

/// Remove images
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Remove it though stopped containers were made from it, or it has other names
    #[arg(short, long)]
    force: bool,
    /// Names, IDs or beginnings of IDs
    #[arg(required = true, value_name = "IMAGE", add = complete::image_names())]
    images: Vec<String>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let owners = engine.enter_owners()?;
    cx.each(&args.images, |cx, query| {
        let removed =
            match engine.remove_image(&cx.local_image(&engine, query)?, args.force, owners) {
                Err(error) if args.force && is_missing(&error) => return Ok(()),
                removed => removed?,
            };
        for part in removed {
            match part {
                images::Removed::Untagged(name) => cx.out.line(format_args!("Untagged: {name}"))?,
                images::Removed::Deleted(id) => cx.out.line(format_args!("Deleted: {id}"))?,
            }
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

fn is_missing(error: &engine::Error) -> bool {
    use store::Error::NoSuchImage;
    matches!(
        error,
        engine::Error::Store(NoSuchImage { .. })
            | engine::Error::Image(images::Error::Store(NoSuchImage { .. }))
    )
}
