//! `manifest push`

use std::path::PathBuf;
use std::process::ExitCode;

use super::super::super::progress::Shown;
use super::super::super::{Context, Error, complete};
use super::super::boolean;
use super::super::push::{digestfile, words};
use super::{AskArgs, asking, list_name};
use crate::diagnose::Hint;
use crate::engine::manifest::Sending;
use crate::engine::reference::{Reference, Source};
use crate::engine::registry::{Repository, way_to_push};
use crate::engine::save::Words;

/// Send a list to a registry, with its images
#[derive(Debug, clap::Args)]
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
    /// Write the digest that the registry knows the list by to a file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    #[command(flatten)]
    ask: AskArgs,
    /// The list
    #[arg(value_name = "LIST", add = complete::list_names())]
    list: Reference,
    /// Another name to send it to
    #[arg(value_name = "DESTINATION")]
    destination: Option<String>,
}

/// Blobs at once, as docker does it.
const JOBS: usize = 5;

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let list = list_name(&args.list)?;
    let target = match &args.destination {
        None => list.clone(),
        Some(destination) => registry_of(destination)?,
    };
    let (engine, options) = (cx.engine(None, None)?, args.ask.options(cx)?);
    let sources = engine.list_sources(list, &target)?;
    let way = way_to_push(&options, &target)?;
    let repository = Repository::new(&options, &target, way, &sources.repositories())?;
    let shown = Shown::new(args.quiet, &cx.environment);
    let sending = Sending {
        name: list,
        target: &repository,
        all: args.all,
        words: args.format,
        registries: &asking(&options),
        jobs: JOBS,
    };
    let pushed = engine.push_list(&sending, &shown, &shown)?;
    digestfile(args.digestfile.as_deref(), &pushed.digest)?;
    drop(repository);
    if args.purge {
        engine.forget_list(list)?;
    }
    cx.out.line(pushed.digest)?;
    Ok(ExitCode::SUCCESS)
}

/// Where a list can be sent to.
fn registry_of(destination: &str) -> Result<Reference, Error> {
    if let Source::Registry(target) = destination.parse()? {
        return Ok(target);
    }
    let message = format!("cannot push to {destination}: lists are pushed to registries only");
    let hint = Some(Hint::new("coracle save or push writes an image of it to files"));
    Err(Error::Usage { message, hint })
}
