//! Where a group can be made, and with which controllers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::group::{Group, Part};
use super::host::{Hierarchy, Host, Node, Version};
use super::plan::Step;

/// The best place there is.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// How the group is made.
    pub(super) steps: Vec<Step>,
    /// The group, if there can be one.
    pub(super) group: Option<Group>,
    /// The controllers that it will not have, and why.
    pub(super) lacking: BTreeMap<String, String>,
    /// Why there can be no group, where that is so.
    pub(super) refusal: Option<String>,
}

/// A group of version 2 for coracle itself, which has to leave the one that shares out controllers.
const LEAF: &str = "coracle";

/// Finds a place for a group that has these controllers: below this process's own, or where `path`
/// (a `cgroupsPath`) says.
pub(super) fn place(
    host: &Host,
    needed: &BTreeSet<String>,
    name: &str,
    path: Option<&Path>,
) -> Place {
    let (host, below) = match path {
        Some(path) => host.seek(path),
        None => (host.clone(), name.into()),
    };
    match (&host.unified, host.version) {
        (Some(unified), Version::V2) => in_unified(unified, needed, &below),
        (_, Version::None) => lacking(needed, "no control groups are mounted"),
        _ => in_separate(&host, needed, &below),
    }
}

pub(super) fn lacking(needed: &BTreeSet<String>, why: &str) -> Place {
    let lacking = needed.iter().map(|controller| (controller.clone(), why.to_owned())).collect();
    Place { lacking, refusal: Some(why.to_owned()), ..Place::default() }
}

fn in_unified(hierarchy: &Hierarchy, needed: &BTreeSet<String>, below: &Path) -> Place {
    let Some(nearest) = hierarchy.nodes.first() else {
        return lacking(needed, "the group of this process lies outside of what is mounted here");
    };
    let covers = |node: &Node| needed.iter().filter(|it| node.usable().contains(it)).count();
    let ready = |node: &Node| needed.iter().all(|it| node.enabled.contains(it));
    let best = hierarchy
        .nodes
        .iter()
        .filter(|node| node.writable)
        .map(|node| hierarchy.descend(node, below))
        .filter(|(node, _)| node.writable)
        // The nearest of the best; one that hands on something is good for statistics.
        .min_by_key(|(node, _)| (Reverse(covers(node)), !ready(node), node.enabled.is_empty()));
    let Some((node, below)) = best else {
        let path = nearest.path.display();
        return lacking(needed, &format!("the group {path} is not writable for this user"));
    };
    let mut place = Place::default();
    for controller in needed.iter().filter(|it| !node.usable().contains(it)) {
        place.lacking.insert(controller.clone(), why_not(&node, controller));
    }
    let had = || needed.iter().filter(|it| node.usable().contains(it)).cloned();
    let enable: Vec<String> = had().filter(|it| !node.enabled.contains(it)).collect();
    if !enable.is_empty() {
        if node.own && !node.root {
            let leaf = node.path.join(LEAF);
            place.steps.push(Step::MakeDirectory { path: leaf.clone() });
            place.steps.push(Step::MoveSelf { group: leaf });
        }
        place.steps.push(Step::Enable { group: node.path.clone(), controllers: enable });
    }
    let mut made = Vec::new();
    let path = way(&node.path, &below, |directory| {
        place.steps.push(Step::MakeDirectory { path: directory.to_owned() });
        let controllers: Vec<String> = had().collect();
        if !controllers.is_empty() {
            place.steps.push(Step::Enable { group: directory.to_owned(), controllers });
        }
        made.push(directory.to_owned());
    });
    place.steps.push(Step::MakeGroup { path: path.clone() });
    let part = Part { path, controllers: Vec::new(), unified: true };
    place.group = Some(Group { parts: vec![part], made });
    place
}

fn why_not(node: &Node, controller: &str) -> String {
    let path = node.path.display();
    if node.available.iter().any(|it| it == controller) {
        let are = if node.others == 1 { "process is" } else { "processes are" };
        return format!(
            "{} other {are} in {path}, and a group with processes cannot hand controllers on",
            node.others
        );
    }
    match node.available.as_slice() {
        [] => format!("the group {path} has no controllers"),
        all => format!("the group {path} has {} and no {controller}", all.join(", ")),
    }
}

