//! `load`

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::super::progress::Shown;
use super::super::{Context, Error};
use super::registry::{limit, policy};
use crate::engine::Intake;
use crate::engine::registry::Input;
use crate::oci::Platform;

/// Take in images that were saved
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  coracle load -i app.tar
  coracle load <app.tar.gz")]
pub(crate) struct Args {
    /// Read this archive or directory and not standard input
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// Of an image for several platforms, take this one: OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Refuse an image whose layers unpack to more than this; 0 for no limit [default: 4g, or 256
    /// times what is shipped]
    #[arg(long, value_name = "SIZE", value_parser = super::super::parse::size)]
    max_unpacked_size: Option<u64>,
    /// Read this in place of the host's policy.json
    #[arg(long, value_name = "FILE", hide = true)]
    signature_policy: Option<PathBuf>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    // Opened as the user, before the user namespace of the store is entered.
    let input = match &args.input {
        Some(path) if path.is_dir() => Input::Directory(path.clone()),
        Some(path) => Input::File(open(path)?, path.display().to_string()),
        None => Input::File(standard_input("load")?, "standard input".to_owned()),
    };
    let intake = Intake {
        owners: engine.enter_owners()?,
        jobs: cx.config.pull_jobs.unwrap_or(3).clamp(1, 16),
        most_unpacked: args.max_unpacked_size.map(limit),
        platform: args.platform.clone(),
        trust: policy(cx, args.signature_policy.as_deref())?,
        from: args.input.clone(),
    };
    let shown = Shown::new(args.quiet, &cx.environment);
    engine.load(input, &intake, &shown, |loaded| {
        if loaded.names.is_empty() {
            return cx.out.line(format_args!("Loaded image ID: {}", loaded.id));
        }
        let mut names = loaded.names.iter();
        names.try_for_each(|name| cx.out.line(format_args!("Loaded image: {}", name.familiar())))
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|source| Error::File { action: "open", path: path.to_owned(), source })
}

/// Standard input, where it is no terminal: nobody types an archive.
pub(super) fn standard_input(command: &'static str) -> Result<File, Error> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Err(Error::FromTerminal { command });
    }
    let file = stdin.as_fd().try_clone_to_owned().map(File::from);
    file.map_err(|source| Error::File { action: "read", path: "/dev/stdin".into(), source })
}
