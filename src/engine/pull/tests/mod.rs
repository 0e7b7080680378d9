//! Pulls from memory, whole and broken.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::oci::DiffId;
use crate::registry::{self, BlobStream};
use crate::store::PATIENCE;

use super::*;

mod bench;

/// A source in memory that counts what it gives, and may break off.
#[derive(Default)]
struct Memory {
    blobs: HashMap<Digest, Vec<u8>>,
    resolved: Option<Resolved>,
    given: AtomicU64,
    manifests: AtomicU64,
    /// Bytes after which a connection breaks; 0: never.
    breaks_after: u64,
    /// It starts every blob at its first byte.
    ignores_ranges: bool,
}

impl Memory {
    fn add(&mut self, bytes: Vec<u8>, media_type: &str) -> Descriptor {
        let digest = Digest::of(&bytes);
        let size = bytes.len() as u64;
        self.blobs.insert(digest.clone(), bytes);
        Descriptor { media_type: media_type.to_owned(), digest, size }
    }

    /// An image of these layers: their tar archives and how they are shipped.
    fn image(layers: &[(Vec<u8>, Vec<u8>)]) -> Self {
        let mut source = Self::default();
        let diff_ids: Vec<DiffId> = layers.iter().map(|(tar, _)| DiffId(Digest::of(tar))).collect();
        let config = serde_json::json!({
            "os": "linux", "architecture": Platform::host().architecture,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "config": {"Cmd": ["sh"]},
        });
        let config = source.add(serde_json::to_vec(&config).expect("json"), "config");
        let layers = layers
            .iter()
            .map(|(_, shipped)| LayerDescriptor {
                descriptor: source.add(shipped.clone(), "layer"),
                compression: Compression::Gzip,
                contents: None,
            })
            .collect();
        let manifest_bytes = config.digest.to_string().into_bytes();
        source.resolved = Some(Resolved {
            index: None,
            manifest_digest: Digest::of(&manifest_bytes),
            manifest_bytes,
            media_type: "manifest".into(),
            config,
            layers,
        });
        source
    }

    fn resolved(&mut self) -> &mut Resolved {
        self.resolved.as_mut().expect("an image")
    }
}

struct Breaking<R>(R, u64);

impl<R: Read> Read for Breaking<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.1 == 0 {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let room = usize::try_from(self.1).map_or(buffer.len(), |n| n.min(buffer.len()));
        let count = self.0.read(&mut buffer[..room])?;
        self.1 -= count as u64;
        Ok(count)
    }
}

impl ImageSource for Memory {
    fn manifest(&self, _platform: &Platform) -> Result<Resolved, registry::Error> {
        self.manifests.fetch_add(1, Ordering::Relaxed);
        Ok(self.resolved.clone().expect("an image"))
    }

    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>, registry::Error> {
        Ok(self.blobs[&descriptor.digest].clone())
    }

    fn blob(&self, descriptor: &Descriptor, from: u64) -> Result<BlobStream, registry::Error> {
        let from = if self.ignores_ranges { 0 } else { from };
        let start = usize::try_from(from).expect("small");
        let bytes = self.blobs[&descriptor.digest][start..].to_vec();
        let most = if self.breaks_after == 0 { u64::MAX } else { self.breaks_after };
        self.given.fetch_add(most.min(bytes.len() as u64), Ordering::Relaxed);
        Ok(BlobStream::new(from, Breaking(io::Cursor::new(bytes), most)))
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        builder.append_data(&mut header, name, *bytes).expect("memory");
    }
    builder.into_inner().expect("memory")
}

/// Bytes that do not compress.
fn noise(length: usize, mut seed: u64) -> Vec<u8> {
    let next = |seed: &mut u64| {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        seed.to_le_bytes()[3]
    };
    std::iter::repeat_with(|| next(&mut seed)).take(length).collect()
}

