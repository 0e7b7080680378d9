//! Logins from docker's and podman's files, and from credential helpers.
//!
//! A lookup is separate from the client: helpers are started as the user, before a user namespace
//! is entered.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{Error, Login, Options};
use crate::reference::Reference;

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

/// The login for a reference: the one given, else the first that a file or helper has.
pub fn lookup(options: &Options, reference: &Reference) -> Result<Option<Login>, Error> {
    if options.login.is_some() {
        return Ok(options.login.clone());
    }
    for path in &options.auth_files {
        // Not there, or not for us: as if nobody had logged in.
        let Ok(bytes) = std::fs::read(path) else { continue };
        let file: File = serde_json::from_slice(&bytes)
            .map_err(|source| Error::AuthFile { path: path.clone(), source })?;
        if let Some(login) = from_file(&file, reference, options)? {
            return Ok(Some(login));
        }
    }
    Ok(None)
}

fn from_file(
    file: &File,
    reference: &Reference,
    options: &Options,
) -> Result<Option<Login>, Error> {
    let keys = keys(reference);
    for key in &keys {
        if let Some(helper) = file.cred_helpers.get(key) {
            return ask_helper(helper, key, options);
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
    let server = match reference.registry() {
        "docker.io" => "https://index.docker.io/v1/",
        registry => registry,
    };
    ask_helper(&file.creds_store, server, options)
}

/// The keys under which a login may stand: each part of the name, the longest first, then the
/// registry (containers-auth.json(5)).
fn keys(reference: &Reference) -> Vec<String> {
    let mut keys = Vec::new();
    let full = reference.name();
    let mut name = full.as_str();
    loop {
        keys.push(name.to_owned());
        match name.rsplit_once('/') {
            Some((shorter, _)) => name = shorter,
            None => return keys,
        }
    }
}

/// A key without scheme and version, so that docker's old spellings match.
fn normalized(key: &str) -> String {
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
    let decoded = STANDARD.decode(entry.auth.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    let password = password.trim_end_matches('\0').to_owned();
    Some(Login::Password { user: user.to_owned(), password })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks `docker-credential-NAME get` (docker-credential-helpers' protocol).
fn ask_helper(name: &str, server: &str, options: &Options) -> Result<Option<Login>, Error> {
    let failed = |message: String| Error::Helper { name: name.to_owned(), message };
    if name.contains('/') {
        return Err(failed("its name may not have a slash in it".into()));
    }
    let program = format!("docker-credential-{name}");
    let path = std::env::split_paths(&options.path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(&program))
        .find(|path| path.is_file())
        .ok_or_else(|| failed(format!("{program} is not on PATH")))?;
    let mut child = Command::new(path)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that reads nothing answers all the same.
        let _ = stdin.write_all(server.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let why = format!("{said}{}", String::from_utf8_lossy(&output.stderr));
        // The protocol's words for "nothing here".
        return match why.contains("credentials not found") {
            true => Ok(None),
            false => Err(failed(why.trim().to_owned())),
        };
    }
    let answer: Answer =
        serde_json::from_str(&said).map_err(|_| failed("its answer cannot be read".into()))?;
    Ok(Some(match answer.username.as_str() {
        "<token>" => Login::Identity(answer.secret),
        _ => Login::Password { user: answer.username, password: answer.secret },
    }))
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
