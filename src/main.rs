//! Arguments to `cli`, its exit code back.
//!
//! Without the start that Rust gives a program: it looks for the stack's end in /proc/self/maps and prepares
//! to tell of an overflow, which takes as long as a fiftieth of a container's start.
#![no_main]
#![allow(unsafe_code)]

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use coracle::sys;

/// main(3p), which the C library calls.
#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, words: *const *const c_char) -> c_int {
    if sys::process::open_streams().is_err() {
        return 125;
    }
    let count = usize::try_from(count).unwrap_or_default();
    // SAFETY: so many words there are, each a text that ends with 0 and lives as long as the process.
    let words = unsafe { std::slice::from_raw_parts(words, count) };
    let word = |word: &*const c_char| -> OsString {
        // SAFETY: as above.
        let word = unsafe { CStr::from_ptr(*word) };
        OsStr::from_bytes(word.to_bytes()).to_owned()
    };
    let code = coracle::cli::main(words.iter().map(word));
    // std makes one of a number, and gives none back.
    let number = (0..=u8::MAX).find(|number| ExitCode::from(*number) == code);
    c_int::from(number.unwrap_or(1))
}
