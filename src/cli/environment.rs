//! The process's environment, read here and nowhere below.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

use crate::engine::registry::Files;

/// Variables of the environment.
pub struct Environment {
    look_up: fn(&OsStr) -> Option<OsString>,
    all: fn() -> Vec<(OsString, OsString)>,
}

impl fmt::Debug for Environment {
    /// Without the values: some are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}

impl Environment {
    /// This process's.
    pub fn of_process() -> Self {
        Self { look_up: |name| std::env::var_os(name), all: || std::env::vars_os().collect() }
    }

    /// One that a test made up.
    pub fn of(look_up: fn(&OsStr) -> Option<OsString>) -> Self {
        Self { look_up, all: Vec::new }
    }

    /// A variable.
    pub fn get(&self, name: impl AsRef<OsStr>) -> Option<OsString> {
        (self.look_up)(name.as_ref())
    }

    /// All variables.
    pub fn all(&self) -> Vec<(OsString, OsString)> {
        (self.all)()
    }

    /// A variable that holds something readable.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name)?.into_string().ok().filter(|value| !value.is_empty())
    }

    /// A variable that holds an absolute path; others are ignored, as the XDG base directory
    /// specification has it.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }

    /// The home directory: of the environment, else of the user database's file.
    pub fn home(&self) -> Option<PathBuf> {
        self.path("HOME").or_else(home_from_passwd)
    }

    /// `$XDG_DATA_HOME`
    pub fn data_home(&self) -> Option<PathBuf> {
        self.path("XDG_DATA_HOME").or_else(|| Some(self.home()?.join(".local/share")))
    }

    /// `$XDG_CONFIG_HOME`
    pub fn config_home(&self) -> Option<PathBuf> {
        self.path("XDG_CONFIG_HOME").or_else(|| Some(self.home()?.join(".config")))
    }

    /// Files that may hold logins, in order of precedence (containers-auth.json(5), then docker's).
    pub fn auth_files(&self) -> Vec<PathBuf> {
        if let Some(file) = self.get("REGISTRY_AUTH_FILE").filter(|file| !file.is_empty()) {
            return vec![file.into()];
        }
        let docker = self
            .path("DOCKER_CONFIG")
            .or_else(|| Some(self.home()?.join(".docker")))
            .map(|directory| directory.join("config.json"));
        let containers = |directory: PathBuf| directory.join("containers/auth.json");
        [self.path("XDG_RUNTIME_DIR").map(containers), self.config_home().map(containers), docker]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Files about registries (containers-registries.conf(5), docker's `daemon.json`).
    pub fn registries_files(&self) -> Files {
        let config = self.config_home();
        let own = |name: &str| config.as_ref().map(|config| config.join(name));
        let named = ["CONTAINERS_REGISTRIES_CONF", "REGISTRIES_CONFIG_PATH"];
        let named = named.iter().find_map(|name| self.get(name).filter(|file| !file.is_empty()));
        let main = match named {
            Some(file) => vec![file.into()],
            None => own("containers/registries.conf")
                .into_iter()
                .chain(["/etc/containers/registries.conf".into()])
                .collect(),
        };
        let directories = [PathBuf::from("/etc/containers/registries.conf.d")];
        let daemon = [PathBuf::from("/etc/docker/daemon.json")];
        Files {
            main,
            directories: directories
                .into_iter()
                .chain(own("containers/registries.conf.d"))
                .collect(),
            // A daemon without root keeps its file in the user's directory.
            daemon: own("docker/daemon.json").into_iter().chain(daemon).collect(),
        }
    }

    /// Files that say which images are trusted; the first that is there counts
    /// (containers-policy.json(5)).
    pub fn policy_files(&self) -> Vec<PathBuf> {
        let own = self.config_home().map(|config| config.join("containers/policy.json"));
        own.into_iter().chain(["/etc/containers/policy.json".into()]).collect()
    }

    /// Directories that hold a directory of certificates for each registry
    /// (containers-certs.d(5), then docker's).
    pub fn certs_directories(&self) -> Vec<PathBuf> {
        let config = self.config_home();
        let own = ["coracle/certs.d", "containers/certs.d", "docker/certs.d"];
        let own = own.into_iter().filter_map(|name| Some(config.as_ref()?.join(name)));
        let system = ["/etc/containers/certs.d", "/etc/docker/certs.d"];
        own.chain(system.into_iter().map(PathBuf::from)).collect()
    }
}

/// Read from the file itself: a static binary has no libc that would ask other databases.
fn home_from_passwd() -> Option<PathBuf> {
    let text = std::fs::read_to_string("/etc/passwd").ok()?;
    let own = rustix::process::getuid().as_raw().to_string();
    let line = text.lines().find(|line| line.split(':').nth(2) == Some(own.as_str()))?;
    line.split(':').nth(5).map(PathBuf::from).filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(name: &OsStr) -> Option<OsString> {
        let value = match name.to_str()? {
            "HOME" => "/home/me",
            "XDG_RUNTIME_DIR" => "/run/user/1000",
            "XDG_DATA_HOME" => "relative",
            _ => return None,
        };
        Some(value.into())
    }

    #[test]
    fn relative_directories_are_ignored() {
        let environment = Environment::of(variables);
        assert_eq!(environment.data_home(), Some("/home/me/.local/share".into()));
    }

    #[test]
    fn logins_are_looked_for_in_order() {
        let files = Environment::of(variables).auth_files();
        let want = [
            "/run/user/1000/containers/auth.json",
            "/home/me/.config/containers/auth.json",
            "/home/me/.docker/config.json",
        ];
        assert_eq!(files, want.map(PathBuf::from));
    }
}
