//! The container's file system: the root, the mounts below it, what is hidden in it.
//!
//! Runs in the child. Every target is opened beneath the root's descriptor and mounts go onto that
//! descriptor, so no link of the image leads a mount elsewhere (CVE-2021-30465 and its kin).

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};

use super::plan::{Layers, MountOption, MountStep, RootStep, Source};
use super::ready::{Made, Ready};
use super::stage::{At, Failure, Stage};
use super::target::Target;
use crate::mount::{AccessTime, Attributes, Propagation, RootMount};
use crate::sys;
use crate::sys::likely::Likely;
use crate::union::Entrance;

const CLONE: OpenTreeFlags = OpenTreeFlags::OPEN_TREE_CLONE.union(OpenTreeFlags::OPEN_TREE_CLOEXEC);
const HANDLE: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
const BENEATH: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// Cuts mount events off: what is unmounted here must stay mounted on the host.
pub(super) fn make_slave() -> Result<(), Errno> {
    let flags = MountPropagationFlags::DOWNSTREAM.union(MountPropagationFlags::REC);
    rustix::mount::mount_change(c"/", flags)
}

/// Mounts the root over the container's own directory, which only this namespace sees.
pub(super) fn mount_root(
    step: &RootStep,
    entrance: Option<&Entrance>,
    ready: &mut Ready,
) -> Result<OwnedFd, Failure> {
    if let Some((mount, stray)) = ready.take_root(step) {
        attach(mount.as_fd(), CWD, &step.mount_point).at(Stage::Root)?;
        for target in stray {
            uncover(mount.as_fd(), &target).at(Stage::Root)?;
        }
        return Ok(mount);
    }
    let mount = match &step.layers {
        Layers::Directory(path) => {
            rustix::mount::open_tree(CWD, path.as_c_str(), CLONE | OpenTreeFlags::AT_RECURSIVE)
                .at(Stage::Root)?
        }
        Layers::Union => {
            let entrance = entrance.ok_or(Errno::NOTCONN).at(Stage::Root)?;
            entrance.mount().at(Stage::Root)?
        }
        Layers::Overlay { lowers, data, upper, work, volatile } => {
            match overlay(lowers, data.as_ref(), upper, work, *volatile) {
                // Layers by descriptor are new in Linux 6.13, data-only ones for users in 6.16.
                Err(failure) if failure.errno == Errno::INVAL && data.is_none() => {
                    return overlay_by_name(step, lowers, upper, work, *volatile);
                }
                other => other?,
            }
        }
    };
    attach(mount.as_fd(), CWD, &step.mount_point).at(Stage::Root)?;
    Ok(mount)
}

/// Mounts an overlay over `point` the way a container's root is mounted: to see whether it works.
pub(crate) fn mount_overlay(
    lower: &Path,
    data: Option<&Path>,
    upper: &Path,
    work: &Path,
    point: &Path,
) -> Result<(), Errno> {
    let name =
        |path: &Path| CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| Errno::INVAL);
    let layers = Layers::Overlay {
        lowers: vec![name(lower)?],
        data: data.map(name).transpose()?,
        upper: name(upper)?,
        work: name(work)?,
        volatile: false,
    };
    let step = RootStep { layers, mount_point: name(point)? };
    mount_root(&step, None, &mut Ready::default()).map(drop).map_err(|failure| failure.errno)
}

/// Mounts a root over `point`, in this process's own namespace.
pub(crate) fn mount_at(root: &RootMount, point: &Path, read_only: bool) -> Result<(), Errno> {
    let mut step = super::plan::root_step(root, false).map_err(|_| Errno::INVAL)?;
    step.mount_point =
        CString::new(point.as_os_str().as_encoded_bytes()).map_err(|_| Errno::INVAL)?;
    let mount = mount_root(&step, None, &mut Ready::default()).map_err(|failure| failure.errno)?;
    if read_only { seal_root(mount.as_fd()) } else { Ok(()) }
}

/// An overlay that lies nowhere yet; `None` where the kernel has none, or not so.
pub(super) fn overlay_of(layers: &Layers) -> Option<OwnedFd> {
    let Layers::Overlay { lowers, data, upper, work, volatile } = layers else { return None };
    overlay(lowers, data.as_ref(), upper, work, *volatile).ok()
}

