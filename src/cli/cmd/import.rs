//! `import`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::super::progress::Shown;
use super::super::{Context, Error, parse};
use super::load::{open, standard_input};
use super::registry::{limit, policy};
use crate::engine::reference::Reference;
use crate::engine::{Import, Intake};
use crate::oci::{Change, Platform};

/// Make an image of a root file system in a tar archive
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Change the image by an instruction of a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL,
    /// HEALTHCHECK, ONBUILD, STOPSIGNAL, USER, VOLUME or WORKDIR
    #[arg(short, long, value_name = "INSTRUCTION", value_parser = parse::instruction)]
    change: Vec<Change>,
    /// Write this into the image's history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// What the image is for: OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// Refuse an archive that unpacks to more than this; 0 for no limit [default: 4g, or 256 times
    /// its size]
    #[arg(long, value_name = "SIZE", value_parser = super::super::parse::size)]
    max_unpacked_size: Option<u64>,
    /// Read this in place of the host's policy.json
    #[arg(long, value_name = "FILE", hide = true)]
    signature_policy: Option<PathBuf>,
    /// The archive, compressed or not; - for standard input
    #[arg(value_name = "FILE|-")]
    file: String,
    /// The image's name
    #[arg(value_name = "NAME[:TAG]")]
    name: Option<Reference>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    if args.name.as_ref().is_some_and(|name| name.digest().is_some()) {
        return Err(Error::usage("refusing to create a tag with a digest reference"));
    }
    if args.file.starts_with("http://") || args.file.starts_with("https://") {
        return Err(Error::usage(format!(
            "import reads no URLs: curl -fL {} | coracle import -",
            args.file
        )));
    }
    let engine = cx.engine(None, None)?;
    let file = match args.file.as_str() {
        "-" => standard_input("import")?,
        path => open(Path::new(path))?,
    };
    let import = Import {
        file,
        name: args.file.clone(),
        reference: args.name.clone(),
        changes: args.change.clone(),
        message: args.message.clone(),
    };
    let intake = Intake {
        owners: engine.enter_owners()?,
        jobs: 1,
        most_unpacked: args.max_unpacked_size.map(limit),
        platform: args.platform.clone(),
        trust: policy(cx, args.signature_policy.as_deref())?,
        from: (args.file != "-").then(|| args.file.clone().into()),
    };
    let id = engine.import(import, &intake, &Shown::new(args.quiet, &cx.environment))?;
    cx.out.line(id)?;
    Ok(ExitCode::SUCCESS)
}
