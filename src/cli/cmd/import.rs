//! `import`

use std::fs::File;
use std::io::Seek;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::super::progress::Shown;
use super::super::{Context, Error, parse};
use super::load::{open, standard_input};
use super::registry::{PlatformArgs, limit, policy, usual_options};
use crate::engine::reference::Reference;
use crate::engine::{Engine, Import, Intake, registry};
use crate::oci::Change;

/// Make an image of a root file system in a tar archive
#[derive(Debug, clap::Args)]
#[command(after_help = r#"Examples:
  curl -fL https://example.org/root.tar.gz | coracle import - mine:1
  coracle import -c 'CMD ["sh"]' root.tar mine:1"#)]
pub(crate) struct Args {
    /// Change the image by an instruction of a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL,
    /// HEALTHCHECK, ONBUILD, STOPSIGNAL, USER, VOLUME or WORKDIR
    #[arg(short, long, value_name = "INSTRUCTION", value_parser = parse::instruction)]
    change: Vec<Change>,
    /// Write this into the image's history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    #[command(flatten)]
    platform: PlatformArgs,
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
    /// The archive, compressed or not, or its URL; - for standard input
    #[arg(value_name = "FILE|URL|-")]
    file: String,
    /// The image's name
    #[arg(value_name = "NAME[:TAG]")]
    name: Option<Reference>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    if args.name.as_ref().is_some_and(|name| name.digest().is_some()) {
        return Err(Error::usage("refusing to create a tag with a digest reference"));
    }
    let engine = cx.engine(None, None)?;
    let is_url = args.file.starts_with("http://") || args.file.starts_with("https://");
    // Opened as the user, before the user namespace of the store is entered.
    let opened = match args.file.as_str() {
        _ if is_url => None,
        "-" => Some(standard_input("import")?),
        path => Some(open(Path::new(path))?),
    };
    let (owners, trust) = (engine.enter_owners()?, policy(cx, args.signature_policy.as_deref())?);
    let file = opened.map_or_else(|| downloaded(cx, &engine, args), Ok)?;
    let import = Import {
        file,
        name: registry::masked(&args.file),
        reference: args.name.clone(),
        changes: args.change.clone(),
        message: args.message.clone(),
    };
    let intake = Intake {
        owners,
        jobs: 1,
        most_unpacked: args.max_unpacked_size.map(limit),
        platform: args.platform.wanted()?,
        trust,
        from: (args.file != "-" && !is_url).then(|| args.file.clone().into()),
    };
    let id = engine.import(import, &intake, &Shown::new(args.quiet, &cx.environment))?;
    cx.out.line(id)?;
    Ok(ExitCode::SUCCESS)
}

/// What a URL leads to, in a file without a name. After the user namespace was entered: the threads
/// of the network would be in the way.
fn downloaded(cx: &Context, engine: &Engine, args: &Args) -> Result<File, Error> {
    let options = usual_options(cx)?;
    if !args.quiet {
        cx.report.note(&format!("downloading {}", registry::masked(&args.file)));
    }
    let scratch = engine.store().scratch()?;
    let file = tempfile::tempfile_in(scratch.path()).map_err(|source| Error::File {
        action: "make a file in",
        path: scratch.path().to_owned(),
        source,
    })?;
    registry::download(&options, &args.file, &file)?;
    (&file).rewind().map_err(|source| Error::File {
        action: "read",
        path: args.file.clone().into(),
        source,
    })?;
    Ok(file)
}
