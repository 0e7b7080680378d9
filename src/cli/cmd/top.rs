//! `top`

use super::super::table::Table;
use super::super::{Context, Error, complete};
use crate::engine::ProcessLine;
use std::process::{Command, ExitCode, Stdio};

/// Show the processes of a running container
#[derive(Debug, clap::Args)]
#[command(override_usage = "coracle top CONTAINER [PS-OPTION]...")]
pub(crate) struct Args {
    /// The container, by name or ID
    #[arg(add = complete::container_names())]
    container: String,
    /// Options for the host's ps(1), which is run then; one of its columns must be PID
    #[arg(value_name = "PS-OPTION", trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    if !args.options.is_empty() {
        let pids = engine.pids(&args.container)?;
        let pids: Vec<i32> = pids.iter().map(|pid| pid.as_raw_nonzero().get()).collect();
        let text = host_ps(&args.options)?;
        for line in of_pids(&text, &pids).ok_or_else(no_pid)? {
            cx.out.line(line)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
    let now = jiff::Timestamp::now();
    for process in engine.top(&args.container)? {
        table.row(row(&process, now));
    }
    cx.out.text(table.text())?;
    Ok(ExitCode::SUCCESS)
}

/// The columns of `ps -ef`, which docker shows.
fn row(process: &ProcessLine, now: jiff::Timestamp) -> Vec<String> {
    let age_s = now.as_second() - process.started.as_second();
    let used = process.used.as_secs();
    // The percentage of its life that it has spent on a processor.
    let share = used.saturating_mul(100) / u64::try_from(age_s.max(1)).unwrap_or(1);
    // Major and minor are apart in it (proc_pid_stat(5)); 136 and up are pseudo-terminals.
    let (major, minor) = ((process.terminal >> 8) & 0xfff, process.terminal & 0xff);
    let minor = minor | (process.terminal >> 12) & 0xf_ff00;
    vec![
        if process.uid == 0 { "root".to_owned() } else { process.uid.to_string() },
        process.pid.to_string(),
        process.parent.to_string(),
        share.to_string(),
        process.started.strftime(if age_s < 24 * 3600 { "%H:%M" } else { "%b%d" }).to_string(),
        match major {
            136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
            _ => "?".to_owned(),
        },
        format!("{:02}:{:02}:{:02}", used / 3600, used / 60 % 60, used % 60),
        process.command.clone(),
    ]
}

fn host_ps(options: &[String]) -> Result<String, Error> {
    let failed = |source| Error::File { action: "run", path: "ps".into(), source };
    let output = Command::new("ps").args(options).stdin(Stdio::null()).output().map_err(failed)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().find(|line| !line.is_empty()).unwrap_or("it failed");
        return Err(Error::usage(format!("ps {}: {said}", options.join(" "))));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn no_pid() -> Error {
    Error::usage("Couldn't find PID field in ps output")
}

/// The heading and the lines of these processes; `None` without a column of pids.
fn of_pids<'a>(text: &'a str, pids: &[i32]) -> Option<Vec<&'a str>> {
    let heading = text.lines().next()?;
    let column = heading.split_whitespace().position(|word| word == "PID")?;
    let of = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|pid| pid.parse().ok());
        pid.is_some_and(|pid| pids.contains(&pid))
    };
    Some(std::iter::once(heading).chain(text.lines().skip(1).filter(of)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_chosen_by_their_pid() {
        let text = "USER   PID CMD\nroot     1 init 42\nroot    42 sh\n";
        assert_eq!(of_pids(text, &[42]).expect("lines"), ["USER   PID CMD", "root    42 sh"]);
        assert_eq!(of_pids("USER CMD\n", &[1]), None);
    }
}
