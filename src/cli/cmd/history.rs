//! `history`

use std::process::ExitCode;

use serde_json::{Value, json};

use super::super::format::Format;
use super::super::list::Listing;
use super::super::{Context, Error, complete, human};
use super::registry::check_platform;
use crate::engine::Step;
use crate::oci::Platform;

const LISTING: Listing = Listing {
    columns: "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
    headings: &[
        ("ID", "IMAGE"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("Size", "SIZE"),
        ("Comment", "COMMENT"),
    ],
};
const EXACT: Listing = Listing {
    columns: "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
    ..LISTING
};
/// docker's word for a step that no image is kept of.
const MISSING: &str = "<missing>";
/// The letters of a command that a table shows.
const SHOWN: usize = 45;

/// Show how an image was made
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print sizes and times for people; =false for exact ones
    #[arg(short = 'H', long, action = clap::ArgAction::Set, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value = "true", default_missing_value = "true", value_parser = super::boolean)]
    human: bool,
    /// Print IDs alone
    #[arg(short, long)]
    quiet: bool,
    /// Print IDs and commands in full
    #[arg(long)]
    no_trunc: bool,
    /// Print with a Go template, `table TEMPLATE`, or json
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Of an image for several platforms, this one: OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// A name, an ID or the beginning of one
    #[arg(value_name = "IMAGE", add = complete::image_names())]
    image: String,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let wanted = args.platform.as_ref();
    let name = cx.image_or_member(&engine, &args.image, wanted)?;
    check_platform(wanted, &engine.store().resolve(&name)?, ("show", &args.image))?;
    let steps = engine.history(&name)?;
    let now = jiff::Timestamp::now();
    let items: Vec<Value> = steps.iter().map(|step| row(args, step, now)).collect();
    if args.quiet && args.format.is_none() {
        for item in &items {
            cx.out.line(item["ID"].as_str().unwrap_or_default())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let listing = if args.human { &LISTING } else { &EXACT };
    listing.print(&mut cx.out, args.format.as_ref(), &items)?;
    Ok(ExitCode::SUCCESS)
}

fn row(args: &Args, step: &Step, now: jiff::Timestamp) -> Value {
    let Step { image, history, size } = step;
    let created = history.created.as_deref().unwrap_or_default();
    let by = history.created_by.as_deref().unwrap_or_default().replace('\t', " ");
    let id = |id: &crate::oci::Digest| {
        if args.no_trunc { id.to_string() } else { id.short().to_owned() }
    };
    json!({
        "ID": image.as_ref().map_or_else(|| MISSING.to_owned(), id),
        "CreatedSince": human::ago(created, now),
        "CreatedAt": created,
        "CreatedBy": if args.no_trunc { by } else { shortened(&by) },
        "Size": if args.human { human::size(*size) } else { size.to_string() },
        "Comment": history.comment.as_deref().unwrap_or_default(),
    })
}

/// At most [`SHOWN`] letters, docker's ellipsis the last of them.
fn shortened(text: &str) -> String {
    if text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(SHOWN - 1).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_cut_as_docker_cuts_them() {
        assert_eq!(shortened("CMD [\"sh\"]"), "CMD [\"sh\"]");
        let short = shortened(&"é".repeat(100));
        assert_eq!((short.chars().count(), short.ends_with('…')), (45, true));
    }
}
