//! `volume rm`

use std::process::ExitCode;

use super::super::super::{Context, Error, complete};

/// Remove volumes with all that is in them
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Take those that are not there for removed
    #[arg(short, long)]
    force: bool,
    /// Their names
    #[arg(required = true, value_name = "VOLUME", add = complete::volume_names())]
    names: Vec<String>,
}

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    // One failure does not spare the rest; the exit code tells.
    cx.each(&args.names, |cx, name| {
        if engine.remove_volume(name, args.force)? || args.force {
            cx.out.line(name)?;
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}
