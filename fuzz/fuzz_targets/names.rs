//! Questions for names (RFC 1035).
#![no_main]

use coracle::network::fuzzing;

libfuzzer_sys::fuzz_target!(|question: &[u8]| fuzzing::question(question));
