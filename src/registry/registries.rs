//! What an administrator or user says of registries: `registries.conf` (containers-registries.conf(5)),
//! docker's `daemon.json`, coracle's own tables. Read as podman and dockerd read them.
//!
//! ```text
//! registries.conf ─ registries.conf.d/*.conf, each over those before ─ our own tables
//!     a table for a prefix is replaced as a whole; lists too; aliases one by one
//! daemon.json: mirrors of the hub and insecure hosts, where no table speaks of them
//! ```

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Error;

/// All that is configured about registries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registries {
    tables: Vec<Table>,
    search: Option<Vec<String>>,
    mode: Option<ShortNames>,
    aliases: BTreeMap<String, String>,
    helpers: Option<Vec<String>>,
    daemon: Daemon,
}

/// What happens to a name without a registry that no alias knows (`short-name-mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShortNames {
    /// With several registries to search the user must say which.
    #[default]
    Enforcing,
    /// All registries are searched where nobody can be asked.
    Permissive,
    /// All registries are searched.
    Disabled,
}

/// `[[registry]]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Table {
    /// The names it is about: `HOST[:PORT][/PATH]`, or `*.HOST`.
    pub prefix: String,
    /// What is asked in place of the prefix.
    pub location: String,
    /// Any certificate will do, and plain HTTP.
    pub insecure: bool,
    /// Not to be asked.
    pub blocked: bool,
    /// Mirrors serve digests only.
    pub mirror_by_digest_only: bool,
    /// Asked first, in this order.
    pub mirror: Vec<Mirror>,
}

/// `[[registry.mirror]]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Mirror {
    /// What is asked in place of the prefix.
    pub location: String,
    /// Any certificate will do, and plain HTTP.
    pub insecure: bool,
    /// For which references it serves.
    pub pull_from_mirror: Option<Serves>,
}

/// `pull-from-mirror`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Serves {
    /// Both.
    All,
    /// References with a digest.
    DigestOnly,
    /// References without.
    TagOnly,
}

/// What is read of a `registries.conf`; what is not known is left alone, as podman does.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct File {
    registry: Vec<Table>,
    unqualified_search_registries: Option<Vec<String>>,
    short_name_mode: Option<ShortNames>,
    aliases: BTreeMap<String, String>,
    credential_helpers: Option<Vec<String>>,
    /// Version 1, which podman still converts: `[registries.search] registries = […]`.
    registries: Old,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Old {
    search: OldList,
    insecure: OldList,
    block: OldList,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OldList {
    registries: Vec<String>,
}

/// docker's `daemon.json`, as far as it is about registries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Daemon {
    registry_mirrors: Vec<String>,
    insecure_registries: Vec<String>,
}

/// The files, in the order in which they are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// `registries.conf`: the first that is there.
    pub main: Vec<PathBuf>,
    /// Directories of `*.conf`, each over those before it.
    pub directories: Vec<PathBuf>,
    /// docker's `daemon.json`: the first that is there.
    pub daemon: Vec<PathBuf>,
}

impl Registries {
    /// Reads the files that are there. One that is there and cannot be read or understood is an
    /// error: it may be the one that blocks a registry.
    pub fn read(files: &Files) -> Result<Self, Error> {
        let mut all = Self::default();
        for path in &files.main {
            if let Some(bytes) = read(path)? {
                all.add(&bytes, path)?;
                break;
            }
        }
        for directory in &files.directories {
            for path in drop_ins(directory)? {
                if let Some(bytes) = read(&path)? {
                    all.add(&bytes, &path)?;
                }
            }
        }
        for path in &files.daemon {
            if let Some(text) = read(path)? {
                all.daemon = serde_json::from_str(&text)
                    .map_err(|error| invalid(path, &error.to_string()))?;
                break;
            }
        }
        Ok(all)
    }

    /// Tables and aliases that stand elsewhere, over those of the files.
    #[must_use]
    pub fn with(mut self, tables: Vec<Table>, aliases: BTreeMap<String, String>) -> Self {
        self.merge(File { registry: tables, aliases, ..File::default() });
        self
    }

