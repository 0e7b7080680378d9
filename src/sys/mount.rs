//! mount_setattr(2), which rustix does not have.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::mount::{AccessTime, Attributes, Propagation};

#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Sets `attributes` on the mount that `mount` is the root of, below it too where `recursive`, and
/// how it passes mount events on where that is given.
///
/// Adds only: a user namespace may not take locked flags away. Needs Linux 5.12.
pub fn set_attributes(
    mount: BorrowedFd<'_>,
    attributes: Attributes,
    propagation: Option<Propagation>,
    recursive: bool,
) -> Result<(), Errno> {
    const NOSYMFOLLOW: u64 = 0x0020_0000;
    let flag = |on: bool, bit: u64| if on { bit } else { 0 };
    // The three exclude each other, so that all are cleared before one is set.
    let access_time = match attributes.access_time {
        AccessTime::Unsaid => None,
        AccessTime::Relative => Some(libc::MOUNT_ATTR_RELATIME),
        AccessTime::Never => Some(libc::MOUNT_ATTR_NOATIME),
        AccessTime::Always => Some(libc::MOUNT_ATTR_STRICTATIME),
    };
    let attr = MountAttr {
        attr_set: flag(attributes.read_only, libc::MOUNT_ATTR_RDONLY)
            | flag(attributes.no_suid, libc::MOUNT_ATTR_NOSUID)
            | flag(attributes.no_dev, libc::MOUNT_ATTR_NODEV)
            | flag(attributes.no_exec, libc::MOUNT_ATTR_NOEXEC)
            | flag(attributes.no_symfollow, NOSYMFOLLOW)
            | flag(attributes.no_dir_atime, libc::MOUNT_ATTR_NODIRATIME)
            | access_time.unwrap_or(0),
        attr_clr: if access_time.is_some() { libc::MOUNT_ATTR__ATIME } else { 0 },
        propagation: match propagation {
            None => 0,
            Some(Propagation::Private) => libc::MS_PRIVATE,
            Some(Propagation::Slave) => libc::MS_SLAVE,
            Some(Propagation::Shared) => libc::MS_SHARED,
            Some(Propagation::Unbindable) => libc::MS_UNBINDABLE,
        },
        userns_fd: 0,
    };
    call(mount, &attr, recursive)
}

/// Has the files of a mount that is not attached yet owned by others: what the user namespace maps, as which
/// (`MOUNT_ATTR_IDMAP`, Linux 5.12).
///
/// `EPERM`: the file system is not of a user namespace that the caller is root of. `EINVAL`: it does not know
/// such mounts.
pub fn map_ids(
    mount: BorrowedFd<'_>,
    namespace: BorrowedFd<'_>,
    recursive: bool,
) -> Result<(), Errno> {
    let attr = MountAttr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::try_from(namespace.as_raw_fd()).map_err(|_| Errno::BADF)?,
    };
    call(mount, &attr, recursive)
}

fn call(mount: BorrowedFd<'_>, attr: &MountAttr, recursive: bool) -> Result<(), Errno> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string, `attr` is a `struct mount_attr` of the size given and
    // outlives the call.
    let status = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            std::mem::size_of::<MountAttr>(),
        )
    };
    if status == 0 { Ok(()) } else { Err(super::CallError::last("mount_setattr").errno) }
}
