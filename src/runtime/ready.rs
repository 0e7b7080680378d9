//! What is below a container's root, made before it is known what that is.
//!
//! A file system, a node of the host's or an overlay lies nowhere at first (fsmount(2), open_tree(2)), and
//! most of it is known long before all else is: by the request alone. So a process that waits for its orders
//! makes it meanwhile, once it is root of its user namespace; /proc, /dev and /sys with all that is mounted
//! and hidden in them, and these in the root, where the kernel takes mounts on what lies nowhere itself (Linux
//! 6.15). Its steps ask for the same again, by what it is made of, and find it here; what is missing, since it
//! failed, they make themselves, and all of it where it turned out to be another.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::Mode;

use super::plan::{self, Interior, MountStep, RootStep, Source, Wanted};
use super::rootfs;
use super::stage::{At, Failure, Stage};
use super::target::Target;
use crate::bundle;
use crate::mount::{Mount, RootMount};
use crate::sys;
use crate::userns::{ChildMaps, IdMaps};

/// What there is of it.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// Whether mount events are cut off.
    is_slave: bool,
    /// Whether its ids are mapped too.
    is_begun: bool,
    /// Mounts that will be asked for most likely. Whose they are is told by the ids.
    likely: Vec<(MountStep, OwnedFd)>,
    root: Option<(RootStep, OwnedFd)>,
    mounts: Vec<(MountStep, Option<Made>)>,
    /// What is done below those besides; none where not all of that is.
    hidden: Option<Interior>,
    /// Places in the root where there is a mount that nobody asks for.
    stray: Vec<Target>,
}

/// A mount that there is.
#[derive(Debug)]
pub(super) enum Made {
    /// It lies nowhere yet.
    Loose(OwnedFd),
    /// It lies where it is to, in the root, which lies nowhere yet.
    InRoot,
    /// It lies where it is to, in another one.
    InPlace,
}

impl Ready {
    /// Makes mounts before anything else is known. No failure is told, here or below: whoever does it later
    /// will say why it cannot be.
    pub(super) fn collect(&mut self, likely: &[Mount]) {
        // A copy of a shared mount would be its peer.
        self.is_slave = sys::early::is_slave() || rootfs::make_slave().is_ok();
        let steps = likely.iter().filter_map(|mount| plan::mount_step(mount, false).ok());
        let steps = steps.filter(|step| self.is_slave && !is_view(step));
        let mut early = sys::early::made();
        let make = |step: MountStep| {
            let place = early.iter().position(|(made, _)| rootfs::is_of(&step, made));
            let raw = place.map(|place| early.swap_remove(place).1);
            rootfs::made(&step, raw).ok().map(|made| (step, made))
        };
        self.likely = steps.filter_map(make).collect();
    }

    /// Becomes root of its user namespace.
    pub(super) fn begin(&mut self, maps: &mut ChildMaps) {
        self.is_begun = self.is_slave && maps.complete().is_ok();
    }

    /// Makes what is below the root.
    pub(super) fn furnish(&mut self, wanted: &bundle::Interior, ids: &IdMaps) {
        let Ok(mut interior) = Interior::new(&Wanted::from(wanted), ids) else { return };
        if !self.is_begun {
            return;
        }
        rustix::process::umask(Mode::from_raw_mode(0o022)); // what is made is not the caller's
        let mut nests = true;
        for step in std::mem::take(&mut interior.mounts) {
            let made = if is_view(&step) { None } else { self.make(&step, &mut nests) };
            self.mounts.push((step, made));
        }
        self.likely.clear();
        self.hidden = Some(interior).filter(|interior| nests && self.hide(interior).is_ok());
    }

    /// Makes a mount, in another one if it belongs there and the kernel has that (`nests`).
    fn make(&mut self, step: &MountStep, nests: &mut bool) -> Option<Made> {
        let likely = self.likely.iter().position(|(made, _)| made == step);
        let likely = likely.map(|place| self.likely.swap_remove(place).1);
        let mount = likely.map_or_else(|| rootfs::made(step, None), Ok).ok()?;
        if let (true, Some((tree, target))) = (*nests, self.tree_of(&step.target)) {
            match rootfs::nest_unseen(tree, &target, mount.as_fd(), step.create) {
                Ok(()) => return Some(Made::InPlace),
                Err(_) => *nests = false,
            }
        }
        Some(Made::Loose(mount))
    }

