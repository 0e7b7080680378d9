//! What `pull` and `run` share: flags about registries, and fetching.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::parse;
use super::super::progress::Shown;
use super::super::seldom::Seldom;
use super::super::{Context, Error};
use crate::engine::Engine;
use crate::engine::pull::{self, Policy, Pulled};
use crate::engine::reference::{Reference, Source};
use crate::engine::registry::{
    self, DockerArchive, Guarded, ImageSource, Layout, Login, Options, PlainDirectory, Remote, Way,
};
use crate::engine::store::{Image, full_name};
use crate::engine::trust::{self, Demand, Key, Origin, Trust};
use crate::oci::Platform;
use crate::owners::Owners;

/// What commands that fetch images take.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct RegistryArgs {
    #[command(flatten)]
    pub(super) platform: Seldom<PlatformArgs>,
    /// Show no progress
    #[arg(short, long)]
    pub(super) quiet: bool,
    #[command(flatten)]
    scrutiny: Seldom<Scrutiny>,
    #[command(flatten)]
    pub(super) access: AccessArgs,
}

/// What is asked of an image before it is taken.
#[derive(Clone, Debug, Default, clap::Args)]
struct Scrutiny {
    /// Refuse an image whose layers unpack to more than this; 0 for no limit [default: 4g, or 256
    /// times what is shipped]
    #[arg(long, value_name = "SIZE", value_parser = super::super::parse::size)]
    max_unpacked_size: Option<u64>,
    /// Refuse an image that this key (cosign.pub) has not signed; of several keys any will do, and
    /// none asks for no signature
    #[arg(long, value_name = "KEY", value_hint = clap::ValueHint::FilePath)]
    verify: Vec<PathBuf>,
    /// Read this in place of the host's policy.json
    #[arg(long, value_name = "FILE", hide = true)]
    signature_policy: Option<PathBuf>,
    /// Accepted: what is pulled is checked by its digest
    #[arg(long, hide = true, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = super::boolean)]
    #[allow(dead_code)] // nothing depends on it, in docker 29 neither
    disable_content_trust: Option<bool>,
}

/// For which platform: in one word or in several.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct PlatformArgs {
    /// The image's platform: OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", conflicts_with_all = ["arch", "os", "variant"])]
    platform: Option<Platform>,
    /// The same by its architecture
    #[arg(long)]
    arch: Option<String>,
    /// The same by its operating system
    #[arg(long)]
    os: Option<String>,
    /// The same by its variant
    #[arg(long)]
    variant: Option<String>,
}

impl PlatformArgs {
    /// What was asked for, if anything was.
    pub(super) fn wanted(&self) -> Result<Option<Platform>, Error> {
        match &self.platform {
            Some(platform) => Ok(Some(platform.clone())),
            None => platform_of(self.os.as_deref(), self.arch.as_deref(), self.variant.as_deref()),
        }
    }
}

/// The platform that these words are about; this machine's are in the place of those not given.
pub(super) fn platform_of(
    os: Option<&str>,
    architecture: Option<&str>,
    variant: Option<&str>,
) -> Result<Option<Platform>, Error> {
    if os.is_none() && architecture.is_none() && variant.is_none() {
        return Ok(None);
    }
    let host = Platform::host();
    let (os, architecture) = (os.unwrap_or(&host.os), architecture.unwrap_or(&host.architecture));
    let variant = variant.map(|variant| format!("/{variant}")).unwrap_or_default();
    let platform = format!("{os}/{architecture}{variant}").parse();
    platform.map(Some).map_err(|error| Error::usage(format!("{error}")))
}

/// Refuses an image that is for another platform than was asked for. An image of the store is for one.
pub(super) fn check_platform(
    wanted: Option<&Platform>,
    image: &Image,
    (action, name): (&str, &str),
) -> Result<(), Error> {
    match wanted {
        Some(wanted) if !wanted.accepts(&image.platform) => Err(Error::usage(format!(
            "cannot {action} {name}: it is for {} and not for {wanted}",
            image.platform
        ))),
        _ => Ok(()),
    }
}

