//! `volume exists`

use std::process::ExitCode;

use super::super::super::{Context, Error, complete};
use crate::engine::{self, volume};

/// Tell by the exit code whether there is a volume: 0 if so, 1 if not
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its name
    #[arg(value_name = "VOLUME", add = complete::volume_names())]
    name: String,
}

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    match cx.engine(None, None)?.volume(&args.name) {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(engine::Error::Volume(volume::Error::NoSuchVolume { .. })) => Ok(ExitCode::FAILURE),
        Err(error) => Err(error.into()),
    }
}
