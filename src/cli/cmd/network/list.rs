//! `network ls`

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::super::super::format::Format;
use super::super::super::list::Listing;
use super::super::super::parse::{self, filter, filter::Filter};
use super::super::super::{Context, Error, human};
use super::{BRIDGE, BUILTIN};
use crate::engine::network::Network;

const LISTING: Listing = Listing {
    columns: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
    headings: &[
        ("ID", "NETWORK ID"),
        ("Name", "NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("IPv4", "IPV4"),
        ("IPv6", "IPV6"),
        ("Internal", "INTERNAL"),
        ("Labels", "LABELS"),
        ("CreatedAt", "CREATED AT"),
    ],
};
const FILTERS: &[&str] = &["dangling", "driver", "id", "label", "name", "scope", "type"];

/// List networks
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print IDs alone
    #[arg(short, long)]
    quiet: bool,
    /// Print no headings
    #[arg(long)]
    noheading: bool,
    /// Print IDs whole
    #[arg(long)]
    no_trunc: bool,
    /// Only where this holds: dangling, driver, id, label, name, scope or type
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    /// Print with a Go template, `table TEMPLATE`, or json
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

/// What filters look at.
struct Row {
    id: String,
    name: String,
    driver: &'static str,
    builtin: bool,
    network: Network,
}

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    filter::check(&args.filter, FILTERS).map_err(|error| Error::usage(error.0))?;
    let mut dangling = BTreeMap::new();
    for Filter { key, value } in &args.filter {
        match key.as_str() {
            "dangling" => {
                let wanted = parse::boolean(value).map_err(|error| Error::usage(error.0))?;
                dangling.insert(value.as_str(), wanted);
            }
            "type" if !matches!(value.as_str(), "builtin" | "custom") => {
                return Err(Error::usage(format!("invalid filter 'type={value}'")));
            }
            _ => {}
        }
    }
    let engine = cx.engine(None, None)?;
    let used = if dangling.is_empty() { Vec::new() } else { engine.networks_in_use()? };
    let builtin = BUILTIN.iter().map(|it| Row {
        id: it.id().to_owned(),
        name: it.name.to_owned(),
        driver: it.driver,
        builtin: true,
        network: Network::default(),
    });
    let named = engine.networks()?.into_iter().map(|network| Row {
        id: network.id.clone(),
        name: network.name.clone(),
        driver: BRIDGE,
        builtin: false,
        network,
    });
    let passes = |row: &Row| {
        filter::passes(&args.filter, |key, value| match key {
            "name" => row.name.contains(value),
            "id" => row.id.starts_with(value),
            "driver" => row.driver == value,
            "scope" => value == "local",
            "type" => row.builtin == (value == "builtin"),
            "label" => filter::label_holds(value, &row.network.labels),
            // Those that are always there are in use, docker says.
            _ => dangling.get(value) == Some(&(!row.builtin && !used.contains(&row.name))),
        })
    };
    let rows = builtin.chain(named).filter(|row| passes(row));
    let mut items: Vec<Value> = rows.map(|row| item(&row, args.no_trunc)).collect();
    items.sort_unstable_by(|one, other| one["Name"].as_str().cmp(&other["Name"].as_str()));
    if args.quiet && args.format.is_none() {
        for item in &items {
            cx.out.line(item["ID"].as_str().unwrap_or_default())?;
        }
    } else {
        LISTING.print_bare(&mut cx.out, args.format.as_ref(), &items, args.noheading)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn item(row: &Row, whole: bool) -> Value {
    let id = if whole { &row.id } else { row.id.get(..12).unwrap_or(&row.id) };
    json!({
        "ID": id,
        "Name": row.name,
        "Driver": row.driver,
        "Scope": "local",
        "IPv4": "true",
        "IPv6": row.network.pool(true).is_some().to_string(),
        "Internal": row.network.internal.to_string(),
        "Labels": human::labels(&row.network.labels),
        "CreatedAt": row.network.created,
    })
}