impl RegistryArgs {
    /// Whether the command line itself asks for a signature.
    pub(super) fn verifies(&self) -> bool {
        !self.scrutiny.verify.is_empty()
    }

    /// The keys, one of which must have signed an image: of the flag, else of the configuration.
    pub(super) fn keys<'a>(&'a self, cx: &'a Context) -> &'a [PathBuf] {
        match self.scrutiny.verify.as_slice() {
            [] => cx.config.verify.as_deref().unwrap_or_default(),
            [none] if none.as_os_str() == "none" => &[],
            keys => keys,
        }
    }
}

/// What commands that speak to registries take: how, and as whom.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct AccessArgs {
    #[command(flatten)]
    login: Seldom<LoginArgs>,
    #[command(flatten)]
    pub(super) connection: Seldom<ConnectionArgs>,
}

/// As whom, where it is not what is known of the registry.
#[derive(Clone, Debug, Default, clap::Args)]
struct LoginArgs {
    /// Log in with these, for this command; other programs can read them meanwhile
    #[arg(long, value_name = "USER[:PASSWORD]")]
    creds: Option<String>,
}

/// How, whoever it is.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ConnectionArgs {
    /// Insist on TLS and a known certificate; =false to speak without
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = super::boolean)]
    tls_verify: Option<bool>,
    /// Read logins from this file only
    #[arg(long, value_name = "FILE")]
    pub(super) authfile: Option<PathBuf>,
    /// Trust the authorities (`*.crt`) in this directory, and show its certificate (`*.cert`, `*.key`)
    #[arg(long, value_name = "DIRECTORY")]
    cert_dir: Option<PathBuf>,
    /// Try so many times more when a registry fails [default: 3]
    #[arg(long, value_name = "COUNT")]
    retry: Option<u32>,
    /// Wait so long between two tries, such as 2s; without it a wait that doubles
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    retry_delay: Option<Duration>,
}

/// The image whose one file is this binary.
const HELLO: &str = "hello";

/// Whether `image` is the one in the binary.
pub(super) fn is_embedded(image: &str) -> bool {
    image == HELLO
}

/// An image that is about to be fetched. The login is looked up by now: its file or helper is the
/// user's, and might be out of reach inside the user namespace of the store.
pub(super) struct Wanted {
    /// None for the binary's own image.
    source: Option<Source>,
    options: Options,
    /// What its name may stand for, in the order in which that is tried.
    candidates: Vec<Candidate>,
}

/// One of the images that a name may stand for.
struct Candidate {
    name: Reference,
    ways: Vec<Way>,
    /// What it must show.
    demands: Result<Vec<Demand>, trust::Error>,
}

/// Reads the image's name and looks up the login for its registry.
pub(super) fn prepare(cx: &Context, args: &RegistryArgs, image: &str) -> Result<Wanted, Error> {
    let source: Option<Source> = (!is_embedded(image)).then(|| image.parse()).transpose()?;
    let options = options(cx, &args.access)?;
    let trust = trust(cx, args)?;
    let candidates = match &source {
        None => Vec::new(), // part of the binary, which is trusted or not
        Some(Source::Registry(_)) => {
            let name = image.strip_prefix("docker://").unwrap_or(image);
            let names = options.registries.to_ask(name)?.into_iter();
            let candidate = |name: Reference| {
                let ways = registry::ways(&options, &name)?;
                let demands = trust.demands(Origin::Registry(&name));
                Ok(Candidate { name, ways, demands })
            };
            names.map(candidate).collect::<Result<_, Error>>()?
        }
        Some(other) => {
            let (transport, path) = match other {
                Source::OciLayout { directory, .. } => ("oci", Some(directory)),
                Source::OciArchive { file, .. } => ("oci-archive", Some(file)),
                Source::DockerArchive { file, .. } => ("docker-archive", Some(file)),
                Source::PlainDirectory { directory } => ("dir", Some(directory)),
                Source::Registry(_) => ("docker", None),
            };
            let origin = Origin::File { transport, path: path.map(PathBuf::as_path) };
            trust.demands(origin).map_err(registry::Error::from)?;
            Vec::new()
        }
    };
    Ok(Wanted { source, options, candidates })
}

