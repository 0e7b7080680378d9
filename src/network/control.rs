//! What a server is told while it serves: another network to be in, or one to leave.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};

use super::{LinkOptions, LinkPlan, messages};
use crate::sys;

/// A word to a server.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Word {
    /// With the device and where others will meet it.
    Join(LinkPlan),
    /// With a connection to somebody in the network.
    Meet(String),
    Leave(String),
    /// What the container is called in a network from now on.
    Call(String, Vec<String>),
}

/// What it answers when that is done.
pub(super) const DONE: &[u8] = b"done";
const SOCKET: &str = "network";

fn socket(flags: SocketFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | SocketFlags::CLOEXEC;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

fn open(directory: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(directory, flags, Mode::empty())
}

/// Listens by a name in a directory, in place of who had it.
pub(super) fn listen_at(directory: &Path, name: &str) -> Result<OwnedFd, Errno> {
    let directory = open(directory)?;
    match rustix::fs::unlinkat(&directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let socket = socket(SocketFlags::NONBLOCK)?;
    rustix::net::bind(&socket, &sys::socket::address_in(&directory, name)?)?;
    rustix::net::listen(&socket, 256)?;
    Ok(socket)
}

/// Connects to who listens by a name in a directory.
pub(super) fn connect_to(
    directory: &Path,
    name: &str,
    flags: SocketFlags,
) -> Result<OwnedFd, Errno> {
    let directory = open(directory)?;
    let socket = socket(flags)?;
    rustix::net::connect(&socket, &sys::socket::address_in(&directory, name)?)?;
    Ok(socket)
}

/// Where a container's server is told more, in the container's directory.
pub fn listen(directory: &Path) -> Result<OwnedFd, Errno> {
    listen_at(directory, SOCKET)
}

/// Tells the server of the container whose directory this is of a link; `tap` is the device.
pub fn join(directory: &Path, link: &LinkOptions, tap: &OwnedFd) -> Result<(), Errno> {
    let server = connect_to(directory, SOCKET, SocketFlags::empty())?;
    let membership = link.membership.as_ref();
    let mut descriptors = vec![tap.as_fd()];
    descriptors.extend(membership.map(|it| it.listener.as_fd()));
    tell(&server, &Word::Join(link.plan.clone()), &descriptors)?;
    for peer in membership.iter().flat_map(|it| &it.peers) {
        tell(&server, &Word::Meet(link.plan.network.clone()), &[peer.as_fd()])?;
    }
    Ok(())
}

/// Has the server of a container leave a network; the device goes with that.
pub fn leave(directory: &Path, network: &str) -> Result<(), Errno> {
    let server = connect_to(directory, SOCKET, SocketFlags::empty())?;
    tell(&server, &Word::Leave(network.to_owned()), &[])
}

/// Has the server of a container, and so others in a network, call it by these names.
pub fn rename(directory: &Path, network: &str, names: &[String]) -> Result<(), Errno> {
    let server = connect_to(directory, SOCKET, SocketFlags::empty())?;
    tell(&server, &Word::Call(network.to_owned(), names.to_vec()), &[])
}

fn tell(
    server: &OwnedFd,
    word: &Word,
    descriptors: &[std::os::fd::BorrowedFd<'_>],
) -> Result<(), Errno> {
    let bytes = serde_json::to_vec(word).map_err(|_| Errno::INVAL)?;
    messages::send(server, &bytes, descriptors)?;
    let mut room = [0; DONE.len()];
    let (length, _) = messages::receive(server, &mut room)?;
    if room[..length] == *DONE { Ok(()) } else { Err(Errno::CONNRESET) }
}
