//! A seccomp listener, and the memory, limits and files of who waits at it (seccomp_unotify(2)).
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::CallError;
use super::seccomp::Instruction;

/// `struct seccomp_notif`: a call that waits for an answer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Notification {
    /// What the answer is addressed to.
    pub id: u64,
    /// The thread, in the pid namespace of who receives; 0 where it has none there.
    pub thread: u32,
    /// None are known yet.
    pub flags: u32,
    /// The call's number.
    pub number: i32,
    /// `AUDIT_ARCH_*`
    pub architecture: u32,
    /// Where the caller stands.
    pub instruction: u64,
    /// The arguments as they stood in the registers.
    pub arguments: [u64; 6],
}

/// `struct seccomp_notif_resp`
#[repr(C)]
struct Response {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

/// `struct seccomp_notif_addfd`
#[repr(C)]
struct AddDescriptor {
    id: u64,
    flags: u32,
    source: u32,
    target: u32,
    target_flags: u32,
}

/// What the kernel does with a call that was notified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Carries it out as if nothing had been asked.
    Continue,
    /// Returns this.
    Value(i64),
    /// Fails.
    Error(Errno),
}

/// Where the calls of a filter arrive.
#[derive(Debug)]
pub struct Listener(OwnedFd);

// `_IOWR('!', …)` of linux/seccomp.h, alike on x86_64 and aarch64.
const RECEIVE: u32 = 0xc050_2100;
const SEND: u32 = 0xc018_2101;
const IS_VALID: u32 = 0x4008_2102;
const ADD_DESCRIPTOR: u32 = 0x4018_2103;
const SET_FLAGS: u32 = 0x4008_2104;

/// Filters every later call of this process; those that the program answers with
/// `SECCOMP_RET_USER_NOTIF` arrive at the listener that is returned.
///
/// Needs `CAP_SYS_ADMIN` in the user namespace or no_new_privs. `EBUSY`: an outer filter has a
/// listener already, and there can be one only.
pub fn install(program: &[Instruction]) -> Result<OwnedFd, Errno> {
    // Linux 5.19: once received, a call waits for its answer whatever signal comes.
    const WAIT_KILLABLE_RECV: u32 = 1 << 5;
    match listen(program, WAIT_KILLABLE_RECV) {
        Err(Errno::INVAL) => listen(program, 0),
        other => other,
    }
}

