//! `top`

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use super::super::report::escape;
use super::super::table::Table;
use super::super::{Context, Error, complete};

/// Show the processes of a container
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The container, by name or ID
    #[arg(value_name = "CONTAINER", add = complete::container_names())]
    container: String,
    /// What to tell ps(1) of this host
    #[arg(value_name = "PS-OPTION", allow_hyphen_values = true, trailing_var_arg = true)]
    options: Vec<OsString>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let pids: Vec<String> = engine.pids(&args.container)?.iter().map(ToString::to_string).collect();
    let text = match args.options.as_slice() {
        [] => own(&pids),
        options => of_ps(options, &pids)?,
    };
    cx.out.text(text)?;
    Ok(ExitCode::SUCCESS)
}

/// The usual columns, read from /proc: no ps(1) is needed for them.
fn own(pids: &[String]) -> String {
    let mut lines = vec!["UID\tPID\tPPID\tSTATE\tTIME\tCMD".to_owned()];
    for pid in pids {
        let read = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let status = String::from_utf8_lossy(&read("status")).into_owned();
        let word = |name: &str| -> String {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()).unwrap_or("?").to_owned()
        };
        let words: Vec<String> = read("cmdline")
            .split(|byte| *byte == 0)
            .filter(|word| !word.is_empty())
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        let command = match words.as_slice() {
            [] => format!("[{}]", word("Name:")),
            words => words.join(" "),
        };
        let (uid, parent, state) = (word("Uid:"), word("PPid:"), word("State:"));
        let time = time(&String::from_utf8_lossy(&read("stat")));
        let command = escape(&command).replace(['\n', '\t'], " ");
        lines.push(format!("{uid}\t{pid}\t{parent}\t{state}\t{time}\t{command}"));
    }
    let table = Table::from_lines(lines.iter().map(String::as_str));
    table.lines().join("\n") + "\n"
}

/// utime and stime of proc_pid_stat(5) as hours, minutes and seconds.
fn time(stat: &str) -> String {
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|it| it.parse::<u64>().ok()).sum();
    let seconds = ticks / rustix::param::clock_ticks_per_second().max(1);
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// What the host's ps(1) tells, of these processes alone.
fn of_ps(options: &[OsString], pids: &[String]) -> Result<String, Error> {
    let output = Command::new("ps").args(options).output().map_err(|source| Error::File {
        action: "run",
        path: "ps".into(),
        source,
    })?;
    if !output.status.success() {
        return Err(Error::usage(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = text.lines();
    let headings = lines.next().unwrap_or_default();
    let column = headings.split_whitespace().position(|heading| heading == "PID");
    let column = column.ok_or_else(|| Error::usage("Couldn't find PID field in ps output"))?;
    let ours = lines.filter(|line| {
        let pid = line.split_whitespace().nth(column);
        pid.is_some_and(|pid| pids.iter().any(|known| known == pid))
    });
    let kept: Vec<String> = std::iter::once(headings).chain(ours).map(escape).collect();
    Ok(kept.join("\n") + "\n")
}
