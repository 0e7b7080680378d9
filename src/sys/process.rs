//! What a process sets on itself just before it becomes another program.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal as NixSignal};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::CallError;

/// Lets this process have as many descriptors as may be; gives how many those are.
pub fn raise_descriptors() -> usize {
    use rustix::process::{Resource, Rlimit};
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let limit = match rustix::process::setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// Marks every descriptor from `first` up close-on-exec (close_range(2), Linux 5.11), so that none
/// leaks into the container (CVE-2024-21626).
pub fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    // SAFETY: the call changes flags of descriptors only.
    let status =
        unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if status == 0 { Ok(()) } else { Err(CallError::last("close_range").errno) }
}

/// Takes the mark off descriptors that the next program is to keep, by number. One that is not open is
/// an error.
pub fn keep_over_exec(numbers: &[u32]) -> Result<(), Errno> {
    for number in numbers {
        // SAFETY: fcntl(F_SETFD) changes the flags of any number, and fails where it is not open.
        let status = unsafe { libc::fcntl(number.cast_signed(), libc::F_SETFD, 0) };
        if status == -1 {
            return Err(CallError::last("fcntl").errno);
        }
    }
    Ok(())
}

/// Whether a descriptor of this number is open.
pub fn is_open(number: u32) -> bool {
    // SAFETY: fcntl(F_GETFD) reads the flags of any number, open or not.
    unsafe { libc::fcntl(number.cast_signed(), libc::F_GETFD) != -1 }
}

/// Closes every descriptor but these, whoever believes to hold one: for a process that ends without
/// ever returning to its callers (close_range(2), Linux 5.9).
pub fn close_all_but(kept: &mut [std::os::fd::RawFd]) -> Result<(), Errno> {
    kept.sort_unstable();
    let mut first: u32 = 0;
    for descriptor in kept.iter().map(|descriptor| descriptor.cast_unsigned()) {
        if first < descriptor {
            close_range(first, descriptor - 1)?;
        }
        first = descriptor + 1;
    }
    close_range(first, u32::MAX)
}

/// Gives this process, which shares its descriptors with another (`CLONE_FILES`), a table of its own.
pub fn own_descriptors() -> Result<(), Errno> {
    // SAFETY: what is open stays so, under the same numbers.
    let status = unsafe { libc::unshare(libc::CLONE_FILES) };
    if status == 0 { Ok(()) } else { Err(CallError::last("unshare").errno) }
}

/// Closes descriptors whose owners are in another process that shares this one's memory and has a
/// table of its own.
pub fn close_copies(numbers: &[std::os::fd::RawFd]) {
    for number in numbers {
        // SAFETY: nothing in this process owns the number; in the other's table it stays open.
        unsafe {
            libc::close(*number);
        }
    }
}

/// Lets go of all that a launching coracle holds (locks, pipes, streams) but of `kept`: for a process
/// that was forked to serve, as `close_all_but`.
pub fn hold_only(kept: &[&OwnedFd]) -> Result<(), Errno> {
    let null = leave_streams()?;
    let mut kept: Vec<i32> = kept.iter().map(|kept| kept.as_raw_fd()).collect();
    kept.extend([0, 1, 2]);
    close_all_but(&mut kept)?;
    std::mem::forget(null); // closed just now
    Ok(())
}

/// Puts /dev/null in the place of stdin, stdout and stderr, so that who reads them sees their end.
pub fn leave_streams() -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let null = rustix::fs::open(c"/dev/null", flags, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(null)
}

fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: descriptors are closed that others may own; `close_all_but` says who may do so.
    let status = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if status == 0 { Ok(()) } else { Err(CallError::last("close_range").errno) }
}

/// Gives every signal its default action and unblocks all.
pub fn reset_signals() {
    default_signals();
    unblock_signals();
}

/// Gives every signal its default action: exec keeps ignored signals ignored (signal(7)).
pub fn default_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL installs no code of ours; signals that cannot be changed answer EINVAL.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// Lets every signal through.
pub fn unblock_signals() {
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set it is given.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
    }
    // SAFETY: the set was initialised just above; the old mask is not asked for.
    unsafe {
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}

/// Puts /dev/null in the place of those of stdin, stdout and stderr that are closed: what is opened next
/// would be written to by whoever prints.
pub fn open_streams() -> Result<(), Errno> {
    while let Some(number) = (0..=2).find(|number| !is_open(*number)) {
        let null = rustix::fs::open(c"/dev/null", OFlags::RDWR, Mode::empty())?;
        if null.as_raw_fd().cast_unsigned() != number {
            return Err(Errno::BADF); // the lowest number that is free comes first (open(2))
        }
        std::mem::forget(null);
    }
    Ok(())
}