/// The same with `SECCOMP_FILTER_FLAG_*` of the caller's.
pub fn listen(program: &[Instruction], flags: u32) -> Result<OwnedFd, Errno> {
    const NEW_LISTENER: u32 = 1 << 3;
    let number = super::seccomp::load_with(program, flags | NEW_LISTENER)?;
    // SAFETY: with NEW_LISTENER the call's value is a descriptor that the kernel made for us.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Whether this kernel can notify at all (`SECCOMP_GET_ACTION_AVAIL`).
pub fn is_available() -> bool {
    const GET_ACTION_AVAIL: libc::c_uint = 2;
    let action = super::seccomp::NOTIFY;
    // SAFETY: the kernel reads one u32, which outlives the call.
    let status = unsafe {
        libc::syscall(libc::SYS_seccomp, GET_ACTION_AVAIL, 0, std::ptr::from_ref(&action))
    };
    status == 0
}

impl AsRef<OwnedFd> for Listener {
    fn as_ref(&self) -> &OwnedFd {
        &self.0
    }
}

impl Listener {
    /// Takes the listener over; wakes who waits on the same CPU where the kernel can (6.6).
    pub fn new(descriptor: OwnedFd) -> Self {
        const SYNC_WAKE_UP: u64 = 1;
        // SAFETY: the argument is a plain number; a kernel that does not know it answers EINVAL.
        unsafe {
            libc::syscall(libc::SYS_ioctl, descriptor.as_raw_fd(), SET_FLAGS, SYNC_WAKE_UP);
        }
        Self(descriptor)
    }

    /// Waits for the next call. `ENOENT`: the caller died meanwhile, or (6.11) all are gone.
    pub fn receive(&self) -> Result<Notification, Errno> {
        // The kernel insists on zeroes.
        let mut notification = Notification::default();
        self.ioctl(RECEIVE, std::ptr::from_mut(&mut notification).cast())?;
        Ok(notification)
    }

    /// Answers a call. `ENOENT`: its caller is gone.
    pub fn answer(&self, id: u64, answer: Answer) -> Result<(), Errno> {
        const CONTINUE: u32 = 1;
        let (value, error, flags) = match answer {
            Answer::Continue => (0, 0, CONTINUE),
            Answer::Value(value) => (value, 0, 0),
            Answer::Error(errno) => (0, -errno.raw_os_error(), 0),
        };
        let mut response = Response { id, value, error, flags };
        self.ioctl(SEND, std::ptr::from_mut(&mut response).cast())
    }

    /// Whether the caller still waits, so that its pid is still its own.
    pub fn is_waiting(&self, id: u64) -> bool {
        let mut id = id;
        self.ioctl(IS_VALID, std::ptr::from_mut(&mut id).cast()).is_ok()
    }

    /// Answers a call with a descriptor: a copy of `source` among the caller's own. Linux 5.14.
    pub fn answer_with(
        &self,
        id: u64,
        source: BorrowedFd<'_>,
        close_on_exec: bool,
    ) -> Result<(), Errno> {
        const SEND_TOO: u32 = 1 << 1;
        self.add(id, source, SEND_TOO, 0, close_on_exec)
    }

    /// Puts a copy of `source` in the place of one of the caller's own descriptors, whose call waits
    /// on. Linux 5.9.
    pub fn replace(
        &self,
        id: u64,
        source: BorrowedFd<'_>,
        number: u32,
        close_on_exec: bool,
    ) -> Result<(), Errno> {
        const AT_NUMBER: u32 = 1 << 0;
        self.add(id, source, AT_NUMBER, number, close_on_exec)
    }

    fn add(
        &self,
        id: u64,
        source: BorrowedFd<'_>,
        flags: u32,
        target: u32,
        close_on_exec: bool,
    ) -> Result<(), Errno> {
        let mut add = AddDescriptor {
            id,
            flags,
            source: source.as_raw_fd().cast_unsigned(),
            target,
            target_flags: if close_on_exec { libc::O_CLOEXEC.cast_unsigned() } else { 0 },
        };
        self.ioctl(ADD_DESCRIPTOR, std::ptr::from_mut(&mut add).cast())
    }

    /// Whether every filtered process is gone, where `receive` itself cannot tell.
    pub fn has_hung_up(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut polled = [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut polled, Some(&now)).is_ok() && polled[0].revents().contains(PollFlags::HUP)
    }

    fn ioctl(&self, request: u32, argument: *mut libc::c_void) -> Result<(), Errno> {
        // SAFETY: every caller passes the structure that `request` names, alive for the call.
        let status =
            unsafe { libc::syscall(libc::SYS_ioctl, self.0.as_raw_fd(), request, argument) };
        if status < 0 { Err(CallError::last("ioctl").errno) } else { Ok(()) }
    }
}

/// Reads from another process's memory; the bytes before the first that cannot be read.
pub fn read_memory(thread: u32, address: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: buffer.len() };
    // SAFETY: `local` is a buffer of ours that nothing else borrows; the kernel checks `remote`.
    let count = unsafe {
        libc::syscall(
            libc::SYS_process_vm_readv,
            thread,
            std::ptr::from_ref(&local),
            1_usize,
            std::ptr::from_ref(&remote),
            1_usize,
            0_usize, // a whole register: it is passed on the stack, whose upper half is not ours
        )
    };
    usize::try_from(count).map_err(|_| CallError::last("process_vm_readv").errno)
}

/// Reads a C string from another process's memory; its length, and the NUL is in the buffer.
pub fn read_string(thread: u32, address: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
    // Most paths are short; and no read may cross into a page that is not there.
    const PAGE: u64 = 4096;
    const CHUNK: u64 = 256;
    let mut length = 0;
    while length < buffer.len() {
        let from = address.checked_add(length as u64).ok_or(Errno::FAULT)?;
        let step = CHUNK.min(PAGE - from % PAGE);
        let step = usize::try_from(step).unwrap_or(1).min(buffer.len() - length);
        let chunk = &mut buffer[length..length + step];
        let count = read_memory(thread, from, chunk)?;
        if let Some(end) = chunk[..count].iter().position(|byte| *byte == 0) {
            return Ok(length + end);
        }
        if count < step {
            return Err(Errno::FAULT);
        }
        length += step;
    }
    Err(Errno::NAMETOOLONG)
}

