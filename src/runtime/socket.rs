//! Hands a descriptor from one process to another (unix(7), `SCM_RIGHTS`).

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

/// The space that one descriptor takes in a control message.
const SPACE: usize = rustix::cmsg_space!(ScmRights(1));

/// A connected pair of sockets.
pub(super) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

/// Sends one descriptor.
pub(super) fn send_descriptor(socket: &OwnedFd, descriptor: &OwnedFd) -> Result<(), Errno> {
    send_with(socket, b"t", descriptor)
}

/// Sends bytes, and one descriptor with the first of them.
pub(super) fn send_with(socket: &OwnedFd, bytes: &[u8], descriptor: &OwnedFd) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [descriptor.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let flags = SendFlags::NOSIGNAL;
    let sent = rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags)?;
    // A blocking stream takes all but where a signal comes between.
    let mut rest = &bytes[sent..];
    while !rest.is_empty() {
        rest = &rest[rustix::net::send(socket, rest, flags)?..];
    }
    Ok(())
}

/// Receives one descriptor; `None` when the other side went without sending.
pub(super) fn receive_descriptor(socket: &OwnedFd) -> Result<Option<OwnedFd>, Errno> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let slices = &mut [IoSliceMut::new(&mut byte)];
    rustix::net::recvmsg(socket, slices, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    Ok(control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    }))
}
