//! `diff`

use std::process::ExitCode;

use serde_json::json;

use super::super::format::Format;
use super::super::list::Listing;
use super::super::{Context, Error, complete};
use crate::engine::Difference;

const LISTING: Listing =
    Listing { columns: "{{.Kind}} {{.Path}}", headings: &[("Kind", "KIND"), ("Path", "PATH")] };

/// Show what a container has changed in its image's files
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print with a Go template, `table TEMPLATE`, or json
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// The container, by name or ID; an image for what its uppermost layer changes
    #[arg(add = complete::object_names())]
    container: String,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let changes = cx.engine(None, None)?.diff(&args.container)?;
    let rows = changes.iter().map(|(name, change)| (letter(*change), format!("/{name}")));
    match &args.format {
        None => {
            for (letter, path) in rows {
                cx.out.line(format_args!("{letter} {path}"))?;
            }
        }
        Some(Format::Json) => cx.out.line(lists(rows))?,
        Some(format) => {
            let items: Vec<_> =
                rows.map(|(kind, path)| json!({"Kind": kind, "Path": path})).collect();
            LISTING.print(&mut cx.out, Some(format), &items)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// podman's form: a list for each kind, where there is something in it.
fn lists(rows: impl Iterator<Item = (char, String)>) -> serde_json::Value {
    let mut lists = serde_json::Map::new();
    for (letter, path) in rows {
        let key = match letter {
            'A' => "added",
            'C' => "changed",
            _ => "deleted",
        };
        let list = lists.entry(key).or_insert_with(|| json!([]));
        list.as_array_mut().into_iter().for_each(|list| list.push(json!(path)));
    }
    serde_json::Value::Object(lists)
}

fn letter(change: Difference) -> char {
    match change {
        Difference::Added => 'A',
        Difference::Changed => 'C',
        Difference::Deleted => 'D',
    }
}
