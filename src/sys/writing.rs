//! Writing out that nobody waits for.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd};

/// Has the disk begin with what was written to a file, from the byte `from` on (sync_file_range(2)). It
/// promises nothing: a barrier that comes later has less to wait for. Where it cannot be said,
/// nothing is lost but that time.
pub fn begin_writing(file: impl AsFd, from: u64) {
    let Ok(from) = libc::off64_t::try_from(from) else { return };
    let file = file.as_fd().as_raw_fd();
    // SAFETY: the descriptor is borrowed until the call returns, and no memory is passed.
    let _ = unsafe { libc::sync_file_range(file, from, 0, libc::SYNC_FILE_RANGE_WRITE) };
}