fn overlay(
    lowers: &[CString],
    data: Option<&CString>,
    upper: &CString,
    work: &CString,
    volatile: bool,
) -> Result<OwnedFd, Failure> {
    use rustix::mount::{fsconfig_create, fsconfig_set_fd, fsconfig_set_flag, fsmount, fsopen};
    let context = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC).at(Stage::Root)?;
    fsconfig_set_flag(&context, c"userxattr").at(Stage::Root)?;
    for (number, lower) in lowers.iter().enumerate() {
        let layer = open_path(lower).at_item(Stage::Layers, number)?;
        fsconfig_set_fd(&context, c"lowerdir+", &layer).at(Stage::Root)?;
    }
    if let Some(data) = data {
        fsconfig_set_fd(&context, c"datadir+", open_path(data).at(Stage::Root)?).at(Stage::Root)?;
    }
    fsconfig_set_fd(&context, c"upperdir", open_path(upper).at(Stage::Root)?).at(Stage::Root)?;
    fsconfig_set_fd(&context, c"workdir", open_path(work).at(Stage::Root)?).at(Stage::Root)?;
    if volatile {
        fsconfig_set_flag(&context, c"volatile").at(Stage::Root)?;
    }
    fsconfig_create(&context).at(Stage::Root)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).at(Stage::Root)
}

/// The same by mount(2) for kernels before 6.13: one page of options, the layers as short names.
fn overlay_by_name(
    step: &RootStep,
    lowers: &[CString],
    upper: &CString,
    work: &CString,
    volatile: bool,
) -> Result<OwnedFd, Failure> {
    use std::fmt::Write;
    use std::os::fd::AsRawFd;
    let mut held = Vec::with_capacity(lowers.len() + 2);
    let mut options = String::from(if volatile { "userxattr,volatile" } else { "userxattr" });
    for (number, lower) in lowers.iter().enumerate() {
        let layer = open_path(lower).at_item(Stage::Layers, number)?;
        let sign = if number == 0 { ",lowerdir=" } else { ":" };
        let _ = write!(options, "{sign}/proc/self/fd/{}", layer.as_raw_fd());
        held.push(layer);
    }
    for (name, path) in [("upperdir", upper), ("workdir", work)] {
        let directory = open_path(path).at(Stage::Root)?;
        let _ = write!(options, ",{name}=/proc/self/fd/{}", directory.as_raw_fd());
        held.push(directory);
    }
    let options = CString::new(options).map_err(|_| Errno::INVAL).at(Stage::Root)?;
    let point = step.mount_point.as_c_str();
    rustix::mount::mount(c"overlay", point, c"overlay", MountFlags::empty(), Some(&*options))
        .at(Stage::Root)?;
    open_path(&step.mount_point).at(Stage::Root)
}

fn open_path(path: &CString) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path.as_c_str(), HANDLE, Mode::empty())
}

/// Performs one mount below `root`.
pub(super) fn mount(
    root: BorrowedFd<'_>,
    step: &MountStep,
    item: usize,
    ready: &mut Ready,
) -> Result<(), Failure> {
    match ready.take(step) {
        Some(Made::InRoot | Made::InPlace) => Ok(()),
        Some(Made::Loose(mount)) => place(root, &step.target, step, item, Ok((mount, false))),
        None => place(root, &step.target, step, item, make(step, None)),
    }
}

/// Lays a mount in another one, which may lie nowhere yet itself.
pub(super) fn nest(
    tree: BorrowedFd<'_>,
    target: &Target,
    mount: BorrowedFd<'_>,
    create: bool,
) -> Result<(), Errno> {
    let target = open_target(tree, target, is_directory(mount)?, create)?;
    attach(mount, target, c"")
}

/// The same in a tree that nobody else has seen yet: what is made there stays what it is, and need not be opened.
pub(super) fn nest_unseen(
    tree: BorrowedFd<'_>,
    target: &Target,
    mount: BorrowedFd<'_>,
    create: bool,
) -> Result<(), Errno> {
    if let (true, (None, name)) = (create, target.parent_and_name())
        && make_place(tree, name, is_directory(mount)?).is_ok()
    {
        return attach(mount, tree, name);
    }
    nest(tree, target, mount, create)
}

