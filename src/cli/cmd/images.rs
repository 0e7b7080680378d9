//! `images`

use std::process::ExitCode;

use serde_json::{Value, json};

use super::super::format::Format;
use super::super::list::Listing;
use super::super::parse;
use super::super::parse::filter::{self, Filter};
use super::super::{Context, Error, complete, human};
use crate::engine::images::Listed;
use crate::engine::{Engine, reference};
use crate::oci::Digest;

const LISTING: Listing = Listing {
    columns: "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
    headings: &[
        ("ID", "IMAGE ID"),
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("Digest", "DIGEST"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("Size", "SIZE"),
        ("Platform", "PLATFORM"),
        ("Containers", "CONTAINERS"),
    ],
};
const WITH_DIGESTS: Listing = Listing {
    columns: "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
    ..LISTING
};
const TREE: Listing = Listing {
    columns: "{{.Image}}\t{{.ID}}\t{{.Size}}\t{{.Shipped}}\t{{.InUse}}",
    headings: &[
        ("Image", "IMAGE"),
        ("ID", "ID"),
        ("Size", "DISK USAGE"),
        ("Shipped", "CONTENT SIZE"),
        ("InUse", "IN USE"),
    ],
};
const FILTERS: &[&str] = &["before", "dangling", "label", "reference", "since", "until"];

/// What a list is put in order by; podman's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Key {
    Created,
    Id,
    Repository,
    Size,
    Tag,
}

/// List images
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  coracle images 'deb*'
  coracle images -q --filter dangling=true
  coracle images --format '{{.Repository}}:{{.Tag}} {{.Size}}'")]
