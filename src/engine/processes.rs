//! The processes of a container, as the host sees them.

use std::collections::BTreeMap;
use std::path::Path;

use rustix::process::Pid;

/// All that lives in the container's pid namespace; where it has none of its own, the first
/// process and all that descend from it.
pub(super) fn processes_of(first: Pid) -> std::io::Result<Vec<Pid>> {
    let first = first.as_raw_nonzero().get();
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let theirs = namespace(&first.to_string());
    let own = theirs.is_some() && theirs != namespace("self");
    let mut parents = BTreeMap::new();
    let mut inside = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(pid) = name.parse::<i32>() else { continue };
        if own && namespace(&name) == theirs {
            inside.push(pid);
        }
        if let Some(parent) = parent(&entry.path()) {
            parents.insert(pid, parent);
        }
    }
    if !own {
        inside = descendants(first, &parents);
    }
    Ok(inside.into_iter().filter_map(Pid::from_raw).collect())
}

fn parent(process: &Path) -> Option<i32> {
    let stat = std::fs::read_to_string(process.join("stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn descendants(first: i32, parents: &BTreeMap<i32, i32>) -> Vec<i32> {
    let mut found = vec![first];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(parents.iter().filter(|(_, of)| **of == parent).map(|(child, _)| *child));
        at += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_are_of_all_generations() {
        let parents = BTreeMap::from([(2, 1), (3, 2), (4, 3), (5, 1), (6, 9)]);
        assert_eq!(descendants(2, &parents), [2, 3, 4]);
    }
}
