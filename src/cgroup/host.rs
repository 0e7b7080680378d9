//! What there is: which version, whose group this process is in, and what may be made below it.

use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

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
pub struct Host {
    /// How they are mounted.
    pub version: Version,
    /// The unified hierarchy.
    pub unified: Option<Hierarchy>,
    /// The hierarchies of version 1 that have controllers.
    pub separate: Vec<Hierarchy>,
    /// The user's bus, where a systemd listens that may make a scope.
    pub bus: Option<PathBuf>,
    /// Why systemd made none, once it was asked.
    pub bus_refusal: Option<String>,
    /// Whether systemd runs this machine.
    pub systemd: bool,
}

/// A mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its controllers; those of the unified one differ from group to group.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub mount: PathBuf,
    /// The groups in which a new one could be made, the nearest first: this process's own, whether
    /// it may write there or not, then, unified, what is writable above it. Empty where its own is
    /// out of reach.
    pub nodes: Vec<Node>,
}

/// A group that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // facts, each of its own
pub struct Node {
    /// Its directory.
    pub path: PathBuf,
    /// Whether a group may be made in it and (unified) processes moved to it.
    pub writable: bool,
    /// The controllers that it has (unified).
    pub available: Vec<String>,
    /// The controllers that groups in it have (unified).
    pub enabled: Vec<String>,
    /// How many processes other than this one are in it.
    pub others: usize,
    /// Whether this process is in it.
    pub own: bool,
    /// The hierarchy's real root, which may have processes and share out controllers.
    pub root: bool,
    /// `cpuset.cpus` and `cpuset.mems` (version 1): a new group has none of its own.
    pub cpuset: Option<(String, String)>,
}

/// Whether a group might be made at all, in an eighth of the time of `detect`: it looks where every
/// distribution mounts them. A container without limits starts without a group where this says no.
pub fn is_worth_a_look(root: &Path) -> bool {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mounted = root.join("sys/fs/cgroup");
    // The machine's own roots, where a process is in most groups of version 1, are those of its root user.
    let are_root_s = !rustix::process::geteuid().is_root() && sees_the_machine(root);
    let is_open = |line: &&str| !(are_root_s && line.ends_with(":/"));
    groups.lines().filter(is_open).any(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(names), Some(group)) = (parts.next(), parts.next()) else { return false };
        let below = |directory: &Path| {
            let own = directory.join(group.trim_start_matches('/'));
            own.ancestors().take_while(|path| path.starts_with(directory)).any(writable)
        };
        match names.strip_prefix("name=").unwrap_or(names) {
            "" => below(&mounted) || below(&mounted.join("unified")),
            names => below(&mounted.join(names)),
        }
    })
}

/// Looks below `root` (`/` but in tests). Reads only.
pub fn detect(root: &Path) -> Host {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let (groups, mounts) = (read("proc/self/cgroup"), read("proc/self/mountinfo"));
    let mut unified = None;
    let mut separate = Vec::new();
    for mount in mounts.lines().filter_map(Mounted::parse) {
        let own = own_group(&groups, &mount);
        let at = root.join(mount.point.strip_prefix("/").unwrap_or(&mount.point));
        let own = own.map(|own| at.components().chain(own.components()).collect::<PathBuf>());
        if mount.unified {
            // The last one mounted at a place covers the others; the first place is the usual one.
            let nodes = own.map(|own| unified_nodes(&at, &own)).unwrap_or_default();
            unified.get_or_insert(Hierarchy { controllers: Vec::new(), mount: at, nodes });
        } else if !mount.controllers.is_empty() {
            let nodes = own.map(|own| vec![separate_node(&at, &own)]).unwrap_or_default();
            separate.push(Hierarchy { controllers: mount.controllers, mount: at, nodes });
        }
    }
    let version = match (&unified, separate.is_empty()) {
        (Some(_), true) => Version::V2,
        (Some(_), false) => Version::Hybrid,
        (None, false) => Version::V1,
        (None, true) => Version::None,
    };
    let systemd = root.join("run/systemd/system").exists();
    if let (true, Some(unified)) = (systemd, &mut unified) {
        keep_ours(&mut unified.nodes);
    }
    let bus = bus(root).filter(|_| systemd);
    Host { version, unified, separate, bus, bus_refusal: None, systemd }
}