/// Has this process be killed when `parent` ends, which made it (prctl(2), `PR_SET_PDEATHSIG`).
///
/// # Errors
///
/// `ESRCH` where that has ended already, and nobody will do it.
pub fn die_with(parent: Pid) -> Result<(), Errno> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let has_it = rustix::process::getppid() == Some(parent);
    if has_it { Ok(()) } else { Err(Errno::SRCH) }
}

/// Restores SIGPIPE's default action, so that output into a closed pipe ends a command quietly.
pub fn default_sigpipe() {
    // SAFETY: SIG_DFL installs no code of ours.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}

/// While it lasts a pipe or socket that nobody reads is an error of a write to it by this thread (EPIPE), and
/// does not end the process.
#[derive(Debug)]
pub struct WithoutSigpipe {
    /// The signals that were blocked before.
    before: SigSet,
}

impl WithoutSigpipe {
    /// From now on. Threads that this one starts are like it, and stay so.
    pub fn begin() -> Self {
        let before = only_sigpipe().thread_swap_mask(SigmaskHow::SIG_BLOCK);
        Self { before: before.unwrap_or_else(|_| SigSet::empty()) }
    }
}

impl Drop for WithoutSigpipe {
    fn drop(&mut self) {
        if self.before.contains(NixSignal::SIGPIPE) {
            return;
        }
        let no_time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // What a write has left behind would be delivered at once.
        // SAFETY: the set and the time live until the call ends; nothing is asked of who sent it.
        unsafe {
            libc::sigtimedwait(only_sigpipe().as_ref(), std::ptr::null_mut(), &raw const no_time);
        }
        let _ = self.before.thread_set_mask();
    }
}

fn only_sigpipe() -> SigSet {
    let mut set = SigSet::empty();
    set.add(NixSignal::SIGPIPE);
    set
}

/// Joins a new, empty session keyring (keyctl(2)), so that the caller's keys stay outside.
///
/// A kernel or an outer filter without keyrings is no failure: then there is none to share.
pub fn leave_keyring() -> Result<(), Errno> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    let status = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            KEYCTL_JOIN_SESSION_KEYRING,
            std::ptr::null::<libc::c_char>(),
        )
    };
    match status {
        -1 => match CallError::last("keyctl").errno {
            Errno::NOSYS | Errno::PERM | Errno::ACCESS | Errno::DQUOT => Ok(()),
            errno => Err(errno),
        },
        _ => Ok(()),
    }
}

/// Sends `signal`, by number, so that real-time signals can be sent too.
pub fn kill(pid: rustix::process::Pid, signal: i32) -> Result<(), Errno> {
    // SAFETY: kill(2) takes any pid and number.
    let status = unsafe { libc::kill(pid.as_raw_nonzero().get(), signal) };
    if status == 0 { Ok(()) } else { Err(CallError::last("kill").errno) }
}

/// Sends `signal`, by number, to the very process that a pidfd stands for (pidfd_send_signal(2)).
pub fn kill_held(pidfd: impl std::os::fd::AsFd, signal: i32) -> Result<(), Errno> {
    use std::os::fd::AsRawFd;
    let pidfd = pidfd.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open for as long as it is borrowed; no details are passed.
    let status = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd,
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if status == 0 { Ok(()) } else { Err(CallError::last("pidfd_send_signal").errno) }
}

/// Closes what this process has inherited beyond stdin, stdout and stderr: every descriptor that is
/// not close-on-exec, since coracle makes none such. For a process that outlives its caller.
pub fn close_inherited() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let numbers: Vec<libc::c_int> = numbers.filter(|number| *number > 2).collect();
    for number in numbers {
        // SAFETY: fcntl(F_GETFD) reads flags of any number, open or not.
        let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
        if flags != -1 && flags & libc::FD_CLOEXEC == 0 {
            // SAFETY: nobody in this process owns it: it was open before main.
            unsafe {
                libc::close(number);
            }
        }
    }
}

/// The highest signal number of this system (signal(7), "Real-time signals").
pub fn last_signal() -> i32 {
    libc::SIGRTMAX()
}

/// Sets a resource limit of this process (setrlimit(2)); `u64::MAX` is unlimited.
///
/// By number, because `RLIMIT_LOCKS`, `RLIMIT_RSS` and `RLIMIT_RTTIME` have no safe wrapper.
pub fn set_limit(resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `limit` outlives the call; the old limit is not asked for.
    let status = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource,
            std::ptr::from_ref(&limit),
            std::ptr::null_mut::<libc::rlimit64>(),
        )
    };
    if status == 0 { Ok(()) } else { Err(CallError::last("prlimit64").errno) }
}