/// What is demanded of images, by flags, configuration and the policy file.
fn trust(cx: &Context, args: &RegistryArgs) -> Result<Trust, Error> {
    let keys = args.keys(cx).iter().map(|path| Key::read(path));
    let keys = keys.collect::<Result<_, _>>().map_err(registry::Error::from)?;
    Ok(Trust { keys, ..policy(cx, args.scrutiny.signature_policy.as_deref())? })
}

/// The same by the policy file alone.
pub(super) fn policy(cx: &Context, instead: Option<&Path>) -> Result<Trust, Error> {
    let policy = match instead {
        // One that was named must be there.
        Some(path) => trust::Policy::read_from(path).map(Some),
        None => trust::Policy::read(&cx.environment.policy_files()),
    };
    Ok(Trust { keys: Vec::new(), policy: policy.map_err(registry::Error::from)? })
}

/// Whether a registry has to be asked for `image`.
pub(super) fn is_remote(image: &str) -> bool {
    !is_embedded(image) && matches!(image.parse(), Ok(Source::Registry(_)))
}

/// Brings an image into the store. The caller has entered the user namespace of `owners`.
pub(super) fn fetch(
    cx: &Context,
    engine: &Engine,
    args: &RegistryArgs,
    (image, wanted): (&str, Wanted),
    policy: Policy,
    owners: Owners,
) -> Result<Pulled, Error> {
    let shown = Shown::new(args.quiet, &cx.environment);
    let platform = args.platform.wanted()?;
    let pull = |source: &dyn ImageSource, reference: Option<&Reference>, repository: bool| {
        let request = pull::Request {
            source,
            image: image.to_owned(),
            name: reference.map(full_name),
            repository: reference.filter(|_| repository).map(Reference::name),
            platform: platform.clone(),
            policy,
            owners,
            jobs: cx.config.pull_jobs.unwrap_or(3).clamp(1, 16),
            most_unpacked: args.scrutiny.max_unpacked_size.map(limit),
        };
        Ok(engine.pull(&request, &shown)?)
    };
    let scratch = || engine.store().scratch();
    match wanted.source {
        None => {
            let exe = File::open("/proc/self/exe").map_err(|source| Error::File {
                action: "read",
                path: "/proc/self/exe".into(),
                source,
            })?;
            Ok(engine.install_hello(&exe, owners, &shown)?)
        }
        Some(Source::Registry(reference)) => {
            let mut failure = None;
            for Candidate { name, ways, demands } in wanted.candidates {
                let pulled = demands.map_err(registry::Error::from).map_err(Error::from);
                let pulled = pulled.and_then(|demands| {
                    let remote = Remote::by(wanted.options.clone(), name.clone(), ways);
                    let source = Guarded::new(remote, name.clone(), demands);
                    let pulled = pull(&source, Some(&name), true);
                    if let Some(registry) = source.inner().refused_login() {
                        cx.report.note(&format!(
                            "{registry} refused the login that is stored for it, and gave the \
                             image to anybody; coracle logout {registry} forgets it"
                        ));
                    }
                    pulled
                });
                match pulled {
                    Err(error) => failure = Some(error),
                    pulled => return pulled,
                }
            }
            Err(failure.unwrap_or_else(|| Error::usage(format!("no way to {reference}"))))
        }
        Some(Source::OciLayout { directory, tag }) => {
            let name = name_in_layout(tag.as_deref());
            pull(&Layout::open(&directory, tag)?, name.as_ref(), false)
        }
        Some(Source::OciArchive { file, tag }) => {
            let name = name_in_layout(tag.as_deref());
            let scratch = scratch()?;
            pull(&Layout::open_archive(&file, tag, scratch.path())?, name.as_ref(), false)
        }
        Some(Source::PlainDirectory { directory }) => {
            pull(&PlainDirectory::open(&directory)?, None, false)
        }
        Some(Source::DockerArchive { file, reference }) => {
            let scratch = scratch()?;
            let archive = DockerArchive::open(&file, reference.as_ref(), scratch.path())?;
            let tags = archive.tags();
            let name = reference.as_ref().or(tags.first());
            let pulled = pull(&archive, name, false)?;
            for tag in &tags {
                engine.tag(&pulled.id.to_string(), tag)?;
            }
            Ok(pulled)
        }
    }
}

