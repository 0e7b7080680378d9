//! Control groups: which version this host has, and whether the caller may make some of its own.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use serde::Serialize;

/// How control groups are mounted (cgroups(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Version {
    /// The unified hierarchy.
    V2,
    /// A hierarchy for each controller.
    V1,
    /// Version 1, with a unified hierarchy that has no controllers beside it.
    Hybrid,
    /// Not mounted.
    None,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V2 => "v2",
            Self::V1 => "v1",
            Self::Hybrid => "hybrid",
            Self::None => "none",
        })
    }
}

/// What there is for this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// How they are mounted.
    pub version: Version,
    /// The group of this process in the unified hierarchy, below its mount.
    pub own: Option<PathBuf>,
    /// The controllers that it has.
    pub controllers: Vec<String>,
    /// Whether groups below it may be made, and processes moved there.
    pub delegated: bool,
}

/// Looks below `root` (`/` but in tests). Reads only.
pub fn detect(root: &Path) -> Cgroup {
    let mount = root.join("sys/fs/cgroup");
    let version = version(&mount);
    let text = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let own = own_group(&text).filter(|_| version == Version::V2);
    let group = own.as_ref().map(|own| mount.join(own.strip_prefix("/").unwrap_or(own)));
    let controllers = group.as_ref().map(|group| words(&group.join("cgroup.controllers")));
    let writable = |path: &Path| rustix::fs::access(path, Access::WRITE_OK).is_ok();
    // All three belong to whoever a group is delegated to (cgroups(7), "Delegation").
    let delegated = group.as_ref().is_some_and(|group| {
        let files = ["cgroup.procs", "cgroup.subtree_control"];
        writable(group) && files.iter().all(|file| writable(&group.join(file)))
    });
    Cgroup { version, own, controllers: controllers.unwrap_or_default(), delegated }
}

fn version(mount: &Path) -> Version {
    if mount.join("cgroup.controllers").exists() {
        return Version::V2;
    }
    let hierarchies = fs::read_dir(mount).into_iter().flatten().flatten();
    // Each hierarchy of version 1 has this file, and the root of a unified one too.
    let any = hierarchies
        .filter(|entry| entry.file_name() != "unified")
        .any(|entry| entry.path().join("cgroup.procs").exists());
    match (any, mount.join("unified/cgroup.controllers").exists()) {
        (_, true) => Version::Hybrid,
        (true, false) => Version::V1,
        (false, false) => Version::None,
    }
}

/// The line `0::/path` of `/proc/self/cgroup`.
fn own_group(text: &str) -> Option<PathBuf> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    // Above the root of the caller's cgroup namespace nothing can be reached.
    let outside = path.starts_with("/..") || path.ends_with(" (deleted)");
    (!outside).then(|| path.into())
}

fn words(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Cgroup) {
        let root = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("parents");
            fs::write(path, text).expect("a file");
        }
        let found = detect(root.path());
        (root, found)
    }

    #[test]
    fn a_unified_hierarchy_is_version_2() {
        let own = "sys/fs/cgroup/user.slice/me";
        let (_kept, found) = tree(&[
            ("sys/fs/cgroup/cgroup.controllers", "cpu io memory pids\n"),
            (&format!("{own}/cgroup.controllers"), "memory pids\n"),
            (&format!("{own}/cgroup.procs"), ""),
            (&format!("{own}/cgroup.subtree_control"), ""),
            ("proc/self/cgroup", "0::/user.slice/me\n"),
        ]);
        assert_eq!(found.version, Version::V2);
        assert_eq!(found.own, Some("/user.slice/me".into()));
        assert_eq!(found.controllers, ["memory", "pids"]);
        assert!(found.delegated);
    }

    #[test]
    fn without_its_files_a_group_is_not_delegated() {
        let (_kept, found) = tree(&[
            ("sys/fs/cgroup/cgroup.controllers", "cpu\n"),
            ("sys/fs/cgroup/a/cgroup.procs", ""),
            ("proc/self/cgroup", "0::/a\n"),
        ]);
        assert!(found.version == Version::V2 && !found.delegated);
    }

    #[test]
    fn older_trees_are_told_apart() {
        let v1 = ("sys/fs/cgroup/memory/cgroup.procs", "");
        let unified = ("sys/fs/cgroup/unified/cgroup.controllers", "");
        let text = ("proc/self/cgroup", "3:memory:/a\n0::/a\n");
        assert_eq!(tree(&[v1, text]).1.version, Version::V1);
        assert_eq!(tree(&[v1, unified, text]).1.version, Version::Hybrid);
        assert_eq!(tree(&[("sys/fs/cgroup/README", "")]).1.version, Version::None);
        assert_eq!(tree(&[]).1.version, Version::None);
        assert!(!tree(&[v1, text]).1.delegated);
    }

    #[test]
    fn a_group_out_of_reach_is_none() {
        assert_eq!(own_group("0::/../other\n"), None);
        assert_eq!(own_group("0::/gone (deleted)\n"), None);
        assert_eq!(own_group("1:name=systemd:/a\n"), None);
        assert_eq!(own_group("0::/\n"), Some("/".into()));
    }
}
