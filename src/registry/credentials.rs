//! Logins from docker's and podman's files, and from credential helpers.
//!
//! A lookup is separate from the client: helpers are started as the user, before a user namespace
//! is entered.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::helper::Helper;
use super::route::{self, Endpoint};
use super::{Error, Login, Options};
use crate::reference::Reference;

/// The hub, as docker's files and helpers call it.
pub(super) const HUB: &str = "https://index.docker.io/v1/";

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct File {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

/// Whom to ask, and as whom.
#[derive(Clone, Debug)]
pub struct Way {
    /// Whom.
    pub endpoint: Endpoint,
    /// As whom.
    pub login: Option<Login>,
    /// Whether a file or a helper had that login, and not the user just now: it may be of long ago.
    pub stored: bool,
}

/// The ways to an image, in the order in which they are to be tried: mirrors, then the registry
/// itself. A login that was given is for the registry, not for mirrors, which may be anybody's.
pub fn ways(options: &Options, reference: &Reference) -> Result<Vec<Way>, Error> {
    let endpoints = route::to_pull(&options.registries, reference)?;
    let last = endpoints.len() - 1;
    let way = |(at, endpoint): (usize, Endpoint)| {
        let login = match at == last {
            true => login_for(options, &endpoint)?,
            false => stored(options, &endpoint.name())?,
        };
        let stored = at != last || options.login.is_none();
        Ok(Way { endpoint, login, stored })
    };
    endpoints.into_iter().enumerate().map(way).collect()
}

/// The way to push an image: never a mirror.
pub fn way_to_push(options: &Options, reference: &Reference) -> Result<Way, Error> {
    let endpoint = route::direct(&options.registries, reference)?;
    let login = login_for(options, &endpoint)?;
    Ok(Way { endpoint, login, stored: options.login.is_none() })
}

/// The way to a registry as a whole.
pub fn way_to_registry(options: &Options, registry: &str) -> Result<Way, Error> {
    let endpoint = route::whole(&options.registries, registry)?;
    let login = login_for(options, &endpoint)?;
    Ok(Way { endpoint, login, stored: options.login.is_none() })
}

/// The login for a reference: the one given, else the first that a file or helper has.
pub fn lookup(options: &Options, reference: &Reference) -> Result<Option<Login>, Error> {
    login_for(options, &Endpoint::of(reference))
}

/// The same for an endpoint.
fn login_for(options: &Options, endpoint: &Endpoint) -> Result<Option<Login>, Error> {
    match &options.login {
        Some(login) => Ok(Some(login.clone())),
        None => stored(options, &endpoint.name()),
    }
}

/// What stands for the files among the helpers of `registries.conf` (containers-registries.conf(5)).
pub(super) const FILES: &str = "containers-auth.json";

/// What a file or helper has for a name: a registry, or a path there.
pub(super) fn stored(options: &Options, name: &str) -> Result<Option<Login>, Error> {
    if options.credential_helpers.is_empty() {
        return in_files(options, name);
    }
    // Helpers know registries and no paths there.
    let registry = name.split('/').next().unwrap_or(name);
    for helper in &options.credential_helpers {
        let login = match helper.as_str() {
            FILES => in_files(options, name)?,
            helper => Helper::new(helper, &options.path).get(registry)?,
        };
        if login.is_some() {
            return Ok(login);
        }
    }
    Ok(None)
}

fn in_files(options: &Options, name: &str) -> Result<Option<Login>, Error> {
    for path in &options.auth_files {
        // Not there, or not for us: as if nobody had logged in.
        let Ok(bytes) = std::fs::read(path) else { continue };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let file: File = serde_json::from_slice(&bytes)
            .map_err(|source| Error::AuthFile { path: path.clone(), source })?;
        if let Some(login) = from_file(&file, name, options)? {
            return Ok(Some(login));
        }
    }
    Ok(None)
}

fn from_file(file: &File, name: &str, options: &Options) -> Result<Option<Login>, Error> {
    let keys = keys(name);
    for key in &keys {
        if let Some(helper) = file.cred_helpers.get(key) {
            return Helper::new(helper, &options.path).get(key);
        }
    }
    for key in &keys {
        let entry = file.auths.iter().find(|(name, _)| normalized(name) == *key);
        if let Some(login) = entry.and_then(|(_, entry)| from_entry(entry)) {
            return Ok(Some(login));
        }
    }
    if file.creds_store.is_empty() {
        return Ok(None);
    }
    // Docker asks its store by the registry alone, and the hub by its old address.
    let registry = name.split('/').next().unwrap_or(name);
    let server = if registry == "docker.io" { HUB } else { registry };
    Helper::new(&file.creds_store, &options.path).get(server)
}

/// The keys under which a login may stand: each part of the name, the longest first, then the
/// registry (containers-auth.json(5)).
pub(super) fn keys(name: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut name = name;
    loop {
        keys.push(name.to_owned());
        match name.rsplit_once('/') {
            Some((shorter, _)) => name = shorter,
            None => return keys,
        }
    }
}

/// A key without scheme and version, so that docker's old spellings match.
pub(super) fn normalized(key: &str) -> String {
    let bare = key.trim_start_matches("https://").trim_start_matches("http://");
    let bare = bare.trim_end_matches('/');
    let bare = bare.strip_suffix("/v1").or(bare.strip_suffix("/v2")).unwrap_or(bare);
    match bare {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        other => other.to_owned(),
    }
}

fn from_entry(entry: &Entry) -> Option<Login> {
    if !entry.identitytoken.is_empty() {
        return Some(Login::Identity(entry.identitytoken.clone()));
    }
    if !entry.username.is_empty() {
        let (user, password) = (entry.username.clone(), entry.password.clone());
        return Some(Login::Password { user, password });
    }
    let decoded = STANDARD.decode(entry.auth.trim()).ok()?; // nothing, where a helper keeps it
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    let password = password.trim_end_matches('\0').to_owned();
    Some(Login::Password { user: user.to_owned(), password })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn found(json: &str, name: &str) -> Option<Login> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("auth.json");
        std::fs::write(&path, json).expect("a file");
        let options = Options { auth_files: vec![path], ..Options::default() };
        lookup(&options, &name.parse().expect("a reference")).expect("a lookup")
    }

    fn user(login: Option<Login>) -> String {
        match login {
            Some(Login::Password { user, .. }) => user,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_longest_key_wins() {
        // "a:p" and "b:p"
        let json = r#"{"auths":{"r.example":{"auth":"YTpw"},"r.example/team":{"auth":"Yjpw"}}}"#;
        assert_eq!(user(found(json, "r.example/team/app")), "b");
        assert_eq!(user(found(json, "r.example/other")), "a");
        assert_eq!(found(json, "s.example/other"), None);
    }

    #[test]
    fn the_hub_is_known_by_its_old_address() {
        let json = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"YTpw"}}}"#;
        assert_eq!(user(found(json, "debian")), "a");
    }

    #[test]
    fn an_identity_token_goes_before_a_password() {
        let json = r#"{"auths":{"r.example":{"auth":"YTpw","identitytoken":"t"}}}"#;
        assert_eq!(found(json, "r.example/a"), Some(Login::Identity("t".into())));
    }

    #[test]
    fn a_helper_is_asked_for_the_registry() {
        let directory = tempfile::tempdir().expect("a directory");
        let helper = directory.path().join("docker-credential-test");
        let script = "#!/bin/sh\nread server\necho \"{\\\"Username\\\":\\\"$server\\\",\\\"Secret\\\":\\\"s\\\"}\"\n";
        std::fs::write(&helper, script).expect("a helper");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&helper, mode).expect("a mode");
        let auth = directory.path().join("config.json");
        std::fs::write(&auth, r#"{"credHelpers":{"r.example":"test"}}"#).expect("a file");
        let options =
            Options { auth_files: vec![auth], path: directory.path().into(), ..Options::default() };
        let reference = "r.example/a".parse().expect("a reference");
        assert_eq!(user(lookup(&options, &reference).expect("a lookup")), "r.example");
    }
}