    /// One file over those before it.
    fn add(&mut self, text: &str, path: &Path) -> Result<(), Error> {
        let mut file: File =
            toml::from_str(text).map_err(|error| invalid(path, error.message()))?;
        file.convert();
        let wrong = file.registry.iter().find_map(Table::fault);
        let empty = |mirror: &Mirror| mirror.location.is_empty();
        if file.registry.iter().any(|table| table.mirror.iter().any(empty)) {
            return Err(invalid(path, "a mirror has no location"));
        }
        if let Some(why) = wrong {
            return Err(invalid(path, why));
        }
        self.merge(file);
        Ok(())
    }

    fn merge(&mut self, file: File) {
        for table in file.registry {
            self.tables.retain(|earlier| earlier.prefix() != table.prefix());
            self.tables.push(table);
        }
        self.search = file.unqualified_search_registries.or(self.search.take());
        self.mode = file.short_name_mode.or(self.mode);
        self.helpers = file.credential_helpers.or(self.helpers.take());
        for (name, full) in file.aliases {
            if full.is_empty() {
                self.aliases.remove(&name); // an empty one takes an earlier one back
            } else {
                self.aliases.insert(name, full);
            }
        }
    }

    /// The table with the longest prefix of a name in full form; a host before a pattern.
    pub(super) fn table(&self, name: &str) -> Option<&Table> {
        let fits = |table: &&Table| matched(table.prefix(), name).is_some();
        self.tables
            .iter()
            .filter(fits)
            .max_by_key(|table| (table.prefix().len(), !table.prefix().starts_with('*')))
    }

    /// docker's mirrors of the hub.
    pub(super) fn hub_mirrors(&self) -> &[String] {
        &self.daemon.registry_mirrors
    }

    /// Whether docker's list has a host, by name or by the network of its address.
    pub(super) fn is_listed_insecure(&self, registry: &str) -> bool {
        let host = bare_host(registry);
        let address: Option<IpAddr> = host.parse().ok();
        self.daemon.insecure_registries.iter().any(|entry| match entry.split_once('/') {
            Some((network, bits)) => address.is_some_and(|address| within(address, network, bits)),
            None => entry == registry || entry == host,
        })
    }

    /// The alias of a name without registry and tag.
    pub(super) fn alias(&self, name: &str) -> Option<&str> {
        self.aliases.get(name).map(String::as_str)
    }

    /// `unqualified-search-registries`, where it is set.
    pub fn search(&self) -> Option<&[String]> {
        self.search.as_deref()
    }

    /// `credential-helpers`: who keeps logins, in the order in which they are asked; the files are one of
    /// them, and the only one where nothing is said.
    pub fn credential_helpers(&self) -> Vec<String> {
        self.helpers.clone().unwrap_or_default()
    }

    /// `short-name-mode`
    pub fn short_name_mode(&self) -> ShortNames {
        self.mode.unwrap_or_default()
    }
}

impl Table {
    pub(super) fn prefix(&self) -> &str {
        if self.prefix.is_empty() { &self.location } else { &self.prefix }
    }

    fn fault(&self) -> Option<&'static str> {
        if self.prefix().is_empty() {
            Some("a registry has neither prefix nor location")
        } else if self.location.contains("://") || self.prefix.contains("://") {
            Some("a registry is named without a scheme")
        } else if self.location.starts_with('*') {
            Some("a location has no *")
        } else {
            None
        }
    }
}

impl File {
    fn convert(&mut self) {
        let Old { search, insecure, block } = std::mem::take(&mut self.registries);
        if !search.registries.is_empty() && self.unqualified_search_registries.is_none() {
            self.unqualified_search_registries = Some(search.registries);
        }
        let table = |location| Table { location, ..Table::default() };
        let insecure = insecure.registries.into_iter();
        self.registry.extend(insecure.map(|host| Table { insecure: true, ..table(host) }));
        let block = block.registries.into_iter();
        self.registry.extend(block.map(|host| Table { blocked: true, ..table(host) }));
    }
}

/// How many bytes of `name` a prefix takes: a whole part of it, or a host below `*.HOST`.
pub(super) fn matched(prefix: &str, name: &str) -> Option<usize> {
    let ends = |rest: &str| rest.is_empty() || rest.starts_with([':', '/', '@']);
    if let Some(parent) = prefix.strip_prefix('*') {
        let host_end = name.find('/').unwrap_or(name.len());
        let at = name[..host_end].find(parent).filter(|at| *at > 0)?;
        let end = at + parent.len();
        return ends(&name[end..]).then_some(end);
    }
    ends(name.strip_prefix(prefix)?).then_some(prefix.len())
}

