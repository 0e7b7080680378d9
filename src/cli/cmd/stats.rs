//! `stats`

use std::collections::HashMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::format::Format;
use super::super::list::Listing;
use super::super::{Context, Error, complete, human};
use crate::engine::container::Status;
use crate::engine::{Engine, Usage};

const LISTING: Listing = Listing {
    columns: "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
    headings: &[
        ("ID", "CONTAINER ID"),
        ("Container", "CONTAINER"),
        ("Name", "NAME"),
        ("CPUPerc", "CPU %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("MemPerc", "MEM %"),
        ("NetIO", "NET I/O"),
        ("BlockIO", "BLOCK I/O"),
        ("PIDs", "PIDS"),
    ],
};
/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Show what running containers use
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  coracle stats
  coracle stats --no-stream --format '{{.Name}} {{.MemUsage}}'")]
pub(crate) struct Args {
    /// Those that do not run too
    #[arg(short, long)]
    all: bool,
    /// Print once, and not again and again
    #[arg(long)]
    no_stream: bool,
    /// Print IDs in full
    #[arg(long)]
    no_trunc: bool,
    /// Print with a Go template, `table TEMPLATE`, or json
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Names, IDs or beginnings of IDs [default: all that run]
    #[arg(value_name = "CONTAINER", add = complete::container_names())]
    containers: Vec<String>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let mut named = Vec::new();
    // One that is missing does not hide the others.
    let looked_up = cx.each(&args.containers, |_, name| {
        named.push(engine.container(name)?.0.id);
        Ok(())
    });
    if named.is_empty() {
        looked_up?;
        return show(args, cx, &engine, &named);
    }
    show(args, cx, &engine, &named).and_then(|code| looked_up.map(|()| code))
}

/// Prints until there is nothing more to look at.
fn show(
    args: &Args,
    cx: &mut Context,
    engine: &Engine,
    named: &[String],
) -> Result<ExitCode, Error> {
    let mut before = HashMap::new();
    let redraws = std::io::stdout().is_terminal() && args.format.is_none();
    loop {
        let items = look(args, engine, named, &mut before)?;
        if redraws && !args.no_stream {
            // Home, and what is below it erased.
            cx.out.text("\x1b[H\x1b[J")?;
        }
        LISTING.print(&mut cx.out, args.format.as_ref(), &items)?;
        cx.out.flush()?;
        if args.no_stream || (items.is_empty() && !named.is_empty()) {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(INTERVAL);
    }
}

/// What was used until when, by ID.
type Before = HashMap<String, (Instant, Duration)>;

fn look(
    args: &Args,
    engine: &Engine,
    named: &[String],
    before: &mut Before,
) -> Result<Vec<Value>, Error> {
    let mut items = Vec::new();
    for (record, status) in engine.summaries(&|_| true)? {
        let runs = matches!(status, Status::Running | Status::Paused);
        let wanted = if named.is_empty() { runs || args.all } else { named.contains(&record.id) };
        if !wanted {
            continue;
        }
        // It may end in between.
        let usage = if runs { engine.usage(&record.id).ok() } else { None };
        let share = usage.map(|usage| share(&usage, before.get(&record.id)));
        if let Some(usage) = &usage {
            before.insert(record.id.clone(), (Instant::now(), usage.cpu));
        }
        items.push(row(&record.id, &record.name, usage.as_ref().zip(share), args.no_trunc));
    }
    Ok(items)
}

/// Per cent of one processor, since the last look or since the start.
fn share(usage: &Usage, before: Option<&(Instant, Duration)>) -> f64 {
    let (time, used) = match before {
        Some((then, used)) => (then.elapsed(), usage.cpu.saturating_sub(*used)),
        None => (usage.up, usage.cpu),
    };
    if time.is_zero() { 0.0 } else { used.as_secs_f64() / time.as_secs_f64() * 100.0 }
}

#[allow(clippy::cast_precision_loss)] // two digits are shown
fn row(id: &str, name: &str, usage: Option<(&Usage, f64)>, full: bool) -> Value {
    let id = if full { id } else { id.get(..12).unwrap_or(id) };
    let pair = |pair: Option<(u64, u64)>| {
        pair.map_or_else(
            || "--".to_owned(),
            |(one, other)| format!("{} / {}", human::size(one), human::size(other)),
        )
    };
    let Some((usage, share)) = usage else {
        return json!({
            "ID": id, "Container": id, "Name": name, "CPUPerc": "--", "MemUsage": "-- / --",
            "MemPerc": "--", "NetIO": "--", "BlockIO": "--", "PIDs": "--",
        });
    };
    let (used, limit) = (usage.memory, usage.memory_limit.max(1));
    json!({
        "ID": id,
        "Container": id,
        "Name": name,
        "CPUPerc": format!("{share:.2}%"),
        "MemUsage": format!("{} / {}", human::binary_size(used), human::binary_size(limit)),
        "MemPerc": format!("{:.2}%", used as f64 / limit as f64 * 100.0),
        "NetIO": pair(usage.network),
        "BlockIO": pair(usage.block),
        "PIDs": usage.pids.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_of_one_processor() {
        let (up, cpu) = (Duration::from_secs(4), Duration::from_secs(6));
        let usage = Usage { cpu, up, ..Usage::default() };
        assert!((share(&usage, None) - 150.0).abs() < 0.01);
        assert!(share(&Usage::default(), None).abs() < 0.01);
        assert_eq!(row("i", "n", None, false)["CPUPerc"], "--");
    }
}
