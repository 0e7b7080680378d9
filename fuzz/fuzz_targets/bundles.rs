//! config.json of an OCI bundle, which an engine hands over.
#![no_main]

use std::io;
use std::path::Path;

use coracle::bundle::{read_config, read_process_json};

libfuzzer_sys::fuzz_target!(|json: &[u8]| {
    let open = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
    let _ = read_config(json, Path::new("/bundle"), &open);
    let _ = read_process_json(json);
});
