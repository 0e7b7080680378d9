//! `push`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;

use super::super::progress::Shown;
use super::super::{Context, Error, complete};
use super::registry::{self, AccessArgs, check_platform};
use super::save::{Before, archive};
use crate::diagnose::Hint;
use crate::engine::push;
use crate::engine::reference::{self, Reference, Source};
use crate::engine::registry::{Compression, Options, Repository, way_to_push};
use crate::engine::save::{Copy, Directory, Form, Packing, Repack, Shape, Sink, Words};
use crate::engine::store::Image;
use crate::engine::{self, Engine};
use crate::oci::{Digest, Platform};

/// Send an image to a registry, or write it to files
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  coracle push registry.example/team/app:1
  coracle push app registry.example/team/app:1             # under another name
  coracle push app oci:layout:v1                           # also docker-archive:FILE, dir:DIR")]
#[allow(clippy::struct_excessive_bools)] // each is a flag of its own
pub(crate) struct Args {
    /// Send all tags of the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Show no progress, and print the name alone
    #[arg(short, long)]
    quiet: bool,
    /// Write the digest that the image has there to a file
    #[arg(long, value_name = "FILE", conflicts_with = "all_tags")]
    digestfile: Option<PathBuf>,
    /// Whose words: oci or v2s2, docker's [default: those that the image came in]
    #[arg(short, long, value_name = "FORMAT", value_parser = words)]
    format: Option<Words>,
    /// Pack layers with gzip or zstd that are packed otherwise
    #[arg(long, value_name = "FORMAT")]
    compression_format: Option<PackingName>,
    /// Pack them so hard: 0 to 9 with gzip, 1 to 22 with zstd
    #[arg(long, value_name = "LEVEL")]
    compression_level: Option<i32>,
    /// Pack all layers anew; =false only those that are not packed at all
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = super::boolean)]
    force_compression: Option<bool>,
    /// Send the image for this platform alone, though it came as one of several: OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Send no signatures (none are sent anyway)
    #[arg(long)]
    remove_signatures: bool,
    /// Sign nothing (nothing is signed anyway)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = unsigned)]
    disable_content_trust: Option<bool>,
    #[command(flatten)]
    access: AccessArgs,
    /// The image: a name, which says where to, or anything with a destination behind it
    #[arg(value_name = "IMAGE", add = complete::image_names())]
    image: String,
    /// Another name to send it to; or oci:DIRECTORY[:TAG], oci-archive:FILE[:TAG],
    /// docker-archive:FILE[:NAME], dir:DIRECTORY
    #[arg(value_name = "DESTINATION", conflicts_with = "all_tags")]
    destination: Option<String>,
}

/// `--compression-format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PackingName {
    Gzip,
    Zstd,
}

/// Blobs at once, as docker does it.
const JOBS: usize = 5;

/// `--format`
pub(super) fn words(text: &str) -> Result<Words, String> {
    match text {
        "oci" => Ok(Words::Oci),
        "v2s2" | "docker" => Ok(Words::Docker),
        "v2s1" => Err("docker's schema 1 is no longer written; want oci or v2s2".to_owned()),
        _ => Err("want oci or v2s2".to_owned()),
    }
}

