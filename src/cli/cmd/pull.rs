//! `pull`

use std::process::ExitCode;

use super::super::{Context, Error, complete};
use super::registry::{self, RegistryArgs};
use crate::engine::pull::{Policy, Status};
use crate::engine::reference::{self, Reference};
use crate::engine::registry::{Lists, way_to_push};

/// The most tags that are fetched at once.
const MOST_TAGS: usize = 10_000;

/// Fetch images from a registry, a directory or an archive
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  coracle pull debian:12
  coracle pull --platform linux/arm64 alpine
  coracle pull oci-archive:image.tar                       # also oci:DIR, docker-archive:FILE")]
pub(crate) struct Args {
    #[command(flatten)]
    registry: RegistryArgs,
    /// Fetch all tags of the repositories
    #[arg(short, long)]
    all_tags: bool,
    /// Ask the registry: missing, always, never or newer
    #[arg(long, value_name = "WHEN", default_value = "always", hide_default_value = true)]
    policy: Policy,
    /// A name, or `oci:DIRECTORY[:TAG]`, `oci-archive:FILE`, `docker-archive:FILE`, `dir:DIRECTORY`
    #[arg(required = true, value_name = "IMAGE", add = complete::image_names())]
    images: Vec<String>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let images = if args.all_tags { all_tags(args, cx)? } else { args.images.clone() };
    let prepare = |image| registry::prepare(cx, &args.registry, image);
    let wanted: Vec<_> = images.iter().map(|image| prepare(image)).collect();
    let mut wanted = wanted.into_iter();
    let owners = engine.enter_owners()?;
    cx.each(&images, |cx, image| {
        let Some(wanted) = wanted.next().transpose()? else { return Ok(()) };
        let wanted = (image.as_str(), wanted);
        let pulled = registry::fetch(cx, &engine, &args.registry, wanted, args.policy, owners)?;
        if args.registry.quiet {
            return cx.out.line(pulled.id);
        }
        let full = pulled.reference.unwrap_or_else(|| pulled.id.to_string());
        let status = match pulled.status {
            Status::Downloaded => "Downloaded newer image for",
            Status::UpToDate => "Image is up to date for",
        };
        cx.out.line(format_args!("Digest: {}", pulled.digest))?;
        cx.out.line(format_args!("Status: {status} {}", reference::familiar(&full)))?;
        cx.out.line(full)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Each of the repositories' tags as an image of its own.
fn all_tags(args: &Args, cx: &Context) -> Result<Vec<String>, Error> {
    let options = registry::options(cx, &args.registry.access)?;
    let mut images = Vec::new();
    for image in &args.images {
        let text = image.strip_prefix("docker://").unwrap_or(image);
        let reference: Reference = text.parse()?;
        if text != reference.name() && text != reference::familiar(&reference.name()) {
            return Err(Error::usage("tag can't be used with --all-tags/-a"));
        }
        let way = way_to_push(&options, &reference)?;
        let tags = Lists::new(&options, way)?.tags(MOST_TAGS)?;
        images.extend(tags.into_iter().map(|tag| format!("{}:{tag}", reference.name())));
    }
    Ok(images)
}
