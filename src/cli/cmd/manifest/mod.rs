//! `manifest`: lists of manifests, for several platforms under one name.

pub(super) mod add;
pub(super) mod annotate;
pub(super) mod create;
pub(super) mod exists;
pub(super) mod inspect;
pub(super) mod list;
pub(super) mod push;
pub(super) mod remove;
pub(super) mod rm;

use super::super::{Context, Error, parse};
use super::registry::{self, AccessArgs};
use crate::diagnose::Hint;
use crate::engine::manifest::{Details, Place, Wanted};
use crate::engine::reference::{self, Reference};
use crate::engine::registry::{self as registries, Options, Remote, ways};
use crate::oci::Platform;

/// What commands that ask registries about lists take.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct AskArgs {
    /// Speak to registries without TLS, or with any certificate
    #[arg(long)]
    insecure: bool,
    #[command(flatten)]
    access: AccessArgs,
}

impl AskArgs {
    fn options(&self, cx: &Context) -> Result<Options, Error> {
        let options = registry::options(cx, &self.access)?;
        let tls_verify = if self.insecure { Some(false) } else { options.tls_verify };
        Ok(Options { tls_verify, ..options })
    }
}

/// What an image is for, said by the user.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct DetailArgs {
    /// Say that it is for this architecture
    #[arg(long, value_name = "ARCHITECTURE")]
    arch: Option<String>,
    /// Say that it is for this operating system
    #[arg(long, value_name = "OS")]
    os: Option<String>,
    /// Say that it is for this variant of the architecture
    #[arg(long, value_name = "VARIANT")]
    variant: Option<String>,
    /// Say that it is for this version of the operating system
    #[arg(long, value_name = "VERSION")]
    os_version: Option<String>,
    /// Say that it needs this of the operating system
    #[arg(long, value_name = "FEATURE", value_delimiter = ',')]
    os_features: Vec<String>,
    /// Say that it needs this of the processor
    #[arg(long, value_name = "FEATURE", value_delimiter = ',')]
    features: Vec<String>,
    /// Say something else of it
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse::pair)]
    annotation: Vec<(String, String)>,
}

impl DetailArgs {
    fn details(&self) -> Details {
        Details {
            architecture: self.arch.clone(),
            os: self.os.clone(),
            variant: self.variant.clone(),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
            features: self.features.clone(),
            annotations: self.annotation.clone(),
        }
    }

    /// The platform that these words are about, which chooses from an index.
    fn platform(&self) -> Result<Option<Platform>, Error> {
        registry::platform_of(self.os.as_deref(), self.arch.as_deref(), self.variant.as_deref())
    }
}

/// A list's name: a tag and no digest.
fn list_name(name: &Reference) -> Result<&Reference, Error> {
    match name.digest() {
        None => Ok(name),
        Some(_) => Err(Error::usage("a list's name has a tag and no digest")),
    }
}

/// How registries are asked.
fn asking(options: &Options) -> impl Fn(&Reference) -> Result<Remote, registries::Error> {
    |reference| {
        let ways = ways(options, reference)?;
        Ok(Remote::by(options.clone(), reference.clone(), ways))
    }
}

/// An image that is to be in a list, as podman names it: with a transport or without.
fn wanted(cx: &Context, text: &str, all: bool, details: &DetailArgs) -> Result<Wanted, Error> {
    let (place, image) = match text.split_once(':') {
        Some(("docker", image)) => (Place::Registry, image.trim_start_matches("//")),
        Some(("containers-storage", image)) => (Place::Store, image),
        Some(("oci" | "oci-archive" | "docker-archive" | "dir", _)) => {
            let message = format!(
                "cannot add {text}: an image of a list is one of the store or of a registry"
            );
            let hint = Some(Hint::new(format!("coracle pull {text}, and add the image by its ID")));
            return Err(Error::Usage { message, hint });
        }
        _ => (Place::Anywhere, text),
    };
    let engine = cx.engine(None, None)?;
    let mut image = cx.local_image(&engine, image)?;
    // What a short name stands for in a registry.
    let here = || place != Place::Registry && engine.store().resolve(&image).is_ok();
    if place != Place::Store && reference::is_short(&image) && !here() {
        let listed = image.parse().is_ok_and(|name| matches!(engine.list(&name), Ok(Some(_))));
        if place == Place::Registry || !listed {
            let names = cx.registries()?.to_ask(&image)?;
            image = names.first().map_or(image, ToString::to_string);
        }
    }
    Ok(Wanted { image, place, all, platform: details.platform()?, details: details.details() })
}
