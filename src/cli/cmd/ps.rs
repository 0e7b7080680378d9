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
    columns: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}",
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
        ("Size", "SIZE"),
        ("Health", "HEALTH"),
        ("Restarts", "RESTARTS"),
    ],
};
const WITH_SIZE: Listing = Listing {
    columns: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}",
    headings: LISTING.headings,
};
const FILTERS: &[&str] = &[
    "ancestor",
    "before",
    "exited",
    "health",
    "id",
    "label",
    "name",
    "network",
    "restart-policy",
    "since",
    "status",
    "volume",
];
/// docker's states; some no container of coracle is ever in.
const STATES: &[&str] =
    &["created", "dead", "exited", "paused", "removing", "restarting", "running"];

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
    /// Print how much they wrote, and how much it is with their image
    #[arg(short, long)]
    size: bool,
    /// Print no headings
    #[arg(long)]
    noheading: bool,
    /// Only where this holds: id, name, status, exited, label, ancestor, before, since, health, volume,
    /// network or restart-policy
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    /// Print with a Go template, `table TEMPLATE`, or json
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    check(&args.filter)?;
    let engine = cx.engine(None, None)?;
    let by_state = args.filter.iter().any(|filter| ["status", "exited"].contains(&&*filter.key));
    let limit = if args.latest { Some(1) } else { args.last };
    let every = args.all || limit.is_some() || by_state;
    let now = jiff::Timestamp::now();
    let shown = select(&engine, &args.filter, |status| every || super::is_up(status))?;
    let shown = shown.into_iter().take(limit.unwrap_or(usize::MAX));
    if args.quiet && args.format.is_none() {
        for (record, _) in shown {
            let length = if args.no_trunc { record.id.len() } else { 12 };
            cx.out.line(record.id.get(..length).unwrap_or(&record.id))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut items = Vec::new();
    for (record, status) in shown {
        let health = super::health(&engine, &record, status);
        let mut row = row(&record, status, args.no_trunc, now, health);
        if args.size {
            row["Size"] = size(&engine, &record)?.into();
        }
        items.push(row);
    }
    let listing = if args.size { WITH_SIZE } else { LISTING };
    listing.print_with(&mut cx.out, args.format.as_ref(), &items, !args.noheading)?;
    Ok(ExitCode::SUCCESS)
}

fn check(filters: &[Filter]) -> Result<(), Error> {
    filter::check(filters, FILTERS).map_err(|error| Error::usage(error.0))?;
    for filter in filters.iter().filter(|filter| filter.key == "status") {
        if !STATES.contains(&&*filter.value) {
            let message = format!("invalid filter 'status={}'", filter.value);
            return Err(Error::usage(format!("{message}: there are {}", STATES.join(", "))));
        }
    }
    Ok(())
}

/// The containers that pass, the newest first.
pub(super) fn select(
    engine: &Engine,
    filters: &[Filter],
    right: impl Fn(Status) -> bool,
) -> Result<Vec<(Record, Status)>, Error> {
    let looked_up = Looked::up(engine, filters)?;
    let containers = engine.containers()?.into_iter();
    let right = containers.filter(|(_, status)| right(*status));
    Ok(right
        .filter(|(record, status)| looked_up.passes(engine, filters, record, *status))
        .collect())
}

/// What the filters name, looked up once.
struct Looked {
    /// Images; one that is not there matches no container.
    images: Vec<(String, Digest)>,
    /// When the containers were made that `before` and `since` name.
    times: Vec<(String, String)>,
}

impl Looked {
    fn up(engine: &Engine, filters: &[Filter]) -> Result<Self, Error> {
        let (mut images, mut times) = (Vec::new(), Vec::new());
        for Filter { key, value } in filters {
            match &key[..] {
                "ancestor" => match engine.store().resolve(value) {
                    Ok(image) => images.push((value.clone(), image.id)),
                    Err(store::Error::NoSuchImage { .. }) => {}
                    Err(error) => return Err(error.into()),
                },
                "before" | "since" => {
                    times.push((value.clone(), engine.container(value)?.0.created));
                }
                _ => {}
            }
        }
        Ok(Self { images, times })
    }

    fn passes(&self, engine: &Engine, filters: &[Filter], record: &Record, status: Status) -> bool {
        let config = &record.config;
        let made = |name: &str| self.times.iter().find(|(known, _)| known == name);
        filter::passes(filters, |key, value| match key {
            "id" => record.id.starts_with(value),
            "name" => name_matches(&record.name, value),
            "status" => state(status) == value,
            "exited" => matches!(status, Status::Stopped(code) if code.to_string() == value),
            "label" => filter::label_holds(value, &config.labels),
            "network" => config.network == value,
            "volume" => config
                .mounts
                .iter()
                .any(|it| [&it.name, &it.source, &it.target].iter().any(|text| *text == value)),
            "restart-policy" => config.restart.name() == value,
            "health" => super::health(engine, record, status).unwrap_or("none") == value,
            "before" => made(value).is_some_and(|(_, time)| record.created < *time),
            "since" => made(value).is_some_and(|(_, time)| record.created > *time),
            "ancestor" => {
                record.image == value
                    || self.images.iter().any(|(name, id)| name == value && *id == record.image_id)
            }
            _ => false,
        })
    }
}

/// A part of the name, or with `^` and `$` its beginning and end: as much of a regular expression as
/// is used for names.
fn name_matches(name: &str, wanted: &str) -> bool {
    let (from_start, wanted) =
        wanted.strip_prefix('^').map_or((false, wanted), |wanted| (true, wanted));
    let (to_end, wanted) = wanted.strip_suffix('$').map_or((false, wanted), |it| (true, it));
    let wanted = wanted.trim_start_matches('/');
    match (from_start, to_end) {
        (true, true) => name == wanted,
        (true, false) => name.starts_with(wanted),
        (false, true) => name.ends_with(wanted),
        (false, false) => name.contains(wanted),
    }
}

/// `1.2kB (virtual 5.1MB)`
fn size(engine: &Engine, record: &Record) -> Result<String, Error> {
    let (written, all) = engine.container_size(record)?;
    Ok(format!("{} (virtual {})", human::size(written), human::size(all)))
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

pub(super) fn row(
    record: &Record,
    status: Status,
    full: bool,
    now: jiff::Timestamp,
    health: Option<&str>,
) -> Value {
    let id = if full { &record.id[..] } else { record.id.get(..12).unwrap_or(&record.id) };
    let command = record.config.process.args_text().join(" ");
    let command = match command.char_indices().nth(19) {
        Some((at, _)) if !full && command.chars().count() > 20 => format!("{}…", &command[..at]),
        _ => command,
    };
    let labels: Vec<String> =
        record.config.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let shown = record.config.mounts.iter().map(|mount| match mount.name.as_str() {
        "" => mount.source.clone(),
        name if full || name.len() <= 15 => name.to_owned(),
        name => format!("{}…", name.get(..14).unwrap_or(name)),
    });
    let mounts: Vec<String> = shown.filter(|mount| !mount.is_empty()).collect();
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
        "CreatedAt": created_at(&record.created),
        "RunningFor": human::ago(&record.created, now),
        "State": state(status),
        "Status": match (words(record, status, now), health) {
            (words, None) => words,
            (words, Some("starting")) => format!("{words} (health: starting)"),
            (words, Some(health)) => format!("{words} ({health})"),
        },
        "ExitCode": code,
        "Pid": pid,
        "Labels": labels.join(","),
        "Mounts": mounts.join(","),
        "Networks": record.config.network,
        "Ports": super::port::words(record, status.is_up()),
        "Health": health.unwrap_or_default(),
        "Restarts": record.restarts,
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
        (Status::Running, _) => "Up".into(),
        (Status::Paused, State::Running { started, .. }) => {
            let up = human::since(started, now).unwrap_or_default();
            format!("Up {} (Paused)", human::duration(up))
        }
        (Status::Paused, _) => "Paused".into(),
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

/// `2026-11-23 12:00:00 +0000 UTC`, as Go prints a time.
fn created_at(time: &str) -> String {
    match time.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string(),
        Err(_) => time.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_by_part_or_ends() {
        assert!(name_matches("web-1", "eb") && name_matches("web-1", "^/web"));
        assert!(name_matches("web-1", "-1$") && name_matches("web-1", "^web-1$"));
        assert!(!name_matches("web-1", "^eb") && !name_matches("web-10", "^web-1$"));
    }

    #[test]
    fn times_are_gos() {
        assert_eq!(created_at("2026-11-23T12:00:00.5Z"), "2026-11-23 12:00:00 +0000 UTC");
    }
}