/// Writes to another process's memory, all or an error.
pub fn write_memory(thread: u32, address: u64, bytes: &[u8]) -> Result<(), Errno> {
    let local = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: bytes.len() };
    // SAFETY: `local` is only read from; the kernel checks `remote` against the other process.
    let count = unsafe {
        libc::syscall(
            libc::SYS_process_vm_writev,
            thread,
            std::ptr::from_ref(&local),
            1_usize,
            std::ptr::from_ref(&remote),
            1_usize,
            0_usize, // a whole register: it is passed on the stack, whose upper half is not ours
        )
    };
    match usize::try_from(count) {
        Ok(count) if count == bytes.len() => Ok(()),
        Ok(_) => Err(Errno::FAULT),
        Err(_) => Err(CallError::last("process_vm_writev").errno),
    }
}

/// Soft and hard value of another process's resource limit.
pub fn limit(thread: u32, resource: u32) -> Result<(u64, u64), Errno> {
    let mut old = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    prlimit(thread, resource, None, Some(&mut old))?;
    Ok((old.rlim_cur, old.rlim_max))
}

/// Sets another process's resource limit.
pub fn set_limit(thread: u32, resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let new = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    prlimit(thread, resource, Some(&new), None)
}

fn prlimit(
    thread: u32,
    resource: u32,
    new: Option<&libc::rlimit64>,
    old: Option<&mut libc::rlimit64>,
) -> Result<(), Errno> {
    // SAFETY: both are null or point to a structure that outlives the call.
    let status = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            thread,
            resource,
            new.map_or(std::ptr::null(), std::ptr::from_ref),
            old.map_or(std::ptr::null_mut(), std::ptr::from_mut),
        )
    };
    if status == 0 { Ok(()) } else { Err(CallError::last("prlimit64").errno) }
}

/// `struct stat` as the kernel fills it in for the programs of this architecture.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Stat(libc::stat);

impl std::fmt::Debug for Stat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stat(inode {} of {:#x})", self.inode(), self.device())
    }
}

#[allow(clippy::unnecessary_cast)] // widths differ between architectures
impl Stat {
    /// newfstatat(2) from the working directory.
    pub fn of(path: &CStr, follow: bool) -> Result<Self, Errno> {
        let flags = if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
        let mut stat = std::mem::MaybeUninit::<libc::stat>::zeroed();
        // SAFETY: `path` is a C string and `stat` has the kernel's layout on 64-bit machines.
        let status = unsafe {
            libc::syscall(
                libc::SYS_newfstatat,
                libc::AT_FDCWD,
                path.as_ptr(),
                stat.as_mut_ptr(),
                flags,
            )
        };
        if status != 0 {
            return Err(CallError::last("newfstatat").errno);
        }
        // SAFETY: the kernel filled it in, and it was all zeroes before.
        Ok(Self(unsafe { stat.assume_init() }))
    }

    /// Device of the file system.
    pub fn device(&self) -> u64 {
        self.0.st_dev as u64
    }

    /// Inode number.
    pub fn inode(&self) -> u64 {
        self.0.st_ino as u64
    }

    /// Type and permission bits.
    pub fn mode(&self) -> u32 {
        self.0.st_mode as u32
    }

    /// The owning user, as the caller's namespace sees it.
    pub fn uid(&self) -> u32 {
        self.0.st_uid
    }

    /// Replaces the owner.
    pub fn set_owner(&mut self, uid: u32, gid: u32) {
        (self.0.st_uid, self.0.st_gid) = (uid, gid);
    }

    /// Makes it a device of this type (`S_IFCHR`, `S_IFBLK`), the permission bits stay.
    pub fn set_device(&mut self, kind: u32, number: u64) {
        self.0.st_mode = (self.0.st_mode & 0o7777) | kind;
        self.0.st_rdev = number;
    }

    /// The bytes, for another process's memory.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the structure was zeroed before the kernel wrote to it, so no byte of it, padding
        // included, is uninitialised; the slice lives as long as the borrow.
        unsafe {
            std::slice::from_raw_parts(
                std::ptr::from_ref(self).cast(),
                std::mem::size_of::<libc::stat>(),
            )
        }
    }
}

/// `struct statx`, whose layout is the same everywhere.
#[derive(Clone, Copy, Debug)]
pub struct Statx([u8; 256]);

