//! Why a source did not give what it was asked for.

use std::path::PathBuf;

use crate::diagnose::{Diagnose, Hint};
use crate::oci::{Digest, Platform};
use crate::trust;

/// Why a source did not give what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of a layout or archive.
    #[error("cannot read {what}: {source}")]
    Io {
        /// What was read.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A file with logins.
    #[error("cannot read the logins in {}: {source}", path.display())]
    AuthFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The same, to be changed.
    #[error("cannot write the logins to {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A credential helper.
    #[error("the credential helper {name} failed: {message}")]
    Helper {
        /// Its name.
        name: String,
        /// What it said.
        message: String,
    },
    /// Certificates that cannot be used.
    #[error("cannot set up TLS for {registry}: {why}")]
    Tls {
        /// The registry.
        registry: String,
        /// Why not.
        why: String,
    },
    /// Nobody answers.
    #[error("cannot reach {registry}: {why}")]
    Unreachable {
        /// The registry.
        registry: String,
        /// Why not.
        why: String,
        /// What stands in the way, where it is known.
        cause: Cause,
    },
    /// The registry has no such image, or does not say.
    #[error(
        "pull access denied for {image}, repository does not exist or may require 'docker login': {registry} answered {status}{said}"
    )]
    Denied {
        /// The image.
        image: String,
        /// The registry.
        registry: String,
        /// Its status.
        status: u16,
        /// What it said.
        said: String,
        /// Whether a login was sent.
        login: bool,
    },
    /// The login was refused.
    #[error("unauthorized: authentication required: {registry} refused {image} ({status}{said})")]
    Unauthorized {
        /// The image.
        image: String,
        /// The registry.
        registry: String,
        /// Its status.
        status: u16,
        /// What it said.
        said: String,
        /// Whether a login was sent.
        login: bool,
    },
    /// The registry takes no such image from this user.
    #[error(
        "denied: requested access to the resource is denied: {registry} answered {status} to the push of {image}{said}"
    )]
    PushDenied {
        /// The image.
        image: String,
        /// The registry.
        registry: String,
        /// Its status.
        status: u16,
        /// What it said.
        said: String,
        /// Whether there is a login.
        login: bool,
    },
    /// The login is wrong, or there is none.
    #[error("unauthorized: authentication required: {registry} answered {status}{said}")]
    LookDenied {
        /// The registry.
        registry: String,
        /// Its status.
        status: u16,
        /// What it said.
        said: String,
        /// Whether there is a login.
        login: bool,
    },
    /// A name without a registry, which several could have.
    #[error("cannot tell which image {name} is: it may be {}", candidates.join(" or "))]
    ShortName {
        /// The name.
        name: String,
        /// What it may stand for.
        candidates: Vec<String>,
    },
    /// The configuration forbids to ask.
    #[error("{image} is blocked: registries.conf has blocked = true for {prefix}")]
    Blocked {
        /// The image or registry.
        image: String,
        /// The table's prefix.
        prefix: String,
    },
    /// The repository has no such tag or digest.
    #[error("manifest unknown: {registry} has no {image}{said}")]
    NotFound {
        /// The image.
        image: String,
        /// The registry.
        registry: String,
        /// What it said.
        said: String,
    },
    /// Too many requests.
    #[error("toomanyrequests: {registry} asks to wait{} before the next pull{said}",
        wait_seconds.map_or_else(String::new, |seconds| format!(" {seconds} seconds")))]
    TooMany {
        /// The registry.
        registry: String,
        /// What it said.
        said: String,
        /// How long.
        wait_seconds: Option<u64>,
    },
    /// Another answer than was to be expected.
    #[error("{registry} answered {status} to a request for {what}{said}")]
    Status {
        /// The registry.
        registry: String,
        /// What was asked for.
        what: String,
        /// Its status.
        status: u16,
        /// What it said.
        said: String,
    },
    /// A redirect or a place for tokens that must not be followed.
    #[error("{registry} sends to {to}: {why}")]
    Redirect {
        /// The registry.
        registry: String,
        /// Where to.
        to: String,
        /// Why it is not followed.
        why: &'static str,
    },
    /// A document that breaks the specification.
    #[error("cannot use {what}: {why}")]
    Document {
        /// Which.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A document that is not the one that was named.
    #[error("{what}: want {want}, got {got}")]
    Digest {
        /// Which.
        what: String,
        /// What was named.
        want: Digest,
        /// What came.
        got: Digest,
    },
    /// An image that shows no good signature.
    #[error(transparent)]
    Trust(#[from] trust::Error),
    /// No image for this platform.
    #[error("no image for {wanted} in {image}")]
    NoPlatform {
        /// The image.
        image: String,
        /// What was asked for.
        wanted: Platform,
        /// What there is.
        offered: Vec<Platform>,
    },
    /// An archive without the image that was asked for.
    #[error("{archive} has no image {wanted}")]
    NotInArchive {
        /// The archive or directory.
        archive: String,
        /// What was asked for.
        wanted: String,
        /// What there is.
        offered: Vec<String>,
    },
}

/// What stands between a client and a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its name does not resolve.
    Name,
    /// Its certificate is signed by nobody who is trusted.
    Authority {
        /// Where a certificate of its authority would be looked for.
        directory: PathBuf,
    },
    /// It wants to see a certificate, or another one.
    OwnCertificate {
        /// Where one would be looked for.
        directory: PathBuf,
    },
    /// It speaks TLS, and is not content with how this side does.
    Alert,
    /// It speaks plain HTTP.
    PlainHttp,
    /// A proxy, without its password.
    Proxy(String),
    /// It takes questions and does not answer.
    Stall,
    /// Something else.
    Other,
}

