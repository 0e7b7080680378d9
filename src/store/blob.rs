//! Blobs as shipped, and those on their way.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::oci::Digest;
use crate::sys;

use super::Store;
use super::error::{At, Error};
use super::lock::{How, lock_file};

/// The most bytes of a blob that is read into memory: a manifest or a configuration.
const LARGEST_DOCUMENT: u64 = 8 << 20;
/// Bytes of a blob on its way that the disk begins with at a time.
const STEP: u64 = 1 << 20;

/// A blob being fetched: `partial/sha256-HEX`, ours until dropped. It stays for the next try.
#[derive(Debug)]
pub struct Partial {
    digest: Digest,
    path: PathBuf,
    file: File,
}

impl Partial {
    /// Which blob.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The bytes so far.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where it is.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// How many bytes an earlier try left.
    pub fn length(&self) -> Result<u64, Error> {
        Ok(self.file.metadata().at("look at", &self.path)?.len())
    }

    /// Writes what came, from the byte `offset` on.
    pub fn write(&self, bytes: &[u8], offset: u64) -> Result<(), Error> {
        self.file.write_all_at(bytes, offset).at("write", &self.path)?;
        if offset / STEP < (offset + bytes.len() as u64) / STEP {
            sys::begin_writing(&self.file, offset / STEP * STEP);
        }
        Ok(())
    }

    /// Writes the whole of a small blob that is checked.
    pub fn replace(&self, bytes: &[u8]) -> Result<(), Error> {
        self.clear()?;
        self.file.write_all_at(bytes, 0).at("write", &self.path)
    }

    /// Gives it up: the blob is here.
    pub fn discard(self) {
        let _ = fs::remove_file(&self.path); // if it stays, gc removes it
    }

    /// Starts anew: what is there turned out to be wrong.
    pub fn clear(&self) -> Result<(), Error> {
        self.file.set_len(0).at("empty", &self.path)
    }
}

impl Store {
    /// Where a blob lies once it is whole and checked.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path("blobs").join(digest.algorithm().name()).join(digest.hex())
    }

    /// Whether a blob of that size is here. Power may fail before a blob is on disk: a short
    /// one does not count.
    pub fn has_blob(&self, digest: &Digest, size: u64) -> bool {
        fs::metadata(self.blob_path(digest)).is_ok_and(|blob| blob.len() == size)
    }

    /// Reads a manifest, index or configuration, and checks that it is the one.
    pub fn document(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let path = self.blob_path(digest);
        let file = File::open(&path).at("open", &path)?;
        let mut bytes = Vec::new();
        file.take(LARGEST_DOCUMENT + 1).read_to_end(&mut bytes).at("read", &path)?;
        let mut hasher = crate::oci::Hasher::new(digest.algorithm());
        hasher.update(&bytes);
        if hasher.finish() != *digest {
            let why = "its content does not match its name".to_owned();
            return Err(Error::Damaged { path, why });
        }
        Ok(bytes)
    }

    /// Keeps a finished file, which is on disk and on the store's file system, as a blob. Whoever does
    /// that holds the store until an image needs it.
    pub fn keep_blob(&self, file: &std::path::Path, digest: &Digest) -> Result<(), Error> {
        let path = self.blob_path(digest);
        fs::rename(file, &path).at("store", &path)?;
        super::sync_directory(path.parent().unwrap_or(&path))
    }

    /// Takes a blob to fetch; `waits` is called if another command is fetching it.
    pub fn partial(&self, digest: &Digest, waits: impl FnOnce()) -> Result<Partial, Error> {
        let name = format!("{}-{}", digest.algorithm().name(), digest.hex());
        let path = self.path("partial").join(name);
        let mut file = lock_file(&path, How::Try)?;
        if file.is_none() {
            waits();
            file = lock_file(&path, How::Exclusive)?;
        }
        let Some(file) = file else { unreachable!("an exclusive lock waits") };
        Ok(Partial { digest: digest.clone(), path, file })
    }
}
