//! `ps`

use std::collections::BTreeMap;
use std::mem::ManuallyDrop;
use std::process::ExitCode;

use serde_json::Value;

use super::super::format::{Format, Template};
use super::super::list::Listing;
use super::super::parse::filter::{self, Filter};
use super::super::{Context, Error, human};
use crate::engine::container::{State, Status, Summary};
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
        ("LocalVolumes", "LOCAL VOLUMES"),
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

/// What a list is put in order by; podman's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Key {
    Command,
    Created,
    Id,
    Image,
    Names,
    Runningfor,
    Size,
    Status,
}

/// List containers
#[derive(Debug, clap::Args)]
#[command(after_help = r"Examples:
  coracle ps -a
  coracle ps -q --filter label=app=shop
  coracle ps --format 'table {{.Names}}\t{{.Status}}\t{{.Ports}}'")]
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
    /// Order by this, and not the newest first
    #[arg(long, value_name = "KEY")]
    sort: Option<Key>,
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
    let mut shown = select(&engine, &args.filter, &|status| every || super::is_up(status))?;
    let mut sizes = BTreeMap::new();
    if args.sort == Some(Key::Size) {
        for (record, _) in &shown {
            sizes.insert(record.id.clone(), engine.container_size(record)?);
        }
    }
    if let Some(key) = args.sort {
        key.sort(&sizes, &mut shown);
    }
    shown.truncate(limit.unwrap_or(usize::MAX));
    // The process ends soon: taking a thousand records apart would be a tenth of its time.
    let shown = ManuallyDrop::new(shown);
    if args.quiet && args.format.is_none() {
        for (record, _) in shown.iter() {
            let length = if args.no_trunc { record.id.len() } else { 12 };
            cx.out.line(record.id.get(..length).unwrap_or(&record.id))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let listing = if args.size { WITH_SIZE } else { LISTING };
    let mut fields = listing.wanted(args.format.as_ref())?;
    let asks = |template: &Template| template.fields().is_some_and(|all| all.contains("Size"));
    let sized = match &args.format {
        Some(Format::Template(template) | Format::Table(template)) => args.size || asks(template),
        _ => args.size,
    };
    fields.retain(|field| *field != "Size" || sized);
    for (record, _) in shown.iter().filter(|_| sized) {
        if !sizes.contains_key(&record.id) {
            sizes.insert(record.id.clone(), engine.container_size(record)?);
        }
    }
    let line = |(record, status): &(Summary, Status), template: Option<&Template>| {
        let health = super::health(&engine, record, *status);
        let size = sizes.get(&record.id).copied();
        let look = Look { full: args.no_trunc, now, health, size, fields: &fields };
        let field = |name: &str| fields.contains(&name).then(|| cell(name, record, *status, &look));
        match template {
            None => Ok(row(record, *status, &look).to_string()),
            Some(template) => match template.fill(&field) {
                Some(line) => Ok(line),
                None => template.render(&row(record, *status, &look)),
            },
        }
    };
    listing.print_with(&mut cx.out, args.format.as_ref(), &shown, line, !args.noheading)?;
    Ok(ExitCode::SUCCESS)
}

impl Key {
    /// `sizes` by ID: what was written, and that with the image.
    fn sort(self, sizes: &BTreeMap<String, (u64, u64)>, rows: &mut [(Summary, Status)]) {
        rows.sort_by_cached_key(|(record, status)| {
            let text = match self {
                Self::Command => command(record, true),
                Self::Created | Self::Runningfor => record.created.clone(),
                Self::Id => record.id.clone(),
                Self::Image => reference::familiar(&record.image),
                Self::Names => record.name.clone(),
                Self::Size => String::new(),
                Self::Status => state(*status).to_owned(),
            };
            (sizes.get(&record.id).map(|(written, _)| *written), text)
        });
        if self == Self::Runningfor {
            rows.reverse();
        }
    }
}

pub(super) fn check(filters: &[Filter]) -> Result<(), Error> {
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
    right: &(dyn Fn(Status) -> bool + Sync),
) -> Result<Vec<(Summary, Status)>, Error> {
    let looked_up = Looked::up(engine, filters)?;
    let right = engine.summaries(right)?.into_iter();
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
    /// Networks by name or ID, and their names.
    networks: Vec<(String, String)>,
}

impl Looked {
    fn up(engine: &Engine, filters: &[Filter]) -> Result<Self, Error> {
        let (mut images, mut times, mut networks) = (Vec::new(), Vec::new(), Vec::new());
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
                "network" => {
                    if let Ok(network) = engine.named_network(value) {
                        networks.push((value.clone(), network.name));
                    }
                }
                _ => {}
            }
        }
        Ok(Self { images, times, networks })
    }

    fn passes(
        &self,
        engine: &Engine,
        filters: &[Filter],
        record: &Summary,
        status: Status,
    ) -> bool {
        let config = &record.config;
        let made = |name: &str| self.times.iter().find(|(known, _)| known == name);
        filter::passes(filters, |key, value| match key {
            "id" => record.id.starts_with(value),
            "name" => name_matches(&record.name, value),
            "status" => state(status) == value,
            "exited" => matches!(status, Status::Stopped(code) if code.to_string() == value),
            "label" => filter::label_holds(value, &config.labels),
            "network" => {
                let known = self.networks.iter().find(|(asked, _)| asked == value);
                let name = known.map_or(value, |(_, name)| name.as_str());
                let name = if name == "bridge" { "private" } else { name };
                config.networks.iter().any(|it| it.name == name)
                    || config.networks.is_empty() && config.network == name
            }
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

/// How a row is made.
pub(super) struct Look<'a> {
    /// Nothing is cut short.
    pub(super) full: bool,
    pub(super) now: jiff::Timestamp,
    pub(super) health: Option<&'a str>,
    /// What it wrote, and that with its image.
    pub(super) size: Option<(u64, u64)>,
    /// Of `LISTING`; what it has not stays empty.
    pub(super) fields: &'a [&'static str],
}

pub(super) fn row(record: &Summary, status: Status, look: &Look<'_>) -> Value {
    let cells =
        look.fields.iter().map(|field| ((*field).to_owned(), cell(field, record, status, look)));
    Value::Object(cells.collect())
}

fn cell(field: &str, record: &Summary, status: Status, look: &Look<'_>) -> Value {
    let (full, now) = (look.full, look.now);
    let config = &record.config;
    match field {
        "ID" if full => record.id.as_str().into(),
        "ID" => record.id.get(..12).unwrap_or(&record.id).into(),
        "Names" => record.name.as_str().into(),
        "Image" => reference::familiar(&record.image).into(),
        "ImageID" if full => record.image_id.to_string().into(),
        "ImageID" => record.image_id.short().into(),
        "Command" => command(record, full).into(),
        "CreatedAt" => created_at(&record.created).into(),
        "RunningFor" => human::ago(&record.created, now).into(),
        "State" => state(status).into(),
        "Status" => match (words(record, status, now), look.health) {
            (words, None) => words.into(),
            (words, Some("starting")) => format!("{words} (health: starting)").into(),
            (words, Some(health)) => format!("{words} ({health})").into(),
        },
        "ExitCode" => match status {
            Status::Stopped(code) => code.into(),
            _ => 0.into(),
        },
        "Pid" => match (status, &record.state) {
            (Status::Running | Status::Paused, State::Running { process, .. }) => {
                process.pid.into()
            }
            _ => 0.into(),
        },
        "Labels" => human::labels(&config.labels).into(),
        "Mounts" => mounts(record, full).into(),
        "LocalVolumes" => {
            config.mounts.iter().filter(|it| !it.name.is_empty()).count().to_string().into()
        }
        "Networks" if config.networks.is_empty() => config.network.as_str().into(),
        "Networks" => {
            let names = config.networks.iter().map(|network| network.name.as_str());
            names.collect::<Vec<_>>().join(",").into()
        }
        "Ports" => super::port::words(record, status.is_up()).into(),
        "Size" => match look.size {
            None => Value::Null,
            Some((written, all)) => {
                format!("{} (virtual {})", human::size(written), human::size(all)).into()
            }
        },
        "Health" => look.health.unwrap_or_default().into(),
        "Restarts" => record.restarts.into(),
        _ => Value::Null,
    }
}

fn command(record: &Summary, full: bool) -> String {
    let words = record.config.process.args.iter().map(|word| word.to_string_lossy());
    let command = words.collect::<Vec<_>>().join(" ");
    match command.char_indices().nth(19) {
        Some((at, _)) if !full && command.chars().count() > 20 => {
            format!("\"{}…\"", &command[..at])
        }
        _ => format!("\"{command}\""),
    }
}

fn mounts(record: &Summary, full: bool) -> String {
    let shown = record.config.mounts.iter().map(|mount| match mount.name.as_str() {
        "" => mount.source.clone(),
        name if full || name.len() <= 15 => name.to_owned(),
        name => format!("{}…", name.get(..14).unwrap_or(name)),
    });
    shown.filter(|mount| !mount.is_empty()).collect::<Vec<_>>().join(",")
}

/// `Up 2 minutes`, `Exited (0) 3 hours ago`.
fn words(record: &Summary, status: Status, now: jiff::Timestamp) -> String {
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
