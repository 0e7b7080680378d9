//! The machine, as far as a report about it goes.

use std::fs;
use std::path::Path;

use rustix::io::Errno;

/// The type of the file system that `path` lies on, by its number (statfs(2)).
pub(super) fn file_system(path: &Path) -> Result<String, Errno> {
    let number = u64::try_from(rustix::fs::statfs(path)?.f_type).unwrap_or_default();
    Ok(named(number & 0xffff_ffff).map_or_else(|| format!("{number:#x}"), str::to_owned))
}

fn named(number: u64) -> Option<&'static str> {
    Some(match number {
        0xef53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x2fc1_2fc1 => "zfs",
        0xca45_1a4e => "bcachefs",
        0xf2f5_2010 => "f2fs",
        0x0102_1994 => "tmpfs",
        0x8584_58f6 => "ramfs",
        0x794c_7630 => "overlay",
        0x6969 => "nfs",
        0xff53_4d42 | 0xfe53_4d42 => "cifs",
        0x6573_5546 => "fuse",
        0x0102_1997 => "9p",
        0x00c3_6400 => "ceph",
        0x0bd0_0bd0 => "lustre",
        0x4750_4653 => "gpfs",
        0xf15f => "ecryptfs",
        0x4d44 => "vfat",
        0x2011_bab0 => "exfat",
        _ => return None,
    })
}

/// File systems that cannot hold the upper directory of an overlay (Documentation/filesystems/
/// overlayfs.rst, "Upper and lower layers").
pub(super) fn holds_no_upper(name: &str) -> bool {
    ["overlay", "nfs", "cifs", "fuse", "9p", "ceph", "lustre", "gpfs", "ecryptfs", "vfat", "exfat"]
        .contains(&name)
}

/// All of the machine's memory, in bytes.
pub(super) fn memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    memory_total(&text)
}

/// The line `MemTotal:  16384 kB` of `/proc/meminfo`.
fn memory_total(text: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or_default() * 1024
}

/// Whether something is mounted below /proc: what an outer container hides there.
pub(super) fn proc_is_covered() -> bool {
    covered(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

/// The mounts of `proc_pid_mountinfo(5)`, the mount point being the fifth field.
fn covered(mountinfo: &str) -> bool {
    mountinfo
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .any(|point| point.starts_with("/proc/") && point != "/proc/sys/fs/binfmt_misc")
}

/// The kernel's release, as uname(2) has it.
pub(super) fn kernel() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// The first two numbers of a kernel's release.
pub(super) fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Whether the running kernel is older than `wanted`.
pub(super) fn older_than(release: &str, wanted: (u32, u32)) -> bool {
    version(release).is_some_and(|version| version < wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_proc_are_read() {
        assert_eq!(memory_total("MemFree: 1 kB\nMemTotal:       16 kB\n"), 16384);
        assert_eq!(memory_total(""), 0);
        assert!(covered("41 40 0:45 /kcore /proc/kcore rw - tmpfs tmpfs rw\n"));
        assert!(!covered(
            "41 40 0:45 / /proc rw - proc proc rw\n\
             42 41 0:46 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw\n"
        ));
    }

    #[test]
    fn releases_are_compared() {
        assert!(older_than("5.10.0-28-amd64", (5, 11)) && older_than("4.18.0", (5, 11)));
        assert!(!older_than("5.11", (5, 11)) && !older_than("6.1.0+", (5, 11)));
        assert!(!older_than("strange", (5, 11)));
    }
}
