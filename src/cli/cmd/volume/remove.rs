//! `volume rm`

use std::process::ExitCode;

use super::super::super::{Context, Error, complete};

/// Remove volumes with all that is in them
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Take those that are not there for removed
    #[arg(short, long)]
    force: bool,
    /// Every volume that no container has
    #[arg(short, long, conflicts_with = "names")]
    all: bool,
    /// Their names
    #[arg(required_unless_present = "all", value_name = "VOLUME", add = complete::volume_names())]
    names: Vec<String>,
}

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let mut names = args.names.clone();
    if args.all {
        let used = engine.volumes_in_use()?;
        let all = engine.volumes()?.into_iter().map(|volume| volume.name.to_string());
        names.extend(all.filter(|name| !used.contains_key(name)));
    }
    // One failure does not spare the rest; the exit code tells.
    cx.each(&names, |cx, name| {
        if engine.remove_volume(name, args.force)? || args.force {
            cx.out.line(name)?;
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}
