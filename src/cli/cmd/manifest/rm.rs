//! `manifest rm`

use std::process::ExitCode;

use super::super::super::{Context, Error, complete};
use crate::engine::{self, manifest, reference::Reference};

/// Remove lists; images stay, here and in registries
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// One that is not here is no error
    #[arg(short, long)]
    ignore: bool,
    /// Their names
    #[arg(value_name = "LIST", required = true, add = complete::list_names())]
    lists: Vec<Reference>,
}

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let owners = engine.enter_owners()?;
    cx.each(&args.lists, |cx, name| {
        let digest = match engine.remove_list(name, owners) {
            Err(engine::Error::Manifest(manifest::Error::NoSuchList { .. })) if args.ignore => {
                return Ok(());
            }
            removed => removed?,
        };
        cx.out.line(format_args!("Untagged: {}", name.familiar()))?;
        cx.out.line(format_args!("Deleted: {digest}"))
    })?;
    Ok(ExitCode::SUCCESS)
}