/// A step's mount, with its attributes, which lies nowhere yet. `raw` is what is made of its source already.
pub(super) fn made(step: &MountStep, raw: Option<OwnedFd>) -> Result<OwnedFd, Errno> {
    match make(step, raw)? {
        (mount, false) => Ok(mount),
        (_, true) => Err(Errno::NOSYS),
    }
}

/// The same; `true` where it has yet to be given its attributes, once it lies somewhere (Linux before 5.12).
fn make(step: &MountStep, raw: Option<OwnedFd>) -> Result<(OwnedFd, bool), Errno> {
    let made = match (raw, &step.source) {
        (Some(raw), Source::Bind { device: Some(device), .. }) => check_device(raw, *device),
        (Some(raw), _) => Ok(raw),
        (None, _) => source(&step.source, step.attributes),
    };
    let source = match made {
        // Where an outer container hides parts of /proc or /sys the kernel grants no new one
        // (mount_too_revealing), so that the caller's view is handed on.
        Err(Errno::PERM) => match &step.source {
            Source::Proc => tree_of_host(c"/proc"),
            Source::Sysfs => tree_of_host(c"/sys"),
            _ => Err(Errno::PERM),
        },
        other => other,
    }?;
    let late = match &step.source {
        Source::Bind { propagation, recursive, .. } if step.attributes.here_only => {
            let (nothing, own) = (Attributes::default(), step.attributes);
            set_attributes(source.as_fd(), nothing, Some(*propagation), *recursive)?;
            set_attributes(source.as_fd(), own, None, false)
        }
        Source::Bind { propagation, recursive, .. } => {
            set_attributes(source.as_fd(), step.attributes, Some(*propagation), *recursive)
        }
        // File systems made here got theirs from fsmount; the host's tree has yet to.
        // A part of a volume has what the user mounted in that with it.
        Source::Proc | Source::Sysfs | Source::Beneath { .. } => {
            set_attributes(source.as_fd(), step.attributes, Some(Propagation::Private), true)
        }
        // A copy of another's mount: what it adds, and nothing that this one cannot undo.
        Source::Detached(_) | Source::Overlay { .. } => {
            set_attributes(source.as_fd(), step.attributes, None, false)
        }
        Source::FileSystem { .. } if step.attributes.no_symfollow => {
            set_attributes(source.as_fd(), step.attributes, None, false)
        }
        _ => Ok(false),
    }?;
    if let Some(attributes) = step.recursive_attributes {
        sys::mount::set_attributes(source.as_fd(), attributes, None, true)?;
    }
    Ok((source, late))
}

/// Lays a step's mount where it is to be, `target` below `root`.
fn place(
    root: BorrowedFd<'_>,
    target: &Target,
    step: &MountStep,
    item: usize,
    made: Result<(OwnedFd, bool), Errno>,
) -> Result<(), Failure> {
    let (source, late) = match made {
        // A kernel without this file system, a host that does not have it mounted.
        Err(Errno::NODEV | Errno::NOENT) if step.optional => return Ok(()),
        other => other.at_item(Stage::Mount, item)?,
    };
    let is_directory = is_directory(source.as_fd()).at_item(Stage::Mount, item)?;
    let target = match open_target(root, target, is_directory, step.create) {
        Err(Errno::NOENT) if step.optional => return Ok(()),
        other => other.at_item(Stage::MountTarget, item)?,
    };
    if let Source::FileSystem { copy_up: true, options, .. } = &step.source {
        let given = options.iter().any(|(key, _)| {
            [&b"mode"[..], b"uid", b"gid"].contains(&key.as_bytes()) // as in runc, it goes over the image's
        });
        super::copy_up::copy(target.as_fd(), source.as_fd(), given).at_item(Stage::Mount, item)?;
    }
    match attach(source.as_fd(), target.as_fd(), c"") {
        // The kernel says no more than that.
        Err(Errno::INVAL) => match (is_directory, self::is_directory(target.as_fd())) {
            (true, Ok(false)) => Err(Errno::NOTDIR).at_item(Stage::MountKind, item),
            (false, Ok(true)) => Err(Errno::ISDIR).at_item(Stage::MountKind, item),
            _ => Err(Errno::INVAL).at_item(Stage::Mount, item),
        },
        other => other.at_item(Stage::Mount, item),
    }?;
    if late {
        remount(source.as_fd(), step.attributes).at_item(Stage::Mount, item)?;
    }
    Ok(())
}

