//! `mount`

use std::process::ExitCode;

use super::super::{Context, Error, complete};

/// Mount the root of containers, within coracle unshare, and print where
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Those that are mounted are listed where none is named
    #[arg(value_name = "CONTAINER", add = complete::container_names())]
    containers: Vec<String>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    if args.containers.is_empty() {
        for mounted in engine.mounted_containers()? {
            cx.out.line(format_args!("{} {}", mounted.id, mounted.path.display()))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    // One alone is for a script: its path and nothing else, as podman prints it.
    let alone = args.containers.len() == 1;
    cx.each(&args.containers, |cx, query| {
        let mounted = engine.mount_container(query)?;
        let path = mounted.path.display();
        if alone { cx.out.line(path) } else { cx.out.line(format_args!("{} {path}", mounted.id)) }
    })?;
    Ok(ExitCode::SUCCESS)
}
