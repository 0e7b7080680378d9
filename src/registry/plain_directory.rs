//! A `dir:` directory as a source of one image (containers-transports(5)): its manifest, and each
//! blob in a file that is called by its digest's digits.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::document::{self, CONFIG_LIMIT, Document, MANIFEST_LIMIT};
use super::{BlobStream, Descriptor, Error, ImageSource, Resolved};
use crate::oci::{Digest, Hasher, Platform};

/// What the file `version` begins with.
const VERSION: &str = "Directory Transport Version: 1.";

/// The image of a directory.
pub struct PlainDirectory {
    directory: PathBuf,
    name: String,
}

impl PlainDirectory {
    /// The image in `directory`.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let name = format!("dir:{}", directory.display());
        let image = Self { directory: directory.to_owned(), name };
        let version = image.read("version", 4096)?;
        if !version.starts_with(VERSION.as_bytes()) {
            let why = "its version file names no known version".to_owned();
            return Err(Error::Document { what: image.name, why });
        }
        Ok(image)
    }

    fn file(&self, name: &str) -> Result<File, Error> {
        let io = |source| Error::Io { what: format!("{name} of {}", self.name), source };
        // A pipe in the place of a file is not waited for.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let opened =
            OpenOptions::new().read(true).custom_flags(flags).open(self.directory.join(name));
        let file = opened.map_err(io)?;
        if !file.metadata().map_err(io)?.is_file() {
            return Err(io(io::Error::other("it is no regular file")));
        }
        Ok(file)
    }

    fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, Error> {
        let what = format!("{name} of {}", self.name);
        let mut bytes = Vec::new();
        let read = self.file(name)?.take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|source| Error::Io { what: what.clone(), source })?;
        if bytes.len() as u64 > limit {
            return Err(Error::Document { what, why: format!("it is longer than {limit} bytes") });
        }
        Ok(bytes)
    }
}

impl ImageSource for PlainDirectory {
    fn manifest(&self, _platform: &Platform) -> Result<Resolved, Error> {
        let bytes = self.read("manifest.json", MANIFEST_LIMIT)?;
        match document::read(&self.name, &bytes, None)? {
            Document::Manifest { media_type, config, layers } => Ok(Resolved {
                index: None,
                manifest_digest: Digest::of(&bytes),
                manifest_bytes: bytes,
                media_type,
                config,
                layers,
            }),
            Document::Index(_) => {
                let why = "its manifest.json is an index".to_owned();
                Err(Error::Document { what: self.name.clone(), why })
            }
        }
    }

    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let bytes = self.read(descriptor.digest.hex(), CONFIG_LIMIT)?;
        let mut hasher = Hasher::new(descriptor.digest.algorithm());
        hasher.update(&bytes);
        let got = hasher.finish();
        if got != descriptor.digest {
            let what = format!("the configuration of {}", self.name);
            return Err(Error::Digest { what, want: descriptor.digest.clone(), got });
        }
        Ok(bytes)
    }

    fn blob(&self, descriptor: &Descriptor, from: u64) -> Result<BlobStream, Error> {
        let mut file = self.file(descriptor.digest.hex())?;
        let io = |source| Error::Io { what: format!("a layer of {}", self.name), source };
        file.seek(SeekFrom::Start(from)).map_err(io)?;
        Ok(BlobStream::new(from, file))
    }
}
