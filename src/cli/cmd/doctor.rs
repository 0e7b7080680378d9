//! `doctor`

use std::fmt::Write;
use std::process::ExitCode;

use serde_json::json;

use super::super::{Context, Error};
use super::registry;
use crate::engine::doctor::{Check, Outside, Status};

/// Check what works on this host, and what would mend the rest
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print as JSON
    #[arg(long)]
    json: bool,
    /// See whether this registry answers
    #[arg(long, value_name = "HOST[:PORT]", default_value = "registry-1.docker.io")]
    registry: String,
    /// Ask no network
    #[arg(long, conflicts_with = "registry")]
    offline: bool,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let outside = Outside {
        registry: (!args.offline).then(|| args.registry.clone()),
        options: registry::usual_options(cx)?,
    };
    let checks = engine.doctor(&outside);
    let runs = checks.iter().all(|check| check.status != Status::Unavailable);
    if args.json {
        cx.out.line(json!({ "ContainersRun": runs, "Checks": checks }))?;
    } else {
        for check in &checks {
            cx.out.text(lines(check))?;
        }
        cx.out.line(if runs {
            "\nContainers run here."
        } else {
            "\nContainers cannot run here."
        })?;
    }
    Ok(if runs { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A check in words: what was found, and below it what follows from that.
fn lines(check: &Check) -> String {
    let status = match check.status {
        Status::Ok => "ok",
        Status::Fallback => "fallback",
        Status::Unavailable => "missing",
    };
    let mut text = format!("{status:<9} {:<15} {}\n", check.name, check.found);
    for (word, more) in [("instead", &check.instead), ("remedy", &check.remedy)] {
        if let Some(more) = more {
            let _ = writeln!(text, "{:10}{word}: {more}", "");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_a_line_and_what_follows() {
        let check = Check {
            name: "overlay",
            status: Status::Fallback,
            found: "cannot mount it".into(),
            instead: Some("copies".into()),
            remedy: None,
        };
        assert_eq!(
            lines(&check),
            "fallback  overlay         cannot mount it\n          instead: copies\n"
        );
    }
}