/// Sets attributes; `true` when the kernel lacks mount_setattr (before 5.12) and it must be done by
/// a remount once the mount is attached.
fn set_attributes(
    mount: BorrowedFd<'_>,
    attributes: Attributes,
    propagation: Option<Propagation>,
    recursive: bool,
) -> Result<bool, Errno> {
    match sys::mount::set_attributes(mount, attributes, propagation, recursive) {
        Err(Errno::NOSYS) => Ok(true),
        other => other.map(|()| false),
    }
}

/// The old way to make a bind mount read-only; the locked flags must be given again.
fn remount(mount: BorrowedFd<'_>, attributes: Attributes) -> Result<(), Errno> {
    use std::os::fd::AsRawFd;
    let name = format!("/proc/self/fd/{}", mount.as_raw_fd());
    let statistics = rustix::fs::fstatvfs(mount)?;
    let kept = MountFlags::from_bits_truncate(
        u32::try_from(statistics.f_flag.bits()).unwrap_or(0)
            & (MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC)
                .bits(),
    );
    let flag = |on: bool, flag: MountFlags| if on { flag } else { MountFlags::empty() };
    let flags = kept
        | flag(attributes.read_only, MountFlags::RDONLY)
        | flag(attributes.no_suid, MountFlags::NOSUID)
        | flag(attributes.no_dev, MountFlags::NODEV)
        | flag(attributes.no_exec, MountFlags::NOEXEC);
    rustix::mount::mount_remount(name, flags | MountFlags::BIND, c"")
}

/// A mount that lies nowhere yet.
fn source(source: &Source, attributes: Attributes) -> Result<OwnedFd, Errno> {
    match source {
        Source::Bind { path, recursive, device, .. } => {
            let depth =
                if *recursive { OpenTreeFlags::AT_RECURSIVE } else { OpenTreeFlags::empty() };
            let tree = rustix::mount::open_tree(CWD, path.as_c_str(), CLONE | depth)?;
            match device {
                Some(device) => check_device(tree, *device),
                None => Ok(tree),
            }
        }
        Source::Beneath { directory, path } => {
            let directory =
                rustix::fs::open(directory.as_c_str(), HANDLE | OFlags::DIRECTORY, Mode::empty())?;
            // What containers wrote into a volume decides nothing outside of it (CVE-2023-0778).
            let inside = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);
            let part =
                rustix::fs::openat2(&directory, path.as_c_str(), HANDLE, Mode::empty(), inside)?;
            let flags = CLONE | OpenTreeFlags::AT_EMPTY_PATH | OpenTreeFlags::AT_RECURSIVE;
            rustix::mount::open_tree(&part, c"", flags)
        }
        Source::Overlay { lowers, upper, work } => {
            match overlay(lowers, None, upper, work, false) {
                // As for the root: layers by descriptor are new in Linux 6.13.
                Err(failure) if failure.errno == Errno::INVAL => {
                    let point = upper.clone();
                    let step = RootStep { layers: Layers::Union, mount_point: point };
                    let mount = overlay_by_name(&step, lowers, upper, work, false)
                        .map_err(|failure| failure.errno)?;
                    rustix::mount::open_tree(&mount, c"", CLONE | OpenTreeFlags::AT_EMPTY_PATH)
                }
                other => other.map_err(|failure| failure.errno),
            }
        }
        // The descriptor stays the parent's; a copy of the mount lies here.
        Source::Detached(tree) => rustix::io::fcntl_dupfd_cloexec(tree, 3),
        Source::Cgroup => match is_cgroup2() {
            true => file_system(c"cgroup2", &[], attributes),
            // A version 1 tree would show the host's groups: an empty directory instead.
            false => file_system(c"tmpfs", &[], attributes),
        },
        other => match file_system_of(other) {
            Some((name, options)) => file_system(name, options, attributes),
            None => Err(Errno::INVAL),
        },
    }
}

/// What kind of file system a source is, and its options; `None` where that is not all of it.
fn file_system_of(source: &Source) -> Option<(&CStr, &[MountOption])> {
    match source {
        Source::Tmpfs { options } => Some((c"tmpfs", options)),
        Source::Proc => Some((c"proc", &[])),
        Source::Sysfs => Some((c"sysfs", &[])),
        Source::FileSystem { name, options, .. } => Some((name, options)),
        Source::Devpts { options } => Some((c"devpts", options)),
        Source::Mqueue => Some((c"mqueue", &[])),
        Source::Bind { .. }
        | Source::Beneath { .. }
        | Source::Overlay { .. }
        | Source::Detached(_)
        | Source::Cgroup => None,
    }
}

