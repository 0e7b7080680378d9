//! `artifact ls`

use std::process::ExitCode;

use serde_json::json;

use super::super::super::format::Format;
use super::super::super::list::Listing;
use super::super::super::{Context, Error, human};
use crate::engine::reference::familiar;

const LISTING: Listing = Listing {
    columns: "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.Size}}",
    headings: &[
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("Digest", "DIGEST"),
        ("Size", "SIZE"),
        ("VirtualSize", "VIRTUAL SIZE"),
    ],
};

/// List artifacts
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print no headings
    #[arg(short, long)]
    noheading: bool,
    /// Print digests in full
    #[arg(long)]
    no_trunc: bool,
    /// Print digests alone
    #[arg(short, long)]
    quiet: bool,
    /// Print with a Go template, `table TEMPLATE`, or json
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let mut items = Vec::new();
    for artifact in cx.engine(None, None)?.artifacts()? {
        let digest = match args.no_trunc {
            true => artifact.digest.to_string(),
            false => artifact.digest.short().to_owned(),
        };
        if args.quiet {
            cx.out.line(digest)?;
            continue;
        }
        let name = familiar(&artifact.reference);
        let (repository, tag) = match artifact.reference.contains('@') {
            true => (name.split('@').next().unwrap_or_default(), "<none>"),
            false => name.rsplit_once(':').unwrap_or((&name, "<none>")),
        };
        items.push(json!({
            "Repository": repository,
            "Tag": tag,
            "Digest": digest,
            "Size": human::size(artifact.size),
            "VirtualSize": artifact.size.to_string(),
        }));
    }
    if !args.quiet {
        LISTING.print_bare(&mut cx.out, args.format.as_ref(), &items, args.noheading)?;
    }
    Ok(ExitCode::SUCCESS)
}
