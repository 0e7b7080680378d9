//! References to images: what is one is the same when it is read again.
#![no_main]

use coracle::reference::{Reference, Source};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = text.parse::<Source>();
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string().parse().as_ref(), Ok(&reference));
    }
});