fn three_layers() -> Memory {
    let layers = [
        tar(&[("etc/passwd", b"root"), ("big", &noise(700_000, 1))]),
        tar(&[("etc/.wh.passwd", b""), ("other", &noise(400_000, 2))]),
        tar(&[("etc/hosts", b"localhost")]),
    ];
    let shipped =
        [gzip(&layers[0]), zstd::encode_all(&layers[1][..], 1).expect("memory"), layers[2].clone()];
    Memory::image(&layers.into_iter().zip(shipped).collect::<Vec<_>>())
}

fn request(source: &Memory) -> Request<'_> {
    Request {
        source,
        image: "redis:7".into(),
        name: Some("docker.io/library/redis:7".into()),
        repository: Some("docker.io/library/redis".into()),
        platform: None,
        policy: Policy::Always,
        owners: Owners::Recorded,
        jobs: 3,
        most_unpacked: None,
    }
}

fn store() -> (tempfile::TempDir, Store) {
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(&home.path().join("store")).expect("a store");
    (home, store)
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    entries.map(|entry| entry.expect("it").file_name().into_string().expect("text")).collect()
}

/// Nothing but locks and beginnings of blobs may be left of a pull that failed.
fn assert_nothing_visible(store: &Store) {
    for directory in ["images", "tags", "layers", "tmp", "blobs/sha256"] {
        assert_eq!(names(&store.root().join(directory)), [""; 0], "{directory}");
    }
}

#[test]
fn a_pull_brings_layers_blobs_and_names() {
    let (_home, store) = store();
    let source = three_layers();
    let pulled = pull(&store, &request(&source), &()).expect("a pull");
    assert_eq!(pulled.status, Status::Downloaded);
    let image = store.resolve("redis:7").expect("the image");
    assert_eq!(image.id, pulled.id);
    for query in
        [pulled.id.to_string(), pulled.id.short().to_owned(), format!("redis@{}", pulled.digest)]
    {
        assert_eq!(store.resolve(&query).expect("the image").id, pulled.id, "{query}");
    }
    let layers = store.layers(&image, Owners::Recorded).expect("all layers");
    let read = |path: &str| crate::snapshot::read_file(&layers, Path::new(path), 100).expect("it");
    assert_eq!(read("/etc/hosts").as_deref(), Some(&b"localhost"[..]));
    assert_eq!(read("/etc/passwd"), None);
    assert_eq!(store.config(&image).expect("it").cmd, ["sh"]);
    assert_eq!(names(&store.root().join("partial")), [""; 0]);
    assert_eq!(names(&store.root().join("tmp")), [""; 0]);
    assert_eq!(names(&store.root().join("blobs/sha256")).len(), 5);
    assert_eq!(image.size(), 4 + 700_000 + 400_000 + 9);
    // Again: nothing is fetched.
    let given = source.given.load(Ordering::Relaxed);
    let again = pull(&store, &request(&source), &()).expect("a pull");
    assert_eq!((again.status, source.given.load(Ordering::Relaxed)), (Status::UpToDate, given));
}

#[test]
fn policies_decide_who_is_asked() {
    let (_home, store) = store();
    let source = three_layers();
    let ask = |policy| pull(&store, &Request { policy, ..request(&source) }, &());
    assert!(matches!(ask(Policy::Never), Err(Error::NotHere { .. })));
    ask(Policy::Missing).expect("a pull");
    assert_eq!(source.manifests.load(Ordering::Relaxed), 1);
    for policy in [Policy::Never, Policy::Missing] {
        assert_eq!(ask(policy).expect("it is here").status, Status::UpToDate);
    }
    assert_eq!(source.manifests.load(Ordering::Relaxed), 1);
    assert_eq!(ask(Policy::Newer).expect("a look").status, Status::UpToDate);
    assert_eq!(source.manifests.load(Ordering::Relaxed), 2);
}

