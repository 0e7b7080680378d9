//! Mounts that are made before it is known where they go.
//!
//! A file system, a node of the host's or an overlay lies nowhere at first (fsmount(2), open_tree(2)), and
//! what it is made of is known long before all else is. So a process that waits for its orders makes them
//! meanwhile, once it is somebody in its user namespace: an overlay looks into directories that only their
//! owner's root may. Its steps ask for the same again, by what it is made of, and find it here; what is
//! missing, since it failed or is another one, they make themselves.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::plan::{self, MountStep, RootStep, Source};
use super::rootfs;
use crate::mount::{Attributes, Mount, RootMount};
use crate::userns::{ChildMaps, IdMaps};

/// What a container will need, by all that is known so far.
#[derive(Debug)]
pub struct Early {
    /// Its root, whose directories are there.
    pub root: RootMount,
    /// Whether the root's changes may be lost by a crash of the machine.
    pub volatile: bool,
    /// What will be mounted on it.
    pub mounts: Vec<Mount>,
    /// Its ids, which the process can map itself. If they turn out to be others, it is not used.
    pub ids: IdMaps,
}

/// What there is of it.
#[derive(Debug, Default)]
pub(super) struct Ready {
    root: Option<(RootStep, OwnedFd)>,
    mounts: Vec<(Source, Attributes, OwnedFd)>,
    /// Whether its ids are mapped, and mount events cut off.
    is_begun: bool,
}

impl Ready {
    /// Makes what can be made. Nothing is attached, and no failure told.
    pub(super) fn make(early: &Early, maps: &mut ChildMaps) -> Self {
        let Early { root, volatile, mounts, ids } = early;
        // A copy of a shared mount would be its peer.
        if rootfs::make_slave().is_err() || maps.complete().is_err() {
            return Self::default();
        }
        let root = plan::root_step(root, *volatile).ok().and_then(|step| {
            let mount = rootfs::overlay_of(&step.layers)?;
            Some((step, mount))
        });
        let steps = mounts.iter().filter_map(|mount| plan::mount_step(mount, ids).ok());
        // A view of control groups is that of the namespace which the process has yet to make.
        let steps = steps.filter(|step| step.source != Source::Cgroup);
        let wanted = steps.map(|MountStep { source, attributes, .. }| (source, attributes));
        let made = wanted.chain([rootfs::empty_directory()]).filter_map(|(source, attributes)| {
            let mount = rootfs::source(&source, attributes).ok()?;
            Some((source, attributes, mount))
        });
        Self { root, mounts: made.collect(), is_begun: true }
    }

    /// All descriptors among them.
    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        let root = self.root.iter().map(|(_, mount)| mount);
        root.chain(self.mounts.iter().map(|(_, _, mount)| mount)).map(AsRawFd::as_raw_fd).collect()
    }

    /// Whether its ids are mapped, and mount events cut off.
    pub(super) fn is_begun(&self) -> bool {
        self.is_begun
    }

    /// The root, if it is this one.
    pub(super) fn take_root(&mut self, step: &RootStep) -> Option<OwnedFd> {
        self.root.take().filter(|(made, _)| made == step).map(|(_, mount)| mount)
    }

    /// A mount of this source with these attributes.
    pub(super) fn take(&mut self, source: &Source, attributes: Attributes) -> Option<OwnedFd> {
        let wanted =
            |(made, its, _): &(Source, Attributes, _)| *its == attributes && made == source;
        let place = self.mounts.iter().position(wanted)?;
        Some(self.mounts.swap_remove(place).2)
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::fs::File;

    use super::*;
    use crate::runtime::plan::Layers;

    fn root(path: &str) -> RootStep {
        let path = CString::new(path).expect("a path");
        RootStep { layers: Layers::Directory(path.clone()), mount_point: path }
    }

    #[test]
    fn only_what_is_asked_for_is_found_and_once() {
        let file = || OwnedFd::from(File::open("/").expect("the root"));
        let strict = Attributes { no_exec: true, ..Attributes::default() };
        let mut ready = Ready {
            root: Some((root("/a"), file())),
            mounts: vec![(Source::Proc, strict, file()), (Source::Mqueue, strict, file())],
            is_begun: true,
        };
        assert_eq!(ready.descriptors().len(), 3);
        assert!(ready.take(&Source::Proc, Attributes::default()).is_none());
        assert!(ready.take(&Source::Sysfs, strict).is_none());
        assert!(ready.take(&Source::Proc, strict).is_some());
        assert!(ready.take(&Source::Proc, strict).is_none());
        assert!(ready.take_root(&root("/b")).is_none());
        assert!(ready.take_root(&root("/a")).is_none(), "nothing holds the other one");
        assert_eq!(ready.descriptors().len(), 1);
    }
}
