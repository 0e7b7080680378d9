//! `rm`

use std::process::ExitCode;

use super::super::{Context, Error};
use super::which::Which;
use crate::engine::{Removal, Removed};

/// Remove containers and all that they wrote
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  coracle rm web
  coracle rm -f -v web                                     # though it runs, volumes too
  coracle rm --all")]
#[allow(clippy::struct_excessive_bools)] // each is a flag of its own
pub(crate) struct Args {
    /// Kill those that run; take those that are not there for removed
    #[arg(short, long)]
    force: bool,
    /// Take those that are not there for removed
    #[arg(short, long)]
    ignore: bool,
    /// Stop those that run, and give them so many seconds before SIGKILL
    #[arg(short, long, value_name = "SECONDS", requires = "force", allow_negative_numbers = true)]
    time: Option<i64>,
    /// Remove their anonymous volumes too
    #[arg(short, long)]
    volumes: bool,
    /// Every container
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    which: Which,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let removal = Removal { force: args.force, volumes: args.volumes };
    let containers = args.which.look_up(&engine, args.all, args.ignore || args.force, &|_| true)?;
    // One failure does not spare the rest; the exit code tells.
    cx.each(&containers, |cx, query| {
        let stopped = match args.time {
            Some(grace) => engine.stop(query, Some(grace), None).map(drop),
            None => Ok(()),
        };
        match stopped.and_then(|()| engine.remove_container(query, removal)) {
            // The name as it was given, as docker echoes it.
            Ok(Removed::Container { .. }) => cx.out.line(query),
            // One with --rm goes by being stopped.
            Ok(Removed::Nothing) if args.time.is_some() => cx.out.line(query),
            Ok(Removed::Nothing) => Ok(()),
            Err(error) if (args.ignore || args.force) && super::is_missing(&error) => Ok(()),
            Err(error) => Err(error.into()),
        }
    })?;
    Ok(ExitCode::SUCCESS)
}
