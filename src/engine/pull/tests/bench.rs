//! A measurement.
#![allow(clippy::print_stderr)]

use std::path::PathBuf;
use std::time::Instant;

use super::*;

struct Files(Resolved, Vec<u8>, PathBuf);
impl ImageSource for Files {
    fn manifest(&self, _platform: &Platform) -> Result<Resolved, registry::Error> {
        Ok(self.0.clone())
    }
    fn config(&self, _descriptor: &Descriptor) -> Result<Vec<u8>, registry::Error> {
        Ok(self.1.clone())
    }
    fn blob(&self, blob: &Descriptor, _from: u64) -> Result<BlobStream, registry::Error> {
        let file = fs::File::open(self.2.join(&blob.media_type)).expect("a file");
        Ok(BlobStream::new(0, file))
    }
}

struct Stages(Instant);
impl Progress for Stages {
    fn event(&self, event: Event) {
        if event == Event::Storing {
            eprintln!("  unpacked and settled after {:?}", self.0.elapsed());
        }
    }
}

/// Layers in files: `CORACLE_BENCH=DIR cargo test --release --lib -- --ignored --nocapture bench`.
///
/// `DIR` holds `0.tar.gz`, `1.tar.gz`, …; the time of a pull and its parts is printed.
#[test]
#[ignore = "a measurement"]
fn bench_pull() {
    let directory = PathBuf::from(std::env::var("CORACLE_BENCH").expect("CORACLE_BENCH"));
    let hash = |mut from: Box<dyn Read>| {
        let mut hasher = crate::oci::Hasher::new(crate::oci::Algorithm::Sha256);
        let (mut buffer, mut size) = (vec![0; 1 << 20], 0);
        loop {
            match from.read(&mut buffer).expect("bytes") {
                0 => return (hasher.finish(), size),
                count => {
                    hasher.update(&buffer[..count]);
                    size += count as u64;
                }
            }
        }
    };
    let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
    for name in (0..).map(|index| format!("{index}.tar.gz")) {
        let Ok(file) = fs::File::open(directory.join(&name)) else { break };
        let (digest, size) = hash(Box::new(file.try_clone().expect("a file")));
        io::Seek::rewind(&mut &file).expect("a file");
        diff_ids.push(DiffId(hash(Box::new(flate2::read::MultiGzDecoder::new(file))).0));
        let descriptor = Descriptor { media_type: name, digest, size };
        layers.push(LayerDescriptor { descriptor, compression: Compression::Gzip, contents: None });
    }
    let config = serde_json::json!({"rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let config = serde_json::to_vec(&config).expect("json");
    let descriptor = Descriptor {
        media_type: String::new(),
        digest: Digest::of(&config),
        size: config.len() as u64,
    };
    let resolved = Resolved {
        index: None,
        manifest_digest: Digest::of(b"manifest"),
        manifest_bytes: b"manifest".to_vec(),
        media_type: String::new(),
        config: descriptor,
        layers,
    };
    for _ in 0..3 {
        let home = tempfile::tempdir_in(&directory).expect("a directory");
        let store = Store::open(&home.path().join("store")).expect("a store");
        let source = Files(resolved.clone(), config.clone(), directory.clone());
        let memory = Memory::default();
        let request = Request { source: &source, ..request(&memory) };
        let start = Instant::now();
        pull(&store, &request, &Stages(start)).expect("a pull");
        eprintln!("pull: {:?}", start.elapsed());
        std::mem::forget(home); // removal right before would slow the next one down
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    eprintln!("{}", peak.unwrap_or_default());
}
