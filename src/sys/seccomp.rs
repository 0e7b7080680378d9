//! Loads a filter of system calls (seccomp(2)).
#![allow(unsafe_code)]

use rustix::io::Errno;

use super::CallError;
use bpf::{ARCHITECTURE, ARGUMENTS, JUMP_EQUAL, LOAD, NUMBER, RETURN};

/// One instruction of classic BPF, as linux/filter.h lays it out.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// How many instructions to skip where a comparison holds.
    pub jump_true: u8,
    /// How many to skip where it does not.
    pub jump_false: u8,
    /// The operand.
    pub operand: u32,
}

/// `SECCOMP_RET_USER_NOTIF`
pub const NOTIFY: u32 = 0x7fc0_0000;
/// `SECCOMP_RET_ALLOW`
pub const ALLOW: u32 = 0x7fff_0000;

/// What a filter's instructions are made of: classes, sizes, modes and operations of linux/bpf_common.h, and
/// what they are about.
pub mod bpf {
    /// Loads 32 bits of `struct seccomp_data` from an offset.
    pub const LOAD: u16 = 0x20;
    /// Clears the bits that are not in the operand.
    pub const AND: u16 = 0x54;
    /// Skips as many instructions as the operand says.
    pub const JUMP: u16 = 0x05;
    /// Compares: is it the operand?
    pub const JUMP_EQUAL: u16 = 0x15;
    /// Compares: is it more than the operand?
    pub const JUMP_GREATER: u16 = 0x25;
    /// Compares: is it the operand, or more?
    pub const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
    /// Ends with the operand for an answer.
    pub const RETURN: u16 = 0x06;

    /// Where a call's number is in `struct seccomp_data`.
    pub const NUMBER: u32 = 0;
    /// Where its architecture is.
    pub const ARCHITECTURE: u32 = 4;
    /// Where its arguments begin, 64 bits each.
    pub const ARGUMENTS: u32 = 16;

    /// So many instructions the kernel takes (`BPF_MAXINSNS`).
    pub const MOST: usize = 4096;
}

/// `AUDIT_ARCH_*` of this binary.
#[cfg(target_arch = "x86_64")]
pub const NATIVE: u32 = 0xc000_003e;
/// `AUDIT_ARCH_*` of this binary.
#[cfg(target_arch = "aarch64")]
pub const NATIVE: u32 = 0xc000_00b7;

/// Time, memory, threads, signals, the end: what every process that serves needs.
const ALWAYS: &[libc::c_long] = &[
    libc::SYS_clock_gettime,
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

/// A filter for a process of coracle's that serves: these calls, what every such process needs, and sockets
/// of IP; EPERM for all else. Another architecture's calls are the end of it.
pub fn only(calls: &[libc::c_long]) -> Vec<Instruction> {
    /// `SECCOMP_RET_KILL_PROCESS`, and an errno.
    const KILL: u32 = 0x8000_0000;
    const REFUSE: u32 = 0x0005_0000 | libc::EPERM as u32;
    let step = |code, operand| Instruction { code, jump_true: 0, jump_false: 0, operand };
    let branch = |operand, jump_true, jump_false| Instruction {
        jump_true,
        jump_false,
        ..step(JUMP_EQUAL, operand)
    };
    let number = |number: libc::c_long| u32::try_from(number).unwrap_or(u32::MAX);
    let mut program = vec![
        step(LOAD, ARCHITECTURE),
        branch(NATIVE, 1, 0),
        step(RETURN, KILL),
        step(LOAD, NUMBER),
        // socket(2) of the two families alone: no way to the host's local sockets or devices.
        branch(number(libc::SYS_socket), 0, 5),
        step(LOAD, ARGUMENTS),
        branch(libc::AF_INET.cast_unsigned(), 2, 0),
        branch(libc::AF_INET6.cast_unsigned(), 1, 0),
        step(RETURN, REFUSE),
        step(RETURN, ALLOW),
    ];
    for call in calls.iter().chain(ALWAYS) {
        program.push(branch(number(*call), 0, 1));
        program.push(step(RETURN, ALLOW));
    }
    program.push(step(RETURN, REFUSE));
    program
}

/// Filters every later system call of this thread and of all that it starts. Needs no_new_privs or
/// `CAP_SYS_ADMIN` in the user namespace. `flags` are `SECCOMP_FILTER_FLAG_*`.
pub fn load(program: &[Instruction], flags: u32) -> Result<(), Errno> {
    load_with(program, flags).map(|_| ())
}

/// Gives the call's value, which some flags make a descriptor.
pub(super) fn load_with(program: &[Instruction], flags: u32) -> Result<i32, Errno> {
    const SECCOMP_SET_MODE_FILTER: libc::c_uint = 1;
    #[repr(C)]
    struct Program {
        length: libc::c_ushort,
        instructions: *const Instruction,
    }
    let length = libc::c_ushort::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let program = Program { length, instructions: program.as_ptr() };
    // SAFETY: `program` has the layout of `struct sock_fprog`, its pointer and length are those of
    // a slice that outlives the call; the kernel copies and checks the instructions.
    let status = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            SECCOMP_SET_MODE_FILTER,
            flags,
            std::ptr::from_ref(&program),
        )
    };
    i32::try_from(status)
        .ok()
        .filter(|status| *status >= 0)
        .ok_or_else(|| CallError::last("seccomp").errno)
}
