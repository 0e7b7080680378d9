//! `events`

use std::process::ExitCode;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::format::Format;
use super::super::parse::filter::{self, Filter};
use super::super::parse::{self, Invalid};
use super::super::{Context, Error};
use crate::engine::events::{Event, Kind, Window};

const FILTERS: &[&str] = &["container", "event", "image", "label", "network", "type", "volume"];
/// docker's kinds of things; some there are none of here.
const KINDS: &[&str] = &[
    "builder",
    "config",
    "container",
    "daemon",
    "image",
    "network",
    "node",
    "plugin",
    "secret",
    "service",
    "volume",
];

/// Show what happens to containers and images, as it happens
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  coracle events
  coracle events --since 1h --until 0s --filter event=die")]
pub(crate) struct Args {
    /// Begin with what has happened since: a time, or how long ago, such as 10m
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// End then
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// Only where this holds: container, event, image, label, network, type or volume
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    /// Print with a Go template, or as json
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Wait for what happens from now on; with =false what has happened is all [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = super::boolean)]
    stream: Option<bool>,
}

fn time(text: &str) -> Result<Timestamp, Invalid> {
    parse::moment(text, Timestamp::now())
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    check(&args.filter)?;
    let engine = cx.engine(None, None)?;
    let past_only = args.stream == Some(false);
    let window = Window { since: args.since, until: args.until, past_only };
    let mut events = engine.events(window)?;
    // What was read is shown before more is waited for.
    while let Some(event) = events.next(|| cx.out.idle())? {
        if !passes(&args.filter, &event) {
            continue;
        }
        match &args.format {
            None | Some(Format::Usual) => cx.out.line(line(&event))?,
            Some(Format::Json) => cx.out.line(json_of(&event))?,
            Some(Format::Template(template) | Format::Table(template)) => {
                cx.out.line(template.render(&fields(&event))?)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn check(filters: &[Filter]) -> Result<(), Error> {
    filter::check(filters, FILTERS).map_err(|error| Error::usage(error.0))?;
    let kinds = filters.iter().filter(|filter| filter.key == "type");
    match kinds.map(|filter| &filter.value[..]).find(|kind| !KINDS.contains(kind)) {
        None => Ok(()),
        Some(kind) => Err(Error::usage(format!(
            "invalid filter 'type={kind}': there are {}",
            KINDS.join(", ")
        ))),
    }
}

fn passes(filters: &[Filter], event: &Event) -> bool {
    let attribute = |name: &str| event.attributes.get(name).map_or("", String::as_str);
    // By name, ID or the beginning of an ID.
    let named = |kind: Kind, value: &str| {
        let value = value.strip_prefix('/').unwrap_or(value);
        event.kind == kind
            && (attribute("name") == value || !value.is_empty() && event.id.starts_with(value))
    };
    filter::passes(filters, |key, value| match key {
        "type" => event.kind.name() == value,
        "event" => event.action == value || event.word() == value,
        "container" => named(Kind::Container, value),
        "volume" => named(Kind::Volume, value),
        "network" => named(Kind::Network, value),
        "image" => {
            let images = match event.kind {
                Kind::Image => [&event.id, attribute("name")],
                _ => [attribute("image"), ""],
            };
            images.iter().any(|image| *image == value || without_tag(image) == value)
        }
        "label" => filter::label_holds(value, &event.attributes),
        _ => false,
    })
}

/// `debian:12` to `debian`.
fn without_tag(image: &str) -> &str {
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

/// `2026-11-28T02:03:21.123456789Z container start ID (image=busybox, name=web)`
fn line(event: &Event) -> String {
    let time = Timestamp::from_nanosecond(event.time.into()).unwrap_or_default();
    let time = time.strftime("%Y-%m-%dT%H:%M:%S%.9fZ");
    let pair = |(name, value): (&String, &String)| format!("{name}={value}");
    let attributes: Vec<String> = event.attributes.iter().map(pair).collect();
    let text = format!(
        "{time} {} {} {} ({})",
        event.kind.name(),
        event.action,
        event.id,
        attributes.join(", ")
    );
    text.replace('\n', "\\n")
}

/// docker's JSON; the fields before `Type` are those of its first years, and are still read.
fn json_of(event: &Event) -> Value {
    let mut value = json!({
        "Type": event.kind.name(),
        "Action": event.action,
        "Actor": {"ID": event.id, "Attributes": event.attributes},
        "scope": "local",
        "time": event.time / 1_000_000_000,
        "timeNano": event.time,
    });
    if matches!(event.kind, Kind::Container | Kind::Image) {
        value["status"] = event.action.clone().into();
        value["id"] = event.id.clone().into();
    }
    if let Some(image) = event.attributes.get("image") {
        value["from"] = image.clone().into();
    }
    value
}

/// What a template names: docker's JSON, and the same by the names that templates have for it.
fn fields(event: &Event) -> Value {
    let mut value = json_of(event);
    for (field, name) in [
        ("status", "Status"),
        ("id", "ID"),
        ("from", "From"),
        ("scope", "Scope"),
        ("time", "Time"),
        ("timeNano", "TimeNano"),
    ] {
        value[name] = match &value[field] {
            Value::Null => "".into(),
            known => known.clone(),
        };
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(texts: &[&str]) -> Vec<Filter> {
        texts.iter().map(|text| text.parse().expect("a filter")).collect()
    }

    fn event() -> Event {
        let mut event = Event::new(Kind::Container, "exec_create: sh -c true", "abcdef")
            .with("image", "debian:12")
            .with("name", "web")
            .with("tier", "front");
        event.time = 1_795_831_401_000_000_042;
        event
    }

    #[test]
    fn filters_are_dockers() {
        for right in [
            &["type=container", "event=exec_create"][..],
            &["type=image", "type=container"],
            &["container=web"],
            &["container=abc"],
            &["image=debian"],
            &["image=debian:12", "label=tier=front"],
        ] {
            assert!(passes(&filters(right), &event()), "{right:?}");
        }
        for wrong in [
            &["type=image"][..],
            &["event=exec"],
            &["container=we"],
            &["volume=web"],
            &["image=deb"],
            &["label=tier", "label=other"],
        ] {
            assert!(!passes(&filters(wrong), &event()), "{wrong:?}");
        }
        assert!(check(&filters(&["type=boat"])).is_err());
        assert!(check(&filters(&["colour=red"])).is_err());
    }

    #[test]
    fn lines_are_dockers() {
        assert_eq!(
            line(&event()),
            "2026-11-28T02:03:21.000000042Z container exec_create: sh -c true abcdef \
             (image=debian:12, name=web, tier=front)"
        );
        let value = json_of(&event());
        assert_eq!((&value["status"], &value["from"]), (&value["Action"], &"debian:12".into()));
        assert_eq!((&value["time"], &value["id"]), (&1_795_831_401_i64.into(), &"abcdef".into()));
    }
}
