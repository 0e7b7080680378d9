//! `export`

use std::fs::File;
use std::io::{BufWriter, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::super::{Context, Error, complete};

/// Write a container's root file system as a tar archive
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  coracle export web | tar -x -C rootfs
  coracle export -o web.tar web")]
pub(crate) struct Args {
    /// Write to this file; - is stdout, as without it
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The container, by name or ID
    #[arg(add = complete::container_names())]
    container: String,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    match args.output.as_deref().filter(|path| *path != Path::new("-")) {
        Some(path) => {
            // A container that is not there costs nothing.
            engine.container(&args.container)?;
            write_whole(path, |file| {
                let to = BufWriter::with_capacity(256 << 10, file);
                Ok(engine.export(&args.container, to)?)
            })?;
        }
        None if std::io::stdout().is_terminal() => return Err(Error::ToTerminal),
        None => engine.export(&args.container, std::io::stdout().lock())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes a file that is there as a whole or not at all, unless it is no plain file.
pub(super) fn write_whole(
    path: &Path,
    write: impl FnOnce(&File) -> Result<(), Error>,
) -> Result<(), Error> {
    let failed = |source| Error::File { action: "write", path: path.to_owned(), source };
    if path.metadata().is_ok_and(|it| !it.is_file()) {
        let file = File::options().write(true).open(path).map_err(failed)?;
        return write(&file);
    }
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
    let draft = tempfile::Builder::new()
        .prefix(".export-")
        .tempfile_in(directory.unwrap_or(Path::new(".")));
    let draft = draft.map_err(failed)?;
    write(draft.as_file())?;
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    draft.as_file().set_permissions(readable).map_err(failed)?;
    draft.persist(path).map(drop).map_err(|error| failed(error.error))
}
