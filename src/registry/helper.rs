//! Credential helpers: programs that keep logins (docker-credential-helpers' protocol).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::{Error, Login};
use crate::sys::process::WithoutSigpipe;

/// `docker-credential-NAME`
pub(super) struct Helper<'a> {
    name: &'a str,
    /// Where it is looked for: the PATH variable.
    path: &'a OsStr,
}

/// What is known of a login, as helpers write it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Known {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
    username: String,
    secret: String,
}

/// The user's name where the secret is a token.
const TOKEN: &str = "<token>";

impl<'a> Helper<'a> {
    pub(super) fn new(name: &'a str, path: &'a OsStr) -> Self {
        Self { name, path }
    }

    /// The login for a server, if it has one.
    pub(super) fn get(&self, server: &str) -> Result<Option<Login>, Error> {
        let Some(said) = self.ask("get", server.as_bytes())? else { return Ok(None) };
        let known: Known =
            serde_json::from_str(&said).map_err(|_| self.failed("its answer cannot be read"))?;
        Ok(Some(match known.username.as_str() {
            TOKEN => Login::Identity(known.secret),
            _ => Login::Password { user: known.username, password: known.secret },
        }))
    }

    /// Hands it a login to keep.
    pub(super) fn store(&self, server: &str, login: &Login) -> Result<(), Error> {
        let (username, secret) = match login {
            Login::Password { user, password } => (user.clone(), password.clone()),
            Login::Identity(token) => (TOKEN.to_owned(), token.clone()),
        };
        let known = Known { server_url: server.to_owned(), username, secret };
        let text =
            serde_json::to_string(&known).map_err(|error| self.failed(&error.to_string()))?;
        self.ask("store", text.as_bytes()).map(drop)
    }

    /// Makes it forget a login; it may have none.
    pub(super) fn erase(&self, server: &str) -> Result<(), Error> {
        self.ask("erase", server.as_bytes()).map(drop)
    }

    /// The servers that it knows.
    pub(super) fn list(&self) -> Result<Vec<String>, Error> {
        let said = self.ask("list", b"")?.unwrap_or_default();
        let all: BTreeMap<String, String> =
            serde_json::from_str(&said).map_err(|_| self.failed("its list cannot be read"))?;
        Ok(all.into_keys().collect())
    }

    /// What it says; `None` if it has nothing of the kind.
    fn ask(&self, action: &str, input: &[u8]) -> Result<Option<String>, Error> {
        if self.name.contains('/') {
            return Err(self.failed("its name may not have a slash in it"));
        }
        let program = format!("docker-credential-{}", self.name);
        let path = std::env::split_paths(self.path)
            .filter(|directory| directory.is_absolute())
            .map(|directory| directory.join(&program))
            .find(|path| path.is_file())
            .ok_or_else(|| self.failed(&format!("{program} is not on PATH")))?;
        let mut child = Command::new(path)
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| self.failed(&error.to_string()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A helper that reads nothing answers all the same.
            let _errors = WithoutSigpipe::begin();
            let _ = stdin.write_all(input);
        }
        let output = child.wait_with_output().map_err(|error| self.failed(&error.to_string()))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(Some(said));
        }
        let why = format!("{said}{}", String::from_utf8_lossy(&output.stderr));
        // The protocol's words for "nothing here".
        match why.contains("credentials not found") {
            true => Ok(None),
            false => Err(self.failed(why.trim())),
        }
    }

    fn failed(&self, message: &str) -> Error {
        Error::Helper { name: self.name.to_owned(), message: super::answer::escape(message) }
    }
}
