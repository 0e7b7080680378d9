//! `wait`

use std::panic::resume_unwind;
use std::process::ExitCode;
use std::thread;

use super::super::{Context, Error, complete};
use crate::engine::Condition;

/// In place of the exit code of what has not ended.
const NO_CODE: &str = "-1";

/// Wait until containers end, and print their exit codes
#[derive(Debug, clap::Args)]
#[command(after_help = r#"Examples:
  test "$(coracle wait job)" = 0"#)]
pub(crate) struct Args {
    /// Wait until it is created, running, paused, exited (or stopped), healthy or unhealthy, whichever
    /// comes first [default: exited]
    #[arg(long, value_name = "CONDITION", value_delimiter = ',')]
    condition: Vec<Condition>,
    /// Take containers that are not there for ended, with -1
    #[arg(long)]
    ignore: bool,
    /// Names, IDs or beginnings of IDs
    #[arg(required = true, value_name = "CONTAINER", add = complete::container_names())]
    containers: Vec<String>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let wait = |container| match args.condition.is_empty() {
        true => engine.wait(container).map(Some),
        false => engine.wait_for(container, &args.condition),
    };
    // For all from now on: one that goes with its end is gone by the time that those before it end.
    thread::scope(|scope| {
        let waits: Vec<_> =
            args.containers.iter().map(|container| scope.spawn(move || wait(container))).collect();
        cx.each(waits, |cx, waiting| {
            let code = waiting.join().unwrap_or_else(|panic| resume_unwind(panic));
            match code {
                Err(error) if args.ignore && super::is_missing(&error) => cx.out.line(NO_CODE)?,
                other => match other? {
                    Some(code) => cx.out.line(code)?,
                    None => cx.out.line(NO_CODE)?,
                },
            }
            cx.out.flush()
        })
    })?;
    Ok(ExitCode::SUCCESS)
}
