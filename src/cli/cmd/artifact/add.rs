//! `artifact add`

use std::path::PathBuf;
use std::process::ExitCode;

use super::super::super::{Context, Error, parse};
use crate::engine::artifact::Adding;
use crate::engine::reference::Reference;

/// Make an artifact of files
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  coracle artifact add registry.example/models/tiny:1 weights.bin
  coracle artifact push registry.example/models/tiny:1")]
pub(crate) struct Args {
    /// Add the files to the artifact that is there
    #[arg(short, long)]
    append: bool,
    /// Say what kind of artifact it is: a media type
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "append")]
    kind: Option<String>,
    /// Say what the files are: a media type [default: application/octet-stream]
    #[arg(long, value_name = "TYPE")]
    file_type: Option<String>,
    /// Say something of each file
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse::pair)]
    annotation: Vec<(String, String)>,
    /// The artifact's name
    #[arg(value_name = "NAME")]
    name: Reference,
    /// The files, each under the last part of its path
    #[arg(value_name = "FILE", required = true, value_hint = clap::ValueHint::FilePath)]
    files: Vec<PathBuf>,
}

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    if args.name.digest().is_some() {
        return Err(Error::usage("an artifact is named by a tag and no digest"));
    }
    let adding = Adding {
        name: args.name.clone(),
        files: args.files.clone(),
        kind: args.kind.clone(),
        media_type: args.file_type.clone(),
        annotations: args.annotation.clone(),
        append: args.append,
    };
    cx.out.line(cx.engine(None, None)?.add_artifact(&adding)?.hex())?;
    Ok(ExitCode::SUCCESS)
}