impl Host {
    /// The group of this process in the unified hierarchy, if that has the controllers.
    pub fn own(&self) -> Option<&Node> {
        let unified = self.unified.as_ref().filter(|_| self.version == Version::V2)?;
        unified.nodes.first()
    }

    /// The controllers that a group could be given here.
    pub fn controllers(&self) -> Vec<String> {
        let mut all: Vec<String> = match (&self.unified, self.version) {
            (Some(unified), Version::V2) => unified
                .nodes
                .iter()
                .filter(|node| node.writable)
                .max_by_key(|node| node.usable().len())
                .map(|node| node.usable().to_vec())
                .unwrap_or_default(),
            _ => self
                .separate
                .iter()
                .filter(|hierarchy| hierarchy.nodes.iter().any(|node| node.writable))
                .flat_map(|hierarchy| hierarchy.controllers.iter().cloned())
                .collect(),
        };
        all.sort_unstable();
        all
    }

    /// Whether groups may be made, and processes moved there.
    pub fn is_delegated(&self) -> bool {
        let hierarchies = self.unified.iter().filter(|_| self.version == Version::V2);
        let mut nodes = hierarchies.chain(&self.separate).flat_map(|it| &it.nodes);
        nodes.any(|node| node.writable)
    }

    /// The same with the places of another path: absolute ones count from each mount, others from
    /// this process's group. Gives what is left to be made below them.
    pub(super) fn seek(&self, path: &Path) -> (Self, PathBuf) {
        let parts = path.components().filter_map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None, // no way upwards
        });
        let below: PathBuf = parts.collect();
        if !path.is_absolute() {
            return (self.clone(), below);
        }
        let mut host = self.clone();
        if let Some(hierarchy) = &mut host.unified {
            let mount = hierarchy.mount.clone();
            hierarchy.nodes = vec![unified_node(&mount, &mount)];
        }
        for hierarchy in &mut host.separate {
            hierarchy.nodes = vec![separate_node(&hierarchy.mount, &hierarchy.mount)];
        }
        (host, below)
    }
}

impl Hierarchy {
    /// The deepest group on the way to `below` that is there already, and what is left of the way.
    pub(super) fn descend(&self, node: &Node, below: &Path) -> (Node, PathBuf) {
        let parts: Vec<_> = below.components().collect();
        // The last part is the group itself, to be made or taken over.
        for count in (1..parts.len()).rev() {
            let there = node.path.join(parts[..count].iter().collect::<PathBuf>());
            if there.is_dir() {
                let rest = parts[count..].iter().collect();
                let found = match self.controllers.is_empty() {
                    true => unified_node(&self.mount, &there),
                    false => separate_node(&self.mount, &there),
                };
                return (found, rest);
            }
        }
        (node.clone(), below.to_owned())
    }
}

impl Node {
    /// The controllers that a group in it could have.
    pub(super) fn usable(&self) -> &[String] {
        match self.may_enable() {
            true => &self.available,
            false => &self.enabled,
        }
    }

    /// Only a group without processes shares out controllers (cgroups(7), "no internal processes");
    /// this process can be moved, others are none of its business.
    pub(super) fn may_enable(&self) -> bool {
        self.root || self.others == 0
    }
}

/// Whether this process's view of the groups begins at their real roots (cgroup_namespaces(7)).
fn sees_the_machine(root: &Path) -> bool {
    /// `PROC_CGROUP_INIT_INO` (include/linux/proc_ns.h).
    const FIRST: &str = "cgroup:[4026531835]";
    fs::read_link(root.join("proc/self/ns/cgroup")).is_ok_and(|view| view == Path::new(FIRST))
}

fn writable(path: &Path) -> bool {
    rustix::fs::access(path, Access::WRITE_OK).is_ok()
}

fn unified_nodes(mount: &Path, own: &Path) -> Vec<Node> {
    let mut nodes = vec![Node { own: true, ..unified_node(mount, own) }];
    let above = own.ancestors().skip(1).take_while(|path| path.starts_with(mount));
    nodes.extend(above.map(|path| unified_node(mount, path)).take_while(|node| node.writable));
    nodes
}