impl Statx {
    /// statx(2) from the working directory.
    pub fn of(path: &CStr, flags: u32, mask: u32) -> Result<Self, Errno> {
        let mut bytes = [0_u64; 32]; // aligned as the kernel's
        // SAFETY: `path` is a C string, and the buffer has the size of `struct statx`.
        let status = unsafe {
            libc::syscall(
                libc::SYS_statx,
                libc::AT_FDCWD,
                path.as_ptr(),
                flags,
                mask,
                bytes.as_mut_ptr(),
            )
        };
        if status != 0 {
            return Err(CallError::last("statx").errno);
        }
        let mut statx = Self([0; 256]);
        for (to, from) in statx.0.chunks_exact_mut(8).zip(bytes) {
            to.copy_from_slice(&from.to_ne_bytes());
        }
        Ok(statx)
    }

    /// Replaces the owner.
    pub fn set_owner(&mut self, uid: u32, gid: u32) {
        self.0[20..24].copy_from_slice(&uid.to_ne_bytes());
        self.0[24..28].copy_from_slice(&gid.to_ne_bytes());
    }

    /// Makes it a device of this type (`S_IFCHR`, `S_IFBLK`), the permission bits stay.
    pub fn set_device(&mut self, kind: u32, (major, minor): (u32, u32)) {
        let mode = u16::try_from(self.mode() & 0o7777 | kind).unwrap_or_default();
        self.0[28..30].copy_from_slice(&mode.to_ne_bytes());
        self.0[128..132].copy_from_slice(&major.to_ne_bytes());
        self.0[132..136].copy_from_slice(&minor.to_ne_bytes());
    }

    fn number(&self, at: usize) -> u64 {
        let bytes: [u8; 8] = self.0[at..at + 8].try_into().unwrap_or_default();
        u64::from_ne_bytes(bytes)
    }

    /// Type and permission bits.
    pub fn mode(&self) -> u32 {
        u32::from(u16::from_ne_bytes([self.0[28], self.0[29]]))
    }

    /// The mount that the file was found on (`STATX_MNT_ID`, 5.8).
    pub fn mount_id(&self) -> u64 {
        self.number(144)
    }

    /// What no other file has or had: inode number, time of birth, device. Inode numbers alone are
    /// given again as soon as a file is gone.
    pub fn identity(&self) -> [u64; 4] {
        [self.number(32), self.number(80), self.number(88), self.number(136)]
    }

    /// The bytes, for another process's memory.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// bind(2) with an address as another process gave it.
pub fn bind(socket: BorrowedFd<'_>, address: &[u8]) -> Result<(), Errno> {
    let length = libc::socklen_t::try_from(address.len()).map_err(|_| Errno::INVAL)?;
    // SAFETY: pointer and length are a slice's; the kernel copies and checks the address.
    let status = unsafe { libc::bind(socket.as_raw_fd(), address.as_ptr().cast(), length) };
    if status == 0 { Ok(()) } else { Err(CallError::last("bind").errno) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_processs_memory_is_read_to_the_nul() {
        let own = std::process::id();
        let text = c"a text";
        let mut buffer = [0; 64];
        let length = read_string(own, text.as_ptr() as u64, &mut buffer).expect("a string");
        assert_eq!(&buffer[..length], b"a text");
        assert_eq!(read_string(own, 8, &mut buffer), Err(Errno::FAULT));
        let long = std::ffi::CString::new(vec![b'x'; 300]).expect("a string");
        let mut buffer = [0; 512];
        assert_eq!(read_string(own, long.as_ptr() as u64, &mut buffer), Ok(300));
        assert_eq!(read_string(own, long.as_ptr() as u64, &mut [0; 32]), Err(Errno::NAMETOOLONG));
    }

    #[test]
    fn a_stat_can_be_changed() {
        let mut stat = Stat::of(c"/dev/null", true).expect("a stat");
        assert_eq!(stat.mode() & libc::S_IFMT, libc::S_IFCHR);
        stat.set_owner(33, 42);
        stat.set_device(libc::S_IFBLK, 0x801);
        assert_eq!((stat.uid(), stat.mode() & libc::S_IFMT), (33, libc::S_IFBLK));
        assert_eq!(stat.bytes().len(), std::mem::size_of::<libc::stat>());
        let mut statx = Statx::of(c"/dev/null", 0, libc::STATX_BASIC_STATS).expect("a statx");
        statx.set_device(libc::S_IFBLK, (8, 1));
        assert_eq!(statx.bytes()[128], 8);
    }
}