/// Whether a step's source is made of the same.
pub(super) fn is_of(step: &MountStep, made: &Likely) -> bool {
    let same = |(its, value): &MountOption, (key, other): &(&CStr, &CStr)| {
        **its == **key && value.as_deref() == Some(*other)
    };
    match (made, &step.source) {
        (Likely::Bind(place), Source::Bind { path, recursive: false, .. }) => **path == **place,
        (Likely::FileSystem { name, options: others, attributes }, source) => {
            file_system_of(source).is_some_and(|(its, options)| {
                its == *name
                    && flags_of(step.attributes).bits() == *attributes
                    && options.len() == others.len()
                    && options.iter().zip(*others).all(|(its, other)| same(its, other))
            })
        }
        (Likely::Bind(_), _) => false,
    }
}

/// A node bound as /dev/null must be the null device and not what someone put in its place
/// (CVE-2025-31133).
fn check_device(node: OwnedFd, device: u64) -> Result<OwnedFd, Errno> {
    let stat = rustix::fs::fstat(&node)?;
    let is_it = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && stat.st_rdev == device;
    if is_it { Ok(node) } else { Err(Errno::NODEV) }
}

fn is_cgroup2() -> bool {
    const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;
    rustix::fs::statfs(c"/sys/fs/cgroup").is_ok_and(|fs| fs.f_type == CGROUP2_SUPER_MAGIC)
}

fn tree_of_host(path: &CStr) -> Result<OwnedFd, Errno> {
    rustix::mount::open_tree(CWD, path, CLONE | OpenTreeFlags::AT_RECURSIVE)
}

fn file_system(
    name: &CStr,
    options: &[MountOption],
    attributes: Attributes,
) -> Result<OwnedFd, Errno> {
    use rustix::mount::{fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen};
    let is_long =
        |value: &CString| value.count_bytes() >= LONGEST_OPTION || value.as_bytes().contains(&b',');
    if options.iter().filter_map(|(_, value)| value.as_ref()).any(is_long) {
        return file_system_by_text(name, options, attributes);
    }
    let context = fsopen(name, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        match value {
            Some(value) => fsconfig_set_string(&context, key.as_c_str(), value.as_c_str())?,
            None => fsconfig_set_flag(&context, key.as_c_str())?,
        }
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags_of(attributes))
}

fn flags_of(attributes: Attributes) -> MountAttrFlags {
    let flag = |on: bool, flag: MountAttrFlags| if on { flag } else { MountAttrFlags::empty() };
    flag(attributes.read_only, MountAttrFlags::MOUNT_ATTR_RDONLY)
        | flag(attributes.no_suid, MountAttrFlags::MOUNT_ATTR_NOSUID)
        | flag(attributes.no_dev, MountAttrFlags::MOUNT_ATTR_NODEV)
        | flag(attributes.no_exec, MountAttrFlags::MOUNT_ATTR_NOEXEC)
        | flag(attributes.no_dir_atime, MountAttrFlags::MOUNT_ATTR_NODIRATIME)
        | match attributes.access_time {
            AccessTime::Unsaid | AccessTime::Relative => MountAttrFlags::MOUNT_ATTR_RELATIME,
            AccessTime::Never => MountAttrFlags::MOUNT_ATTR_NOATIME,
            AccessTime::Always => MountAttrFlags::MOUNT_ATTR_STRICTATIME,
        }
}

/// What fsconfig(2) takes as a value, in bytes (`FSCONFIG_SET_STRING`).
const LONGEST_OPTION: usize = 256;

