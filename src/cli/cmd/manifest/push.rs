//! `manifest push`

use std::path::PathBuf;
use std::process::ExitCode;

use super::super::super::progress::Shown;
use super::super::super::{Context, Error, complete};
use super::super::boolean;
use super::super::push::{digestfile, words};
use super::super::save::{Before, archive};
use super::{AskArgs, asking, list_name};
use crate::diagnose::Hint;
use crate::engine::reference::{Reference, Source};
use crate::engine::registry::{Repository, way_to_push};
use crate::engine::save::{Directory, Words};
use crate::engine::{self, manifest::Sending};

/// Send a list to a registry, with its images, or write it to files
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools)] // each is a flag of its own
pub(crate) struct Args {
    /// Remove the list when it is sent
    #[arg(short, long, visible_alias = "rm")]
    purge: bool,
    /// Send the images of the list too; =false where the registry has them
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value = "true", default_missing_value = "true", value_parser = boolean)]
    all: bool,
    /// Whose words: oci or v2s2, docker's [default: docker's, if all of its images are docker's]
    #[arg(short, long, value_name = "FORMAT", value_parser = words)]
    format: Option<Words>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// Write the digest that the list has there to a file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    /// Send no signatures (none are sent anyway)
    #[arg(long)]
    remove_signatures: bool,
    #[command(flatten)]
    ask: AskArgs,
    /// The list
    #[arg(value_name = "LIST", add = complete::list_names())]
    list: Reference,
    /// Another name to send it to; or oci:DIRECTORY[:TAG], oci-archive:FILE[:TAG]
    #[arg(value_name = "DESTINATION")]
    destination: Option<String>,
}

/// Blobs at once, as docker does it.
const JOBS: usize = 5;

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let list = list_name(&args.list)?;
    let destination: Option<Source> = args.destination.as_deref().map(str::parse).transpose()?;
    let (engine, options) = (cx.engine(None, None)?, args.ask.options(cx)?);
    let shown = Shown::new(args.quiet, &cx.environment);
    let sending = Sending {
        name: list,
        all: args.all,
        words: args.format,
        registries: &asking(&options),
        jobs: JOBS,
    };
    let digest = match destination {
        None | Some(Source::Registry(_)) => {
            let target = match destination {
                Some(Source::Registry(target)) => target,
                _ => list.clone(),
            };
            let sources = engine.list_sources(list, &target)?;
            let way = way_to_push(&options, &target)?;
            let repository = Repository::new(&options, &target, way, &sources.repositories())?;
            engine.push_list(&sending, &repository, &shown, &shown)?.digest
        }
        Some(Source::OciLayout { directory, tag }) => {
            let before = Before::of(&directory);
            let (mut sink, known) = Directory::layout(&directory).map_err(engine::Error::from)?;
            let named = (tag.as_deref(), known);
            before.or_as_it_was(engine.write_list(&sending, named, &mut sink, &shown))?
        }
        Some(Source::OciArchive { file, tag }) => archive(&file, |sink| {
            engine.write_list(&sending, (tag.as_deref(), Vec::new()), sink, &shown)
        })?,
        Some(Source::DockerArchive { .. } | Source::PlainDirectory { .. }) => {
            let destination = args.destination.as_deref().unwrap_or_default();
            let message = format!("cannot push to {destination}: it has no place for a list");
            let hint = Some(Hint::new("oci:DIRECTORY and oci-archive:FILE have one"));
            return Err(Error::Usage { message, hint });
        }
    };
    digestfile(args.digestfile.as_deref(), &digest)?;
    if args.purge {
        engine.forget_list(list)?;
    }
    cx.out.line(digest)?;
    Ok(ExitCode::SUCCESS)
}
