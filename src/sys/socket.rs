//! Sockets of others: taken from their processes, their options as they are, and kept to a device.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::SocketAddrUnix;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};

use super::CallError;

/// The address of a socket in a directory: that is named by its descriptor, as an address has room for 107 bytes
/// (unix(7)).
pub fn address_in(
    directory: &impl AsRawFd,
    name: impl AsRef<std::path::Path>,
) -> Result<SocketAddrUnix, Errno> {
    let directory = std::path::PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    SocketAddrUnix::new(directory.join(name))
}

/// A name for a thread that no other gets when it has ended (pidfd_open(2)).
pub fn name_thread(thread: u32) -> Result<OwnedFd, Errno> {
    // PIDFD_THREAD of 6.9: without it only the first thread of a process can be named.
    const THREAD: PidfdFlags = PidfdFlags::from_bits_retain(libc::O_EXCL.cast_unsigned());
    let pid = i32::try_from(thread).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    match rustix::process::pidfd_open(pid, THREAD) {
        Err(Errno::INVAL) => rustix::process::pidfd_open(pid, PidfdFlags::empty()),
        other => other,
    }
}

/// A copy of a descriptor of a thread's (pidfd_getfd(2)). Needs the power to trace it.
pub fn take(thread: BorrowedFd<'_>, number: i32) -> Result<OwnedFd, Errno> {
    if number < 0 {
        return Err(Errno::BADF);
    }
    rustix::process::pidfd_getfd(thread, number, PidfdGetfdFlags::empty())
}

/// An option of a socket as the kernel gives it (getsockopt(2)), which may be cut off at the end of
/// `room`; its length.
pub fn option(
    socket: BorrowedFd<'_>,
    level: i32,
    name: i32,
    room: &mut [u8],
) -> Result<usize, Errno> {
    // Of the one the length counts instructions, the other takes addresses to write to.
    if matches!(
        (level, name),
        (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER)
            | (libc::IPPROTO_TCP, libc::TCP_ZEROCOPY_RECEIVE)
    ) {
        return Err(Errno::INVAL);
    }
    let mut length = libc::socklen_t::try_from(room.len()).map_err(|_| Errno::INVAL)?;
    // SAFETY: the kernel writes at most `length` bytes to `room`, which nothing else borrows, and the
    // length that it wrote to `length`.
    let status = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, name, room.as_mut_ptr().cast(), &raw mut length)
    };
    if status != 0 {
        return Err(CallError::last("getsockopt").errno);
    }
    Ok(usize::try_from(length).unwrap_or(0).min(room.len()))
}

/// An option that is a number.
pub fn number(socket: BorrowedFd<'_>, level: i32, name: i32) -> Result<i32, Errno> {
    let mut room = [0; 4];
    option(socket, level, name, &mut room)?;
    Ok(i32::from_ne_bytes(room))
}

/// Sets an option of a socket (setsockopt(2)).
pub fn set_option(
    socket: BorrowedFd<'_>,
    level: i32,
    name: i32,
    value: &[u8],
) -> Result<(), Errno> {
    let length = libc::socklen_t::try_from(value.len()).map_err(|_| Errno::INVAL)?;
    // SAFETY: pointer and length are a slice's; the kernel copies and checks what is there.
    let status =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value.as_ptr().cast(), length) };
    if status == 0 { Ok(()) } else { Err(CallError::last("setsockopt").errno) }
}

/// Whether a program filters what comes in at a socket.
pub fn is_filtered(socket: BorrowedFd<'_>) -> bool {
    let mut length = 0;
    // SAFETY: with a length of 0 the kernel writes nothing but the number of instructions, to
    // `length`, which outlives the call.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER, // SO_GET_FILTER
            std::ptr::null_mut(),
            &raw mut length,
        )
    };
    status != 0 || length != 0
}

/// Which network namespace a socket is of (`SO_NETNS_COOKIE`, Linux 5.14).
pub fn namespace(socket: BorrowedFd<'_>) -> Result<u64, Errno> {
    const NETNS_COOKIE: i32 = 71;
    let mut room = [0; 8];
    option(socket, libc::SOL_SOCKET, NETNS_COOKIE, &mut room)?;
    Ok(u64::from_ne_bytes(room))
}

/// Has all that a socket sends and receives pass one device of its network namespace, for good: who
/// has no `CAP_NET_RAW` there cannot take it back (socket(7), `SO_BINDTODEVICE`; Linux 5.7).
pub fn bind_to_device(socket: BorrowedFd<'_>, index: u32) -> Result<(), Errno> {
    const BIND_TO_INDEX: i32 = 62;
    set_option(socket, libc::SOL_SOCKET, BIND_TO_INDEX, &index.to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::net::{AddressFamily, SocketType};

    use super::*;

    #[test]
    fn options_are_read_into_what_room_there_is() {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None);
        let socket = socket.expect("a socket");
        let fd = socket.as_fd();
        assert_eq!(number(fd, libc::SOL_SOCKET, libc::SO_TYPE), Ok(libc::SOCK_STREAM));
        let mut state = [0];
        assert_eq!(option(fd, libc::IPPROTO_TCP, libc::TCP_INFO, &mut state), Ok(1));
        let filter = option(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &mut [0; 64]);
        assert_eq!(filter, Err(Errno::INVAL), "its length counts something else");
        assert!(!is_filtered(fd));
        assert!(namespace(fd).is_ok_and(|cookie| cookie != 0));
    }

    #[test]
    fn a_descriptor_is_taken_from_its_process() {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None);
        let socket = socket.expect("a socket");
        let own = name_thread(std::process::id()).expect("a thread");
        let taken = take(own.as_fd(), socket.as_raw_fd()).expect("a descriptor");
        let inode = |it: &OwnedFd| rustix::fs::fstat(it).expect("a socket").st_ino;
        assert_eq!(inode(&taken), inode(&socket));
        assert_eq!(take(own.as_fd(), -1).err(), Some(Errno::BADF));
    }
}
