//! How the kernel schedules this process, and which interface it shows it.
#![allow(unsafe_code)]

use std::os::fd::AsRawFd;

use rustix::io::Errno;

use super::CallError;

/// `struct sched_attr`, first version (sched_setattr(2)).
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct SchedulerAttributes {
    /// Set by the call.
    pub size: u32,
    /// `SCHED_OTHER` and its kin.
    pub policy: u32,
    /// `SCHED_FLAG_RESET_ON_FORK` and its kin.
    pub flags: u64,
    /// For `SCHED_OTHER` and `SCHED_BATCH`.
    pub nice: i32,
    /// For `SCHED_FIFO` and `SCHED_RR`.
    pub priority: u32,
    /// For `SCHED_DEADLINE`, in nanoseconds.
    pub runtime: u64,
    /// For `SCHED_DEADLINE`, in nanoseconds.
    pub deadline: u64,
    /// For `SCHED_DEADLINE`, in nanoseconds.
    pub period: u64,
}

/// Sets the policy of this process (sched_setattr(2), Linux 3.14).
pub fn set_scheduler(mut attributes: SchedulerAttributes) -> Result<(), Errno> {
    attributes.size = 48; // SCHED_ATTR_SIZE_VER0
    // SAFETY: `attributes` has the layout and the size that it names, and outlives the call.
    let status = unsafe {
        libc::syscall(libc::SYS_sched_setattr, 0, std::ptr::from_ref(&attributes), 0_u32)
    };
    if status == 0 { Ok(()) } else { Err(CallError::last("sched_setattr").errno) }
}

/// Sets the class and priority of this process at block devices (ioprio_set(2)).
pub fn set_io_priority(priority: u16) -> Result<(), Errno> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    // SAFETY: the call takes numbers only.
    let status = unsafe {
        libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, libc::c_int::from(priority))
    };
    if status == 0 { Ok(()) } else { Err(CallError::last("ioprio_set").errno) }
}

/// Sets the interface that the kernel shows this process and its children (personality(2)).
pub fn set_personality(personality: u32) -> Result<(), Errno> {
    // SAFETY: the call takes a number only.
    let before = unsafe { libc::personality(libc::c_ulong::from(personality)) };
    if before == -1 { Err(CallError::last("personality").errno) } else { Ok(()) }
}

/// Goes into a new time namespace whose clocks are ahead as `offsets` says, in the form of
/// `/proc/PID/timens_offsets` (time_namespaces(7), Linux 5.6).
pub fn enter_time_namespace(offsets: &str) -> Result<(), Errno> {
    let errno = |error: &std::io::Error| Errno::from_io_error(error).unwrap_or(Errno::IO);
    // SAFETY: the flag changes what children see, nothing of this process's memory or descriptors.
    if unsafe { libc::unshare(libc::CLONE_NEWTIME) } != 0 {
        return Err(CallError::last("unshare").errno);
    }
    if !offsets.is_empty() {
        std::fs::write("/proc/self/timens_offsets", offsets).map_err(|error| errno(&error))?;
    }
    let namespace = std::fs::File::open("/proc/self/ns/time_for_children");
    let namespace = namespace.map_err(|error| errno(&error))?;
    // SAFETY: the descriptor is open for the call; this process has one thread.
    let status = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWTIME) };
    if status == 0 { Ok(()) } else { Err(CallError::last("setns").errno) }
}