    /// Makes links, sets parameters and hides what is to be hidden, below what is made.
    fn hide(&self, interior: &Interior) -> Result<(), Failure> {
        let Interior { links, sysctls, masked, null, read_only, .. } = interior;
        for (target, points_at) in links {
            if let Some((tree, target)) = self.tree_of(target) {
                rootfs::link(tree, &target, points_at).at(Stage::Link)?;
            }
        }
        for (target, value) in sysctls {
            if let Some((tree, target)) = self.tree_of(target) {
                rootfs::write_sysctl(tree, &target, value).at(Stage::Sysctl)?;
            }
        }
        for (step, made) in &self.mounts {
            let Some(Made::Loose(tree)) = made else { continue };
            let inner = |paths: &[Target]| -> Vec<Target> {
                paths.iter().filter_map(|path| path.below(&step.target)).collect()
            };
            rootfs::mask(tree.as_fd(), inner(masked).iter().enumerate(), null)?;
            rootfs::make_read_only(tree.as_fd(), inner(read_only).iter().enumerate())?;
        }
        Ok(())
    }

    /// Makes the root, if that is an overlay, and lays in it what is made.
    pub(super) fn make_root(&mut self, root: &RootMount, volatile: bool) {
        let Ok(step) = plan::root_step(root, volatile) else { return };
        let made = if self.is_begun { rootfs::overlay_of(&step.layers) } else { None };
        let Some(root) = made else { return };
        for (step, made) in self.mounts.iter_mut().filter(|_| self.hidden.is_some()) {
            let Some(Made::Loose(mount)) = made else { continue };
            match rootfs::nest(root.as_fd(), &step.target, mount.as_fd(), step.create) {
                Ok(()) => *made = Some(Made::InRoot),
                Err(_) => break,
            }
        }
        self.root = Some((step, root));
    }

    /// All descriptors among it.
    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        let root = self.root.iter().map(|(_, mount)| mount.as_raw_fd());
        let mounts = self.mounts.iter().filter_map(|(_, made)| match made {
            Some(Made::Loose(mount)) => Some(mount.as_raw_fd()),
            Some(Made::InRoot | Made::InPlace) | None => None,
        });
        let likely = self.likely.iter().map(|(_, mount)| mount.as_raw_fd());
        root.chain(mounts).chain(likely).collect()
    }

    /// Whether its ids are mapped, and mount events cut off.
    pub(super) fn is_begun(&self) -> bool {
        self.is_begun
    }

    /// The root, and the places in it that are to be uncovered.
    pub(super) fn take_root(&mut self, step: &RootStep) -> Option<(OwnedFd, Vec<Target>)> {
        let (_, mount) = self.root.take().filter(|(made, _)| made == step)?;
        Some((mount, std::mem::take(&mut self.stray)))
    }

    /// Keeps the root if the plan asks for it, and what is below it likewise: all or nothing, as one thing lies
    /// in another.
    pub(super) fn settle(&mut self, root: &RootStep, plan: &Interior) {
        self.likely.clear();
        let in_root = |(step, made): &(MountStep, Option<Made>)| {
            matches!(made, Some(Made::InRoot)).then(|| step.target.clone())
        };
        let inside: Vec<Target> = self.mounts.iter().filter_map(in_root).collect();
        let is_other = self.root.as_ref().is_some_and(|(made, _)| made != root);
        if is_other {
            self.root = None;
        }
        let is_made = |step: &MountStep| self.mounts.iter().any(|(made, _)| made == step);
        let asked = self.mounts.iter().all(|(made, _)| plan.mounts.contains(made));
        let same = self.hidden.as_ref().is_none_or(|made| {
            // What is to lie where something is hidden comes before that.
            let hidden = || made.masked.iter().chain(&made.read_only);
            let is_late =
                |target: &Target| hidden().any(|path| target == path || target.is_below(path));
            let late = plan.mounts.iter().any(|step| !is_made(step) && is_late(&step.target));
            made.links == plan.links
                && made.sysctls == plan.sysctls
                && made.masked == plan.masked
                && made.read_only == plan.read_only
                && !late
        });
        if !(asked && same) || is_other && !inside.is_empty() {
            self.hidden = None;
            self.mounts.clear();
            self.stray = inside;
        }
    }

    /// A mount that a step asks for.
    pub(super) fn take(&mut self, step: &MountStep) -> Option<Made> {
        let (_, made) = self.mounts.iter_mut().find(|(made, _)| made == step)?;
        made.as_mut().map(|made| std::mem::replace(made, Made::InPlace))
    }

    /// Whether a link, a parameter or something hidden is there already.
    pub(super) fn holds(&self, target: &Target) -> bool {
        let is_in = |(step, made): &(MountStep, Option<Made>)| {
            made.is_some() && target.is_below(&step.target)
        };
        self.hidden.is_some() && self.mounts.iter().any(is_in)
    }

    /// The loose mount that a place lies in, and the place as seen from there.
    fn tree_of(&self, target: &Target) -> Option<(BorrowedFd<'_>, Target)> {
        self.mounts.iter().find_map(|(step, made)| match made {
            Some(Made::Loose(tree)) => Some((tree.as_fd(), target.below(&step.target)?)),
            Some(Made::InRoot | Made::InPlace) | None => None,
        })
    }
}

