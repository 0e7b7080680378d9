//! `image tree`: an image's layers, and the images that end in each; or what its registry has
//! attached to it.

use std::process::ExitCode;

use super::super::list::one_line;
use super::super::{Context, Error, complete, human};
use super::registry::{self, AccessArgs};
use crate::engine::images::Listed;
use crate::engine::registry::{Attached, ImageSource, Kind, Remote, ways};
use crate::engine::store::{self, full_name};
use crate::engine::{Engine, reference};
use crate::oci::{Digest, Platform};

/// Show the layers of an image
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show the images that stand on it instead
    #[arg(long)]
    whatrequires: bool,
    /// Ask the registry what is attached to it instead: signatures, attestations, SBOMs. They are
    /// listed and not verified
    #[arg(long, conflicts_with = "whatrequires")]
    attached: bool,
    #[command(flatten)]
    access: AccessArgs,
    /// A name, an ID or the beginning of one
    #[arg(value_name = "IMAGE", add = complete::image_names())]
    image: String,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    if args.attached {
        return attached(args, cx, &engine).map(|()| ExitCode::SUCCESS);
    }
    let name = cx.image_or_member(&engine, &args.image, None)?;
    let image = engine.store().resolve(&name)?;
    let listed = engine.images()?;
    let names = |listed: &Listed| {
        let tags: Vec<String> =
            listed.names.tags.iter().map(|it| reference::familiar(it)).collect();
        format!("[{}]", tags.join(" "))
    };
    let own = listed.iter().find(|listed| listed.image.id == image.id);
    cx.out.line(format_args!("Image ID: {}", image.id.short()))?;
    cx.out.line(format_args!("Tags:     {}", own.map_or_else(|| "[]".into(), names)))?;
    cx.out.line(format_args!("Size:     {}", human::size(image.size())))?;
    let mut lines = Vec::new();
    if args.whatrequires {
        cx.out.line("Image Layers required by:")?;
        let above = |listed: &&Listed| {
            listed.image.id != image.id && listed.image.layers.starts_with(&image.layers)
        };
        for above in listed.iter().filter(above) {
            lines.push(format!("ID: {} Tags: {}", above.image.id.short(), names(above)));
        }
    } else {
        cx.out.line("Image Layers")?;
        for layer in &image.layers {
            let ends = |listed: &&Listed| {
                listed.image.layers.last().is_some_and(|last| last.chain == layer.chain)
            };
            let top: Vec<String> = listed.iter().filter(ends).map(names).collect();
            let (id, size) = (layer.chain.0.short(), human::size(layer.unpacked));
            let top = match top.is_empty() {
                true => String::new(),
                false => format!(" Top Layer of: {}", top.join(", ")),
            };
            lines.push(format!("ID: {id} Size: {size:>7}{top}"));
        }
    }
    branches(cx, &lines)?;
    Ok(ExitCode::SUCCESS)
}

fn branches(cx: &mut Context, lines: &[String]) -> Result<(), Error> {
    for (place, line) in lines.iter().enumerate() {
        let branch = if place + 1 == lines.len() { "└──" } else { "├──" };
        cx.out.line(format_args!("{branch} {line}"))?;
    }
    Ok(())
}

/// What the registry has beside the image that is here; of one that is not here, beside the one
/// that the name stands for there.
fn attached(args: &Args, cx: &mut Context, engine: &Engine) -> Result<(), Error> {
    let options = registry::options(cx, &args.access)?;
    let name = cx.local_image(engine, &args.image)?;
    let names = options.registries.to_ask(&name)?;
    let name = names.into_iter().next().ok_or_else(|| Error::usage("no such image"))?;
    let ways = ways(&options, &name)?;
    let remote = Remote::by(options, name.clone(), ways);
    let (index, manifest) = if let Some(image) = engine.store().named(&full_name(&name))? {
        let read = |digest: &Digest| -> Result<_, store::Error> {
            Ok((digest.clone(), engine.store().document(digest)?))
        };
        (image.index.as_ref().map(read).transpose()?, image.manifest)
    } else {
        let resolved = remote.manifest(&Platform::host())?;
        (resolved.index, resolved.manifest_digest)
    };
    let bytes = index.as_ref().map(|(_, bytes)| bytes.as_slice());
    let documents: Vec<Digest> =
        index.iter().map(|(digest, _)| digest.clone()).chain([manifest.clone()]).collect();
    let all = remote.attached(&documents, bytes)?;
    cx.out.line(format_args!("Attached in {}", name.name()))?;
    for document in &documents {
        let what = if *document == manifest { "manifest" } else { "index" };
        cx.out.line(format_args!("{document} ({what})"))?;
        let line = |it: &Attached| {
            let kind = match it.kind {
                Kind::Signature => "signature",
                Kind::Attestation => "attestation",
                Kind::Sbom => "SBOM",
                Kind::Other => "artifact",
            };
            let text = format!(
                "{kind}: {} Size: {} Digest: {} In: {}",
                it.named,
                human::size(it.size),
                it.digest,
                it.place
            );
            one_line(text) // whatever it says
        };
        let lines: Vec<String> = all.iter().filter(|it| it.to == *document).map(line).collect();
        branches(cx, &lines)?;
    }
    Ok(())
}
