//! `search`

use std::process::ExitCode;

use serde_json::{Value, json};

use super::super::format::Format;
use super::super::list::Listing;
use super::super::parse::filter::{self, Filter};
use super::super::{Context, Error};
use super::registry::{self, AccessArgs};
use crate::engine::reference::Reference;
use crate::engine::registry::{INDEX, Lists, Options, SearchResult, way_to_push, way_to_registry};

const FOUND: Listing = Listing {
    columns: "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}",
    headings: &[
        ("Name", "NAME"),
        ("Description", "DESCRIPTION"),
        ("StarCount", "STARS"),
        ("IsOfficial", "OFFICIAL"),
        ("IsAutomated", "AUTOMATED"),
        ("Index", "INDEX"),
    ],
};
const TAGS: Listing =
    Listing { columns: "{{.Name}}\t{{.Tag}}", headings: &[("Name", "NAME"), ("Tag", "TAG")] };
const FILTERS: &[&str] = &["is-automated", "is-official", "stars"];
/// Letters of a description where it is cut, as docker has it.
const WIDTH: usize = 45;
/// The most that docker asks the hub for.
const MOST: usize = 100;

/// Search registries for images
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  coracle search nginx
  coracle search --list-tags registry.example/team/app")]
#[allow(clippy::struct_excessive_bools)] // each is a flag of its own
pub(crate) struct Args {
    /// Only where this holds: is-official=BOOL, is-automated=BOOL or stars=NUMBER
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    /// Print with a Go template, `table TEMPLATE`, or json
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Print so many at most, of each registry
    #[arg(long, value_name = "COUNT", default_value_t = 25)]
    limit: usize,
    /// Print descriptions in full
    #[arg(long)]
    no_trunc: bool,
    /// Print docker's columns (they are docker's anyway)
    #[arg(long)]
    compatible: bool,
    /// List the tags of a repository
    #[arg(long, conflicts_with = "filter")]
    list_tags: bool,
    #[command(flatten)]
    access: AccessArgs,
    /// What to look for; behind REGISTRY/ it is looked for there
    #[arg(value_name = "[REGISTRY/]TERM")]
    term: String,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    filter::check(&args.filter, FILTERS).map_err(|error| Error::usage(error.0))?;
    let options = registry::options(cx, &args.access)?;
    if args.list_tags {
        return list_tags(args, cx, &options);
    }
    if !(1..=MOST).contains(&args.limit) {
        return Err(Error::usage(format!("--limit: want a number from 1 to {MOST}")));
    }
    let wanted = wanted(&args.filter)?;
    let (registries, term) = places(&args.term, &options);
    let mut items = Vec::new();
    cx.each(&registries, |_, registry| {
        // The hub keeps its search elsewhere than its images.
        let host = if registry == "docker.io" { INDEX } else { registry };
        let way = way_to_registry(&options, host)?;
        let found = Lists::new(&options, way)?.search(&term, args.limit)?;
        let found = found.iter().filter(|result| wanted.holds(result));
        items.extend(found.map(|result| row(args, registry, result)));
        Ok(())
    })?;
    FOUND.print(&mut cx.out, args.format.as_ref(), &items)?;
    Ok(ExitCode::SUCCESS)
}

fn list_tags(args: &Args, cx: &mut Context, options: &Options) -> Result<ExitCode, Error> {
    let text = args.term.strip_prefix("docker://").unwrap_or(&args.term);
    let reference: Reference = text.parse()?;
    let way = way_to_push(options, &reference)?;
    let tags = Lists::new(options, way)?.tags(args.limit)?;
    let name = reference.name();
    let items: Vec<Value> = tags.iter().map(|tag| json!({ "Name": name, "Tag": tag })).collect();
    TAGS.print(&mut cx.out, args.format.as_ref(), &items)?;
    Ok(ExitCode::SUCCESS)
}

/// Where to search, and for what: a first part that can only be a host is one.
fn places(term: &str, options: &Options) -> (Vec<String>, String) {
    if let Some((first, rest)) = term.split_once('/')
        && (first.contains(['.', ':']) || first == "localhost")
    {
        let first = if first == INDEX { "docker.io" } else { first };
        return (vec![first.to_owned()], rest.to_owned());
    }
    let registries = options.registries.search().unwrap_or_default().to_vec();
    let registries = if registries.is_empty() { vec!["docker.io".to_owned()] } else { registries };
    (registries, term.to_owned())
}

/// What the filters say.
#[derive(Default)]
struct WantedResults {
    official: Option<bool>,
    automated: Option<bool>,
    stars: u64,
}

impl WantedResults {
    fn holds(&self, result: &SearchResult) -> bool {
        self.official.is_none_or(|official| official == result.is_official)
            && self.automated.is_none_or(|automated| automated == result.is_automated)
            && result.star_count >= self.stars
    }
}

fn wanted(filters: &[Filter]) -> Result<WantedResults, Error> {
    let mut wanted = WantedResults::default();
    for Filter { key, value } in filters {
        let invalid = || Error::usage(format!("invalid filter '{key}={value}'"));
        let boolean = || super::boolean(value).map(Some).map_err(|_| invalid());
        match key.as_str() {
            "is-official" => wanted.official = boolean()?,
            "is-automated" => wanted.automated = boolean()?,
            _ => wanted.stars = value.parse().map_err(|_| invalid())?,
        }
    }
    Ok(wanted)
}

fn row(args: &Args, registry: &str, result: &SearchResult) -> Value {
    let mut description = result.description.clone();
    if !args.no_trunc && description.chars().count() > WIDTH {
        description = description.chars().take(WIDTH - 1).collect::<String>() + "…";
    }
    let name = match registry {
        "docker.io" => result.name.clone(),
        registry => format!("{registry}/{}", result.name),
    };
    let ok = |yes: bool| if yes { "[OK]" } else { "" };
    json!({
        "Index": registry,
        "Name": name,
        "Description": description,
        "StarCount": result.star_count,
        "IsOfficial": ok(result.is_official),
        "IsAutomated": ok(result.is_automated),
    })
}
