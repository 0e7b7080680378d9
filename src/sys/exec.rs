//! execve(2) with strings made beforehand.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, NulError, OsStr};
use std::os::unix::ffi::OsStrExt;

use rustix::io::Errno;

/// A NULL-terminated array of C strings, as execve(2) wants its arguments and environment.
#[derive(Debug)]
pub struct CStrings {
    owned: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

// SAFETY: the pointers lead to the strings beside them, which nothing changes.
unsafe impl Send for CStrings {}
// SAFETY: as above.
unsafe impl Sync for CStrings {}

impl CStrings {
    /// Copies `texts`; an inner NUL byte is refused.
    pub fn new<T: AsRef<OsStr>>(texts: impl IntoIterator<Item = T>) -> Result<Self, NulError> {
        let owned = texts
            .into_iter()
            .map(|text| CString::new(text.as_ref().as_bytes()))
            .collect::<Result<Vec<_>, _>>()?;
        // The pointers are into the CStrings' heap buffers, which do not move with the vector.
        let mut pointers: Vec<_> = owned.iter().map(|text| text.as_ptr()).collect();
        pointers.push(std::ptr::null());
        Ok(Self { owned, pointers })
    }

    /// The strings.
    pub fn as_slice(&self) -> &[CString] {
        &self.owned
    }
}

/// Replaces the process; returns only the reason why it could not.
pub fn execve(path: &CStr, arguments: &CStrings, environment: &CStrings) -> Errno {
    // SAFETY: `path` is NUL-terminated; both arrays end with a null pointer and their strings are
    // owned by the borrowed `CStrings`, which nothing changes while the call runs.
    unsafe {
        libc::execve(path.as_ptr(), arguments.pointers.as_ptr(), environment.pointers.as_ptr());
    }
    super::CallError::last("execve").errno
}
