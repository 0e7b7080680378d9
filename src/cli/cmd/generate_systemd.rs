//! `generate systemd`

use std::path::PathBuf;
use std::process::ExitCode;

use super::super::{Context, Error, complete};

/// Print a systemd unit that starts a container with the machine
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write NAME.service into the working directory
    #[arg(long)]
    files: bool,
    /// The container, by name or ID
    #[arg(add = complete::container_names())]
    container: String,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let program = std::env::current_exe().map_err(|source| Error::File {
        action: "find",
        path: "coracle".into(),
        source,
    })?;
    let (record, text) = engine.systemd_unit(&args.container, &program)?;
    if !args.files {
        return cx.out.text(text).map(|()| ExitCode::SUCCESS);
    }
    let directory = std::env::current_dir().unwrap_or_default();
    let path: PathBuf = directory.join(format!("{}.service", record.name));
    std::fs::write(&path, text).map_err(|source| Error::File {
        action: "write",
        path: path.clone(),
        source,
    })?;
    cx.out.line(path.display()).map(|()| ExitCode::SUCCESS)
}
