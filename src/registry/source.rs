//! What an image is pulled from: a registry, an OCI layout, an archive.

use std::io::{self, Read};
use std::ops::Range;

use crate::oci::{Digest, Platform};

use super::Error;
use crate::trust::{Signature, Subject};

/// A blob as a manifest describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// How a layer is compressed, by its media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// A plain tar archive.
    None,
    /// gzip, of one or more members.
    Gzip,
    /// Zstandard, of one or more frames.
    Zstd,
}

impl Compression {
    /// What a stream that begins so is compressed with.
    ///
    /// docker and containerd look at the bytes and not at the media type, and images rely on it.
    pub fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A frame, or one that is skipped and comes before it.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// A layer as a manifest describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerDescriptor {
    /// The blob.
    pub descriptor: Descriptor,
    /// How to read it.
    pub compression: Compression,
    /// Where it has a table of its contents.
    pub contents: Option<Contents>,
}

/// A table of what a layer holds and where, by which its parts can be fetched one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// zstd:chunked (containers/storage, pkg/chunked): in a frame that is skipped.
    Chunked {
        /// Where it begins in the blob.
        offset: u64,
        /// Its bytes, compressed.
        length: u64,
        /// Of these bytes.
        digest: Digest,
    },
    /// eStargz (stargz-snapshotter, docs/estargz.md): the archive's last file, which the blob's
    /// last bytes point to.
    Stargz {
        /// Of that file.
        digest: Digest,
    },
}

/// A manifest, verified: its digest, size and media type agree with what named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The index it was chosen from, and its digest.
    pub index: Option<(Digest, Vec<u8>)>,
    /// Its digest.
    pub manifest_digest: Digest,
    /// Its bytes, as shipped.
    pub manifest_bytes: Vec<u8>,
    /// Its media type.
    pub media_type: String,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, the lowest first.
    pub layers: Vec<LayerDescriptor>,
}

/// The bytes of a blob from [`offset`](Self::offset) on, not verified.
pub struct BlobStream {
    offset: u64,
    bytes: Box<dyn Read + Send>,
}

impl BlobStream {
    /// A stream that starts `offset` bytes into the blob.
    pub fn new(offset: u64, bytes: impl Read + Send + 'static) -> Self {
        Self { offset, bytes: Box::new(bytes) }
    }

    /// Where it starts: what was asked for, or 0 from a source that cannot start elsewhere.
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

impl Read for BlobStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.bytes.read(buffer)
    }
}

/// A place where signatures lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// cosign's tag of a digest, `sha256-HEX.sig`.
    Tag,
    /// What refers to a digest (distribution-spec, "Listing Referrers").
    Referrers,
}

/// Something images come from.
pub trait ImageSource: Send + Sync {
    /// The manifest for `platform`.
    fn manifest(&self, platform: &Platform) -> Result<Resolved, Error>;

    /// The configuration of an image, verified.
    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error>;

    /// The digest that the name stands for now, if asking costs less than the manifest.
    fn digest(&self) -> Result<Option<Digest>, Error> {
        Ok(None)
    }

    /// Shows the signatures of a document one by one, until `enough` says so. Nothing of them is
    /// verified. A source that has no place for them shows none.
    fn signatures(
        &self,
        _document: &Digest,
        _place: Beside,
        _enough: &mut dyn FnMut(&Signature) -> bool,
    ) -> Result<(), Error> {
        Ok(())
    }

    /// Whether an image that is here already may be used; `here` gives its manifest and its index.
    fn vouch(&self, _here: &dyn Fn() -> Result<Vec<Subject>, Error>) -> Result<(), Error> {
        Ok(())
    }

    /// Told that a blob was not what its digest says: whether somebody else can be asked for it, who
    /// is from then on.
    fn distrust(&self, _blob: &Digest) -> bool {
        false
    }

    /// A blob from byte `from` on; several are read at once.
    fn blob(&self, descriptor: &Descriptor, from: u64) -> Result<BlobStream, Error>;

    /// A part of a blob and no more of it; `None` from a source that cannot give a part.
    fn part(&self, _: &Descriptor, _: Range<u64>) -> Result<Option<BlobStream>, Error> {
        Ok(None)
    }
}