/// The same by mount(2), which takes a page of options, several in one text too: made over /proc, which only
/// this namespace sees, and taken away from there.
fn file_system_by_text(
    name: &CStr,
    options: &[MountOption],
    attributes: Attributes,
) -> Result<OwnedFd, Errno> {
    let option = |(key, value): &MountOption| match value {
        Some(value) => [key.as_bytes(), b"=", value.as_bytes()].concat(),
        None => key.as_bytes().to_vec(),
    };
    let is_source = |(key, _): &&MountOption| key.as_bytes() == b"source";
    let source = options.iter().find(is_source).and_then(|(_, value)| value.as_deref());
    let others = options.iter().filter(|option| !is_source(option));
    let text = others.map(option).collect::<Vec<_>>().join(&b',');
    let text = CString::new(text).map_err(|_| Errno::INVAL)?;
    let place = c"/proc";
    let source = source.unwrap_or(name);
    rustix::mount::mount(source, place, name, MountFlags::empty(), Some(&*text))?;
    let mount = rustix::mount::open_tree(CWD, place, CLONE);
    rustix::mount::unmount(place, UnmountFlags::DETACH)?;
    let mount = mount?;
    match set_attributes(mount.as_fd(), attributes, None, false)? {
        true => Err(Errno::NOSYS),
        false => Ok(mount),
    }
}

fn attach(mount: BorrowedFd<'_>, directory: impl AsFd, path: &CStr) -> Result<(), Errno> {
    let mut flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    if path.is_empty() {
        flags |= MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    }
    rustix::mount::move_mount(mount, c"", directory, path, flags)
}

fn is_directory(file: BorrowedFd<'_>) -> Result<bool, Errno> {
    let stat = rustix::fs::fstat(file)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Opens a mount target beneath `root`; what is missing is made where `create` says so.
fn open_target(
    root: BorrowedFd<'_>,
    target: &Target,
    is_directory: bool,
    create: bool,
) -> Result<OwnedFd, Errno> {
    let whole = target.whole();
    match beneath(root, whole, OFlags::empty()) {
        Err(Errno::NOENT) if create => {}
        // A plain file or link where a directory of ours must be is replaced, never followed.
        Ok(found) if target.ours && is_directory != self::is_directory(found.as_fd())? => {
            rustix::fs::unlinkat(root, whole, AtFlags::empty())?;
        }
        other => return other,
    }
    make_parents(root, target)?;
    let (parent, name) = target.parent_and_name();
    let above = parent.map(|parent| beneath(root, parent, OFlags::DIRECTORY)).transpose()?;
    let parent = above.as_ref().map_or(root, AsFd::as_fd);
    match make_place(parent, name, is_directory) {
        // A link that leads nowhere is replaced, not followed: it could name a place that the image has no say in.
        Err(Errno::EXIST) if !is_directory => {
            rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
            make_place(parent, name, is_directory)
        }
        other => other,
    }?;
    beneath(root, whole, OFlags::empty())
}

/// Makes an empty directory or file to mount over, which must not be there.
fn make_place(parent: BorrowedFd<'_>, name: &CStr, is_directory: bool) -> Result<(), Errno> {
    if is_directory {
        return rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755));
    }
    rustix::fs::mknodat(parent, name, FileType::RegularFile, Mode::from_raw_mode(0o644), 0)
}

/// Makes the directories above `target`, each beneath `root`.
fn make_parents(root: BorrowedFd<'_>, target: &Target) -> Result<(), Errno> {
    for end in 1..target.depth() {
        let prefix = target.prefix(end);
        match beneath(root, prefix, OFlags::DIRECTORY) {
            Err(Errno::NOENT) => {}
            other => {
                other?;
                continue;
            }
        }
        let mode = Mode::from_raw_mode(0o755);
        if end == 1 {
            rustix::fs::mkdirat(root, prefix, mode)?;
        } else {
            let parent = beneath(root, target.prefix(end - 1), OFlags::DIRECTORY)?;
            rustix::fs::mkdirat(parent, target.name(end), mode)?;
        }
    }
    Ok(())
}

fn beneath(root: BorrowedFd<'_>, path: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    // A `..` is refused while anything is mounted or renamed on the whole machine (openat2(2),
    // EAGAIN): that passes.
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(root, path, HANDLE | flags, Mode::empty(), BENEATH) {
            Err(Errno::AGAIN) if tries < 1000 => tries += 1,
            other => return other,
        }
    }
}

/// Opens a file of the container's procfs and makes sure that it is one: an image could have put a
/// link or a directory of its own there (CVE-2019-16884).
fn open_in_proc(root: BorrowedFd<'_>, target: &Target, flags: OFlags) -> Result<OwnedFd, Errno> {
    const PROC_SUPER_MAGIC: i64 = 0x9fa0;
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat2(root, target.whole(), flags, Mode::empty(), BENEATH)?;
    let is_proc = rustix::fs::fstatfs(&file)?.f_type == PROC_SUPER_MAGIC;
    if is_proc { Ok(file) } else { Err(Errno::NODEV) }
}