/// What capget(2) and capset(2) are called with behind their two arguments, which the kernel does not look at and
/// a filter does: those of a start are not asked about.
pub const UNASKED: u32 = 0x636f_7261;

/// `_LINUX_CAPABILITY_VERSION_3`, and this thread.
const CAPABILITIES: [u32; 2] = [0x2008_0522, 0];

/// The permitted capabilities of this thread.
pub fn permitted() -> Result<u64, Errno> {
    let (mut header, mut data) = (CAPABILITIES, [0_u32; 6]);
    // SAFETY: both outlive the call, and have the size of the version's structures.
    let status =
        unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), data.as_mut_ptr(), UNASKED) };
    let [_, low, _, _, high, _] = data.map(u64::from);
    if status == 0 { Ok(low | high << 32) } else { Err(CallError::last("capget").errno) }
}

/// Sets the capabilities of this thread.
pub fn set_capabilities(effective: u64, permitted: u64, inheritable: u64) -> Result<(), Errno> {
    let mut header = CAPABILITIES;
    let all = [0, 32].map(|shift| {
        [effective, permitted, inheritable]
            .map(|set| u32::try_from(set >> shift & 0xffff_ffff).unwrap_or_default())
    });
    // SAFETY: both outlive the call, and have the size of the version's structures.
    let status =
        unsafe { libc::syscall(libc::SYS_capset, header.as_mut_ptr(), all.as_ptr(), UNASKED) };
    if status == 0 { Ok(()) } else { Err(CallError::last("capset").errno) }
}

/// Blocks every signal that can be blocked; `reset_signals` undoes it in a child.
pub fn block_signals() {
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset initialises the set it is given.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
    }
    // SAFETY: the set was initialised just above; the old mask is not asked for.
    unsafe {
        libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), std::ptr::null_mut());
    }
}

/// Does `work` with all signals blocked, so that a thread which it starts never takes one.
pub fn with_signals_blocked<T>(work: impl FnOnce() -> T) -> T {
    use nix::sys::signal::{SigSet, SigmaskHow};
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let done = work();
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
    done
}

/// Waits for any signal and takes it (sigwaitinfo(2)); all must be blocked before.
pub fn wait_signal() -> i32 {
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset initialises the set it is given.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
    }
    // SAFETY: the set was initialised just above; no details are asked for.
    unsafe { libc::sigwaitinfo(all.as_ptr(), std::ptr::null_mut()) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sys::fork;

    #[test]
    fn who_is_left_behind_is_told_so() {
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        let own = rustix::process::getpid();
        let with_parent = fork::in_child(|| u8::from(die_with(own).is_err())).expect("a child");
        assert_eq!(with_parent.wait(), Ok(0));
        let middle = fork::in_child(|| {
            let parent = rustix::process::getpid();
            let orphan = fork::in_child(|| {
                while rustix::process::getppid() == Some(parent) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                let told = die_with(parent) == Err(Errno::SRCH);
                u8::from(rustix::io::write(&writer, &[u8::from(told)]).is_err())
            });
            u8::from(orphan.is_err())
        });
        assert_eq!(middle.expect("a child").wait(), Ok(0));
        let mut told = [0];
        assert_eq!((rustix::io::read(&reader, &mut told), told), (Ok(1), [1]));
    }

    /// Writes to a pipe that nobody reads, in a process of its own; whether it lives on.
    fn outlives(write: impl FnOnce(&OwnedFd) -> bool) -> bool {
        let child = fork::in_child(|| {
            default_sigpipe();
            let Ok((reader, writer)) = rustix::pipe::pipe() else { return 2 };
            drop(reader);
            u8::from(!write(&writer))
        });
        let child = child.expect("a child");
        let ended = rustix::process::waitid(
            rustix::process::WaitId::PidFd(std::os::fd::AsFd::as_fd(&child.pidfd)),
            rustix::process::WaitIdOptions::EXITED,
        );
        std::mem::forget(child);
        ended.ok().flatten().and_then(|status| status.exit_status()) == Some(0)
    }

    #[test]
    fn a_write_that_nobody_reads_is_an_error() {
        let is_error = |writer: &OwnedFd| rustix::io::write(writer, b"x") == Err(Errno::PIPE);
        assert!(!outlives(is_error));
        assert!(outlives(|writer| {
            let errors = WithoutSigpipe::begin();
            let (first, second) = (is_error(writer), is_error(writer));
            let elsewhere = std::thread::scope(|scope| {
                scope.spawn(|| is_error(writer)).join().unwrap_or_default()
            });
            drop(errors);
            std::thread::sleep(Duration::from_millis(1));
            first && second && elsewhere
        }));
        assert!(!outlives(|writer| {
            drop(WithoutSigpipe::begin());
            is_error(writer)
        }));
    }
}