impl Cause {
    /// Whether only who speaks TLS can have caused it.
    pub(super) fn is_of_tls(&self) -> bool {
        matches!(self, Self::Authority { .. } | Self::OwnCertificate { .. } | Self::Alert)
    }
}

impl Diagnose for Error {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Unreachable { registry, cause, .. } => match cause {
                Cause::Name => {
                    Some(Hint::new(format!("is {registry} the right name, and this host online?")))
                }
                Cause::Authority { directory } => Some(Hint::new(format!(
                    "put the certificate of its authority in {}/ca.crt, or name a bundle in SSL_CERT_FILE",
                    directory.display()
                ))),
                Cause::OwnCertificate { directory } => Some(Hint::new(format!(
                    "it may want to see a certificate: {0}/client.cert, with its key in {0}/client.key",
                    directory.display()
                ))),
                Cause::PlainHttp => Some(Hint::new(format!(
                    "it speaks plain HTTP: --tls-verify=false allows that for {registry}"
                ))),
                Cause::Proxy(proxy) => Some(Hint::new(format!(
                    "the way leads through the proxy {proxy}; NO_PROXY={registry} goes around it"
                ))),
                Cause::Alert | Cause::Stall | Cause::Other => None,
            },
            Self::Denied { login: false, registry, .. }
            | Self::PushDenied { login: false, registry, .. }
            | Self::LookDenied { login: false, registry, .. }
            | Self::Unauthorized { login: false, registry, .. } => Some(Hint::new(format!(
                "no login was sent: coracle login {registry}, or give --creds USER:PASSWORD"
            ))),
            Self::Denied { login: true, registry, .. }
            | Self::PushDenied { login: true, registry, .. }
            | Self::LookDenied { login: true, registry, .. }
            | Self::Unauthorized { login: true, registry, .. } => {
                Some(Hint::new(format!("the login for {registry} was sent and did not help")))
            }
            Self::ShortName { candidates, .. } => Some(Hint::new(format!(
                "name it in full, such as {}, or set short-name-mode in registries.conf",
                candidates.first().map_or("", String::as_str)
            ))),
            Self::Trust(error) => error.hint(),
            Self::NoPlatform { offered, .. } if !offered.is_empty() => {
                let mut names: Vec<String> = offered.iter().map(ToString::to_string).collect();
                names.sort_unstable();
                names.dedup();
                Some(Hint::new(format!("there is {}; choose with --platform", names.join(", "))))
            }
            Self::NotInArchive { offered, .. } if !offered.is_empty() => {
                Some(Hint::new(format!("it has {}", offered.join(", "))))
            }
            Self::Io { .. }
            | Self::AuthFile { .. }
            | Self::Blocked { .. }
            | Self::Write { .. }
            | Self::Helper { .. }
            | Self::Tls { .. }
            | Self::NotFound { .. }
            | Self::TooMany { .. }
            | Self::Status { .. }
            | Self::Redirect { .. }
            | Self::Document { .. }
            | Self::Digest { .. }
            | Self::NoPlatform { .. }
            | Self::NotInArchive { .. } => None,
        }
    }
}
