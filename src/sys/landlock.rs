//! landlock(7), as far as rustix has none of it.
#![allow(unsafe_code)]

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

use super::CallError;

/// `struct landlock_ruleset_attr`
#[repr(C)]
struct RulesetAttr {
    handled_access_fs: u64,
    handled_access_net: u64,
    scoped: u64,
}

/// `LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET`, since Linux 6.12.
const SCOPE_ABSTRACT_UNIX_SOCKET: u64 = 1;

/// Keeps this process, and all that it starts, from the abstract sockets of every other. Sockets of
/// its own kin it reaches. `false` where the kernel cannot.
///
/// Takes CAP_SYS_ADMIN in the process's user namespace, or no_new_privs.
pub fn leave_abstract_sockets() -> Result<bool, Errno> {
    let attr = RulesetAttr {
        handled_access_fs: 0,
        handled_access_net: 0,
        scoped: SCOPE_ABSTRACT_UNIX_SOCKET,
    };
    // SAFETY: `attr` is a `struct landlock_ruleset_attr` of the size given and outlives the call.
    let made = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::from_ref(&attr),
            std::mem::size_of::<RulesetAttr>(),
            0,
        )
    };
    let Ok(made) = RawFd::try_from(made) else { return Err(Errno::BADF) };
    if made < 0 {
        return match CallError::last("landlock_create_ruleset").errno {
            // Not built in, not enabled, or older than this scope; an outer filter says PERM.
            Errno::NOSYS | Errno::OPNOTSUPP | Errno::TOOBIG | Errno::INVAL | Errno::PERM => {
                Ok(false)
            }
            errno => Err(errno),
        };
    }
    // SAFETY: the kernel just made the descriptor, and nothing else owns it.
    let ruleset = unsafe { OwnedFd::from_raw_fd(made) };
    // SAFETY: the call takes a descriptor and flags, and changes this process's credentials only.
    let status = unsafe {
        libc::syscall(
            libc::SYS_landlock_restrict_self,
            std::os::fd::AsRawFd::as_raw_fd(&ruleset),
            0,
        )
    };
    if status == 0 {
        return Ok(true);
    }
    match CallError::last("landlock_restrict_self").errno {
        // Sixteen are stacked already, so that the caller is shut in as well.
        Errno::TOOBIG => Ok(false),
        errno => Err(errno),
    }
}