/// Sets a kernel parameter of the container's namespaces: before /proc/sys becomes read-only.
pub(super) fn write_sysctl(
    root: BorrowedFd<'_>,
    target: &Target,
    value: &[u8],
) -> Result<(), Errno> {
    let file = open_in_proc(root, target, OFlags::WRONLY)?;
    rustix::io::write(&file, value).map(drop)
}

/// Makes a directory below the root, with its parents.
pub(super) fn make_directory(root: BorrowedFd<'_>, target: &Target) -> Result<OwnedFd, Errno> {
    if target.depth() == 0 {
        return rustix::io::fcntl_dupfd_cloexec(root, 0);
    }
    open_target(root, target, true, true)
}

/// What passwd(5) and group(5) may take to be added to, in bytes.
const ADD_LIMIT: i64 = 1 << 20;

/// Adds the lines of `text` to the end of a file of the root, but those that it has; the file is made
/// where the directory is there. It is the image's: a pipe or a device is not waited for, and no link
/// leads out (CVE-2024-9676).
pub(super) fn add_lines(root: BorrowedFd<'_>, target: &Target, text: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::APPEND | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mode = Mode::from_raw_mode(0o644);
    let flags = flags | OFlags::CLOEXEC;
    let file = match rustix::fs::openat2(root, target.whole(), flags, mode, BENEATH) {
        // No /etc, or something odd in its place: the container can do without names.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ISDIR | Errno::LOOP | Errno::NXIO) => {
            return Ok(());
        }
        other => other?,
    };
    let stat = rustix::fs::fstat(&file)?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if !is_file || stat.st_size > ADD_LIMIT {
        return Ok(());
    }
    let mut known = Vec::with_capacity(usize::try_from(stat.st_size).unwrap_or(0));
    let mut file = std::fs::File::from(file);
    let read = std::io::Read::read_to_end(&mut file, &mut known);
    let errno = |error: &std::io::Error| Errno::from_io_error(error).unwrap_or(Errno::IO);
    read.map_err(|error| errno(&error))?;
    let mut new = Vec::new();
    if known.last().is_some_and(|last| *last != b'\n') {
        new.push(b'\n');
    }
    let is_known = |line: &[u8]| known.split(|byte| *byte == b'\n').any(|other| other == line);
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let wanted = lines.filter(|line| !is_known(line.strip_suffix(b"\n").unwrap_or(line)));
    let before = new.len();
    wanted.for_each(|line| new.extend_from_slice(line));
    if new.len() == before {
        return Ok(());
    }
    std::io::Write::write_all(&mut file, &new).map_err(|error| errno(&error))
}

