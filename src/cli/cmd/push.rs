//! `push`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::super::progress::Shown;
use super::super::{Context, Error, complete};
use super::registry::{self, AccessArgs};
use crate::diagnose::Hint;
use crate::engine::Engine;
use crate::engine::push;
use crate::engine::reference::{self, Reference, Source};
use crate::engine::registry::{Options, Repository, way_to_push};
use crate::engine::store::Image;
use crate::oci::Digest;

/// Send an image to a registry
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Send all tags of the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Show no progress, and print the name alone
    #[arg(short, long)]
    quiet: bool,
    /// Write the digest that the registry knows the image by to a file
    #[arg(long, value_name = "FILE", conflicts_with = "all_tags")]
    digestfile: Option<PathBuf>,
    #[command(flatten)]
    access: AccessArgs,
    /// The image: a name, which says where to, or anything with a destination behind it
    #[arg(value_name = "IMAGE", add = complete::image_names())]
    image: String,
    /// Another name to send it to
    #[arg(value_name = "DESTINATION", conflicts_with = "all_tags")]
    destination: Option<String>,
}

/// Blobs at once, as docker does it.
const JOBS: usize = 5;

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let target = args.destination.as_ref().unwrap_or(&args.image);
    let Source::Registry(target) = target.parse()? else {
        let message = format!("cannot push to {target}: images are pushed to registries only");
        let hint = Some(Hint::new("coracle save writes files and directories"));
        return Err(Error::Usage { message, hint });
    };
    let target = match args.all_tags || args.destination.is_some() {
        true => target,
        false => cx.local_image(&cx.engine(None, None)?, &target.familiar())?.parse()?,
    };
    if target.digest().is_some() {
        return Err(Error::usage("cannot push a digest reference"));
    }
    let engine = cx.engine(None, None)?;
    let options = registry::options(cx, &args.access)?;
    if !args.quiet {
        cx.out.line(format_args!("The push refers to repository [{}]", target.name()))?;
    }
    if !args.all_tags {
        let image = match &args.destination {
            None => engine.named(&target)?,
            Some(_) => engine.store().resolve(&cx.local_image(&engine, &args.image)?)?,
        };
        send(args, cx, &engine, &options, (&target, &image))?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.image.trim_start_matches("docker://") != target.name()
        && args.image.trim_start_matches("docker://") != reference::familiar(&target.name())
    {
        return Err(Error::usage("tag can't be used with --all-tags/-a"));
    }
    let tags = engine.tags_of(&target)?;
    cx.each(&tags, |cx, name| {
        let target: Reference = name.parse()?;
        let image = engine.named(&target)?;
        send(args, cx, &engine, &options, (&target, &image))
    })?;
    Ok(ExitCode::SUCCESS)
}

fn send(
    args: &Args,
    cx: &mut Context,
    engine: &Engine,
    options: &Options,
    (target, image): (&Reference, &Image),
) -> Result<(), Error> {
    cx.out.flush()?;
    let way = way_to_push(options, target)?;
    let sources = engine.push_sources(image, target)?;
    let repository = Repository::new(options, target, way, &sources.repositories())?;
    let shown = Shown::new(args.quiet, &cx.environment);
    let request = push::Request { image, target: &repository, sources: &sources, jobs: JOBS };
    let pushed = engine.push(&request, &shown)?;
    if pushed.alone {
        let (name, platform) = (target.familiar(), &image.platform);
        cx.report.note(&format!(
            "{name} came as one of several platforms; what was pushed is the image for {platform} alone"
        ));
    }
    if pushed.repacked {
        cx.report.note(&format!(
            "a layer of {} is here in another packing than its own, and was sent in that: the digest is new",
            target.familiar()
        ));
    }
    digestfile(args.digestfile.as_deref(), &pushed.digest)?;
    if args.quiet {
        return cx.out.line(target);
    }
    let tag = target.tag_or_digest();
    cx.out.line(format_args!("{tag}: digest: {} size: {}", pushed.digest, pushed.size))
}

/// `--digestfile`
pub(super) fn digestfile(path: Option<&Path>, digest: &Digest) -> Result<(), Error> {
    let Some(path) = path else { return Ok(()) };
    std::fs::write(path, digest.to_string()).map_err(|source| Error::File {
        action: "write",
        path: path.to_owned(),
        source,
    })
}
