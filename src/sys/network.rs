//! Network devices by ioctl(2) (netdevice(7)).
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
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
    let mut request = request(c"lo");
    request.ifr_ifru.ifru_flags = FLAGS;
    // SAFETY: `request` is an initialised `ifreq` with a NUL-terminated name and outlives the call.
    let status = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if status == 0 { Ok(()) } else { Err(CallError::last("ioctl(SIOCSIFFLAGS)").errno) }
}

/// `TUNSETIFF`, `TUNSETOFFLOAD` of linux/if_tun.h, as `_IOW('T', N, int)` has them.
const TUN_SET_INTERFACE: libc::c_ulong = 0x4004_54ca;
const TUN_SET_OFFLOAD: libc::c_ulong = 0x4004_54d0;

/// Makes a tap of this name in the network namespace of the caller: frames with a virtio-net header
/// before them, whose checksums may be left out and whose TCP segments may be 64 KiB long
/// (Documentation/networking/tuntap.rst). Needs `CAP_NET_ADMIN` over the namespace.
pub fn open_tap(name: &std::ffi::CStr) -> Result<OwnedFd, Errno> {
    // TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6
    const OFFLOADS: libc::c_ulong = 0x01 | 0x02 | 0x04;
    #[allow(clippy::cast_possible_truncation)] // 0x5002
    const FLAGS: libc::c_short =
        (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as libc::c_short;
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let device = rustix::fs::open(c"/dev/net/tun", flags, Mode::empty())?;
    let mut request = request(name);
    request.ifr_ifru.ifru_flags = FLAGS;
    // SAFETY: `request` is an initialised `ifreq` with a NUL-terminated name; the kernel reads it and
    // writes the name back.
    let status =
        unsafe { libc::ioctl(device.as_raw_fd(), TUN_SET_INTERFACE as _, &raw mut request) };
    if status != 0 {
        return Err(CallError::last("ioctl(TUNSETIFF)").errno);
    }
    // SAFETY: this call takes flags by value.
    let status = unsafe { libc::ioctl(device.as_raw_fd(), TUN_SET_OFFLOAD as _, OFFLOADS) };
    if status == 0 { Ok(device) } else { Err(CallError::last("ioctl(TUNSETOFFLOAD)").errno) }
}

/// The number of a device of this network namespace.
pub fn index_of(name: &std::ffi::CStr) -> Result<u32, Errno> {
    // SAFETY: `name` is a NUL-terminated string.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(CallError::last("if_nametoindex").errno),
        index => Ok(index),
    }
}

fn request(name: &std::ffi::CStr) -> libc::ifreq {
    // SAFETY: `ifreq` is plain old data; all zeroes is an empty name and no flags.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let room = request.ifr_name.len() - 1; // a NUL stays behind it
    for (to, from) in request.ifr_name[..room].iter_mut().zip(name.to_bytes()) {
        *to = (*from).cast_signed();
    }
    request
}
