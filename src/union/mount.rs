//! The container's side: the device opened and mounted in its own namespaces, and handed over.

use std::ffi::CString;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use super::Result;

/// The room that two descriptors take in a control message.
pub(super) const SPACE: usize = rustix::cmsg_space!(ScmRights(2));

/// The container's end: what its first process needs to have its root served.
#[derive(Debug)]
pub struct Entrance {
    pub(super) socket: OwnedFd,
}

impl Entrance {
    /// What it is met by.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Mounts the union, which lies nowhere yet. The server answers from then on; what is asked
    /// before waits for it, and fails if it is gone.
    pub fn mount(&self) -> Result<OwnedFd> {
        let device = open_device()?;
        let mount = mount(&device)?;
        // By name: a pidfd would need the power to trace a process that is not dumpable.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let user = rustix::fs::open(c"/proc/self/ns/user", flags, Mode::empty())?;
        let descriptors = [device.as_fd(), user.as_fd()];
        let mut space = [MaybeUninit::uninit(); SPACE];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        rustix::net::sendmsg(
            &self.socket,
            &[IoSlice::new(b"u")],
            &mut control,
            SendFlags::NOSIGNAL,
        )?;
        Ok(mount) // the device is closed here: only the server keeps the mount alive
    }
}

/// Opens the device, in the user namespace that it is to be mounted in: the kernel takes no other.
pub fn open_device() -> Result<OwnedFd> {
    rustix::fs::open(c"/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}

/// Mounts what the device's holder will serve; it lies nowhere yet.
pub fn mount(device: &OwnedFd) -> Result<OwnedFd> {
    let text = |number: String| CString::new(number).map_err(|_| Errno::INVAL);
    let context = fsopen(c"fuse", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, c"source", c"coracle")?;
    fsconfig_set_string(&context, c"subtype", c"coracle")?;
    fsconfig_set_string(&context, c"fd", &text(device.as_raw_fd().to_string())?)?;
    fsconfig_set_string(&context, c"rootmode", c"40000")?;
    // Anyone inside may come in, so that whose it is does not matter, but the id must be mapped.
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    fsconfig_set_string(&context, c"user_id", &text(uid.to_string())?)?;
    fsconfig_set_string(&context, c"group_id", &text(gid.to_string())?)?;
    fsconfig_set_flag(&context, c"allow_other")?;
    fsconfig_set_flag(&context, c"default_permissions")?;
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}
