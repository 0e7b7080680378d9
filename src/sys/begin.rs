//! The start of the program, without what Rust does first: it looks for the stack's end in /proc/self/maps and
//! prepares to tell of an overflow, which takes as long as a fiftieth of a container's start.
#![allow(unsafe_code)]

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

/// Makes a function of the arguments the program's main(3p): `program!(f)` in a crate with `#![no_main]`, where
/// `f` takes an iterator of words and gives an `ExitCode`.
#[macro_export]
#[doc(hidden)] // it is `begin::program`
macro_rules! sys_begin_program {
    ($main:expr) => {
        #[unsafe(no_mangle)]
        #[allow(unsafe_code)]
        extern "C" fn main(
            count: ::std::ffi::c_int,
            words: *const *const ::std::ffi::c_char,
        ) -> ::std::ffi::c_int {
            // SAFETY: this is what the C library calls with the program's arguments.
            unsafe { $crate::sys::begin::begin(count, words, |words| $main(words)) }
        }
    };
}

pub use sys_begin_program as program;

/// The status of a program whose streams cannot be had.
const NO_STREAMS: c_int = 125;

/// Runs a program's `main`.
///
/// # Safety
///
/// `words` are `count` texts that end with 0 and live as long as the process, as for main(3p).
pub unsafe fn begin(
    count: c_int,
    words: *const *const c_char,
    main: impl FnOnce(std::vec::IntoIter<OsString>) -> ExitCode,
) -> c_int {
    super::heap::begin();
    if super::process::open_streams().is_err() {
        return NO_STREAMS;
    }
    let count = usize::try_from(count).unwrap_or_default();
    // SAFETY: the caller's promise.
    let words = unsafe { std::slice::from_raw_parts(words, count) };
    let word = |word: &*const c_char| -> OsString {
        // SAFETY: the caller's promise.
        let word = unsafe { CStr::from_ptr(*word) };
        OsStr::from_bytes(word.to_bytes()).to_owned()
    };
    let code = main(words.iter().map(word).collect::<Vec<_>>().into_iter());
    // std makes one of a number, and gives none back.
    let number = (0..=u8::MAX).find(|number| ExitCode::from(*number) == code);
    c_int::from(number.unwrap_or(1))
}
