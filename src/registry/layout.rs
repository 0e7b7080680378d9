//! An OCI image layout as a source of images (image-spec, image-layout.md): a directory, or the
//! same inside a tar archive.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::archive::Archive;
use super::document::{self, CONFIG_LIMIT, Document, MANIFEST_LIMIT, Offer};
use super::{BlobStream, Descriptor, Error, ImageSource, Resolved};
use crate::oci::{Digest, Hasher, Platform};

/// One image of a layout.
pub struct Layout {
    files: Files,
    name: String,
    tag: Option<String>,
}

/// Where the layout's files are.
enum Files {
    Directory(PathBuf),
    Archive(Archive),
}

/// The annotation by which a layout names its images (image-spec, annotations.md).
const NAME: &str = "org.opencontainers.image.ref.name";

impl Layout {
    /// A layout in a directory.
    pub fn open(directory: &Path, tag: Option<String>) -> Result<Self, Error> {
        let name = format!("oci:{}", directory.display());
        let layout = Self { files: Files::Directory(directory.to_owned()), name, tag };
        layout.check_version()?;
        Ok(layout)
    }

    /// A layout in an archive; a compressed one is written out to `scratch` first.
    pub fn open_archive(file: &Path, tag: Option<String>, scratch: &Path) -> Result<Self, Error> {
        let name = format!("oci-archive:{}", file.display());
        let layout = Self { files: Files::Archive(Archive::open(file, scratch)?), name, tag };
        layout.check_version()?;
        Ok(layout)
    }

    fn check_version(&self) -> Result<(), Error> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            image_layout_version: String,
        }
        let bytes = self.read("oci-layout", 4096)?;
        let version: Option<Version> = serde_json::from_slice(&bytes).ok();
        match version {
            Some(version) if version.image_layout_version.starts_with("1.") => Ok(()),
            _ => Err(Error::Document {
                what: self.name.clone(),
                why: "its oci-layout file names no known version".into(),
            }),
        }
    }

    fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>, Error> {
        let what = format!("{path} of {}", self.name);
        let io = |source| Error::Io { what: what.clone(), source };
        let mut bytes = Vec::new();
        self.open_file(path, 0)?.take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
        if bytes.len() as u64 > limit {
            return Err(Error::Document { what, why: format!("it is longer than {limit} bytes") });
        }
        Ok(bytes)
    }

    fn open_file(&self, path: &str, from: u64) -> Result<Box<dyn Read + Send>, Error> {
        use std::io::{Seek, SeekFrom};
        match &self.files {
            Files::Directory(directory) => {
                let io = |source| Error::Io { what: format!("{path} of {}", self.name), source };
                let mut file = std::fs::File::open(directory.join(path)).map_err(io)?;
                file.seek(SeekFrom::Start(from)).map_err(io)?;
                Ok(Box::new(file))
            }
            Files::Archive(archive) => Ok(Box::new(archive.member(path, from)?)),
        }
    }

    fn blob_path(digest: &Digest) -> String {
        format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
    }

    /// A blob that is read whole, verified.
    fn document(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>, Error> {
        let bytes = self.read(&Self::blob_path(&descriptor.digest), limit)?;
        let mut hasher = Hasher::new(descriptor.digest.algorithm());
        hasher.update(&bytes);
        let got = hasher.finish();
        if got != descriptor.digest {
            let what = format!("a document of {}", self.name);
            return Err(Error::Digest { what, want: descriptor.digest.clone(), got });
        }
        Ok(bytes)
    }

    /// The entry of index.json that was asked for.
    fn entry(&self, index: &[u8]) -> Result<Offer, Error> {
        let Document::Index(offers) =
            document::read(&self.name, index, Some(crate::oci::media_type::OCI_INDEX))?
        else {
            let why = "its index.json is no index".into();
            return Err(Error::Document { what: self.name.clone(), why });
        };
        let names = names(index);
        let wanted = |place: &usize| match &self.tag {
            None => true,
            Some(tag) => names.get(*place).and_then(Option::as_ref) == Some(tag),
        };
        let found: Vec<usize> = (0..offers.len()).filter(wanted).collect();
        match found[..] {
            [place] => Ok(offers[place].clone()),
            _ => Err(Error::NotInArchive {
                archive: self.name.clone(),
                wanted: self.tag.clone().unwrap_or_else(|| "without a name: it has several".into()),
                offered: names.into_iter().flatten().collect(),
            }),
        }
    }

    fn resolve(&self, offer: &Offer, platform: &Platform, depth: u32) -> Result<Resolved, Error> {
        let descriptor = &offer.descriptor;
        let bytes = self.document(descriptor, MANIFEST_LIMIT)?;
        match document::read(&self.name, &bytes, Some(&descriptor.media_type))? {
            Document::Manifest { media_type, config, layers } => Ok(Resolved {
                index: None,
                manifest_digest: descriptor.digest.clone(),
                manifest_bytes: bytes,
                media_type,
                config,
                layers,
            }),
            Document::Index(_) if depth > 0 => Err(Error::Document {
                what: self.name.clone(),
                why: "it is an index within an index".into(),
            }),
            Document::Index(offers) => {
                let chosen =
                    document::choose(&offers, platform).ok_or_else(|| Error::NoPlatform {
                        image: self.name.clone(),
                        wanted: platform.clone(),
                        offered: offers.iter().filter_map(|offer| offer.platform.clone()).collect(),
                    })?;
                let resolved = self.resolve(chosen, platform, depth + 1)?;
                Ok(Resolved { index: Some((descriptor.digest.clone(), bytes)), ..resolved })
            }
        }
    }
}

/// The names of index.json's entries, in their order.
fn names(index: &[u8]) -> Vec<Option<String>> {
    let value: serde_json::Value = serde_json::from_slice(index).unwrap_or_default();
    let entries = value["manifests"].as_array().cloned().unwrap_or_default();
    entries.iter().map(|entry| entry["annotations"][NAME].as_str().map(str::to_owned)).collect()
}

impl ImageSource for Layout {
    fn manifest(&self, platform: &Platform) -> Result<Resolved, Error> {
        let index = self.read("index.json", MANIFEST_LIMIT)?;
        let entry = self.entry(&index)?;
        self.resolve(&entry, platform, 0)
    }

    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        self.document(descriptor, CONFIG_LIMIT)
    }

    fn blob(&self, descriptor: &Descriptor, from: u64) -> Result<BlobStream, Error> {
        let path = Self::blob_path(&descriptor.digest);
        Ok(BlobStream::new(from, self.open_file(&path, from)?))
    }
}
