//! `volume import`

use std::path::Path;
use std::process::ExitCode;

use super::super::super::{Context, Error, complete};
use super::super::load::{open, standard_input};

/// Put a tar archive's files into a volume; those that it has beside stay
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The volume
    #[arg(add = complete::volume_names())]
    volume: String,
    /// The archive, compressed or not; - for standard input
    #[arg(value_name = "FILE|-", default_value = "-")]
    file: String,
}

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let file = match args.file.as_str() {
        "-" => standard_input("volume import")?,
        path => open(Path::new(path))?,
    };
    cx.engine(None, None)?.import_volume(&args.volume, file)?;
    Ok(ExitCode::SUCCESS)
}