/// Version 1's hierarchies that are joined where they are writable, for statistics and freezing.
const OF_USE: [&str; 6] = ["blkio", "cpu", "cpuacct", "freezer", "memory", "pids"];

fn in_separate(host: &Host, needed: &BTreeSet<String>, below: &Path) -> Place {
    let mut place = Place::default();
    let mut group = Group::default();
    for controller in needed {
        if !host.separate.iter().any(|it| it.controllers.contains(controller)) {
            let why = format!("no {controller} hierarchy of cgroup v1 is mounted");
            place.lacking.insert(controller.clone(), why);
        }
    }
    for hierarchy in &host.separate {
        let of_use = |name: &String| needed.contains(name) || OF_USE.contains(&name.as_str());
        if !hierarchy.controllers.iter().any(of_use) {
            continue;
        }
        match in_one(hierarchy, below, &mut place.steps, &mut group.made) {
            Ok(part) => group.parts.push(part),
            Err(why) => {
                place.refusal = Some(why.clone());
                for controller in hierarchy.controllers.iter().filter(|it| needed.contains(*it)) {
                    place.lacking.insert(controller.clone(), why.clone());
                }
            }
        }
    }
    // The unified hierarchy beside them has no controllers, but kills a whole group at once.
    if let Some(unified) = &host.unified {
        let found = unified.nodes.first().map(|node| unified.descend(node, below));
        if let Some((node, below)) = found.filter(|(node, _)| node.writable) {
            let path = make_way(&node.path, &below, &mut place.steps, &mut group.made, None);
            group.parts.push(Part { path, controllers: Vec::new(), unified: true });
        }
    }
    place.group = (!group.parts.is_empty()).then_some(group);
    place
}

fn in_one(
    hierarchy: &Hierarchy,
    below: &Path,
    steps: &mut Vec<Step>,
    made: &mut Vec<PathBuf>,
) -> Result<Part, String> {
    let names = hierarchy.controllers.join(",");
    let node = hierarchy.nodes.first();
    let node = node.ok_or_else(|| format!("this process has no group of {names} in reach"))?;
    let (node, below) = hierarchy.descend(node, below);
    let path = node.path.display();
    if !node.writable {
        return Err(format!("cgroup v1, and the group {path} is not writable for this user"));
    }
    let cpuset = match (hierarchy.controllers.iter().any(|it| it == "cpuset"), &node.cpuset) {
        (false, _) => None,
        (true, Some((cpus, mems))) if !cpus.is_empty() && !mems.is_empty() => Some((cpus, mems)),
        (true, _) => return Err(format!("the group {path} has no processors to share out")),
    };
    let path = make_way(&node.path, &below, steps, made, cpuset);
    Ok(Part { path, controllers: hierarchy.controllers.clone(), unified: false })
}

/// The steps to a group of version 1; a cpuset takes no process before it has processors and memory.
fn make_way(
    from: &Path,
    below: &Path,
    steps: &mut Vec<Step>,
    made: &mut Vec<PathBuf>,
    cpuset: Option<(&String, &String)>,
) -> PathBuf {
    let fill = |steps: &mut Vec<Step>, group: &Path| {
        for (file, value) in cpuset.iter().flat_map(|(cpus, mems)| {
            [("cpuset.cpus", (*cpus).clone()), ("cpuset.mems", (*mems).clone())]
        }) {
            let choices = vec![(file.to_owned(), value)];
            let (group, limit) = (group.to_owned(), "cpuset".to_owned());
            steps.push(Step::Write { limit, group, choices, optional: false });
        }
    };
    let path = way(from, below, |directory| {
        steps.push(Step::MakeDirectory { path: directory.to_owned() });
        fill(steps, directory);
        made.push(directory.to_owned());
    });
    steps.push(Step::MakeGroup { path: path.clone() });
    fill(steps, &path);
    path
}

/// Calls `each` for the directories between `from` and the last part of `below`; gives the last.
fn way(from: &Path, below: &Path, mut each: impl FnMut(&Path)) -> PathBuf {
    let mut path = from.to_owned();
    let mut parts = below.components().peekable();
    while let Some(part) = parts.next() {
        path.push(part);
        if parts.peek().is_some() {
            each(&path);
        }
    }
    path
}
