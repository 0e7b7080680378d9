//! Network devices by ioctl(2) (netdevice(7)).
#![allow(unsafe_code)]

use std::os::fd::AsRawFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::CallError;

/// Brings `lo` of this network namespace up; 127.0.0.1 and ::1 come with it.
pub fn loopback_up() -> Result<(), Errno> {
    #[allow(clippy::cast_possible_truncation)] // 0x41
    const FLAGS: libc::c_short = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    let socket = rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: `ifreq` is plain old data; all zeroes is an empty name and no flags.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = (*from).cast_signed();
    }
    request.ifr_ifru.ifru_flags = FLAGS;
    // SAFETY: `request` is an initialised `ifreq` with a NUL-terminated name and outlives the call.
    let status = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if status == 0 { Ok(()) } else { Err(CallError::last("ioctl(SIOCSIFFLAGS)").errno) }
}
