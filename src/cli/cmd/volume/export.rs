//! `volume export`

use std::io::{BufWriter, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::super::super::{Context, Error, complete};
use super::super::export::write_whole;

/// Write a volume's files as a tar archive
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  coracle volume export data | gzip >data.tgz")]
pub(crate) struct Args {
    /// Write to this file; - is stdout, as without it
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The volume
    #[arg(add = complete::volume_names())]
    volume: String,
}

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    // One that is not there costs nothing.
    engine.volume(&args.volume)?;
    match args.output.as_deref().filter(|path| *path != Path::new("-")) {
        Some(path) => write_whole(path, |file| {
            let to = BufWriter::with_capacity(256 << 10, file);
            Ok(engine.export_volume(&args.volume, to)?)
        })?,
        None if std::io::stdout().is_terminal() => return Err(Error::ToTerminal),
        None => engine.export_volume(&args.volume, std::io::stdout().lock())?,
    }
    Ok(ExitCode::SUCCESS)
}
