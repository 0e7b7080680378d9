//! `save`

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;

use super::super::{Context, Error, complete};
use super::registry::check_platform;
use crate::engine;
use crate::engine::save::{self, Form, Sink};
use crate::oci::Platform;

/// Write images to an archive or a directory
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  coracle save -o app.tar app:1 db:1
  coracle save app:1 | gzip >app.tar.gz
  coracle save --format oci-archive -o app.tar app:1")]
#[allow(clippy::struct_excessive_bools)] // each is a flag of its own
pub(crate) struct Args {
    /// Write there and not to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How: docker-archive, oci-archive, oci-dir or docker-dir
    #[arg(long, value_name = "FORMAT", default_value = "docker-archive")]
    format: Name,
    /// Say nothing (nothing is said anyway)
    #[arg(short, long)]
    quiet: bool,
    /// Several images are fine; docker-dir alone holds one
    #[arg(short = 'm', long)]
    multi_image_archive: bool,
    /// Take layers that are not compressed too (they are taken anyway)
    #[arg(long)]
    uncompressed: bool,
    /// Insist that the images are for this platform: OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Names, IDs or beginnings of IDs
    #[arg(required = true, value_name = "IMAGE", add = complete::image_names())]
    images: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    DockerArchive,
    OciArchive,
    OciDir,
    DockerDir,
}

impl Name {
    fn form(self) -> Form {
        match self {
            Self::DockerArchive => Form::DockerArchive,
            Self::OciArchive => Form::OciArchive,
            Self::OciDir => Form::OciDirectory,
            Self::DockerDir => Form::DockerDirectory,
        }
    }
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let form = args.format.form();
    let engine = cx.engine(None, None)?;
    let images = args.images.iter().map(|image| cx.local_image(&engine, image));
    let images: Vec<String> = images.collect::<Result<_, _>>()?;
    if args.platform.is_some() {
        for name in &images {
            let image = engine.store().resolve(name)?;
            check_platform(args.platform.as_ref(), &image, ("save", name))?;
        }
    }
    match &args.output {
        None if form.is_directory() => {
            return Err(Error::usage("a directory needs a name: --output DIRECTORY"));
        }
        None if io::stdout().is_terminal() => return Err(Error::ToTerminal),
        None => {
            let mut sink = save::Tar::new(BufWriter::with_capacity(1 << 20, io::stdout().lock()));
            engine.save(&images, form, &mut sink)?;
        }
        Some(path) if form.is_directory() => {
            let before = Before::of(path);
            let mut sink = save::Directory::new(path).map_err(crate::engine::Error::from)?;
            before.or_as_it_was(engine.save(&images, form, &mut sink))?;
        }
        Some(path) => archive(path, |sink| engine.save(&images, form, sink))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A file appears under its name when it is whole; a pipe or a device is written to as it is.
pub(super) fn archive<T>(
    path: &Path,
    write: impl FnOnce(&mut dyn Sink) -> Result<T, engine::Error>,
) -> Result<T, Error> {
    let error = |source| Error::File { action: "write", path: path.to_owned(), source };
    let write = |file: &File| {
        let mut sink = save::Tar::new(BufWriter::with_capacity(1 << 20, file));
        write(&mut sink)
    };
    if path.metadata().is_ok_and(|there| !there.is_file()) {
        let file = File::options().write(true).open(path).map_err(error)?;
        return Ok(write(&file)?);
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let file = tempfile::Builder::new()
        .prefix(".coracle-save-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)) // less the umask
        .tempfile_in(parent.unwrap_or(Path::new(".")))
        .map_err(error)?;
    let written = write(file.as_file())?;
    file.persist(path).map_err(|failed| error(failed.error))?;
    Ok(written)
}

/// A directory that is written to, as it was before.
pub(super) struct Before<'a> {
    path: &'a Path,
    was_there: bool,
    /// Images lay in it, and stay.
    was_layout: bool,
}

impl<'a> Before<'a> {
    pub(super) fn of(path: &'a Path) -> Self {
        let was_layout = path.join("oci-layout").is_file();
        Self { path, was_there: path.exists(), was_layout }
    }

    /// What writing came to; where it failed, a directory that was empty or not there is so again.
    pub(super) fn or_as_it_was<T, E>(&self, done: Result<T, E>) -> Result<T, E> {
        if done.is_err() && !self.was_layout {
            for entry in std::fs::read_dir(self.path).into_iter().flatten().flatten() {
                let path = entry.path();
                let _ = std::fs::remove_dir_all(&path).or_else(|_| std::fs::remove_file(&path));
            }
            if !self.was_there {
                let _ = std::fs::remove_dir(self.path);
            }
        }
        done
    }
}