#[allow(clippy::struct_excessive_bools)] // each is a flag of its own
pub(crate) struct Args {
    /// Those with this name only; * and ? stand for any letters
    #[arg(value_name = "REPOSITORY[:TAG]", add = complete::image_names())]
    repository: Option<String>,
    /// Those without a name too (they are shown anyway: there are no layers without an image)
    #[arg(short, long)]
    all: bool,
    /// Print IDs alone
    #[arg(short, long)]
    quiet: bool,
    /// Print IDs and digests in full
    #[arg(long)]
    no_trunc: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Show names and platforms below each other, and what is in use
    #[arg(long, conflicts_with_all = ["quiet", "digests", "format"])]
    tree: bool,
    /// Order by this, and not the newest first
    #[arg(long, value_name = "KEY", conflicts_with = "tree")]
    sort: Option<Key>,
    /// Print no headings
    #[arg(short = 'n', long, conflicts_with = "tree")]
    noheading: bool,
    /// Only where this holds: dangling, reference, label, before, since or until
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    /// Print with a Go template, `table TEMPLATE`, or json
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    filter::check(&args.filter, FILTERS).map_err(|error| Error::usage(error.0))?;
    let engine = cx.engine(None, None)?;
    let mut listed = engine.images()?;
    for Filter { key, value } in &args.filter {
        if key == "before" || key == "since" {
            let edge = engine.store().resolve(value)?.id;
            let at = listed.iter().position(|it| it.image.id == edge).unwrap_or(listed.len());
            // The newest stands first.
            listed = match key.as_str() {
                "since" => listed.drain(..at).collect(),
                _ => listed.drain(at..).skip(1).collect(),
            };
        }
    }
    let now = jiff::Timestamp::now();
    let until = until(&args.filter, now)?;
    let mut passing = Vec::new();
    for image in &listed {
        if older(image, until) && passes(&engine, args, image)? {
            passing.push(image);
        }
    }
    match args.sort {
        Some(Key::Created) => passing.reverse(),
        Some(Key::Size) => passing.sort_by_key(|listed| listed.image.size()),
        _ => {}
    }
    if args.tree {
        return tree(&engine, args, &passing, cx);
    }
    let shown = Shown { repository: args.repository.as_deref(), full: args.no_trunc };
    let mut items: Vec<Value> = passing.iter().flat_map(|image| rows(&shown, image, now)).collect();
    let by = |items: &mut Vec<Value>, field: &str| {
        items.sort_by(|one, other| one[field].as_str().cmp(&other[field].as_str()));
    };
    match args.sort {
        Some(Key::Id) => by(&mut items, "ID"),
        Some(Key::Repository) => by(&mut items, "Repository"),
        Some(Key::Tag) => by(&mut items, "Tag"),
        Some(Key::Created | Key::Size) | None => {}
    }
    if args.quiet && args.format.is_none() {
        let mut last = None;
        for item in &items {
            if last != Some(&item["ID"]) {
                cx.out.line(item["ID"].as_str().unwrap_or_default())?;
            }
            last = Some(&item["ID"]);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let listing = if args.digests { &WITH_DIGESTS } else { &LISTING };
    listing.print_bare(&mut cx.out, args.format.as_ref(), &items, args.noheading)?;
    Ok(ExitCode::SUCCESS)
}

/// The earliest of the `until` filters.
fn until(filters: &[Filter], now: jiff::Timestamp) -> Result<Option<jiff::Timestamp>, Error> {
    let filters = filters.iter().filter(|filter| filter.key == "until");
    let moments = filters.map(|filter| parse::moment(&filter.value, now));
    let moments = moments.collect::<Result<Vec<_>, _>>();
    Ok(moments.map_err(|error| Error::usage(error.0))?.into_iter().min())
}

/// Whether an image was made before a moment; one that does not say when was.
fn older(listed: &Listed, until: Option<jiff::Timestamp>) -> bool {
    let created = listed.image.created.as_ref().and_then(|created| created.parse().ok());
    match (until, created) {
        (Some(until), Some(created)) => jiff::Timestamp::lt(&created, &until),
        _ => true,
    }
}

/// docker's view: a line for all names of an image, and below it the platform that is here.
fn tree(
    engine: &Engine,
    args: &Args,
    listed: &[&Listed],
    cx: &mut Context,
) -> Result<ExitCode, Error> {
    let containers = engine.containers()?;
    let mut items = Vec::new();
    for Listed { image, names } in listed {
        let mut shown: Vec<String> = names.tags.iter().map(|it| reference::familiar(it)).collect();
        let wanted = args.repository.as_ref();
        if wanted.is_some_and(|wanted| !names.tags.iter().any(|tag| named(wanted, tag))) {
            continue;
        }
        if shown.is_empty() {
            shown.push("<untagged>".to_owned());
        }
        let id = if args.no_trunc { image.id.to_string() } else { image.id.short().to_owned() };
        let shipped: u64 = image.layers.iter().map(|layer| layer.shipped).sum();
        let in_use = containers.iter().any(|(record, _)| record.image_id == image.id);
        let row = |name: String, id: &str| {
            json!({
                "Image": name,
                "ID": id,
                "Size": human::size(image.size()),
                "Shipped": human::size(shipped),
                "InUse": if in_use { "U" } else { "" },
            })
        };
        let last = shown.len() - 1;
        for (place, name) in shown.into_iter().enumerate() {
            items.push(match place == last {
                true => row(name, &id),
                false => json!({"Image": name, "ID": "", "Size": "", "Shipped": "", "InUse": ""}),
            });
        }
        let manifest = match args.no_trunc {
            true => image.manifest.to_string(),
            false => image.manifest.short().to_owned(),
        };
        items.push(row(format!("└─ {}", image.platform), &manifest));
    }
    TREE.print(&mut cx.out, None, &items)?;
    Ok(ExitCode::SUCCESS)
}

fn passes(engine: &Engine, args: &Args, listed: &Listed) -> Result<bool, Error> {
    let wants_labels = args.filter.iter().any(|filter| filter.key == "label");
    let labels = if wants_labels {
        engine.store().config(&listed.image)?.labels
    } else {
        std::collections::BTreeMap::new()
    };
    Ok(filter::passes(&args.filter, |key, value| match key {
        "dangling" => listed.names.tags.is_empty() == matches!(value, "true" | "1"),
        "label" => filter::label_holds(value, &labels),
        "reference" => listed.names.tags.iter().any(|tag| named(value, tag)),
        _ => true, // before, since and until cut the list itself
    }))
}

/// Whether a pattern, with or without a tag, names a tag.
fn named(pattern: &str, tag: &str) -> bool {
    let familiar = reference::familiar(tag);
    let bare = split(&familiar).0.to_owned();
    [tag, &familiar, &bare, split(tag).0].iter().any(|name| filter::matches(pattern, name))
}

/// Which rows of an image are wanted, and how.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shown<'a> {
    /// Those of this name alone.
    repository: Option<&'a str>,
    /// IDs in full.
    full: bool,
}

/// One row a name; an image without any has one too.
pub(super) fn rows(shown: &Shown<'_>, listed: &Listed, now: jiff::Timestamp) -> Vec<Value> {
    let Listed { image, names } = listed;
    let wanted = |tag: &&String| shown.repository.is_none_or(|it| named(it, tag));
    let id = |id: &Digest| {
        if shown.full { id.to_string() } else { id.short().to_owned() }
    };
    let created = image.created.as_deref().unwrap_or_default();
    let row = |repository: &str, tag: &str| {
        let digest =
            if names.digests.is_empty() { "<none>".to_owned() } else { image.digest().to_string() };
        json!({
            "ID": id(&image.id),
            "Repository": repository,
            "Tag": tag,
            "Digest": digest,
            "CreatedSince": human::ago(created, now),
            "CreatedAt": created,
            "Size": human::size(image.size()),
            "Platform": image.platform.to_string(),
        })
    };
    if names.tags.is_empty() && shown.repository.is_none() {
        let digest = names.digests.first().map(|digest| reference::familiar(digest));
        let repository = digest.as_deref().and_then(|it| it.split('@').next());
        return vec![row(repository.unwrap_or("<none>"), "<none>")];
    }
    let tags = names.tags.iter().filter(wanted);
    tags.map(|tag| {
        let familiar = reference::familiar(tag);
        let (repository, tag) = split(&familiar);
        row(repository, tag)
    })
    .collect()
}

/// `debian:12` to `debian` and `12`.
fn split(name: &str) -> (&str, &str) {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (name, "<none>"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_tags_in_every_form() {
        let tag = "docker.io/library/debian:12";
        for pattern in ["debian", "debian:12", "deb*", "docker.io/library/debian", "*:12"] {
            assert!(named(pattern, tag), "{pattern}");
        }
        assert!(!named("debian:11", tag) && !named("ubuntu", tag));
    }
}
