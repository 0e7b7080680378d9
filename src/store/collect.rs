//! Garbage collection: removes what no image and no container needs.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::oci::ChainId;
use crate::owners::Owners;
use crate::sys;

use super::Store;
use super::error::{At, Error};
use super::lock::{How, Lock, lock};
use super::scratch;

/// How long a blob that no one went on fetching is kept for another try, unasked.
pub const PATIENCE: Duration = Duration::from_secs(7 * 24 * 3600);

impl Store {
    /// Keeps all that is in the store in place until dropped: for a pull, and for a run until
    /// it has written down which layers it uses.
    pub fn hold(&self) -> Result<Lock, Error> {
        match lock(&self.gc_lock(), How::Shared)? {
            Some(lock) => Ok(lock),
            None => unreachable!("a shared lock waits"),
        }
    }

    /// Removes layers and blobs that neither an image, a list, an artifact nor `in_use` needs, and gives how many
    /// bytes of blobs and layers that were. `in_use` is asked once nobody else is in the store:
    /// what a container that starts meanwhile uses is written down by then. While anyone holds the store, it does nothing: a
    /// later collection will. Of layers in another user namespace than that of `owners` it has
    /// no power over the files, so it leaves them.
    ///
    /// What was fetched of a blob before a pull ended early goes once nobody went on for `patience`.
    pub fn collect<E: From<Error>>(
        &self,
        in_use: impl FnOnce() -> Result<Vec<ChainId>, E>,
        owners: Owners,
        patience: Duration,
    ) -> Result<u64, E> {
        let Some(_alone) = lock(&self.gc_lock(), How::Try)? else { return Ok(0) };
        Ok(self.collect_alone(&in_use()?, owners, patience)?)
    }

    fn collect_alone(
        &self,
        in_use: &[ChainId],
        owners: Owners,
        patience: Duration,
    ) -> Result<u64, Error> {
        let images = self.images()?;
        let mut blobs = HashSet::new();
        let mut chains: HashSet<String> =
            in_use.iter().map(|chain| chain.0.hex().to_owned()).collect();
        for image in &images {
            blobs.extend([&image.id, &image.manifest].map(|digest| digest.hex().to_owned()));
            blobs.extend(image.index.iter().map(|digest| digest.hex().to_owned()));
            blobs.extend(image.layers.iter().map(|layer| layer.digest.hex().to_owned()));
            chains.extend(image.layers.iter().map(|layer| layer.chain.0.hex().to_owned()));
        }
        // What a container uses has no image any more, perhaps; a new pull of that image finds the
        // layer here and does not fetch its blob again. So the blob stays with the layer.
        for directory in self.layer_directories()? {
            for layer in entries(&directory)?.iter().filter(|path| names(&chains, path)) {
                let record =
                    super::names::read_json::<super::LayerRecord>(&layer.join("layer.json"));
                let blob = record.ok().flatten().and_then(|record| record.blob);
                blobs.extend(blob.map(|blob| blob.digest.hex().to_owned()));
            }
        }
        blobs.extend(self.pinned_blobs()?);
        let mut freed = 0;
        let mut trees = vec![Owners::Recorded, owners];
        trees.dedup();
        for owners in trees {
            for kind in ["flat", "metadata", "layers"] {
                let directory = self.path(kind).join(owners.to_string());
                if directory.is_dir() {
                    for layer in entries(&directory)?.iter().filter(|path| !names(&chains, path)) {
                        freed += self.discard(layer)?;
                    }
                }
            }
        }
        for algorithm in entries(&self.path("blobs"))? {
            for blob in entries(&algorithm)?.into_iter().filter(|path| !names(&blobs, path)) {
                freed += blob.symlink_metadata().map_or(0, |blob| blob.len());
                fs::remove_file(&blob).at("remove", &blob)?;
            }
        }
        for partial in entries(&self.path("partial"))? {
            let Some(size) = stale(&partial, patience) else { continue };
            freed += size;
            fs::remove_file(&partial).at("remove", &partial)?;
        }
        // Chain locks are taken under the shared lock only: now no one has or awaits one.
        let is_kept = |path: &&PathBuf| path.ends_with("gc") || path.ends_with("names");
        for lock in entries(&self.path("locks"))?.iter().filter(|path| !is_kept(path)) {
            fs::remove_file(lock).at("remove", lock)?;
        }
        self.sweep()?;
        Ok(freed)
    }

    /// Removes what dead commands left in `tmp/`.
    pub fn sweep(&self) -> Result<(), Error> {
        scratch::sweep(&self.path("tmp"))
    }

    /// Removes a layer: out of sight at once, so that no half of it is ever seen.
    pub(super) fn discard(&self, layer: &Path) -> Result<u64, Error> {
        let record = super::names::read_json::<super::LayerRecord>(&layer.join("layer.json"));
        let freed = record.ok().flatten().map_or(0, |record| record.unpacked);
        let name = format!("gone-{}", layer.file_name().unwrap_or_default().display());
        let gone = self.path("tmp").join(name);
        sys::remove_tree(&gone).at("remove", &gone)?;
        fs::rename(layer, &gone).at("remove", layer)?;
        sys::remove_tree(&gone).at("remove", &gone)?;
        Ok(freed)
    }

    fn gc_lock(&self) -> PathBuf {
        self.path("locks").join("gc")
    }
}

fn names(wanted: &HashSet<String>, path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| wanted.contains(name))
}

/// The size of a file that nobody changed for so long.
fn stale(path: &Path, patience: Duration) -> Option<u64> {
    let metadata = path.symlink_metadata().ok()?;
    let age = SystemTime::now().duration_since(metadata.modified().ok()?);
    (patience.is_zero() || age.is_ok_and(|age| age > patience)).then_some(metadata.len())
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = fs::read_dir(directory).at("read", directory)?;
    read.map(|entry| Ok(entry.at("read", directory)?.path())).collect()
}