/// The name in a layout, where it is a whole reference and not just a tag.
fn name_in_layout(tag: Option<&str>) -> Option<Reference> {
    tag.filter(|tag| tag.contains([':', '/'])).and_then(|tag| tag.parse().ok())
}

/// What registries are told, from flags, environment and configuration.
pub(super) fn options(cx: &Context, args: &AccessArgs) -> Result<Options, Error> {
    let login = args.login.creds.as_deref().map(login).transpose()?;
    Ok(Options { login, ..connection(cx, &args.connection)? })
}

/// The same without a login.
pub(super) fn connection(cx: &Context, args: &ConnectionArgs) -> Result<Options, Error> {
    let usual = usual_options(cx)?.by_file(args.authfile.as_deref());
    Ok(Options {
        tls_verify: args.tls_verify,
        certificate_directory: args.cert_dir.clone(),
        retries: args.retry,
        retry_delay: args.retry_delay,
        ..usual
    })
}

/// What registries are told where no flag says otherwise.
pub(super) fn usual_options(cx: &Context) -> Result<Options, Error> {
    let environment = &cx.environment;
    // Go's order: the lower-case name first.
    let proxy = |scheme: &str| {
        let name = format!("{scheme}_proxy");
        environment.text(&name).or_else(|| environment.text(&name.to_ascii_uppercase()))
    };
    let paths = environment.get("SSL_CERT_DIR").unwrap_or_default();
    let registries = cx.registries()?;
    Ok(Options {
        tls_verify: None,
        auth_files: environment.auth_files(),
        credential_helpers: registries.credential_helpers(),
        login: None,
        certificate_directories: environment.certs_directories(),
        certificate_directory: None,
        certificate_file: environment
            .get("SSL_CERT_FILE")
            .filter(|file| !file.is_empty())
            .map(PathBuf::from),
        certificate_paths: std::env::split_paths(&paths)
            .filter(|path| !path.as_os_str().is_empty())
            .collect(),
        https_proxy: proxy("https").or_else(|| proxy("all")),
        http_proxy: proxy("http").or_else(|| proxy("all")),
        no_proxy: proxy("no"),
        retries: None,
        retry_delay: None,
        registries: registries.into(),
        path: environment.get("PATH").unwrap_or_default(),
    })
}

/// `--max-unpacked-size`: 0 stands for no limit.
pub(super) fn limit(size: u64) -> u64 {
    if size == 0 { u64::MAX } else { size }
}

pub(super) fn login(creds: &str) -> Result<Login, Error> {
    let (user, password) = creds.split_once(':').unwrap_or((creds, ""));
    if user.is_empty() {
        return Err(Error::usage("--creds: want USER:PASSWORD"));
    }
    Ok(Login::Password { user: user.to_owned(), password: password.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_may_have_colons() {
        let Ok(Login::Password { user, password }) = login("me:a:b") else { panic!("a login") };
        assert_eq!((user.as_str(), password.as_str()), ("me", "a:b"));
        assert!(login(":x").is_err());
    }

    #[test]
    fn a_layout_names_an_image_by_a_whole_reference_only() {
        assert_eq!(name_in_layout(Some("latest")), None);
        let name = name_in_layout(Some("docker.io/library/debian:12")).expect("a reference");
        assert_eq!(name.familiar(), "debian:12");
    }
}
