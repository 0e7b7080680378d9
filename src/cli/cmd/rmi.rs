//! `rmi`

use std::process::ExitCode;

use super::super::{Context, Error, complete};
use crate::engine::{self, images, store};

/// Remove images
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  coracle rmi app:1 app:2")]
#[allow(clippy::struct_excessive_bools)] // each is a flag of its own
pub(crate) struct Args {
    /// Remove it though stopped containers were made from it, or it has other names
    #[arg(short, long)]
    force: bool,
    /// All images
    #[arg(short, long, conflicts_with = "images")]
    all: bool,
    /// One that is not here is no error
    #[arg(short, long)]
    ignore: bool,
    /// Leave the layers that nothing needs any more for a later removal or prune
    #[arg(long)]
    no_prune: bool,
    /// Names, IDs or beginnings of IDs
    #[arg(required_unless_present = "all", value_name = "IMAGE", add = complete::image_names())]
    images: Vec<String>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let owners = engine.enter_owners()?;
    let queries = match args.all {
        true => engine.images()?.into_iter().map(|listed| listed.image.id.to_string()).collect(),
        false => args.images.clone(),
    };
    // By their IDs: with every name.
    let force = args.force || args.all;
    cx.each(&queries, |cx, query| {
        let removed = match engine.remove_image(
            &cx.local_image(&engine, query)?,
            force,
            !args.no_prune,
            owners,
        ) {
            Err(error) if (args.force || args.ignore) && is_missing(&error) => return Ok(()),
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
