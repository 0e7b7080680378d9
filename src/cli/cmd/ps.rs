//! `ps`

use std::process::ExitCode;

use serde_json::{Value, json};

use super::super::format::Format;
use super::super::list::Listing;
use super::super::parse::filter::{self, Filter};
use super::super::{Context, Error, human};
use crate::engine::container::{Record, State, Status};
use crate::engine::{Engine, reference, store};
use crate::oci::Digest;

const LISTING: Listing = Listing {
    columns: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}",
    headings: &[
        ("ID", "CONTAINER ID"),
        ("Names", "NAMES"),
        ("Image", "IMAGE"),
        ("ImageID", "IMAGE ID"),
        ("Command", "COMMAND"),
        ("CreatedAt", "CREATED AT"),
        ("RunningFor", "CREATED"),
        ("State", "STATE"),
        ("Status", "STATUS"),
        ("ExitCode", "EXIT CODE"),
        ("Pid", "PID"),
        ("Labels", "LABELS"),
        ("Mounts", "MOUNTS"),
        ("Networks", "NETWORKS"),
        ("Ports", "PORTS"),
    ],
};
const FILTERS: &[&str] = &["ancestor", "exited", "id", "label", "name", "network", "status"];

/// List containers
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools)] // each is a flag of its own
pub(crate) struct Args {
    /// Those that ended too
    #[arg(short, long)]
    all: bool,
    /// Print IDs alone
    #[arg(short, long)]
    quiet: bool,
    /// Print IDs and commands in full
    #[arg(long)]
    no_trunc: bool,
    /// The last N made, in whichever state
    #[arg(short = 'n', long, value_name = "N")]
    last: Option<usize>,
    /// The last one made, in whichever state
    #[arg(short, long)]
    latest: bool,
    /// Only where this holds: id, name, status, exited, label, ancestor or network
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    /// Print with a Go template, `table TEMPLATE`, or json
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    filter::check(&args.filter, FILTERS).map_err(|error| Error::usage(error.0))?;
    let engine = cx.engine(None, None)?;
    let ancestors = ancestors(&engine, &args.filter)?;
    let by_state = args.filter.iter().any(|filter| ["status", "exited"].contains(&&*filter.key));
    let limit = if args.latest { Some(1) } else { args.last };
    let every = args.all || limit.is_some() || by_state;
    let now = jiff::Timestamp::now();
    let containers = engine.containers()?;
    let shown = containers
        .iter()
        .filter(|(_, status)| every || matches!(status, Status::Running | Status::Paused))
        .filter(|(record, status)| passes(&args.filter, &ancestors, record, *status))
        .take(limit.unwrap_or(usize::MAX));
    let items: Vec<Value> =
        shown.map(|(record, status)| row(record, *status, args.no_trunc, now)).collect();
    if args.quiet && args.format.is_none() {
        for item in &items {
            cx.out.line(item["ID"].as_str().unwrap_or_default())?;
        }
    } else {
        LISTING.print(&mut cx.out, args.format.as_ref(), &items)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The images that `ancestor` filters name; one that is not there matches no container.
fn ancestors(engine: &Engine, filters: &[Filter]) -> Result<Vec<(String, Digest)>, Error> {
    let mut found = Vec::new();
    for filter in filters.iter().filter(|filter| filter.key == "ancestor") {
        match engine.store().resolve(&filter.value) {
            Ok(image) => found.push((filter.value.clone(), image.id)),
            Err(store::Error::NoSuchImage { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

fn passes(
    filters: &[Filter],
    ancestors: &[(String, Digest)],
    record: &Record,
    status: Status,
) -> bool {
    filter::passes(filters, |key, value| match key {
        "id" => record.id.starts_with(value),
        "name" => record.name.contains(value.trim_start_matches('/')),
        "status" => state(status) == value,
        "exited" => matches!(status, Status::Stopped(code) if code.to_string() == value),
        "label" => filter::label_holds(value, &record.config.labels),
        "network" => record.config.network == value,
        "ancestor" => {
            record.image == value
                || ancestors.iter().any(|(name, id)| name == value && *id == record.image_id)
        }
        _ => false,
    })
}

/// docker's word for a state.
pub(super) fn state(status: Status) -> &'static str {
    match status {
        Status::Created => "created",
        Status::Running => "running",
        Status::Paused => "paused",
        Status::Restarting(_) => "restarting",
        Status::Stopped(_) => "exited",
    }
}

fn row(record: &Record, status: Status, full: bool, now: jiff::Timestamp) -> Value {
    let id = if full { &record.id[..] } else { record.id.get(..12).unwrap_or(&record.id) };
    let command = record.config.process.args_text().join(" ");
    let command = match command.char_indices().nth(19) {
        Some((at, _)) if !full && command.chars().count() > 20 => format!("{}…", &command[..at]),
        _ => command,
    };
    let labels: Vec<String> =
        record.config.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mounts: Vec<&str> = record.config.mounts.iter().map(|mount| &*mount.source).collect();
    let (code, pid) = match (status, &record.state) {
        (Status::Running | Status::Paused, State::Running { process, .. }) => (0, process.pid),
        (Status::Stopped(code), _) => (code, 0),
        _ => (0, 0),
    };
    json!({
        "ID": id,
        "Names": record.name,
        "Image": reference::familiar(&record.image),
        "ImageID": if full { record.image_id.to_string() } else { record.image_id.short().into() },
        "Command": format!("\"{command}\""),
        "CreatedAt": record.created,
        "RunningFor": human::ago(&record.created, now),
        "State": state(status),
        "Status": words(record, status, now),
        "ExitCode": code,
        "Pid": pid,
        "Labels": labels.join(","),
        "Mounts": mounts.join(","),
        "Networks": record.config.network,
        "Ports": "",
    })
}

/// `Up 2 minutes`, `Exited (0) 3 hours ago`.
fn words(record: &Record, status: Status, now: jiff::Timestamp) -> String {
    match (status, &record.state) {
        (Status::Created, _) => "Created".into(),
        (Status::Running, State::Running { started, .. }) => {
            let up = human::since(started, now).unwrap_or_default();
            format!("Up {}", human::duration(up))
        }
        (Status::Paused, State::Running { started, .. }) => {
            let up = human::since(started, now).unwrap_or_default();
            format!("Up {} (Paused)", human::duration(up))
        }
        (Status::Paused, _) => "Paused".into(),
        (Status::Running, _) => "Up".into(),
        (Status::Restarting(code), State::Restarting { finished, .. }) => {
            format!("Restarting ({code}) {}", human::ago(finished, now))
        }
        (Status::Restarting(code), _) => format!("Restarting ({code})"),
        (Status::Stopped(code), State::Stopped { finished, .. }) => {
            format!("Exited ({code}) {}", human::ago(finished, now))
        }
        (Status::Stopped(code), _) => format!("Exited ({code})"),
    }
}
