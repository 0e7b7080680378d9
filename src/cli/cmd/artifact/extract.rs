//! `artifact extract`

use std::path::PathBuf;
use std::process::ExitCode;

use super::super::super::{Context, Error, complete};
use crate::engine::artifact::Which;

/// Write the files of an artifact to a directory
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only the file of this title
    #[arg(long, value_name = "TITLE", conflicts_with = "digest")]
    title: Option<String>,
    /// Only the file of this digest, or of one that begins so
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,
    /// A name, a digest or the beginning of one
    #[arg(value_name = "NAME", add = complete::artifact_names())]
    name: String,
    /// A directory; or, for one file, the file it is to be
    #[arg(value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    path: PathBuf,
}

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let title = args.title.clone().map(Which::Title);
    let which = title.or_else(|| args.digest.clone().map(Which::Digest));
    cx.engine(None, None)?.extract_artifact(&args.name, which.as_ref(), &args.path)?;
    Ok(ExitCode::SUCCESS)
}