/// Leaves the groups that systemd manages to systemd: below a delegated unit its owner writes, above
/// only systemd does (systemd.io/CGROUP_DELEGATION, "single writer"), even where this user could.
/// An older systemd than 251 marks no unit; then this process's own group is as far as it goes.
fn keep_ours(nodes: &mut Vec<Node>) {
    let ours = |node: &Node| {
        let mut value = [0; 8];
        let mark = rustix::fs::getxattr(&node.path, "user.delegate", &mut value);
        // The user's systemd lives in one itself, and that is not to be shared.
        mark.is_ok_and(|length| value[..length] == *b"1") && !node.path.join("init.scope").exists()
    };
    let last = nodes.iter().position(ours).unwrap_or_default();
    nodes.truncate(last + 1);
}

fn unified_node(mount: &Path, path: &Path) -> Node {
    let words = |file: &str| {
        let text = fs::read_to_string(path.join(file)).unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect()
    };
    // All three belong to whoever a group is delegated to (cgroups(7), "Delegation").
    let files = ["cgroup.procs", "cgroup.subtree_control"];
    // Threads alone go to groups below a threaded one.
    let takes_processes = || {
        let kind = fs::read_to_string(path.join("cgroup.type")).unwrap_or_default();
        matches!(kind.trim(), "" | "domain")
    };
    if !writable(path) || !files.iter().all(|file| writable(&path.join(file))) || !takes_processes()
    {
        // Nothing more is of interest, and a run without limits is not to wait for it.
        return Node { path: path.to_owned(), ..Node::default() };
    }
    Node {
        path: path.to_owned(),
        writable: true,
        available: words("cgroup.controllers"),
        enabled: words("cgroup.subtree_control"),
        others: others(path),
        own: false,
        // Every group but the real root has this file.
        root: path == mount && !path.join("cgroup.events").exists(),
        cpuset: None,
    }
}

fn separate_node(mount: &Path, path: &Path) -> Node {
    let read = |file: &str| fs::read_to_string(path.join(file)).ok();
    let trimmed = |text: String| text.trim().to_owned();
    // Version 1 asks for nothing but the directory.
    let writable = writable(path);
    let cpuset = if writable { read("cpuset.cpus") } else { None };
    let cpuset = cpuset.and_then(|cpus| Some((cpus, read("cpuset.mems")?)));
    Node {
        path: path.to_owned(),
        writable,
        root: path == mount,
        cpuset: cpuset.map(|(cpus, mems)| (trimmed(cpus), trimmed(mems))),
        ..Node::default()
    }
}

fn others(group: &Path) -> usize {
    let own = std::process::id().to_string();
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter(|pid| *pid != own).count()
}

/// The user's bus, by the path that systemd gives it.
fn bus(root: &Path) -> Option<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let bus = root.join(format!("run/user/{user}/bus"));
    bus.exists().then_some(bus)
}

/// A line of proc_pid_mountinfo(5) that mounts control groups.
struct Mounted {
    point: PathBuf,
    /// The group that is mounted.
    root: PathBuf,
    unified: bool,
    controllers: Vec<String>,
}

impl Mounted {
    fn parse(line: &str) -> Option<Self> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (unescape(fields.next()?), unescape(fields.next()?));
        let mut fields = file_system.split(' ');
        let unified = match fields.next()? {
            "cgroup2" => true,
            "cgroup" => false,
            _ => return None,
        };
        let options = fields.nth(1).unwrap_or_default().split(',');
        let known = |name: &&str| CONTROLLERS.contains(name);
        let controllers = options.filter(known).map(str::to_owned).collect();
        Some(Self { point, root, unified, controllers })
    }
}

/// The controllers of version 1 that could be of use; the others' hierarchies are passed by.
const CONTROLLERS: [&str; 8] =
    ["blkio", "cpu", "cpuacct", "cpuset", "freezer", "hugetlb", "memory", "pids"];

/// `\040` for a space, and its kin.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| *first == b'\\');
        let byte = octal.and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = byte.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[3..] } else { after };
    }
    std::ffi::OsString::from_vec(bytes).into()
}