/// `--disable-content-trust`, which cannot be false.
fn unsigned(text: &str) -> Result<bool, String> {
    match super::boolean(text) {
        Ok(true) => Ok(true),
        Ok(false) => Err("images are not signed here; see cosign sign".to_owned()),
        Err(error) => Err(error.0),
    }
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let shape = shape(args)?;
    let engine = cx.engine(None, None)?;
    if let Some(destination) = &args.destination {
        let source: Source = destination.parse()?;
        if !matches!(source, Source::Registry(_)) {
            let image = engine.store().resolve(&cx.local_image(&engine, &args.image)?)?;
            check_platform(args.platform.as_ref(), &image, ("push", &args.image))?;
            let digest = to_files(&engine, &image, &source, shape, args.digestfile.is_some())?;
            if let Some(digest) = digest {
                digestfile(args.digestfile.as_deref(), &digest)?;
            }
            return Ok(ExitCode::SUCCESS);
        }
    }
    let target = args.destination.as_ref().unwrap_or(&args.image);
    let Source::Registry(target) = target.parse()? else {
        let message = format!("cannot push {target}: an image of the store is pushed");
        let hint = Some(Hint::new(format!("coracle push IMAGE {target}")));
        return Err(Error::Usage { message, hint });
    };
    let target = match args.all_tags || args.destination.is_some() {
        true => target,
        false => cx.local_image(&engine, &target.familiar())?.parse()?,
    };
    if target.digest().is_some() {
        return Err(Error::usage("cannot push a digest reference"));
    }
    let options = registry::options(cx, &args.access)?;
    if !args.quiet {
        cx.out.line(format_args!("The push refers to repository [{}]", target.name()))?;
    }
    if !args.all_tags {
        let image = match &args.destination {
            None => engine.named(&target)?,
            Some(_) => engine.store().resolve(&cx.local_image(&engine, &args.image)?)?,
        };
        send(args, cx, &engine, (&options, shape), (&target, &image))?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.image.trim_start_matches("docker://") != target.name()
        && args.image.trim_start_matches("docker://") != reference::familiar(&target.name())
    {
        return Err(Error::usage("tag can't be used with --all-tags/-a"));
    }
    let tags = engine.tags_of(&target)?;
    cx.each(&tags, |cx, name| {
        let target: Reference = name.parse()?;
        let image = engine.named(&target)?;
        send(args, cx, &engine, (&options, shape), (&target, &image))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What is to be another than it was.
fn shape(args: &Args) -> Result<Shape, Error> {
    let (level, force) = (args.compression_level, args.force_compression);
    // As in podman: gzip, where packing is spoken of and no format is named.
    let spoken_of = level.is_some() || force.is_some();
    let format = args.compression_format.or(spoken_of.then_some(PackingName::Gzip));
    let Some(format) = format else {
        return Ok(Shape { words: args.format, packing: None });
    };
    let levels = match format {
        PackingName::Gzip => 0..=9,
        PackingName::Zstd => 1..=22,
    };
    if let Some(level) = level.filter(|level| !levels.contains(level)) {
        let (first, last) = levels.into_inner();
        return Err(Error::usage(format!("--compression-level {level}: want {first} to {last}")));
    }
    let which = match force {
        None => Repack::Other,
        Some(true) => Repack::All,
        Some(false) => Repack::Plain,
    };
    let format = match format {
        PackingName::Gzip => Compression::Gzip,
        PackingName::Zstd => Compression::Zstd,
    };
    Ok(Shape { words: args.format, packing: Some(Packing { format, level, which }) })
}

/// Writes an image to an archive or a directory.
fn to_files(
    engine: &Engine,
    image: &Image,
    to: &Source,
    shape: Shape,
    wants_digest: bool,
) -> Result<Option<Digest>, Error> {
    let copy = |form, name: Option<String>| Copy { image, name, shape, form, known: Vec::new() };
    let write = |copy, sink: &mut dyn Sink| engine.copy_image(copy, sink);
    match to {
        Source::OciLayout { directory, tag } => {
            let before = Before::of(directory);
            let (mut sink, known) = Directory::layout(directory).map_err(engine::Error::from)?;
            let copy = Copy { known, ..copy(Form::OciDirectory, tag.clone()) };
            Ok(before.or_as_it_was(write(copy, &mut sink))?)
        }
        Source::OciArchive { file, tag } => {
            archive(file, |sink| write(copy(Form::OciArchive, tag.clone()), sink))
        }
        Source::PlainDirectory { directory } => {
            let before = Before::of(directory);
            let mut sink = Directory::plain(directory).map_err(engine::Error::from)?;
            Ok(before.or_as_it_was(write(copy(Form::DockerDirectory, None), &mut sink))?)
        }
        Source::DockerArchive { file, reference } => {
            let odd = match () {
                () if shape.packing.is_some() => Some("its layers are not packed"),
                () if shape.words == Some(Words::Oci) => Some("it is docker's own form"),
                () if wants_digest => Some("it has no manifest, and no digest of one"),
                () if file.metadata().is_ok_and(|it| it.is_file() && it.len() > 0) => Some(
                    "it is there, and docker-archive doesn't support modifying existing images",
                ),
                () => None,
            };
            if let Some(why) = odd {
                let file = file.display();
                return Err(Error::usage(format!("cannot write docker-archive:{file}: {why}")));
            }
            let name = reference.as_ref().map(engine::store::full_name);
            archive(file, |sink| write(copy(Form::DockerArchive, name), sink))
        }
        Source::Registry(_) => Ok(None),
    }
}

fn send(
    args: &Args,
    cx: &mut Context,
    engine: &Engine,
    (options, shape): (&Options, Shape),
    (target, image): (&Reference, &Image),
) -> Result<(), Error> {
    cx.out.flush()?;
    check_platform(args.platform.as_ref(), image, ("push", &args.image))?;
    let way = way_to_push(options, target)?;
    let sources = engine.push_sources(image, target)?;
    let repository = Repository::new(options, target, way, &sources.repositories())?;
    let shown = Shown::new(args.quiet, &cx.environment);
    let request = push::Request {
        image,
        target: &repository,
        sources: &sources,
        jobs: JOBS,
        shape,
        alone: args.platform.is_some(),
    };
    let pushed = engine.push(&request, &shown)?;
    if pushed.alone && args.platform.is_none() {
        let (name, platform) = (target.familiar(), &image.platform);
        cx.report.note(&format!(
            "{name} came as one of several platforms; what was pushed is the image for {platform} alone"
        ));
    }
    if pushed.repacked {
        cx.report.note(&format!(
            "a layer of {} is here in another packing than its own, and was sent in that: the digest is new",
            target.familiar()
        ));
    }
    digestfile(args.digestfile.as_deref(), &pushed.digest)?;
    if args.quiet {
        return cx.out.line(target);
    }
    let tag = target.tag_or_digest();
    cx.out.line(format_args!("{tag}: digest: {} size: {}", pushed.digest, pushed.size))
}

/// `--digestfile`
pub(super) fn digestfile(path: Option<&Path>, digest: &Digest) -> Result<(), Error> {
    let Some(path) = path else { return Ok(()) };
    std::fs::write(path, digest.to_string()).map_err(|source| Error::File {
        action: "write",
        path: path.to_owned(),
        source,
    })
}
