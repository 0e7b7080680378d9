//! The image in the binary: its one file is the binary itself.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;

use serde_json::json;

use crate::oci::{Algorithm, Digest, Hasher, Platform, media_type};
use crate::owners::Owners;
use crate::registry::{
    self, BlobStream, Compression, Descriptor, ImageSource, LayerDescriptor, Resolved,
};
use crate::store::Store;

use super::made;
use super::pull::{self, Policy, Progress, Pulled, Request, Status};

/// Its name in the store.
const NAME: &str = "docker.io/library/hello:latest";
/// Says from which binary it was made.
const LABEL: &str = "org.coracle.hello";
/// Directories that mounts go to, and the two that programs expect.
const DIRECTORIES: [(&str, u32); 8] = [
    ("dev/", 0o755),
    ("etc/", 0o755),
    ("proc/", 0o755),
    ("root/", 0o700),
    ("run/", 0o755),
    ("sys/", 0o755),
    ("tmp/", 0o1777),
    ("var/", 0o755),
];

/// Makes `hello:latest` of the binary `exe`, unless it is there and of the same binary.
pub fn install(
    store: &Store,
    exe: &File,
    owners: Owners,
    progress: &dyn Progress,
) -> Result<Pulled, pull::Error> {
    let io = |source| pull::Error::Io { action: "read", path: "/proc/self/exe".into(), source };
    let metadata = exe.metadata().map_err(io)?;
    let version = env!("CARGO_PKG_VERSION");
    let mark =
        format!("{version} {} {}.{}", metadata.size(), metadata.mtime(), metadata.mtime_nsec());
    if let Ok(Some(image)) = store.named(NAME)
        && store.config(&image).is_ok_and(|config| config.labels.get(LABEL) == Some(&mark))
        && store.layers(&image, owners).is_ok()
    {
        let (id, digest) = (image.id.clone(), image.digest().clone());
        let reference = Some(NAME.to_owned());
        return Ok(Pulled { id, reference, digest, status: Status::UpToDate });
    }
    let exe = exe.try_clone().map_err(io)?;
    let source = Hello::new(exe, metadata.size(), metadata.mtime(), &mark).map_err(io)?;
    let request = Request {
        source: &source,
        image: "hello".to_owned(),
        name: Some(NAME.to_owned()),
        repository: None,
        platform: None,
        policy: Policy::Always,
        owners,
        jobs: 1,
        most_unpacked: None,
    };
    pull::pull(store, &request, progress)
}

/// The binary as a source of one image.
struct Hello {
    layer: Layer,
    config: Vec<u8>,
    resolved: Resolved,
}

/// A tar archive around a file that is read when the archive is.
#[derive(Clone)]
struct Layer {
    before: Vec<u8>,
    exe: Arc<File>,
    size: u64,
    after: Vec<u8>,
}

impl Hello {
    fn new(exe: File, size: u64, mtime: i64, mark: &str) -> io::Result<Self> {
        let layer = Layer::new(exe, size, mtime.try_into().unwrap_or_default())?;
        let digest = layer.digest()?;
        let Platform { os, architecture, variant } = Platform::host();
        let created = jiff::Timestamp::from_second(mtime).map(|time| time.to_string());
        let config = json!({
            "created": created.unwrap_or_default(),
            "os": os,
            "architecture": architecture,
            "variant": variant,
            "config": {
                "Entrypoint": ["/coracle", "hello"],
                "Env": ["PATH=/"],
                "WorkingDir": "/",
                "Labels": {LABEL: mark},
            },
            "rootfs": {"type": "layers", "diff_ids": [&digest]},
            "history": [{"created_by": "coracle, of itself"}],
        });
        let config = serde_json::to_vec(&config)?;
        let descriptor = Descriptor {
            media_type: media_type::OCI_LAYER.to_owned(),
            digest,
            size: layer.length(),
        };
        let layers =
            vec![LayerDescriptor { descriptor, compression: Compression::None, contents: None }];
        let resolved = made::resolved(&config, layers);
        Ok(Self { layer, config, resolved })
    }
}

impl Layer {
    fn new(exe: File, size: u64, mtime: u64) -> io::Result<Self> {
        let mut before = Vec::new();
        let mut add = |name: &str, kind, mode, size| {
            let mut header = tar::Header::new_ustar();
            header.set_path(name)?;
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_size(size);
            header.set_mtime(mtime);
            header.set_uid(0);
            header.set_gid(0);
            header.set_cksum();
            before.extend_from_slice(header.as_bytes());
            io::Result::Ok(())
        };
        for (name, mode) in DIRECTORIES {
            add(name, tar::EntryType::Directory, mode, 0)?;
        }
        add("coracle", tar::EntryType::Regular, 0o755, size)?;
        let filler = usize::try_from(size.next_multiple_of(512) - size).unwrap_or_default();
        Ok(Self { before, exe: Arc::new(exe), size, after: vec![0; filler + 1024] })
    }

    fn length(&self) -> u64 {
        self.before.len() as u64 + self.size + self.after.len() as u64
    }

    fn stream(&self) -> impl Read + Send + 'static {
        let Self { before, exe, size, after } = self.clone();
        let file = At { file: exe, position: 0 }.take(size);
        Cursor::new(before).chain(file).chain(Cursor::new(after))
    }

    fn digest(&self) -> io::Result<Digest> {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut stream = self.stream();
        let mut buffer = vec![0; 128 << 10];
        loop {
            match stream.read(&mut buffer)? {
                0 => return Ok(hasher.finish()),
                count => hasher.update(&buffer[..count]),
            }
        }
    }
}

/// A file read from its start, whatever else reads it.
struct At {
    file: Arc<File>,
    position: u64,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl ImageSource for Hello {
    fn manifest(&self, _platform: &Platform) -> Result<Resolved, registry::Error> {
        Ok(self.resolved.clone())
    }

    fn config(&self, _descriptor: &Descriptor) -> Result<Vec<u8>, registry::Error> {
        Ok(self.config.clone())
    }

    fn blob(&self, _descriptor: &Descriptor, _from: u64) -> Result<BlobStream, registry::Error> {
        Ok(BlobStream::new(0, self.layer.stream()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn hello_is_made_once_of_a_binary() {
        let home = tempfile::tempdir().expect("a directory");
        let store = Store::open(&home.path().join("store")).expect("a store");
        let path = home.path().join("exe");
        fs::write(&path, vec![7; 300_001]).expect("a file");
        let install = || {
            let exe = File::open(&path).expect("a file");
            super::install(&store, &exe, Owners::Recorded, &()).expect("an image")
        };
        let first = install();
        assert_eq!(first.status, Status::Downloaded);
        let image = store.resolve("hello").expect("the image");
        let layers = store.layers(&image, Owners::Recorded).expect("its layer");
        assert_eq!(fs::read(layers[0].join("coracle")).expect("it"), vec![7; 300_001]);
        assert!(layers[0].join("proc").is_dir());
        let config = store.config(&image).expect("it");
        assert_eq!(config.entrypoint, ["/coracle", "hello"]);
        let again = install();
        assert_eq!((again.id, again.status), (first.id.clone(), Status::UpToDate));
        fs::write(&path, "newer").expect("a file");
        assert_ne!(install().id, first.id);
    }
}