/// A host without its port and brackets.
pub(super) fn bare_host(registry: &str) -> &str {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => registry,
    };
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Whether an address lies in a network (RFC 4632).
fn within(address: IpAddr, network: &str, bits: &str) -> bool {
    let Ok(bits) = bits.parse::<u32>() else { return false };
    match (address, network.parse()) {
        (IpAddr::V4(a), Ok(IpAddr::V4(n))) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            a.to_bits() & mask == n.to_bits() & mask
        }
        (IpAddr::V6(a), Ok(IpAddr::V6(n))) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            a.to_bits() & mask == n.to_bits() & mask
        }
        _ => false,
    }
}

fn read(path: &Path) -> Result<Option<String>, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(source) => Err(Error::Io { what: path.display().to_string(), source }),
    }
}

fn drop_ins(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(source) => return Err(Error::Io { what: directory.display().to_string(), source }),
    };
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .collect();
    files.sort_unstable();
    Ok(files)
}

fn invalid(path: &Path, why: &str) -> Error {
    Error::Document { what: path.display().to_string(), why: super::answer::escape(why.trim_end()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registries(texts: &[&str]) -> Registries {
        let mut all = Registries::default();
        for text in texts {
            all.add(text, Path::new("registries.conf")).expect(text);
        }
        all
    }

    #[test]
    fn the_longest_prefix_wins() {
        let all = registries(&["[[registry]]\nlocation='r.example'\n[[registry]]\n\
            prefix='r.example/team'\nlocation='s.example'\n[[registry]]\nprefix='*.example'\nblocked=true"]);
        let of = |name: &str| all.table(name).map(|table| table.prefix().to_owned());
        assert_eq!(of("r.example/team/app:1").as_deref(), Some("r.example/team"));
        assert_eq!(of("r.example/teams:1").as_deref(), Some("r.example"));
        assert_eq!(of("q.example/team").as_deref(), Some("*.example"));
        assert_eq!(of("example/team"), None);
        assert_eq!(of("r.example.com/app"), None);
    }

    #[test]
    fn later_files_replace_tables_and_lists() {
        let all = registries(&[
            "unqualified-search-registries=['a','b']\n[aliases]\nx='a/x'\ny='a/y'\n\
             [[registry]]\nlocation='r'\nblocked=true",
            "short-name-mode='permissive'\n[aliases]\nx=''\ny='b/y'\n[[registry]]\nlocation='r'",
        ]);
        assert_eq!(all.search(), Some(&["a".to_owned(), "b".to_owned()][..]));
        assert_eq!((all.alias("x"), all.alias("y")), (None, Some("b/y")));
        assert_eq!(all.short_name_mode(), ShortNames::Permissive);
        assert!(all.table("r/app").is_some_and(|table| !table.blocked));
    }

    #[test]
    fn the_first_version_is_converted() {
        let all = registries(&["[registries.search]\nregistries=['s']\n[registries.insecure]\n\
            registries=['i']\n[registries.block]\nregistries=['b']"]);
        assert_eq!(all.search(), Some(&["s".to_owned()][..]));
        assert!(all.table("i/x").is_some_and(|table| table.insecure));
        assert!(all.table("b/x").is_some_and(|table| table.blocked));
    }

    #[test]
    fn what_says_nothing_or_too_much_is_refused() {
        for text in [
            "[[registry]]\nblocked=true",
            "[[registry]]\nlocation='https://r'",
            "]",
            "[[registry]]\nlocation='r'\n[[registry.mirror]]\ninsecure=true",
        ] {
            let added = Registries::default().add(text, Path::new("x"));
            assert!(matches!(added, Err(Error::Document { .. })), "{text}");
        }
    }

    #[test]
    fn dockers_list_has_names_and_networks() {
        let daemon = Daemon {
            insecure_registries: vec![
                "r.example:5000".into(),
                "10.1.0.0/16".into(),
                "fd00::/8".into(),
            ],
            ..Daemon::default()
        };
        let all = Registries { daemon, ..Registries::default() };
        for (name, want) in [
            ("r.example:5000", true),
            ("r.example", false),
            ("10.1.2.3:5000", true),
            ("10.2.2.3:5000", false),
            ("[fd00::1]:5000", true),
            ("[fe00::1]", false),
        ] {
            assert_eq!(all.is_listed_insecure(name), want, "{name}");
        }
    }
}
