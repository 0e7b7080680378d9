//! An image in the store as a source: its layers unpacked once more, for another kind of owners.

use std::fs::File;
use std::io;

use crate::oci::{Digest, Platform};
use crate::registry::{BlobStream, Descriptor, Error, ImageSource, Resolved};
use crate::store::Store;

/// Blobs kept from an earlier pull.
pub(super) struct Kept<'a>(pub(super) &'a Store, pub(super) Resolved);

impl ImageSource for Kept<'_> {
    fn manifest(&self, _platform: &Platform) -> Result<Resolved, Error> {
        Ok(self.1.clone())
    }

    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let missing = |source: io::Error| unreadable(&descriptor.digest, source);
        self.0.document(&descriptor.digest).map_err(io::Error::other).map_err(missing)
    }

    fn blob(&self, descriptor: &Descriptor, _from: u64) -> Result<BlobStream, Error> {
        let file = File::open(self.0.blob_path(&descriptor.digest));
        let file = file.map_err(|source| unreadable(&descriptor.digest, source))?;
        Ok(BlobStream::new(0, file))
    }
}

/// A source that has nothing: for what must come from the store.
pub(super) struct Nowhere;

impl ImageSource for Nowhere {
    fn manifest(&self, _platform: &Platform) -> Result<Resolved, Error> {
        Err(nothing("a manifest"))
    }

    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        Err(nothing(&descriptor.digest.to_string()))
    }

    fn blob(&self, descriptor: &Descriptor, _from: u64) -> Result<BlobStream, Error> {
        Err(nothing(&descriptor.digest.to_string()))
    }
}

fn nothing(what: &str) -> Error {
    Error::Io { what: what.to_owned(), source: io::ErrorKind::NotFound.into() }
}

fn unreadable(digest: &Digest, source: io::Error) -> Error {
    Error::Io { what: format!("the kept blob {digest}"), source }
}
