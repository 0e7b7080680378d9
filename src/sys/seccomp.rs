//! Loads a filter of system calls (seccomp(2)).
#![allow(unsafe_code)]

use rustix::io::Errno;

use super::CallError;

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