#[test]
fn broken_connections_are_resumed() {
    for ignores_ranges in [false, true] {
        let (_home, store) = store();
        let mut source = three_layers();
        source.breaks_after = if ignores_ranges { 600_000 } else { 300_000 };
        source.ignores_ranges = ignores_ranges;
        match pull(&store, &request(&source), &()) {
            Ok(_) => assert!(!ignores_ranges),
            // It never comes to the end of the large one.
            Err(error) => {
                assert!(ignores_ranges && matches!(error, Error::Download { .. }), "{error}");
                assert_nothing_visible(&store);
                source.breaks_after = 0;
                pull(&store, &request(&source), &()).expect("the rest");
            }
        }
        assert!(store.resolve("redis:7").is_ok());
    }
}

#[test]
fn an_earlier_try_is_gone_on_with() {
    let (_home, store) = store();
    let mut source = three_layers();
    let big = source.resolved().layers[0].descriptor.clone();
    let path = store.root().join(format!("partial/sha256-{}", big.digest.hex()));
    fs::write(&path, &source.blobs[&big.digest][..600_000]).expect("a beginning");
    pull(&store, &request(&source), &()).expect("a pull");
    let total: u64 = source.resolved().layers.iter().map(|layer| layer.descriptor.size).sum();
    assert_eq!(source.given.load(Ordering::Relaxed), total - 600_000);
    assert!(!path.exists());
    // One that a power failure emptied is not believed.
    let (_home, store) = self::store();
    let path = store.root().join(format!("partial/sha256-{}", big.digest.hex()));
    fs::write(&path, vec![0; 600_000]).expect("zeros");
    pull(&store, &request(&source), &()).expect("a pull from the start");
}

#[test]
fn wrong_bytes_never_become_visible() {
    type Change = fn(&mut Memory);
    let broken: [(&str, Change); 5] = [
        ("a flipped byte", |source| {
            let digest = source.resolved().layers[0].descriptor.digest.clone();
            source.blobs.get_mut(&digest).expect("it")[300_000] ^= 1;
        }),
        ("other bytes", |source| {
            let digest = source.resolved().layers[2].descriptor.digest.clone();
            let other = tar(&[("etc/hosts", b"elsewhere")]);
            source.blobs.insert(digest, other);
        }),
        ("other layers than the configuration says", |source| {
            let other = source.resolved().layers[2].clone();
            source.resolved().layers[1] = other;
        }),
        ("another configuration", |source| {
            let digest = source.resolved().config.digest.clone();
            source.blobs.get_mut(&digest).expect("it").push(b' ');
        }),
        ("too many layers", |source| {
            let other = source.resolved().layers[2].clone();
            source.resolved().layers.push(other);
        }),
    ];
    for (what, change) in broken {
        let (_home, store) = store();
        let mut source = three_layers();
        change(&mut source);
        let error = pull(&store, &request(&source), &()).expect_err(what);
        let suits = match what {
            "other layers than the configuration says" => matches!(error, Error::DiffId { .. }),
            "too many layers" => matches!(error, Error::LayerCount { .. }),
            _ => matches!(error, Error::Digest { .. }),
        };
        assert!(suits, "{what}: {error}");
        assert_nothing_visible(&store);
    }
}

#[test]
fn a_mismatch_names_the_layer() {
    let (_home, store) = store();
    let mut source = three_layers();
    let want = source.resolved().layers[2].descriptor.digest.clone();
    let other = tar(&[("etc/hosts", b"elsewhere")]);
    let got = Digest::of(&other);
    source.blobs.insert(want.clone(), other);
    let error = pull(&store, &request(&source), &()).expect_err("a mismatch");
    assert_eq!(error.to_string(), format!("layer 3 of 3 of redis:7: want {want}, got {got}"));
}

#[test]
fn one_blob_in_several_layers_is_fetched_once() {
    let (_home, store) = store();
    let layer = tar(&[("file", &noise(200_000, 3))]);
    let pair = (layer.clone(), gzip(&layer));
    let source = Memory::image(&[pair.clone(), pair.clone(), pair]);
    let size = source.resolved.as_ref().expect("an image").layers[0].descriptor.size;
    let pulled = pull(&store, &request(&source), &()).expect("a pull");
    assert_eq!(source.given.load(Ordering::Relaxed), size);
    let image = store.image(&pulled.id).expect("it").expect("it");
    assert_eq!(store.layers(&image, Owners::Recorded).expect("all").len(), 3);
}

