//! What `pull` and `run` share: flags about registries, and fetching.

use std::fs::File;
use std::path::PathBuf;

use super::super::progress::Shown;
use super::super::{Context, Error};
use crate::engine::Engine;
use crate::engine::pull::{self, Policy, Pulled};
use crate::engine::reference::{Reference, Source};
use crate::engine::registry::ImageSource;
use crate::engine::store::full_name;
use crate::oci::Platform;
use crate::owners::Owners;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RegistryArgs {
    /// Fetch the image for this platform: OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM")]
    pub(super) platform: Option<Platform>,
    /// Show no progress
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Insist on TLS and a known certificate; =false to speak without
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = super::boolean)]
    tls_verify: Option<bool>,
    /// Read logins from this file only
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// Log in with these, for this command
    #[arg(long, value_name = "USER[:PASSWORD]")]
    creds: Option<String>,
}

/// The image whose one file is this binary.
const HELLO: &str = "hello";

/// Whether `image` is the one in the binary.
pub(super) fn is_embedded(image: &str) -> bool {
    image == HELLO
}

/// Brings `image` into the store. The caller has entered the user namespace of `owners`.
pub(super) fn fetch(
    cx: &Context,
    engine: &Engine,
    args: &RegistryArgs,
    image: &str,
    policy: Policy,
    owners: Owners,
) -> Result<Pulled, Error> {
    let shown = Shown::new(args.quiet, &cx.environment);
    if is_embedded(image) {
        let exe = File::open("/proc/self/exe").map_err(|source| Error::File {
            action: "read",
            path: "/proc/self/exe".into(),
            source,
        })?;
        return Ok(engine.install_hello(&exe, owners, &shown)?);
    }
    let source: Source = image.parse()?;
    let opened = open(cx, args, &source)?;
    let reference = reference(&source);
    let request = pull::Request {
        source: opened.as_ref(),
        image: image.to_owned(),
        name: reference.map(full_name),
        repository: reference.map(Reference::name),
        platform: args.platform.clone(),
        policy,
        owners,
        jobs: cx.config.pull_jobs.unwrap_or(3).clamp(1, 16),
    };
    Ok(engine.pull(&request, &shown)?)
}

/// The name that the image gets in the store.
fn reference(source: &Source) -> Option<&Reference> {
    match source {
        Source::Registry(reference) => Some(reference),
        Source::DockerArchive { reference, .. } => reference.as_ref(),
        Source::OciLayout { .. } | Source::OciArchive { .. } => None,
    }
}

fn open(
    _cx: &Context,
    _args: &RegistryArgs,
    _source: &Source,
) -> Result<Box<dyn ImageSource>, Error> {
    Err(Error::usage("no registry can be asked yet"))
}
