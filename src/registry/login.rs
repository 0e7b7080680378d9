//! Logins written down and forgotten, in docker's and podman's files or with a credential helper.
//!
//! A file is replaced by rename, with mode 0600, and keeps every field that is not ours. While it is
//! changed its directory is locked, so that two logins at once are both kept.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::{FlockOperation, flock};
use serde_json::{Map, Value, json};

use super::credentials::{FILES, HUB, keys, normalized, stored};
use super::helper::Helper;
use super::{Error, Login, Options};

/// Where a login was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// In a file, where whoever may read it may read the password.
    File(PathBuf),
    /// By a helper.
    Helper(String),
}

/// Whether there is a login for a name: a registry, or a path there.
pub fn known_login(options: &Options, name: &str) -> Result<Option<Login>, Error> {
    stored(options, name)
}

/// Keeps a login for a name. A helper that is asked before the files has it; else the first file that
/// has one for it keeps the new one, since it is the one that is read; else it is the last: docker's own.
pub fn keep_login(options: &Options, name: &str, login: &Login) -> Result<Kept, Error> {
    if let Some(helper) = helpers(options, name).next()
        && options.credential_helpers.first().is_some_and(|first| first == helper)
    {
        Helper::new(helper, &options.path).store(name, login)?;
        return Ok(Kept::Helper(helper.to_owned()));
    }
    let files = &options.auth_files;
    // One that answers for a part of the name would be asked before any later one.
    let keys = keys(name);
    let has =
        |path: &&PathBuf| read(path).is_ok_and(|file| keys.iter().any(|key| has_entry(&file, key)));
    let Some(path) = files.iter().find(has).or(files.last()) else {
        return Err(Error::Io {
            what: "a file for logins".into(),
            source: ErrorKind::NotFound.into(),
        });
    };
    change(path, |file, path| {
        let key = key(path, name);
        let helper = helper(file, name);
        let entry = match &helper {
            Some(helper) => {
                Helper::new(helper, &options.path).store(&key, login)?;
                json!({}) // as docker notes it
            }
            None => entry(login),
        };
        let auths = object(file, "auths");
        auths.retain(|other, _| normalized(other) != name);
        if helper.is_none() || file["credsStore"].is_string() {
            object(file, "auths").insert(key, entry);
        }
        Ok(match helper {
            Some(helper) => Kept::Helper(helper),
            None => Kept::File(path.to_owned()),
        })
    })
}

/// The helpers that are asked for a name beside the files. They know registries and no paths there.
fn helpers<'a>(options: &'a Options, name: &str) -> impl Iterator<Item = &'a str> {
    let all = options.credential_helpers.iter().filter(|_| !name.contains('/'));
    all.map(String::as_str).filter(|helper| *helper != FILES)
}

/// Forgets the login for a name wherever it would be looked for; false if there was none.
pub fn forget_login(options: &Options, name: &str) -> Result<bool, Error> {
    let mut found = false;
    for helper in helpers(options, name) {
        let helper = Helper::new(helper, &options.path);
        if helper.get(name)?.is_some() {
            helper.erase(name)?;
            found = true;
        }
    }
    for path in &options.auth_files {
        if !read(path).is_ok_and(|file| has_entry(&file, name) || helper(&file, name).is_some()) {
            continue;
        }
        found |= change(path, |file, path| {
            let mut found = false;
            if let Some(helper) = helper(file, name) {
                let helper = Helper::new(&helper, &options.path);
                let key = key(path, name);
                found = helper.get(&key)?.is_some();
                if found {
                    helper.erase(&key)?;
                }
            }
            let auths = object(file, "auths");
            let before = auths.len();
            auths.retain(|other, _| normalized(other) != name);
            found |= auths.len() < before;
            Ok(found)
        })?;
    }
    Ok(found)
}

