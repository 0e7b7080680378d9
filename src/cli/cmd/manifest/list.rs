//! `manifest ls`

use std::process::ExitCode;

use serde_json::{Value, json};

use super::super::super::format::Format;
use super::super::super::list::Listing;
use super::super::super::{Context, Error};
use crate::engine::reference::familiar;

const LISTING: Listing = Listing {
    columns: "{{.Name}}\t{{.Digest}}\t{{.Manifests}}",
    headings: &[("Name", "NAME"), ("Digest", "DIGEST"), ("Manifests", "MANIFESTS")],
};

/// List the lists that are here
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print names alone
    #[arg(short, long)]
    quiet: bool,
    /// Print with a Go template, `table TEMPLATE`, or json
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let mut items = Vec::new();
    for list in engine.lists()? {
        let name = familiar(&list.reference);
        if args.quiet {
            cx.out.line(name)?;
            continue;
        }
        let entries: Value = engine
            .store()
            .document(&list.document)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let count = entries["manifests"].as_array().map_or(0, Vec::len);
        items.push(json!({"Name": name, "Digest": list.document, "Manifests": count}));
    }
    if !args.quiet {
        LISTING.print(&mut cx.out, args.format.as_ref(), &items)?;
    }
    Ok(ExitCode::SUCCESS)
}
