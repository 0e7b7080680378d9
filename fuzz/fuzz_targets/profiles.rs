//! Seccomp profiles in docker's form.
#![no_main]

use coracle::runtime::seccomp::Rules;

libfuzzer_sys::fuzz_target!(|json: &[u8]| {
    let _ = Rules::from_json(json);
});
