//! A file changed through memory.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::Errno;

/// Writes a byte of the first page through a shared mapping.
pub fn write_byte(file: &OwnedFd, at: usize, byte: u8) -> Result<(), Errno> {
    assert!(at < 4096);
    let error = || {
        let raw = std::io::Error::last_os_error().raw_os_error();
        Errno::from_raw_os_error(raw.unwrap_or(libc::EIO))
    };
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping of one page at a place that the kernel chooses.
    let page = unsafe {
        libc::mmap(std::ptr::null_mut(), 4096, protection, libc::MAP_SHARED, file.as_raw_fd(), 0)
    };
    if page == libc::MAP_FAILED {
        return Err(error());
    }
    // SAFETY: `at` lies in the page, which is mapped and belongs to nobody else here; the file is at
    // least a page long, as the caller made sure.
    unsafe {
        page.cast::<u8>().add(at).write_volatile(byte);
    }
    // SAFETY: it was mapped just above and nothing refers to it any more.
    let status = unsafe { libc::munmap(page, 4096) };
    if status == 0 { Ok(()) } else { Err(error()) }
}