#[test]
fn eight_pulls_at_once_fetch_once() {
    let (home, store) = store();
    let source = three_layers();
    let total: u64 = source
        .resolved
        .as_ref()
        .expect("an image")
        .layers
        .iter()
        .map(|layer| layer.descriptor.size)
        .sum();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let store = Store::open(&home.path().join("store")).expect("the store");
                pull(&store, &request(&source), &()).expect("a pull");
            });
        }
    });
    assert_eq!(source.given.load(Ordering::Relaxed), total);
    assert!(store.resolve("redis:7").is_ok());
    assert_eq!(names(&store.root().join("tmp")), [""; 0]);
}

#[test]
fn other_owners_need_no_network() {
    if !rustix::process::geteuid().is_root() {
        return; // a user has one id
    }
    let (_home, store) = store();
    let source = three_layers();
    pull(&store, &request(&source), &()).expect("a pull");
    let given = source.given.load(Ordering::Relaxed);
    let owners = Owners::Range { first: 0 };
    let again = Request { owners, policy: Policy::Never, ..request(&source) };
    pull(&store, &again, &()).expect("unpacked from what was kept");
    assert_eq!(source.given.load(Ordering::Relaxed), given);
    let image = store.resolve("redis:7").expect("the image");
    assert!(store.layers(&image, owners).is_ok() && store.layers(&image, Owners::Recorded).is_ok());
}

#[test]
fn what_is_damaged_is_pulled_again() {
    let (_home, store) = store();
    let source = three_layers();
    let pulled = pull(&store, &request(&source), &()).expect("a pull");
    let image = store.image(&pulled.id).expect("it").expect("it");
    let root = store.root().to_owned();
    let layer = store.layer_path(Owners::Recorded, &image.layers[1].chain);
    for damaged in names(&root.join("tags")).iter().map(|name| root.join("tags").join(name)) {
        fs::write(&damaged, "").expect("emptied");
    }
    fs::write(root.join(format!("images/{}.json", pulled.id.hex())), "").expect("emptied");
    fs::write(root.join("version"), "").expect("emptied");
    fs::write(layer.join("layer.json"), "").expect("emptied");
    let error = store.resolve("redis:7").expect_err("damaged");
    assert!(error.to_string().contains("/tags/"), "{error}");
    let store = Store::open(&root).expect("a store");
    pull(&store, &request(&source), &()).expect("a pull heals");
    assert_eq!(store.resolve("redis:7").expect("it").id, pulled.id);
}

#[test]
fn what_no_one_needs_is_collected() {
    let (_home, store) = store();
    let source = three_layers();
    let pulled = pull(&store, &request(&source), &()).expect("a pull");
    let image = store.image(&pulled.id).expect("it").expect("it");
    assert_eq!(store.collect(unused, Owners::Recorded, PATIENCE).expect("a look"), 0);
    let hold = store.hold().expect("a hold");
    store.forget(&pulled.id).expect("forgotten");
    assert_eq!(store.collect(unused, Owners::Recorded, PATIENCE).expect("held"), 0);
    drop(hold);
    let used = [image.layers[0].chain.clone()];
    assert!(
        store
            .collect(|| Ok::<_, crate::store::Error>(used.to_vec()), Owners::Recorded, PATIENCE)
            .expect("collected")
            > 400_000
    );
    assert_eq!(names(&store.root().join("layers/single")), [used[0].0.hex()]);
    assert!(store.collect(unused, Owners::Recorded, PATIENCE).expect("collected") > 0);
    for directory in ["layers/single", "blobs/sha256", "tmp"] {
        assert_eq!(names(&store.root().join(directory)), [""; 0], "{directory}");
    }
}

#[allow(clippy::unnecessary_wraps)] // as a collection asks
fn unused() -> Result<Vec<crate::oci::ChainId>, crate::store::Error> {
    Ok(Vec::new())
}
