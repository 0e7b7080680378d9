//! What is kept: blobs, unpacked layers, images, tags. All directories are 0700.
//!
//! ```text
//! version                   "1"; a higher one is a later coracle's
//! blobs/sha256/HEX          manifests, indexes, configurations, layers as shipped
//! partial/sha256-HEX        a blob being fetched, flock'ed by who fetches; resumed by Range
//! layers/OWNERS/CHAINHEX/   one unpacked layer, there by rename when it is whole
//!     fs/                   its tree
//!     owners                what links and pipes cannot carry
//!     layer.json            DiffId, size, number of entries
//! flat/OWNERS/CHAINHEX/     the layers up to this one as one directory: `fs`, `owners`; where they are many
//! metadata/OWNERS/CHAINHEX/ the same without the files' data, which an overlay finds below `layers/OWNERS`
//! images/HEX.json           one image: configuration, manifest, layers
//! tags/ENCODED              one reference in full form and its image
//! lists/ENCODED             a list of manifests by its name in full form; made when it is needed
//! artifacts/ENCODED         an artifact, likewise
//! tmp/                      unfinished work, flock'ed while its maker lives, swept later
//! locks/CHAINHEX            who unpacks a layer
//! locks/gc                  shared by pulls and starts, exclusive (or not at all) by gc
//! ```
//!
//! Everything becomes visible by a rename, after one barrier that puts it on disk. So a store
//! needs no repair: what has no name is rubbish.

mod blob;
mod check;
mod collect;
mod error;
mod image;
mod lock;
mod names;
mod pinned;
mod publish;
mod scratch;

use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

pub use blob::Partial;
pub use check::{NameFound, RecordFound};
pub use collect::PATIENCE;
pub use error::Error;
pub use image::{Image, Layer, Names};
pub use lock::Lock;
pub use names::full_name;
pub use pinned::{Kind, Pinned, PinnedFound};
pub use publish::{FinishedFlat, FinishedLayer, Form, LayerRecord, Publication, Shipped};
pub use scratch::Scratch;

use error::At;
use scratch::Draft;

/// The format this code reads and writes.
const VERSION: u32 = 1;

const DIRECTORIES: [&str; 15] = [
    "blobs",
    "blobs/sha256",
    "partial",
    "layers",
    "flat",
    "metadata",
    "images",
    "tags",
    "containers",
    "names",
    "volumes",
    "mounts",
    "events",
    "tmp",
    "locks",
];

/// The store below one root directory.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens the store at `root`, making it where there is none. An existing one costs the
    /// reading of one small file: nothing is swept.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let store = Self { root: root.to_owned() };
        let path = store.path("version");
        match fs::read_to_string(&path) {
            Ok(text) => match text.trim().parse() {
                Ok(VERSION) => {}
                Ok(found) if found > VERSION => {
                    return Err(Error::Newer { path: root.to_owned(), found, known: VERSION });
                }
                // Emptied by a power failure; this format has no predecessor.
                _ => store.make()?,
            },
            Err(error) if error.kind() == ErrorKind::NotFound => store.make()?,
            Err(error) => return Err(error).at("read", &path),
        }
        Ok(store)
    }

    /// Where the store lies.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn make(&self) -> Result<(), Error> {
        let root = &self.root;
        make_private(root).at("make", root)?;
        for entry in fs::read_dir(root).at("read", root)? {
            let name = entry.at("read", root)?.file_name();
            let known = name.to_str().is_some_and(|name| {
                DIRECTORIES.contains(&name)
                    || matches!(name, "version" | "probe.json" | "lists" | "artifacts")
            });
            if !known {
                return Err(Error::NotAStore { path: root.clone() });
            }
        }
        for name in DIRECTORIES {
            let path = self.path(name);
            make_private(&path).at("make", &path)?;
        }
        let path = self.path("version");
        let draft = Draft::new(&self.path("tmp"), format!("{VERSION}\n").as_bytes())?;
        draft.sync()?;
        draft.publish(&path)?;
        sync_directory(root)
    }
}

/// Makes a directory and those above it, for the owner alone.
fn make_private(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Waits until the names in a directory are on disk.
fn sync_directory(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|directory| directory.sync_all()).at("write out", path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_store_is_private_and_knows_its_format() {
        let home = tempfile::tempdir().expect("a directory");
        let root = home.path().join("deep/store");
        Store::open(&root).expect("a new store");
        for name in DIRECTORIES {
            let mode = fs::metadata(root.join(name)).expect("it").permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{name}");
        }
        fs::write(root.join("version"), "2\n").expect("a file");
        let error = Store::open(&root).expect_err("a newer one");
        assert!(error.to_string().contains("its format is 2, and this coracle knows 1"), "{error}");
    }

    #[test]
    fn a_directory_of_other_things_is_no_store() {
        let home = tempfile::tempdir().expect("a directory");
        fs::write(home.path().join("thesis.txt"), "words").expect("a file");
        assert!(matches!(Store::open(home.path()), Err(Error::NotAStore { .. })));
        assert_eq!(fs::read_dir(home.path()).expect("it").count(), 1);
    }

    #[test]
    fn the_work_of_the_living_is_not_swept() {
        let home = tempfile::tempdir().expect("a directory");
        let store = Store::open(&home.path().join("store")).expect("a store");
        let alive = store.scratch().expect("a directory");
        let tmp = store.path("tmp");
        fs::create_dir_all(tmp.join("dead/closed")).expect("directories");
        fs::set_permissions(tmp.join("dead"), fs::Permissions::from_mode(0o000)).expect("a mode");
        fs::write(tmp.join("draft"), "half").expect("a file");
        store.sweep().expect("a sweep");
        assert!(alive.path().exists());
        assert_eq!(fs::read_dir(&tmp).expect("it").count(), 1);
        drop(alive);
        assert_eq!(fs::read_dir(&tmp).expect("it").count(), 0);
    }

    #[test]
    fn an_id_may_be_cut_short_where_it_is_clear() {
        let home = tempfile::tempdir().expect("a directory");
        let store = Store::open(&home.path().join("store")).expect("a store");
        let ids = ["aa11", "aa22"].map(|start| format!("sha256:{start}{}", "0".repeat(60)));
        for id in &ids {
            let image = Image {
                id: id.parse().expect("a digest"),
                manifest: id.parse().expect("a digest"),
                index: None,
                platform: crate::oci::Platform::host(),
                created: None,
                layers: Vec::new(),
            };
            let draft = store.draft(&store.image_path(&image.id), &image).expect("a record");
            draft.publish(&store.image_path(&image.id)).expect("a record");
        }
        assert_eq!(store.resolve("aa1").expect("an image").id.to_string(), ids[0]);
        assert!(matches!(store.resolve("aa"), Err(Error::Ambiguous { .. })));
        assert!(matches!(store.resolve("bb"), Err(Error::NoSuchImage { .. })));
        store.tag("docker.io/library/aa:latest", &ids[1].parse().expect("it")).expect("a tag");
        assert_eq!(store.resolve("aa").expect("a name goes first").id.to_string(), ids[1]);
        assert!(store.has_name("aa") && !store.has_name("aa1"));
    }
}
