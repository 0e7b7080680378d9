//! Manifests, indexes and configurations of images.
#![no_main]

use coracle::oci::{ImageConfig, Platform};
use coracle::registry::{offered, parts};

libfuzzer_sys::fuzz_target!(|document: &[u8]| {
    let _ = ImageConfig::parse(document);
    let _ = parts("it", document);
    if let Ok(platform) = "linux/arm64/v8".parse::<Platform>() {
        let _ = offered("it", document, &platform);
    }
});
