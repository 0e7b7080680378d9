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

/// Filters every later system call of this thread and of all that it starts. Needs no_new_privs or
/// `CAP_SYS_ADMIN` in the user namespace. `flags` are `SECCOMP_FILTER_FLAG_*`.
pub fn load(program: &[Instruction], flags: u32) -> Result<(), Errno> {
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
    if status == 0 { Ok(()) } else { Err(CallError::last("seccomp").errno) }
}
