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

/// Where nothing is asked for.
pub(super) struct Nowhere;

impl ImageSource for Nowhere {
    fn manifest(&self, _platform: &Platform) -> Result<Resolved, Error> {
        Err(nothing())
    }

    fn config(&self, _descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        Err(nothing())
    }

    fn blob(&self, _descriptor: &Descriptor, _from: u64) -> Result<BlobStream, Error> {
        Err(nothing())
    }
}

fn nothing() -> Error {
    let source = io::ErrorKind::NotFound.into();
    Error::Io { what: "an image that is here alone".to_owned(), source }
}

fn unreadable(digest: &Digest, source: io::Error) -> Error {
    Error::Io { what: format!("the kept blob {digest}"), source }
}
