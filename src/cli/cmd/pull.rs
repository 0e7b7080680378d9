//! `pull`

use std::process::ExitCode;

use super::super::{Context, Error, complete};
use super::registry::{self, RegistryArgs};
use crate::engine::pull::{Policy, Status};
use crate::engine::reference;

/// Fetch images from a registry, a directory or an archive
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    registry: RegistryArgs,
    /// Ask the registry: missing, always, never or newer
    #[arg(long, value_name = "WHEN", default_value = "always", hide_default_value = true)]
    policy: Policy,
    /// A name, or `oci:DIRECTORY[:TAG]`, `oci-archive:FILE`, `docker-archive:FILE`
    #[arg(required = true, value_name = "IMAGE", add = complete::image_names())]
    images: Vec<String>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let prepare = |image| registry::prepare(cx, &args.registry, image);
    let wanted: Vec<_> = args.images.iter().map(|image| prepare(image)).collect();
    let mut wanted = wanted.into_iter();
    let owners = engine.enter_owners()?;
    cx.each(&args.images, |cx, image| {
        let Some(wanted) = wanted.next().transpose()? else { return Ok(()) };
        let wanted = (image.as_str(), wanted);
        let pulled = registry::fetch(cx, &engine, &args.registry, wanted, args.policy, owners)?;
        if args.registry.quiet {
            return cx.out.line(pulled.id);
        }
        let full = pulled.reference.unwrap_or_else(|| pulled.id.to_string());
        let status = match pulled.status {
            Status::Downloaded => "Downloaded newer image for",
            Status::UpToDate => "Image is up to date for",
        };
        cx.out.line(format_args!("Digest: {}", pulled.digest))?;
        cx.out.line(format_args!("Status: {status} {}", reference::familiar(&full)))?;
        cx.out.line(full)
    })?;
    Ok(ExitCode::SUCCESS)
}
