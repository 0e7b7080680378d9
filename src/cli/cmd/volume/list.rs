//! `volume ls`

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::super::super::format::Format;
use super::super::super::list::Listing;
use super::super::super::parse::{self, filter, filter::Filter};
use super::super::super::{Context, Error, human};
use super::DRIVER;
use crate::engine::volume::Volume;

const LISTING: Listing = Listing {
    columns: "{{.Driver}}\t{{.Name}}",
    headings: &[
        ("Driver", "DRIVER"),
        ("Name", "VOLUME NAME"),
        ("Scope", "SCOPE"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Labels", "LABELS"),
        ("CreatedAt", "CREATED AT"),
    ],
};
const FILTERS: &[&str] = &["dangling", "driver", "label", "name"];

/// List volumes
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print names alone
    #[arg(short, long)]
    quiet: bool,
    /// Print no headings
    #[arg(long)]
    noheading: bool,
    /// Only where this holds: dangling, driver, label or name
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    /// Print with a Go template, `table TEMPLATE`, or json
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    filter::check(&args.filter, FILTERS).map_err(|error| Error::usage(error.0))?;
    let mut dangling = BTreeMap::new();
    for Filter { value, .. } in args.filter.iter().filter(|filter| filter.key == "dangling") {
        let wanted = parse::boolean(value).map_err(|error| Error::usage(error.0))?;
        dangling.insert(value.as_str(), wanted);
    }
    let engine = cx.engine(None, None)?;
    let used = if dangling.is_empty() { BTreeMap::new() } else { engine.volumes_in_use()? };
    let passes = |volume: &Volume| {
        filter::passes(&args.filter, |key, value| match key {
            "name" => volume.name.as_str().contains(value),
            "driver" => value == DRIVER,
            "label" => filter::label_holds(value, &volume.labels),
            _ => dangling.get(value) != Some(&used.contains_key(volume.name.as_str())),
        })
    };
    let items: Vec<Value> = engine.volumes()?.iter().filter(|it| passes(it)).map(row).collect();
    if args.quiet && args.format.is_none() {
        for item in &items {
            cx.out.line(item["Name"].as_str().unwrap_or_default())?;
        }
    } else {
        LISTING.print_bare(&mut cx.out, args.format.as_ref(), &items, args.noheading)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(volume: &Volume) -> Value {
    json!({
        "Driver": DRIVER,
        "Name": volume.name.as_str(),
        "Scope": "local",
        "Mountpoint": volume.data(),
        "Labels": human::labels(&volume.labels),
        "CreatedAt": volume.created,
        // docker has these fields too, and nothing to say in them.
        "Availability": "N/A",
        "Group": "N/A",
        "Links": "N/A",
        "Size": "N/A",
        "Status": "N/A",
    })
}
