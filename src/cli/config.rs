//! `~/.config/coracle/config.toml`, over `/etc/coracle/config.toml`.
//!
//! ```toml
//! root = "/var/tmp/me/coracle"     # the store
//! storage-driver = "copy"          # overlay, fuse or copy; probed where absent
//! userns = "single"                # auto, single, nomap, range, host-id
//! network = "none"                 # host or none
//! pull-jobs = 3                    # layers at once
//! verify = ["/etc/keys/team.pub"]  # what is pulled, run or created must be signed by one of these
//!
//! [[registry]]                     # as in registries.conf, over what is said there
//! prefix = "registry.example"
//! mirror = [{ location = "mirror.example:5000" }]
//!
//! [aliases]                        # short names
//! app = "registry.example/team/app"
//! ```

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::environment::Environment;
use crate::diagnose::{Diagnose, Hint};
use crate::engine::registry::Table;

/// What the files set; a flag or a variable of the environment wins over both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// The store.
    pub root: Option<PathBuf>,
    /// The root file system's driver.
    pub storage_driver: Option<String>,
    /// Which ids containers have.
    pub userns: Option<String>,
    /// Which network containers have.
    pub network: Option<String>,
    /// Layers to fetch at once.
    pub pull_jobs: Option<usize>,
    /// Keys, one of which must have signed an image.
    pub verify: Option<Vec<PathBuf>>,
    /// Tables about registries.
    pub registry: Vec<Table>,
    /// Short names and what they stand for.
    pub aliases: BTreeMap<String, String>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is no TOML, or has a key that does not exist.
    #[error("{}: {}", path.display(), message.trim_end())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where and what.
        message: String,
    },
}

impl Diagnose for Error {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Read { .. } => None,
            Self::Invalid { .. } => Some(Hint::new(
                "keys are root, storage-driver, userns, network, pull-jobs, verify, registry and aliases",
            )),
        }
    }
}

impl Config {
    /// What the user's file sets, and for the rest the system's.
    pub fn load(environment: &Environment) -> Result<Self, Error> {
        let user = environment.config_home().map(|home| home.join("coracle/config.toml"));
        let user = user.map_or_else(|| Ok(Self::default()), |path| read(&path))?;
        Ok(user.over(read(Path::new("/etc/coracle/config.toml"))?))
    }

    fn over(self, below: Self) -> Self {
        Self {
            root: self.root.or(below.root),
            storage_driver: self.storage_driver.or(below.storage_driver),
            userns: self.userns.or(below.userns),
            network: self.network.or(below.network),
            pull_jobs: self.pull_jobs.or(below.pull_jobs),
            verify: self.verify.or(below.verify),
            // The user's tables come later, and so replace the system's.
            registry: below.registry.into_iter().chain(self.registry).collect(),
            aliases: below.aliases.into_iter().chain(self.aliases).collect(),
        }
    }
}

fn read(path: &Path) -> Result<Config, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text)
            .map_err(|error| Error::Invalid { path: path.to_owned(), message: error.to_string() }),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(Config::default())
        }
        Err(source) => Err(Error::Read { path: path.to_owned(), source }),
    }
}

fn parse(text: &str) -> Result<Config, toml::de::Error> {
    toml::from_str(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_file_wins() {
        let user = parse("userns = \"single\"\n").expect("valid");
        let system = parse("userns = \"range\"\npull-jobs = 8\n").expect("valid");
        let both = user.over(system);
        assert_eq!((both.userns.as_deref(), both.pull_jobs), (Some("single"), Some(8)));
    }

    #[test]
    fn unknown_keys_are_named() {
        let error = parse("rot = \"/x\"\n").expect_err("unknown").to_string();
        assert!(error.contains("rot"), "{error}");
    }
}
