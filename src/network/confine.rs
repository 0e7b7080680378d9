//! What the server may still do once it serves: move bytes between sockets that it makes itself.

use rustix::io::Errno;
use rustix::process::DumpableBehavior;
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::sys::seccomp::{self, ALLOW, Instruction};

// Classes, sizes, modes and operations of linux/bpf_common.h.
const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7;

/// `SECCOMP_RET_KILL_PROCESS`, and an errno.
const KILL: u32 = 0x8000_0000;
const REFUSE: u32 = 0x0005_0000 | libc::EPERM as u32;

/// Bytes, sockets, waiting, memory, the end. Nothing that takes a path, makes a process or a
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
    libc::SYS_accept4,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_close,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_clock_gettime,
    libc::SYS_getrandom,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_mprotect,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigprocmask,
    libc::SYS_restart_syscall,
    libc::SYS_sched_yield,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_tgkill,
    libc::SYS_exit,
    libc::SYS_exit_group,
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
    seccomp::load(&filter(), 0)
}

fn filter() -> Vec<Instruction> {
    let mut program = vec![
        step(LOAD, ARCHITECTURE),
        branch(NATIVE, 1, 0),
        step(RETURN, KILL),
        step(LOAD, NUMBER),
        // socket(2) of the two families alone: no way to the host's local sockets or devices.
        branch(call(libc::SYS_socket), 0, 5),
        step(LOAD, FIRST_ARGUMENT),
        branch(libc::AF_INET.cast_unsigned(), 2, 0),
        branch(libc::AF_INET6.cast_unsigned(), 1, 0),
        step(RETURN, REFUSE),
        step(RETURN, ALLOW),
    ];
    for number in CALLS {
        program.push(branch(call(*number), 0, 1));
        program.push(step(RETURN, ALLOW));
    }
    program.push(step(RETURN, REFUSE));
    program
}

fn call(number: libc::c_long) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn step(code: u16, operand: u32) -> Instruction {
    Instruction { code, jump_true: 0, jump_false: 0, operand }
}

fn branch(operand: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction { code: JUMP_EQUAL, jump_true, jump_false, operand }
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
