//! `inspect`: docker's JSON. A field that coracle has nothing for is there, and as empty as docker's.

mod container;
mod image;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};

use super::super::format::Format;
use super::super::{Context, Error, complete};
use super::{network, volume};
use crate::engine::{self, Engine, container as records, images, store};

/// Show all there is to know of containers, images, networks and volumes
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  coracle inspect web
  coracle inspect -f '{{.State.Status}} {{.State.ExitCode}}' web
  coracle inspect -f '{{json .Mounts}}' web")]
pub(crate) struct Args {
    /// Print with a Go template, or as json
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Look among these only
    #[arg(long = "type", value_name = "KIND")]
    kind: Option<Kind>,
    /// Show how much containers wrote, and how much it is with their image
    #[arg(short, long)]
    size: bool,
    /// Print an image's manifest, or the index it was chosen from, as it was shipped
    #[arg(long, conflicts_with = "format")]
    raw: bool,
    /// Names, IDs or beginnings of IDs
    #[arg(required = true, value_name = "NAME|ID", add = complete::object_names())]
    names: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Container,
    Image,
    Network,
    Volume,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    if args.raw {
        cx.each(&args.names, |cx, name| {
            let bytes = engine.raw(name)?;
            match String::from_utf8(bytes) {
                Ok(text) => cx.out.text(text),
                Err(error) => cx.out.bytes(error.as_bytes()),
            }
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut found = Vec::new();
    // One that is missing does not hide the others.
    let looked_up = cx.each(&args.names, |cx, name| {
        found.push(look_up(cx, &engine, args, name)?);
        Ok(())
    });
    print(cx, found, args.format.as_ref())?;
    looked_up.map(|()| ExitCode::SUCCESS)
}

/// Prints what was found as one array, or each as the format has it.
pub(super) fn print(
    cx: &mut Context,
    found: Vec<Value>,
    format: Option<&Format>,
) -> Result<(), Error> {
    match format {
        None | Some(Format::Usual) => {
            let text = serde_json::to_string_pretty(&found).map_err(std::io::Error::from);
            cx.out.line(text.map_err(Error::Output)?)
        }
        Some(Format::Json) => cx.out.line(Value::Array(found)),
        Some(Format::Template(template) | Format::Table(template)) => {
            found.iter().try_for_each(|value| cx.out.line(template.render(value)?))
        }
    }
}

fn look_up(cx: &Context, engine: &Engine, args: &Args, name: &str) -> Result<Value, Error> {
    let kind = args.kind;
    if kind.is_none_or(|kind| kind == Kind::Container) {
        match engine.describe(name, args.size) {
            Ok(described) => return Ok(container::json(&described)),
            Err(engine::Error::Container(records::Error::NoSuchContainer { .. }))
                if kind.is_none() => {}
            Err(error) => return Err(error.into()),
        }
    }
    if kind.is_none_or(|kind| kind == Kind::Image) {
        match engine.image(&cx.image_or_member(engine, name, None)?) {
            Ok(details) => {
                let trees = engine.layer_trees(&details);
                return Ok(image::json(&details, &trees, &engine.driver().to_string()));
            }
            Err(engine::Error::Image(images::Error::Store(store::Error::NoSuchImage {
                ..
            }))) if kind.is_none() => {}
            Err(error) => return Err(error.into()),
        }
    }
    if kind.is_none_or(|kind| kind == Kind::Network) {
        match network::described(engine, name) {
            Ok(described) => return Ok(described),
            Err(Error::Engine(engine::Error::Network(engine::network::Error::NoSuchNetwork {
                ..
            }))) if kind.is_none() => {}
            Err(error) => return Err(error),
        }
    }
    match engine.volume(name) {
        Ok(volume) => Ok(volume::described(&volume)),
        Err(engine::Error::Volume(engine::volume::Error::NoSuchVolume { .. }))
            if kind.is_none() =>
        {
            Err(Error::NoSuchObject(name.to_owned()))
        }
        Err(error) => Err(error.into()),
    }
}

/// Go's nil in place of an empty list.
fn or_null<T: Serialize>(items: &[T]) -> Value {
    if items.is_empty() { Value::Null } else { json!(items) }
}

/// A set, as Go has it: a map to nothing.
fn set(names: &[String]) -> Value {
    let pairs = names.iter().map(|name| (name.clone(), json!({})));
    if names.is_empty() { Value::Null } else { Value::Object(pairs.collect()) }
}

/// Where the files of a root lie: `lowers` with the lowest first.
fn graph_driver(
    driver: &str,
    lowers: &[PathBuf],
    upper: &Path,
    work: &Path,
    merged: &str,
) -> Value {
    let lowers: Vec<String> = lowers.iter().rev().map(|it| it.display().to_string()).collect();
    json!({
        "Name": driver,
        "Data": {
            "LowerDir": lowers.join(":"),
            "MergedDir": merged,
            "UpperDir": upper,
            "WorkDir": work,
        },
    })
}