/// Forgets all logins of every file and helper that would be asked.
pub fn forget_logins(options: &Options) -> Result<(), Error> {
    for helper in helpers(options, "") {
        forget_all(&Helper::new(helper, &options.path))?;
    }
    for path in options.auth_files.iter().filter(|path| path.exists()) {
        change(path, |file, _| {
            let mut helpers: Vec<String> = object(file, "credHelpers")
                .values()
                .filter_map(|name| name.as_str().map(str::to_owned))
                .collect();
            helpers.extend(file["credsStore"].as_str().map(str::to_owned));
            helpers.retain(|name| !name.is_empty());
            helpers.sort_unstable();
            helpers.dedup();
            for name in helpers {
                forget_all(&Helper::new(&name, &options.path))?;
            }
            object(file, "auths").clear();
            Ok(())
        })?;
    }
    Ok(())
}

fn forget_all(helper: &Helper) -> Result<(), Error> {
    helper.list()?.iter().try_for_each(|server| helper.erase(server))
}

fn entry(login: &Login) -> Value {
    match login {
        Login::Password { user, password } => {
            json!({ "auth": STANDARD.encode(format!("{user}:{password}")) })
        }
        Login::Identity(token) => json!({ "auth": "", "identitytoken": token }),
    }
}

/// docker knows the hub by its old address only, podman by its name.
fn key(path: &Path, name: &str) -> String {
    let dockers = path.file_name().is_some_and(|file| file == "config.json");
    if dockers && name == "docker.io" { HUB.to_owned() } else { name.to_owned() }
}

fn has_entry(file: &Value, name: &str) -> bool {
    let auths = file["auths"].as_object();
    auths.is_some_and(|auths| auths.keys().any(|key| normalized(key) == name))
}

/// Who keeps logins for a name in place of the file. Helpers know servers and no paths there.
fn helper(file: &Value, name: &str) -> Option<String> {
    if name.contains('/') {
        return None;
    }
    let one = file["credHelpers"].as_object();
    let one = one.and_then(|all| all.iter().find(|(key, _)| normalized(key) == name));
    let helper = one.map_or(&file["credsStore"], |(_, helper)| helper);
    helper.as_str().filter(|helper| !helper.is_empty()).map(str::to_owned)
}

/// A field that is an object; another kind of thing is replaced.
fn object<'a>(file: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    if !file[field].is_object() {
        file[field] = json!({});
    }
    match &mut file[field] {
        Value::Object(map) => map,
        _ => unreachable!("it was just made one"),
    }
}

fn read(path: &Path) -> Result<Value, Error> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(json!({})),
        Err(source) => return Err(Error::Io { what: path.display().to_string(), source }),
    };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(json!({})); // mktemp(1) makes such for --authfile
    }
    let odd = |source| Error::AuthFile { path: path.to_owned(), source };
    let file: Map<String, Value> = serde_json::from_slice(&bytes).map_err(odd)?;
    Ok(Value::Object(file))
}

fn change<T>(
    path: &Path,
    change: impl FnOnce(&mut Value, &Path) -> Result<T, Error>,
) -> Result<T, Error> {
    let io = |source: io::Error| Error::Write { path: path.to_owned(), source };
    // Who keeps his files elsewhere has a link here, and wants to keep it.
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = real.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    make(directory).map_err(io)?;
    let lock = File::open(directory).map_err(io)?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|error| io(error.into()))?;
    let mut file = read(&real)?;
    let done = change(&mut file, path)?;
    let mut draft = tempfile::Builder::new()
        .prefix(".login-")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(directory)
        .map_err(io)?;
    let text = serde_json::to_string_pretty(&file).map_err(|error| io(error.into()))?;
    draft.write_all(format!("{text}\n").as_bytes()).map_err(io)?;
    draft.as_file().sync_all().map_err(io)?;
    draft.persist(&real).map_err(|error| io(error.error))?;
    lock.sync_all().map_err(io)?;
    Ok(done)
}

