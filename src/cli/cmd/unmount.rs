//! `unmount`

use std::process::ExitCode;

use super::super::{Context, Error, complete};

/// Take the mounted root of containers away again
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// All that are mounted
    #[arg(short, long, conflicts_with = "containers")]
    all: bool,
    /// Names, IDs or beginnings of IDs
    #[arg(required_unless_present = "all", value_name = "CONTAINER", add = complete::container_names())]
    containers: Vec<String>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let containers = match args.all {
        true => engine.mounted_containers()?.into_iter().map(|mounted| mounted.id).collect(),
        false => args.containers.clone(),
    };
    cx.each(&containers, |cx, query| match engine.unmount_container(query)? {
        Some(id) => cx.out.line(id),
        None => Ok(()),
    })?;
    Ok(ExitCode::SUCCESS)
}
