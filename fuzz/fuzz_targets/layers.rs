//! Layers: tar streams with names, links, whiteouts and attributes of anybody's, written to a tree of which
//! nothing may leave.
#![no_main]

use coracle::layer::{Limits, Tree, apply};
use coracle::oci::Algorithm;
use coracle::owners::Owners;

const LIMITS: Limits = Limits { bytes: 1 << 20, entries: 100, directories: 50 };

libfuzzer_sys::fuzz_target!(|tar: &[u8]| {
    let place = tempfile::tempdir().expect("a directory");
    let layer = place.path().join("layer");
    std::fs::create_dir(&layer).expect("a directory");
    let mut tree = Tree::create(&layer, Owners::Recorded, &LIMITS).expect("a tree");
    if apply(tar, &mut tree, Algorithm::Sha256, &LIMITS).is_ok() {
        let _ = tree.settle::<&str>(&[]);
    }
    let left = std::fs::read_dir(place.path()).expect("the directory").count();
    assert_eq!(left, 1, "something is beside the layer");
});
