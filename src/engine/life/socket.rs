//! The socket at which a monitor is found: `containers/ID/attach`.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::sys;

const NAME: &str = "attach";

fn open(directory: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(directory, flags, Mode::empty())
}

fn socket() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

/// Listens in a container's directory, in place of a monitor that is gone.
pub(super) fn listen(directory: &Path) -> Result<OwnedFd, Errno> {
    let directory = open(directory)?;
    match rustix::fs::unlinkat(&directory, NAME, rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let socket = socket()?;
    rustix::net::bind(&socket, &sys::socket::address_in(&directory, NAME)?)?;
    rustix::net::listen(&socket, 64)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

/// Connects to a container's monitor.
pub(super) fn connect(directory: &Path) -> Result<OwnedFd, Errno> {
    let directory = open(directory)?;
    let socket = socket()?;
    rustix::net::connect(&socket, &sys::socket::address_in(&directory, NAME)?)?;
    Ok(socket)
}

/// Both ends of a connection, for who starts a container and is attached from its first byte.
pub(super) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}