/// Whether it shows control groups: as the namespace does which the process has yet to make.
fn is_view(step: &MountStep) -> bool {
    step.source == Source::Cgroup
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::fs::File;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::bundle::{Namespaces, Request};
    use crate::runtime::plan::Layers;
    use crate::userns;

    fn target(path: &str) -> Target {
        Target::new(Path::new(path)).expect("a path")
    }

    fn wanted(change: impl FnOnce(&mut bundle::Interior)) -> Interior {
        let mut interior = bundle::interior(&Request::default(), &Namespaces::default());
        change(&mut interior);
        let facts = userns::gather(Path::new("/"), std::ffi::OsStr::new(""));
        let ids = userns::choose(&userns::Request::Single, (0, 0), &facts).expect("one id");
        Interior::new(&Wanted::from(&interior), &ids).expect("paths")
    }

    /// As if all of it had been made, with nothing behind it.
    fn ready() -> Ready {
        let mut interior = wanted(|_| {});
        let mounts = std::mem::take(&mut interior.mounts).into_iter().map(|step| {
            let loose = || Made::Loose(File::open("/").expect("the root").into());
            let made = match step.source {
                Source::Cgroup => None,
                _ => Some(if step.target.depth() == 1 { loose() } else { Made::InPlace }),
            };
            (step, made)
        });
        Ready { mounts: mounts.collect(), hidden: Some(interior), ..Ready::default() }
    }

    #[test]
    fn what_is_made_is_found_once_and_nothing_else_is() {
        let mut ready = ready();
        let plan = wanted(|_| {});
        assert_eq!(ready.descriptors().len(), 3);
        ready.settle(&root("/a"), &plan);
        for step in &plan.mounts {
            let found = ready.take(step);
            match (&step.source, step.target.depth()) {
                (Source::Cgroup, _) => assert!(found.is_none()),
                (_, 1) => assert!(matches!(found, Some(Made::Loose(_)))),
                _ => assert!(matches!(found, Some(Made::InPlace))),
            }
            assert!(!matches!(ready.take(step), Some(Made::Loose(_))));
        }
        for (path, is_there) in [
            ("/proc/kcore", true),
            ("/sys/firmware", true),
            ("/dev/fd", true),
            ("/sys/fs/cgroup/x", true),
            ("/etc/shadow", false),
            ("/proc", false),
        ] {
            assert_eq!(ready.holds(&target(path)), is_there, "{path}");
        }
    }

    #[test]
    fn what_has_turned_out_to_be_another_is_made_anew() {
        let another: [fn(&mut bundle::Interior); 5] = [
            |it| it.masked_paths.push(PathBuf::from("/srv")),
            |it| it.read_only_paths.clear(),
            |it| drop(it.sysctls.insert("net.ipv4.ip_forward".into(), "1".into())),
            |it| it.mounts.retain(|mount| mount.target != Path::new("/dev/shm")),
            |it| {
                let mut late = it.mounts[1].clone();
                late.target = PathBuf::from("/sys/firmware/efi");
                it.mounts.push(late);
            },
        ];
        for change in another {
            let mut ready = ready();
            let plan = wanted(change);
            ready.settle(&root("/a"), &plan);
            assert!(plan.mounts.iter().all(|step| ready.take(step).is_none()));
            assert!(!ready.holds(&target("/proc/kcore")));
        }
    }

    #[test]
    fn what_could_not_be_made_hides_nothing() {
        let mut ready = ready();
        for (step, made) in &mut ready.mounts {
            if step.source == Source::Proc {
                *made = None;
            }
        }
        let plan = wanted(|_| {});
        ready.settle(&root("/a"), &plan);
        assert!(
            plan.mounts
                .iter()
                .filter(|it| it.source == Source::Proc)
                .all(|it| ready.take(it).is_none())
        );
        assert!(!ready.holds(&target("/proc/kcore")) && ready.holds(&target("/sys/firmware")));
    }

    /// The same laid in a root.
    fn in_root() -> Ready {
        let mut ready = ready();
        for (_, made) in &mut ready.mounts {
            if matches!(made, Some(Made::Loose(_))) {
                *made = Some(Made::InRoot);
            }
        }
        Ready { root: Some((root("/a"), File::open("/").expect("the root").into())), ..ready }
    }

    #[test]
    fn what_lies_in_the_root_comes_and_goes_with_it() {
        let plan = wanted(|_| {});
        let is_gone = |ready: &mut Ready| plan.mounts.iter().all(|it| ready.take(it).is_none());
        let mut same = in_root();
        assert_eq!(same.descriptors().len(), 1);
        same.settle(&root("/a"), &plan);
        assert!(same.take_root(&root("/a")).is_some_and(|(_, stray)| stray.is_empty()));
        assert!(same.holds(&target("/proc/kcore")) && !is_gone(&mut same));
        let mut other_inside = in_root();
        other_inside.settle(&root("/a"), &wanted(|it| it.read_only_paths.clear()));
        let (_, mut stray) = other_inside.take_root(&root("/a")).expect("the root");
        stray.sort_by(|one, other| one.whole().cmp(other.whole()));
        assert_eq!(stray, ["/dev", "/proc", "/sys"].map(target));
        assert!(is_gone(&mut other_inside));
        let mut other_root = in_root();
        other_root.settle(&root("/b"), &plan);
        assert!(other_root.take_root(&root("/b")).is_none() && is_gone(&mut other_root));
        assert!(!other_root.holds(&target("/proc/kcore")));
    }

    #[test]
    fn what_is_made_before_the_program_is_asked_for() {
        let interior = bundle::interior(&Request::default(), &Namespaces::default());
        let steps: Vec<MountStep> = interior
            .mounts
            .iter()
            .filter_map(|mount| plan::mount_step(mount, false).ok())
            .collect();
        for likely in &bundle::LIKELY {
            let asked = steps.iter().filter(|step| rootfs::is_of(step, likely)).count();
            assert_eq!(asked, 1, "{likely:?}");
        }
        assert_eq!(steps.iter().filter(|step| !is_view(step)).count(), bundle::LIKELY.len());
        assert!(bundle::LIKELY.len() <= sys::early::MOST);
    }

    #[test]
    fn another_root_is_not_taken() {
        let mut ready = ready();
        ready.root = Some((root("/a"), File::open("/").expect("the root").into()));
        assert!(ready.take_root(&root("/b")).is_none());
        assert!(ready.take_root(&root("/a")).is_none(), "nothing holds the other one");
    }

    fn root(path: &str) -> RootStep {
        let path = CString::new(path).expect("a path");
        RootStep { layers: Layers::Directory(path.clone()), mount_point: path }
    }
}
