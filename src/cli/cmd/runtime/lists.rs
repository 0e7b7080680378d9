//! `list`, `ps`

use std::fmt::Write;
use std::process::ExitCode;

use clap::ValueEnum;

use super::super::super::table::Table;
use super::super::super::{Context, Error};
use crate::engine::oci::Runtime;
use crate::engine::userns;

/// List the containers
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// How to print them
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// Print the IDs only
    #[arg(short, long)]
    quiet: bool,
}

/// List the processes of a container
#[derive(Debug, clap::Args)]
pub(super) struct PsArgs {
    /// How to print them
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// The container's ID
    id: String,
    /// Refused: options of ps(1), which is not called
    #[arg(num_args = 0.., trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    options: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

pub(super) fn list(
    args: &ListArgs,
    runtime: &Runtime,
    cx: &mut Context,
) -> Result<ExitCode, Error> {
    let found = runtime.list()?;
    if args.quiet {
        for (state, _) in &found {
            cx.out.line(&state.id)?;
        }
    } else if args.format == Format::Json {
        let states: Vec<_> = found.iter().map(|(state, status)| state.json(*status)).collect();
        cx.out.text(format!("{}\n", serde_json::Value::from(states)))?;
    } else {
        let mut table = Table::new(&["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        for (state, status) in &found {
            table.row(vec![
                state.id.clone(),
                state.json(*status)["pid"].to_string(),
                status.to_string(),
                state.bundle.display().to_string(),
                state.created.clone(),
                userns::name_of(&passwd, state.owner),
            ]);
        }
        cx.out.text(table.text())?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn ps(args: &PsArgs, runtime: &Runtime, cx: &mut Context) -> Result<ExitCode, Error> {
    if !args.options.is_empty() {
        return Err(Error::usage(format!(
            "ps {}: ps(1) is not called, so it has no options; there is --format json",
            args.options.join(" ")
        )));
    }
    let pids: Vec<i32> =
        runtime.pids(&args.id)?.into_iter().map(|pid| pid.as_raw_nonzero().get()).collect();
    if args.format == Format::Json {
        cx.out.text(format!("{}\n", serde_json::json!(pids)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = format!("{:>8} {:>8} {}\n", "PID", "UID", "COMMAND");
    for pid in pids {
        let read = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let status = String::from_utf8_lossy(&read("status")).into_owned();
        let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        let uid = uid.and_then(|ids| ids.split_whitespace().next()).unwrap_or("?").to_owned();
        let words: Vec<String> = read("cmdline")
            .split(|byte| *byte == 0)
            .filter(|word| !word.is_empty())
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        let command = words.join(" ");
        let command = super::super::super::report::escape(&command);
        let _ = writeln!(text, "{pid:>8} {uid:>8} {command}");
    }
    cx.out.text(text)?;
    Ok(ExitCode::SUCCESS)
}
