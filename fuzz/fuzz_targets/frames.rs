//! What a container sends to the server of its network: each input is a frame as the kernel hands it over,
//! behind a virtio-net header.
#![no_main]

use coracle::network::fuzzing;

libfuzzer_sys::fuzz_target!(|frame: &[u8]| fuzzing::frame(frame));
