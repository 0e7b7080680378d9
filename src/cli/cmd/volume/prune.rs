//! `volume prune`

use std::io::{BufRead, Write};
use std::process::ExitCode;

use super::super::super::parse::{self, filter, filter::Filter};
use super::super::super::{Context, Error, human};

const FILTERS: &[&str] = &["all", "label", "label!"];

/// Remove volumes that no container has: those without a name of their own, or all
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Those with names too
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only where this holds: label=NAME[=VALUE], label!=NAME[=VALUE]
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
}

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    filter::check(&args.filter, FILTERS).map_err(|error| Error::usage(error.0))?;
    let mut all = args.all;
    for filter in args.filter.iter().filter(|filter| filter.key == "all") {
        all |= parse::boolean(&filter.value).map_err(|error| Error::usage(error.0))?;
    }
    if !args.force && !agreed(all) {
        return Ok(ExitCode::SUCCESS);
    }
    let engine = cx.engine(None, None)?;
    let pruned = engine.prune_volumes(all, |volume| {
        args.filter.iter().all(|Filter { key, value }| match key.as_str() {
            "label" => filter::label_holds(value, &volume.labels),
            "label!" => !filter::label_holds(value, &volume.labels),
            _ => true,
        })
    })?;
    if !pruned.names.is_empty() {
        cx.out.line("Deleted Volumes:")?;
        pruned.names.iter().try_for_each(|name| cx.out.line(name))?;
        cx.out.line("")?;
    }
    cx.out.line(format_args!("Total reclaimed space: {}", human::size(pruned.bytes)))?;
    Ok(ExitCode::SUCCESS)
}

/// docker's question.
fn agreed(all: bool) -> bool {
    let which = if all { "all" } else { "anonymous" };
    let mut out = std::io::stdout();
    let asked = write!(
        out,
        "WARNING! This will remove {which} local volumes not used by at least one container.\n\
         Are you sure you want to continue? [y/N] "
    );
    let mut answer = String::new();
    let read = asked
        .and_then(|()| out.flush())
        .and_then(|()| std::io::stdin().lock().read_line(&mut answer));
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}
