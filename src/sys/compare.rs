//! Whether descriptors of two processes are one file (kcmp(2)), and a file's places in an epoll's set.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::CallError;

// Kinds of linux/kcmp.h.
const FILE: i32 = 0;
const EPOLL_TARGET: i32 = 7;

/// `struct kcmp_epoll_slot`
#[repr(C)]
struct Slot {
    epoll: u32,
    target: u32,
    offset: u32,
}

/// Descriptors of this process, to compare others with.
#[derive(Clone, Copy, Debug)]
pub struct Own(u32);

impl Own {
    /// Those of this process, and no child's.
    pub fn of_this_process() -> Self {
        Self(std::process::id())
    }

    /// Whether a descriptor of another process is the same open file as one of ours. `EBADF`: it has
    /// none of that number. Needs the power to trace it.
    pub fn is_same(self, process: u32, number: u32, own: BorrowedFd<'_>) -> Result<bool, Errno> {
        self.compare(process, FILE, own, number.into())
    }

    /// Whether an epoll(7) of another process waits for a file of ours, by the number that it has
    /// there. `EINVAL`: that is no epoll.
    pub fn is_awaited(
        self,
        process: u32,
        epoll: u32,
        number: u32,
        own: BorrowedFd<'_>,
    ) -> Result<bool, Errno> {
        /// Of one number there are several once it was closed and another file has it.
        const MOST: u32 = 16;
        for offset in 0..MOST {
            let slot = Slot { epoll, target: number, offset };
            let slot = std::ptr::from_ref(&slot).expose_provenance() as u64;
            match self.compare(process, EPOLL_TARGET, own, slot) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(Errno::NOENT) => return Ok(false),
                Err(errno) => return Err(errno),
            }
        }
        Ok(true) // it may
    }

    fn compare(
        self,
        process: u32,
        kind: i32,
        own: BorrowedFd<'_>,
        other: u64,
    ) -> Result<bool, Errno> {
        // SAFETY: numbers alone are passed, or as the last one the address of a `Slot` of the caller's
        // frame, which the kernel only reads.
        let order = unsafe {
            libc::syscall(
                libc::SYS_kcmp,
                self.0,
                process,
                kind,
                u64::try_from(own.as_raw_fd()).unwrap_or(u64::MAX),
                other,
            )
        };
        match order {
            0 => Ok(true),
            ..0 => Err(CallError::last("kcmp").errno),
            _ => Ok(false),
        }
    }
}

/// Adds a file to an epoll's set under a number that is not ours to keep: whoever shares the set calls
/// it so. Call it while the process has one thread.
pub fn add_as(
    epoll: BorrowedFd<'_>,
    file: BorrowedFd<'_>,
    number: i32,
    events: u32,
    data: u64,
) -> Result<(), Errno> {
    let duplicate = |fd: i32| {
        // SAFETY: the kernel checks the number.
        let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
        if copy < 0 {
            return Err(CallError::last("fcntl").errno);
        }
        // SAFETY: the descriptor was made by the call above, and nobody else has it.
        Ok(unsafe { OwnedFd::from_raw_fd(copy) })
    };
    let put = |fd: i32| {
        // SAFETY: what stood at `number` is kept in `before`, and is put there again below.
        let status = unsafe { libc::dup3(fd, number, libc::O_CLOEXEC) };
        if status < 0 { Err(CallError::last("dup3").errno) } else { Ok(()) }
    };
    let before = match duplicate(number) {
        Ok(before) => Some(before),
        Err(Errno::BADF) => None,
        Err(errno) => return Err(errno),
    };
    // What is needed may be what stands there.
    let moved = |fd: BorrowedFd<'_>| match &before {
        Some(before) if fd.as_raw_fd() == number => before.as_raw_fd(),
        _ => fd.as_raw_fd(),
    };
    let (epoll, file) = (moved(epoll), moved(file));
    put(file)?;
    let mut event = libc::epoll_event { events, u64: data };
    // SAFETY: `event` outlives the call, which only reads it.
    let status = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, number, &raw mut event) };
    let added = if status == 0 { Ok(()) } else { Err(CallError::last("epoll_ctl").errno) };
    match &before {
        Some(before) => put(before.as_raw_fd())?,
        None => {
            // SAFETY: it was opened by `put` above, and belongs to nobody.
            unsafe { libc::close(number) };
        }
    }
    added
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::event::epoll;

    use super::*;

    fn number(fd: &OwnedFd) -> u32 {
        fd.as_raw_fd().cast_unsigned()
    }

    #[test]
    fn one_file_is_told_from_another() {
        let (one, other) = rustix::pipe::pipe().expect("a pipe");
        let copy = one.try_clone().expect("a copy");
        let is_same = |of: u32| Own::of_this_process().is_same(std::process::id(), of, one.as_fd());
        assert_eq!(is_same(number(&copy)), Ok(true));
        assert_eq!(is_same(number(&other)), Ok(false));
        assert_eq!(is_same(999_999), Err(Errno::BADF));
    }

    #[test]
    fn what_an_epoll_waits_for_is_seen() {
        let (one, other) = rustix::pipe::pipe().expect("a pipe");
        let set = epoll::create(epoll::CreateFlags::CLOEXEC).expect("a set");
        let asks = |epoll: &OwnedFd, file: &OwnedFd| {
            let process = std::process::id();
            Own::of_this_process().is_awaited(process, number(epoll), number(file), file.as_fd())
        };
        let sees = |file: &OwnedFd| asks(&set, file);
        assert_eq!(sees(&one), Ok(false));
        let data = epoll::EventData::new_u64(7);
        epoll::add(&set, &one, data, epoll::EventFlags::IN).expect("added");
        assert_eq!(sees(&one), Ok(true));
        assert_eq!(sees(&other), Ok(false));
        assert_eq!(asks(&other, &one), Err(Errno::INVAL));
    }
    #[test]
    fn a_file_is_waited_for_under_another_number() {
        let (one, writer) = rustix::pipe::pipe().expect("a pipe");
        let set = epoll::create(epoll::CreateFlags::CLOEXEC).expect("a set");
        let other = rustix::io::dup(&writer).expect("a copy");
        // A number that nobody has, below the limit that most have (1024), and one that stays what it was.
        for taken in [999, other.as_raw_fd()] {
            add_as(set.as_fd(), one.as_fd(), taken, libc::EPOLLIN.cast_unsigned(), 9)
                .expect("added");
        }
        rustix::io::write(&other, b"x").expect("written");
        let mut told = [epoll::Event {
            flags: epoll::EventFlags::empty(),
            data: epoll::EventData::new_u64(0),
        }; 4];
        let count = epoll::wait(&set, &mut told[..], None).expect("told");
        assert_eq!(count, 2);
        assert!(told[..2].iter().all(|event| event.data.u64() == 9));
        assert!(!std::path::Path::new("/proc/self/fd/999").exists());
    }
}