/// Makes a symbolic link below the root; one that is there stays.
pub(super) fn link(root: BorrowedFd<'_>, target: &Target, points_at: &CStr) -> Result<(), Errno> {
    let (parent, name) = target.parent_and_name();
    let made = match parent {
        Some(parent) => {
            rustix::fs::symlinkat(points_at, beneath(root, parent, OFlags::DIRECTORY)?, name)
        }
        None => rustix::fs::symlinkat(points_at, root, name),
    };
    match made {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// Binds the terminal over /dev/console, as docker does.
pub(super) fn bind_console(root: BorrowedFd<'_>, terminal: &OwnedFd) -> Result<(), Errno> {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mode = Mode::from_raw_mode(0o600);
    let console = rustix::fs::openat2(root, c"dev/console", flags, mode, BENEATH)?;
    let flags = CLONE | OpenTreeFlags::AT_EMPTY_PATH;
    let mount = rustix::mount::open_tree(terminal, c"", flags)?;
    attach(mount.as_fd(), console.as_fd(), c"")
}

/// What a directory is hidden behind.
fn empty_directory() -> Result<OwnedFd, Errno> {
    let attributes = Attributes {
        read_only: true,
        no_suid: true,
        no_dev: true,
        no_exec: true,
        ..Attributes::default()
    };
    file_system(c"tmpfs", &[], attributes)
}

/// Hides `paths`, each with its number: a directory behind an empty one, a file behind the null device.
pub(super) fn mask<'a>(
    root: BorrowedFd<'_>,
    paths: impl IntoIterator<Item = (usize, &'a Target)>,
    null: &MountStep,
) -> Result<(), Failure> {
    let mut empty: Option<OwnedFd> = None;
    for (item, path) in paths {
        let target = match beneath(root, path.whole(), OFlags::NOFOLLOW) {
            // What is not there, or the image made unreachable, cannot be read either.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP) => continue,
            other => other.at_item(Stage::Mask, item)?,
        };
        let cover = if !is_directory(target.as_fd()).at_item(Stage::Mask, item)? {
            source(&null.source, null.attributes)
        } else if let Some(empty) = &empty {
            let flags = CLONE | OpenTreeFlags::AT_EMPTY_PATH;
            rustix::mount::open_tree(empty, c"", flags)
        } else {
            empty_directory()
        };
        let cover = cover.at_item(Stage::Mask, item)?;
        attach(cover.as_fd(), target.as_fd(), c"").at_item(Stage::Mask, item)?;
        if empty.is_none() && is_directory(cover.as_fd()).at_item(Stage::Mask, item)? {
            // Cloned for the next directory: cheaper than another file system.
            empty = Some(cover);
        }
    }
    Ok(())
}

/// Makes `paths`, each with its number, read-only: bound over itself.
pub(super) fn make_read_only<'a>(
    root: BorrowedFd<'_>,
    paths: impl IntoIterator<Item = (usize, &'a Target)>,
) -> Result<(), Failure> {
    let read_only = Attributes { read_only: true, ..Attributes::default() };
    for (item, path) in paths {
        let target = match beneath(root, path.whole(), OFlags::NOFOLLOW) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP) => continue,
            other => other.at_item(Stage::ReadOnly, item)?,
        };
        let flags = CLONE | OpenTreeFlags::AT_EMPTY_PATH | OpenTreeFlags::AT_RECURSIVE;
        let tree = rustix::mount::open_tree(&target, c"", flags).at_item(Stage::ReadOnly, item)?;
        let late =
            set_attributes(tree.as_fd(), read_only, None, true).at_item(Stage::ReadOnly, item)?;
        attach(tree.as_fd(), target.as_fd(), c"").at_item(Stage::ReadOnly, item)?;
        if late {
            remount(tree.as_fd(), read_only).at_item(Stage::ReadOnly, item)?;
        }
    }
    Ok(())
}

/// Makes mounts read-only on which others were made meanwhile.
pub(super) fn seal(root: BorrowedFd<'_>, mounts: &[Target]) -> Result<(), Failure> {
    for (item, mount) in mounts.iter().enumerate() {
        let mount = beneath(root, mount.whole(), OFlags::NOFOLLOW);
        mount.and_then(|mount| seal_root(mount.as_fd())).at_item(Stage::Seal, item)?;
    }
    Ok(())
}

/// Makes the root itself read-only, not the mounts below it.
pub(super) fn seal_root(root: BorrowedFd<'_>) -> Result<(), Errno> {
    let read_only = Attributes { read_only: true, ..Attributes::default() };
    match set_attributes(root, read_only, None, false)? {
        true => remount(root, read_only),
        false => Ok(()),
    }
}

/// Sets how mount events pass below the root.
pub(super) fn propagate(root: BorrowedFd<'_>, propagation: Propagation) -> Result<(), Errno> {
    let unchanged = Attributes::default();
    sys::mount::set_attributes(root, unchanged, Some(propagation), true)
}

/// The way of an initramfs, which cannot be pivoted away: the root is moved over it.
pub(super) fn move_over(root: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::process::fchdir(root)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(root, c"", CWD, c"/", flags)?;
    rustix::process::chroot(c".")?;
    rustix::process::chdir(c"/")
}

/// Takes off what is mounted at a place below `root`.
fn uncover(root: BorrowedFd<'_>, target: &Target) -> Result<(), Errno> {
    let mount = beneath(root, target.whole(), OFlags::NOFOLLOW)?;
    rustix::process::fchdir(mount)?; // a name for it that nobody can change
    rustix::mount::unmount(c".", UnmountFlags::DETACH)
}

/// Makes the container's root the process's; host paths end here.
pub(super) fn pivot(root: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::process::fchdir(root)?;
    // The old root lands on top of the new one and is taken off again (pivot_root(2), NOTES).
    rustix::process::pivot_root(c".", c".")?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
    rustix::process::chdir(c"/")
}
