//! `artifact rm`

use std::process::ExitCode;

use super::super::super::{Context, Error, complete};
use crate::engine::{self, artifact};

/// Remove artifacts
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// All of them
    #[arg(short, long, conflicts_with = "names")]
    all: bool,
    /// One that is not here is no error
    #[arg(short, long)]
    ignore: bool,
    /// Names, digests or beginnings of digests
    #[arg(required_unless_present = "all", value_name = "NAME", add = complete::artifact_names())]
    names: Vec<String>,
}

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let owners = engine.enter_owners()?;
    let names = match args.all {
        true => engine.artifacts()?.into_iter().map(|artifact| artifact.reference).collect(),
        false => args.names.clone(),
    };
    cx.each(&names, |cx, name| match engine.remove_artifact(name, owners) {
        Err(engine::Error::Artifact(artifact::Error::NoSuchArtifact { .. })) if args.ignore => {
            Ok(())
        }
        removed => cx.out.line(removed?.hex()),
    })?;
    Ok(ExitCode::SUCCESS)
}
