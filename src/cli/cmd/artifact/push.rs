//! `artifact push`

use std::path::PathBuf;
use std::process::ExitCode;

use super::super::super::progress::Shown;
use super::super::super::{Context, Error, complete};
use super::super::push::digestfile;
use super::super::registry::{self, AccessArgs};
use crate::engine::reference::Reference;
use crate::engine::registry::{Repository, way_to_push};

/// Send an artifact to a registry
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show no progress, and print the name alone
    #[arg(short, long)]
    quiet: bool,
    /// Write the digest that the registry knows the artifact by to a file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    #[command(flatten)]
    access: AccessArgs,
    /// Its name, which says where to; or its digest, with a destination behind it
    #[arg(value_name = "NAME", add = complete::artifact_names())]
    name: String,
    /// Another name to send it to
    #[arg(value_name = "DESTINATION")]
    destination: Option<String>,
}

/// Blobs at once, as docker does it.
const JOBS: usize = 5;

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let artifact = engine.artifact(&args.name)?;
    let target = args.destination.as_deref().unwrap_or(&artifact.reference);
    let target: Reference = target.trim_start_matches("docker://").parse()?;
    let options = registry::options(cx, &args.access)?;
    let way = way_to_push(&options, &target)?;
    let repository = Repository::new(&options, &target, way, &[])?;
    let shown = Shown::new(args.quiet, &cx.environment);
    let pushed = engine.push_artifact(&artifact.reference, &repository, JOBS, &shown)?;
    digestfile(args.digestfile.as_deref(), &pushed.digest)?;
    if args.quiet {
        cx.out.line(target)?;
    } else {
        let tag = target.tag_or_digest();
        cx.out.line(format_args!("{tag}: digest: {} size: {}", pushed.digest, pushed.size))?;
    }
    Ok(ExitCode::SUCCESS)
}
