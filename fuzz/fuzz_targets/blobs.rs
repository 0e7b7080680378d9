//! Blobs before their digest is known: gzip, and tables of contents with their footers.
#![no_main]

use coracle::engine::pull::fuzzing;

libfuzzer_sys::fuzz_target!(|blob: &[u8]| {
    fuzzing::gzip(blob);
    fuzzing::table(blob);
});