/// The group of this process below a mount, from `ID:CONTROLLERS:PATH` of `/proc/self/cgroup`.
fn own_group(text: &str, mount: &Mounted) -> Option<PathBuf> {
    let path = text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let same = match mount.unified {
            true => controllers.is_empty(),
            false => controllers.split(',').any(|name| mount.controllers.iter().any(|c| c == name)),
        };
        same.then_some(path)
    })?;
    // Above the root of the caller's cgroup namespace nothing can be reached.
    if path.starts_with("/..") || path.ends_with(" (deleted)") {
        return None;
    }
    Path::new(path).strip_prefix(&mount.root).ok().map(Path::to_owned)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A tree of files, and what is found in it.
    pub(in super::super) fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
        let root = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("parents");
            fs::write(path, text).expect("a file");
        }
        let found = detect(root.path());
        (root, found)
    }

    pub(in super::super) const UNIFIED: (&str, &str) = (
        "proc/self/mountinfo",
        "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n",
    );
    pub(in super::super) const SEPARATE: (&str, &str) = (
        "proc/self/mountinfo",
        "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
         32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
         35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
         39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
         38 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
         40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n",
    );

    #[test]
    fn a_unified_hierarchy_is_version_2() {
        let own = "sys/fs/cgroup/user.slice/me";
        let (kept, found) = tree(&[
            UNIFIED,
            ("sys/fs/cgroup/cgroup.controllers", "cpu io memory pids\n"),
            (&format!("{own}/cgroup.controllers"), "memory pids\n"),
            (&format!("{own}/cgroup.procs"), "1\n2\n"),
            (&format!("{own}/cgroup.subtree_control"), "pids\n"),
            ("proc/self/cgroup", "0::/user.slice/me\n"),
        ]);
        assert_eq!(found.version, Version::V2);
        let node = found.own().expect("a group");
        assert_eq!(node.path, kept.path().join(own));
        assert_eq!((node.available.len(), node.enabled.len()), (2, 1));
        assert!(node.own && node.writable && node.others == 2 && !node.may_enable());
        assert_eq!(found.controllers(), ["pids"]);
        assert!(found.is_delegated());
        // Its parent has no files to write to.
        assert_eq!(found.unified.expect("it").nodes.len(), 1);
    }

    #[test]
    fn without_its_files_a_group_is_not_delegated() {
        let (_kept, found) =
            tree(&[UNIFIED, ("sys/fs/cgroup/a/cgroup.procs", ""), ("proc/self/cgroup", "0::/a\n")]);
        assert!(found.version == Version::V2 && !found.is_delegated());
        assert!(found.controllers().is_empty());
    }

    #[test]
    fn a_quick_look_finds_what_a_long_one_does() {
        let (root, _) = tree(&[("proc/self/cgroup", "4:memory:/a/b\n0::/\n")]);
        assert!(!is_worth_a_look(root.path()));
        fs::create_dir_all(root.path().join("sys/fs/cgroup/memory/a")).expect("a group");
        assert!(is_worth_a_look(root.path()), "above its own group");
        let (root, _) = tree(&[("proc/self/cgroup", "0::/own\n"), ("sys/fs/cgroup/own/x", "")]);
        assert!(is_worth_a_look(root.path()));
    }

    #[test]
    fn the_roots_of_the_machine_are_its_root_s() {
        let groups = ("proc/self/cgroup", "4:memory:/\n0::/\n");
        let (root, _) = tree(&[groups, ("sys/fs/cgroup/memory/tasks", "")]);
        let view = root.path().join("proc/self/ns");
        fs::create_dir_all(&view).expect("a directory");
        std::os::unix::fs::symlink("cgroup:[4026531835]", view.join("cgroup")).expect("a link");
        assert_eq!(is_worth_a_look(root.path()), rustix::process::geteuid().is_root());
        fs::remove_file(view.join("cgroup")).expect("removed");
        std::os::unix::fs::symlink("cgroup:[4026532001]", view.join("cgroup")).expect("a link");
        assert!(is_worth_a_look(root.path()), "a namespace's root may be anybody's");
    }

    #[test]
    fn what_is_writable_above_is_a_place_too() {
        let mut files = vec![UNIFIED, ("proc/self/cgroup", "0::/a/b/c\n")];
        for file in ["cgroup.procs", "cgroup.subtree_control"] {
            for group in ["a/b", "a/b/c"] {
                let name = format!("sys/fs/cgroup/{group}/{file}");
                files.push((Box::leak(name.into_boxed_str()), ""));
            }
        }
        let (_kept, found) = tree(&files);
        let nodes = found.unified.expect("it").nodes;
        let ends: Vec<_> = nodes.iter().map(|node| (node.path.ends_with("b"), node.own)).collect();
        assert_eq!(ends, [(false, true), (true, false)]);
    }

    #[test]
    fn what_systemd_manages_is_left_to_it() {
        let root = tempfile::tempdir().expect("a directory");
        let node = |name: &str| Node { path: root.path().join(name), ..Node::default() };
        let kept = |names: &[&str]| {
            let mut nodes: Vec<_> = names.iter().map(|name| node(name)).collect();
            keep_ours(&mut nodes);
            nodes.len()
        };
        for name in ["app.slice/a.scope/leaf", "user@1/init.scope"] {
            fs::create_dir_all(root.path().join(name)).expect("a group");
        }
        assert_eq!(kept(&["app.slice/a.scope", "app.slice", "user@1"]), 1);
        let mark = |name: &str| {
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(root.path().join(name), "user.delegate", b"1", flags)
        };
        if mark("user@1").is_err() {
            return; // a file system without such attributes
        }
        assert_eq!(kept(&["app.slice/a.scope", "app.slice", "user@1"]), 1);
        mark("app.slice/a.scope").expect("marked");
        assert_eq!(
            kept(&["app.slice/a.scope/leaf", "app.slice/a.scope", "app.slice", "user@1"]),
            2
        );
    }

    #[test]
    fn older_trees_are_told_apart() {
        let text = ("proc/self/cgroup", "3:memory:/a\n4:cpu,cpuacct:/\n1:name=systemd:/a\n0::/a\n");
        let (kept, found) = tree(&[
            SEPARATE,
            text,
            ("sys/fs/cgroup/memory/a/cgroup.procs", ""),
            ("sys/fs/cgroup/cpu,cpuacct/cgroup.procs", ""),
        ]);
        assert_eq!(found.version, Version::V1);
        assert_eq!(found.separate.len(), 4);
        let memory = kept.path().join("sys/fs/cgroup/memory/a");
        assert_eq!(found.separate[1].nodes[0].path, memory);
        assert!(found.separate[2].nodes.is_empty(), "no line for pids");
        assert_eq!(found.controllers(), ["cpu", "cpuacct", "memory"]);
        let both = format!("{}{}", SEPARATE.1, UNIFIED.1.replace("/cgroup ", "/cgroup/unified "));
        let (_kept, found) = tree(&[("proc/self/mountinfo", &both), text]);
        assert_eq!(found.version, Version::Hybrid);
        assert_eq!(tree(&[]).1.version, Version::None);
    }

    #[test]
    fn a_group_out_of_reach_is_none() {
        let mount = |line: &str| Mounted::parse(line).expect("a mount");
        let unified = mount(UNIFIED.1.trim_end());
        assert_eq!(own_group("0::/../other\n", &unified), None);
        assert_eq!(own_group("0::/gone (deleted)\n", &unified), None);
        assert_eq!(own_group("1:name=systemd:/a\n", &unified), None);
        assert_eq!(own_group("0::/\n", &unified), Some("".into()));
        // A container with the host's namespace of groups sees its part of the tree only.
        let part = mount("31 23 0:28 /docker/x /sys/fs/cgroup ro - cgroup2 cgroup rw");
        assert_eq!(own_group("0::/docker/x/y\n", &part), Some("y".into()));
        assert_eq!(own_group("0::/user\n", &part), None);
        assert_eq!(unescape("/a\\040b"), Path::new("/a b"));
    }

    #[test]
    fn the_users_bus_is_seen() {
        let user = rustix::process::geteuid().as_raw();
        let bus = format!("run/user/{user}/bus");
        let (_kept, found) = tree(&[(&bus, ""), ("run/systemd/system/x", "")]);
        assert!(found.bus.is_some());
        assert!(tree(&[(&bus, "")]).1.bus.is_none());
    }
}
