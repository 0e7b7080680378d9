//! What a registry answers: demands for a login, links to the next page, errors.
#![no_main]

use coracle::registry::fuzzing;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzzing::answer(bytes));
