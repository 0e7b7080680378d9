//! `manifest remove`

use std::process::ExitCode;

use super::super::super::{Context, Error, complete};
use super::list_name;
use crate::engine::reference::Reference;

/// Take images out of a list
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The list
    #[arg(value_name = "LIST", add = complete::list_names())]
    list: Reference,
    /// The images: their digests, or the names by which they were added
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let list = list_name(&args.list)?;
    let engine = cx.engine(None, None)?;
    cx.each(&args.images, |cx, image| {
        let digest = engine.remove_from_list(list, &cx.local_image(&engine, image)?)?;
        cx.out.line(digest)
    })?;
    Ok(ExitCode::SUCCESS)
}
