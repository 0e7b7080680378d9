//! Control groups of version 1 in a container: what a mount of type `cgroup` is on a host that has them
//! (runtime-spec, config-linux.md, "Control groups"; the shape is runc's).

use std::path::{Path, PathBuf};

use super::super::limits::Remark;
use crate::bundle::{Config, Namespace, NsKind};
use crate::cgroup::{self, Group, Hierarchy, Part, Version};
use crate::mount::{Kind, Mount, Propagation};

/// Puts the hierarchies in the place of each such mount: a directory with one of each. With a cgroup namespace
/// of its own the container sees them from its group on, else it is given its group alone.
pub(super) fn show(config: &mut Config, group: Option<&Group>, tell: Remark<'_>) {
    let is_of_groups = |mount: &Mount| matches!(mount.kind, Kind::Cgroup);
    if !config.spec.mounts.iter().any(is_of_groups) {
        return;
    }
    let host = cgroup::detect(Path::new("/"));
    if host.version == Version::V2 {
        return;
    }
    let own_view = config.spec.namespaces[NsKind::Cgroup] == Namespace::New;
    let mut mounts = Vec::new();
    for mount in std::mem::take(&mut config.spec.mounts) {
        if !is_of_groups(&mount) {
            mounts.push(mount);
            continue;
        }
        let (target, attributes) = (mount.target.clone(), mount.attributes);
        if host.separate.is_empty() {
            tell(&format!(
                "mounts ({}): this host has no control groups to show: it is an empty directory",
                target.display()
            ));
        }
        mounts.push(Mount { kind: directory(), ..mount });
        for hierarchy in &host.separate {
            let name = hierarchy.controllers.join(",");
            let below = target.join(&name);
            let kind = match own_view {
                true => Some(own(hierarchy)),
                false => place(hierarchy, group).map(bound),
            };
            // One that is mounted twice on the host is one.
            let is_new = mounts.iter().all(|mount: &Mount| mount.target != below);
            let Some(kind) = kind.filter(|_| is_new) else { continue };
            mounts.push(Mount { target: below, kind, attributes, recursive_attributes: None });
            if let [_, _, ..] = hierarchy.controllers[..] {
                let link = |controller| (target.join(controller), PathBuf::from(&name));
                config.spec.links.extend(hierarchy.controllers.iter().map(link));
            }
        }
    }
    config.spec.mounts = mounts;
}

fn directory() -> Kind {
    Kind::FileSystem {
        name: "tmpfs".to_owned(),
        source: Some("tmpfs".to_owned()),
        options: vec!["mode=755".to_owned()],
        copy_up: false,
    }
}

/// The hierarchy as the container's cgroup namespace shows it.
fn own(hierarchy: &Hierarchy) -> Kind {
    Kind::FileSystem {
        name: "cgroup".to_owned(),
        source: Some("cgroup".to_owned()),
        options: hierarchy.controllers.clone(),
        copy_up: false,
    }
}

/// The container's group in a hierarchy: one made for it, or the caller's, which it stays in.
fn place(hierarchy: &Hierarchy, group: Option<&Group>) -> Option<PathBuf> {
    let has = |part: &&Part| hierarchy.controllers.iter().all(|it| part.controllers.contains(it));
    let made = group.and_then(|group| group.parts.iter().find(has)).map(|part| part.path.clone());
    made.or_else(|| hierarchy.nodes.first().map(|node| node.path.clone()))
}

fn bound(source: PathBuf) -> Kind {
    Kind::Bind { source, recursive: false, propagation: Propagation::Private }
}
