//! Archives of images, by docker, by skopeo and by nobody: read as far as a pull would read them.
#![no_main]

use std::fs::File;
use std::io::{Read, Seek, Write};

use coracle::oci::Platform;
use coracle::registry::{Input, saved};

libfuzzer_sys::fuzz_target!(|archive: &[u8]| {
    let place = tempfile::tempdir().expect("a directory");
    let mut file: File = tempfile::tempfile().expect("a file");
    file.write_all(archive).expect("written");
    file.rewind().expect("rewound");
    let Ok(images) = saved(Input::File(file, "it".to_owned()), place.path()) else { return };
    for image in images.into_iter().take(4) {
        let Ok(resolved) = image.source.manifest(&Platform::host()) else { continue };
        let _ = image.source.config(&resolved.config);
        for layer in resolved.layers.iter().take(4) {
            if let Ok(blob) = image.source.blob(&layer.descriptor, 0) {
                let _ = std::io::copy(&mut blob.take(1 << 20), &mut std::io::sink());
            }
        }
    }
    let left = std::fs::read_dir(place.path()).expect("the directory").count();
    assert_eq!(left, 0, "an archive left something behind");
});
