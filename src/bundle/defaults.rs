//! What every container gets, as docker gives it (moby `oci/defaults.go`, runc's example spec).

use std::path::{Path, PathBuf};

use super::{Namespace, Namespaces, NsKind};
use crate::mount::{Attributes, Kind, Mount, Propagation};
use crate::sys::likely::Likely;

/// `PATH` where the image names none.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Docker's size of /dev/shm, in bytes.
pub(super) const SHM_SIZE: u64 = 64 << 20;

/// The device nodes of the runtime specification (runtime-spec, config-linux.md, "Default Devices").
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Paths that tell of the host or let it be changed: docker's, and what podman hides besides, the
/// host's disks and SELinux.
const MASKED: [&str; 14] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/dev/block",
    "/sys/firmware",
    "/sys/fs/selinux",
    "/sys/devices/virtual/powercap",
];

const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Links of /dev, and what they point at.
const LINKS: [(&str, &str); 6] = [
    ("/dev/ptmx", "pts/ptmx"),
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", "/proc/kcore"),
];

// MOUNT_ATTR_*, linux/mount.h
const NO_CHANGES: u32 = 0x1;
const NO_SUID: u32 = 0x2;
const NO_DEV: u32 = 0x4;
const NO_EXEC: u32 = 0x8;

/// Those of `mounts` that every container has unless it is told otherwise.
pub static LIKELY: [Likely; 12] = [
    Likely::FileSystem { name: c"proc", options: &[], attributes: NO_SUID | NO_DEV | NO_EXEC },
    Likely::FileSystem {
        name: c"tmpfs",
        options: &[(c"mode", c"755"), (c"size", c"65536")],
        attributes: NO_SUID | NO_EXEC,
    },
    Likely::FileSystem {
        name: c"devpts",
        options: &[(c"ptmxmode", c"0666"), (c"mode", c"0620")],
        attributes: NO_SUID | NO_EXEC,
    },
    Likely::FileSystem {
        name: c"tmpfs",
        options: &[(c"mode", c"1777"), (c"size", c"67108864")],
        attributes: NO_SUID | NO_DEV | NO_EXEC,
    },
    Likely::FileSystem { name: c"mqueue", options: &[], attributes: NO_SUID | NO_DEV | NO_EXEC },
    Likely::Bind(c"/dev/null"),
    Likely::Bind(c"/dev/zero"),
    Likely::Bind(c"/dev/full"),
    Likely::Bind(c"/dev/random"),
    Likely::Bind(c"/dev/urandom"),
    Likely::Bind(c"/dev/tty"),
    // That of a network namespace of its own.
    Likely::FileSystem {
        name: c"sysfs",
        options: &[],
        attributes: NO_CHANGES | NO_SUID | NO_DEV | NO_EXEC,
    },
];

pub(super) fn masked_paths() -> Vec<PathBuf> {
    MASKED.iter().map(PathBuf::from).collect()
}

pub(super) fn read_only_paths() -> Vec<PathBuf> {
    READ_ONLY.iter().map(PathBuf::from).collect()
}

pub(super) fn links() -> Vec<(PathBuf, PathBuf)> {
    LINKS.iter().map(|(link, target)| (PathBuf::from(link), PathBuf::from(target))).collect()
}

/// /proc, /dev and /sys, in the order in which they are mounted; no /dev/shm without its size.
pub(super) fn mounts(
    namespaces: &Namespaces,
    privileged: bool,
    shm_size: Option<u64>,
) -> Vec<Mount> {
    let strict = Attributes { no_suid: true, no_dev: true, no_exec: true, ..Attributes::default() };
    let quiet = Attributes { no_suid: true, no_exec: true, ..Attributes::default() };
    let mount = |target: &str, kind, attributes| Mount {
        target: PathBuf::from(target),
        kind,
        attributes,
        recursive_attributes: None,
    };
    // A procfs shows the processes of the pid namespace that its mounter has power over; of the
    // caller's own namespaces the caller's view is handed on. So it is with sysfs and the network.
    let own = |kind, made, caller: &str| match namespaces[kind] {
        Namespace::Host => tree(caller),
        Namespace::New | Namespace::Join(_) => made,
    };
    let mut mounts = vec![
        mount("/proc", own(NsKind::Pid, Kind::Proc, "/proc"), strict),
        mount("/dev", Kind::Tmpfs { size: Some(64 << 10), mode: 0o755 }, quiet),
    ];
    mounts.extend(devices());
    mounts.push(mount("/dev/pts", Kind::Devpts, quiet));
    let shm = shm_size.map(|size| Kind::Tmpfs { size: Some(size), mode: 0o1777 });
    if let Some(shm) = shm {
        mounts.push(mount("/dev/shm", own(NsKind::Ipc, shm, "/dev/shm"), strict));
    }
    mounts.push(mount("/dev/mqueue", own(NsKind::Ipc, Kind::Mqueue, "/dev/mqueue"), strict));
    let sys = own(NsKind::Network, Kind::Sysfs, "/sys");
    mounts.push(mount("/sys", sys, Attributes { read_only: !privileged, ..strict }));
    mounts.push(mount("/sys/fs/cgroup", Kind::Cgroup, Attributes { read_only: true, ..strict }));
    mounts
}

/// The device nodes that every container has.
pub(super) fn devices() -> impl Iterator<Item = Mount> {
    DEVICES.iter().map(|name| {
        let target = PathBuf::from(format!("/dev/{name}"));
        Mount {
            kind: Kind::Bind {
                source: target.clone(),
                recursive: false,
                propagation: Propagation::Private,
            },
            target,
            attributes: Attributes { no_suid: true, no_exec: true, ..Attributes::default() },
            recursive_attributes: None,
        }
    })
}

/// A tree of the host with all that is mounted in it.
fn tree(source: &str) -> Kind {
    Kind::Bind { source: PathBuf::from(source), recursive: true, propagation: Propagation::Private }
}

/// Whether a mount may lie there: what reads procfs must not be fooled (CVE-2019-16884). The short
/// list of files is runc's.
pub(super) fn may_mount_on(target: &Path) -> bool {
    const ALLOWED: [&str; 8] = [
        "/proc/cpuinfo",
        "/proc/diskstats",
        "/proc/meminfo",
        "/proc/stat",
        "/proc/swaps",
        "/proc/uptime",
        "/proc/loadavg",
        "/proc/slabinfo",
    ];
    !target.starts_with("/proc") || ALLOWED.iter().any(|path| target == Path::new(path))
}