fn make(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Home(tempfile::TempDir);

    impl Home {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("a directory"))
        }

        fn options(&self) -> Options {
            let files = ["run/auth.json", ".docker/config.json"];
            let auth_files = files.iter().map(|name| self.0.path().join(name)).collect();
            Options { auth_files, path: self.0.path().into(), ..Options::default() }
        }

        fn file(&self, name: &str) -> Value {
            read(&self.0.path().join(name)).expect(name)
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.0.path().join(name);
            make(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, text).expect("a file");
        }
    }

    fn login(user: &str) -> Login {
        Login::Password { user: user.into(), password: "p".into() }
    }

    #[test]
    fn a_login_goes_to_dockers_file_and_leaves_the_rest_of_it_alone() {
        let home = Home::new();
        home.write(".docker/config.json", r#"{"psFormat":"x","auths":{"a":{"auth":"x"}},"z":[1]}"#);
        let options = home.options();
        let kept = keep_login(&options, "docker.io", &login("me")).expect("kept");
        assert_eq!(kept, Kept::File(options.auth_files[1].clone()));
        let file = home.file(".docker/config.json");
        assert_eq!((&file["psFormat"], &file["z"][0]), (&json!("x"), &json!(1)));
        assert_eq!(file["auths"][HUB]["auth"], json!(STANDARD.encode("me:p")));
        let mode = fs::metadata(&options.auth_files[1]).expect("it").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(known_login(&options, "docker.io").expect("a lookup"), Some(login("me")));
        assert!(forget_login(&options, "docker.io").expect("forgotten"));
        assert!(!forget_login(&options, "docker.io").expect("gone"));
        assert_eq!(home.file(".docker/config.json")["auths"], json!({"a": {"auth": "x"}}));
        forget_logins(&options).expect("all forgotten");
        assert_eq!(home.file(".docker/config.json")["auths"], json!({}));
    }

    #[test]
    fn the_file_that_is_read_first_is_the_one_that_changes() {
        let home = Home::new();
        home.write("run/auth.json", r#"{"auths":{"r.example":{"auth":"x"}}}"#);
        let options = home.options();
        keep_login(&options, "r.example", &login("new")).expect("kept");
        assert_eq!(known_login(&options, "r.example").expect("it"), Some(login("new")));
        // A path of it is another key.
        keep_login(&options, "r.example/team", &login("team")).expect("kept");
        assert_eq!(known_login(&options, "r.example/team").expect("it"), Some(login("team")));
        assert_eq!(known_login(&options, "r.example").expect("it"), Some(login("new")));
    }

    #[test]
    fn a_link_stays_and_its_target_changes() {
        let home = Home::new();
        home.write("dotfiles/config.json", "{}");
        home.write(".docker/x", "");
        let path = home.0.path().join(".docker/config.json");
        std::os::unix::fs::symlink("../dotfiles/config.json", &path).expect("a link");
        keep_login(&home.options(), "r.example", &login("me")).expect("kept");
        assert!(path.is_symlink());
        assert!(has_entry(&home.file("dotfiles/config.json"), "r.example"));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_replaced() {
        let home = Home::new();
        home.write(".docker/config.json", "{\"auths\":");
        assert!(keep_login(&home.options(), "r.example", &login("me")).is_err());
        let text = fs::read_to_string(home.0.path().join(".docker/config.json")).expect("it");
        assert_eq!(text, "{\"auths\":");
    }

    #[test]
    fn a_helper_keeps_it_where_the_file_says_so() {
        let home = Home::new();
        let script = "#!/bin/sh\nd=$(dirname \"$0\")\ncase $1 in store) cat >\"$d/kept\";; \
            get) [ -e \"$d/kept\" ] && cat \"$d/kept\" || { echo credentials not found; exit 1; };; \
            erase) rm \"$d/kept\";; esac\n";
        home.write("docker-credential-test", script);
        let helper = home.0.path().join("docker-credential-test");
        fs::set_permissions(helper, Permissions::from_mode(0o755)).expect("a mode");
        home.write(".docker/config.json", r#"{"credsStore":"test"}"#);
        let options = home.options();
        let kept = keep_login(&options, "r.example", &login("me")).expect("kept");
        assert_eq!(kept, Kept::Helper("test".into()));
        let file = home.file(".docker/config.json");
        assert_eq!(file["auths"], json!({"r.example": {}}));
        assert_eq!(known_login(&options, "r.example").expect("it"), Some(login("me")));
        assert!(forget_login(&options, "r.example").expect("forgotten"));
        assert_eq!(known_login(&options, "r.example").expect("it"), None);
    }
}
