//! What the server may still do once it serves: move bytes between sockets that it makes itself.

use rustix::io::Errno;
use rustix::process::DumpableBehavior;
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::sys::seccomp;

/// Bytes, sockets, waiting. Nothing that takes a path, makes a process or a
/// descriptor of anything else.
const CALLS: &[libc::c_long] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_connect,
    // Two ends that nobody else has (`serve/questions`).
    libc::SYS_socketpair,
    libc::SYS_accept4,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_close,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_ppoll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_getrandom,
];

/// Gives up everything else, for good.
pub(super) fn confine() -> Result<(), Errno> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: none, permitted: none, inheritable: none },
    )?;
    rustix::thread::set_no_new_privs(true)?;
    seccomp::load(&seccomp::only(CALLS), 0)
}

#[cfg(test)]
mod tests {
    use rustix::fs::{Mode, OFlags};
    use rustix::net::{AddressFamily, SocketType};

    use super::*;
    use crate::sys::fork;

    #[test]
    fn a_confined_process_has_sockets_and_nothing_else() {
        let child = fork::in_child(|| {
            if confine().is_err() {
                return 100;
            }
            let socket = |family| rustix::net::socket(family, SocketType::STREAM, None).err();
            let open = rustix::fs::open(c"/etc/passwd", OFlags::RDONLY, Mode::empty()).err();
            let refused = [
                open,
                socket(AddressFamily::UNIX),
                socket(AddressFamily::NETLINK),
                rustix::pipe::pipe().err(),
                fork::in_child(|| 0).err().map(|error| error.errno),
            ];
            let made = socket(AddressFamily::INET).is_none();
            u8::from(!made)
                + refused.iter().map(|errno| u8::from(*errno != Some(Errno::PERM))).sum::<u8>() * 2
        });
        assert_eq!(child.expect("a child").wait(), Ok(0));
    }
}
