//! What a client is told; the command line reads it from flags, environment and configuration.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Registries;

/// How registries are spoken to.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `--tls-verify`; false accepts any certificate, and plain HTTP where nobody speaks TLS.
    pub tls_verify: Option<bool>,
    /// Files with logins, the first that has one for the registry wins (containers-auth.json(5)).
    pub auth_files: Vec<PathBuf>,
    /// Who keeps logins, in the order in which they are asked: names of helpers, and
    /// `containers-auth.json` for the files, which are alone where there are none.
    pub credential_helpers: Vec<String>,
    /// `--creds`: user and password.
    pub login: Option<Login>,
    /// Directories with a directory for each registry (`HOST[:PORT]/ca.crt`; docker's `certs.d`).
    pub certificate_directories: Vec<PathBuf>,
    /// `--cert-dir`: the files of such a directory, for whatever registry is asked.
    pub certificate_directory: Option<PathBuf>,
    /// `SSL_CERT_FILE`: certificates trusted in place of the host's store.
    pub certificate_file: Option<PathBuf>,
    /// `SSL_CERT_DIR`: directories of such.
    pub certificate_paths: Vec<PathBuf>,
    /// `HTTPS_PROXY`
    pub https_proxy: Option<String>,
    /// `HTTP_PROXY`
    pub http_proxy: Option<String>,
    /// `NO_PROXY`
    pub no_proxy: Option<String>,
    /// `--retry`: tries after the first one; 3 where nothing is said.
    pub retries: Option<u32>,
    /// `--retry-delay`: the wait between them, in place of one that doubles.
    pub retry_delay: Option<Duration>,
    /// What is configured about registries.
    pub registries: Arc<Registries>,
    /// Where credential helpers are looked for: the PATH variable.
    pub path: OsString,
}

impl Options {
    /// The same with the logins of this file and of nobody else, where there is one (`--authfile`).
    #[must_use]
    pub fn by_file(self, file: Option<&Path>) -> Self {
        match file {
            None => self,
            Some(file) => {
                Self { auth_files: vec![file.to_owned()], credential_helpers: Vec::new(), ..self }
            }
        }
    }
}

/// A user's name and password, or a token in their place.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// Basic credentials.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token to get tokens with (OAuth 2 refresh token).
    Identity(String),
}

impl std::fmt::Debug for Login {
    /// Says who, never the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Password { user, .. } => write!(f, "Password({user})"),
            Self::Identity(_) => f.write_str("Identity"),
        }
    }
}
