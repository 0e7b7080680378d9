//! An OCI image layout as a source of images (image-spec, image-layout.md): a directory, or the
//! same inside a tar archive.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::archive::Archive;
use super::document::{self, CONFIG_LIMIT, Document, MANIFEST_LIMIT, Offer};
use super::{BlobStream, Descriptor, Error, ImageSource, Resolved};
use crate::oci::{Digest, Hasher, Platform};

/// One image of a layout.
pub struct Layout {
    files: Files,
    name: String,
    choice: Choice,
}

/// Which entry of index.json is meant.
enum Choice {
    /// The one with this name; without a name, the only one.
    Named(Option<String>),
    /// The one at this place.
    At(usize),
}

/// Where the layout's files are.
#[derive(Clone)]
enum Files {
    Directory(PathBuf),
    Archive(Arc<Archive>),
}

/// The annotation by which a layout names its images (image-spec, annotations.md).
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// containerd's, and docker's: always a whole reference.
pub const FULL_NAME: &str = "io.containerd.image.name";

impl Layout {
    /// A layout in a directory.
    pub fn open(directory: &Path, tag: Option<String>) -> Result<Self, Error> {
        let name = format!("oci:{}", directory.display());
        let (files, choice) = (Files::Directory(directory.to_owned()), Choice::Named(tag));
        let layout = Self { files, name, choice };
        layout.check_version()?;
        Ok(layout)
    }

    /// A layout in an archive; a compressed one is written out to `scratch` first.
    pub fn open_archive(file: &Path, tag: Option<String>, scratch: &Path) -> Result<Self, Error> {
        let name = format!("oci-archive:{}", file.display());
        let (archive, choice) = (Archive::open(file, scratch)?, Choice::Named(tag));
        let layout = Self { files: Files::Archive(archive.into()), name, choice };
        layout.check_version()?;
        Ok(layout)
    }

    /// All images of a layout in a directory, each with the names it has there.
    pub(super) fn all_in(directory: &Path) -> Result<Vec<(Self, Vec<String>)>, Error> {
        let name = format!("oci:{}", directory.display());
        Self::all(&Files::Directory(directory.to_owned()), &name)
    }

    /// All images of a layout in an archive.
    pub(super) fn all_of(archive: &Arc<Archive>) -> Result<Vec<(Self, Vec<String>)>, Error> {
        let name = format!("oci-archive:{}", archive.name());
        Self::all(&Files::Archive(archive.clone()), &name)
    }

    /// The same image may stand there several times, under a name each.
    fn all(files: &Files, name: &str) -> Result<Vec<(Self, Vec<String>)>, Error> {
        let at =
            |place| Self { files: files.clone(), name: name.to_owned(), choice: Choice::At(place) };
        let layout = at(0);
        layout.check_version()?;
        let bytes = layout.read("index.json", MANIFEST_LIMIT)?;
        let offers = layout.offers(&bytes)?;
        let full: Vec<Option<String>> = annotations(&bytes, FULL_NAME);
        let short = annotations(&bytes, REF_NAME);
        let mut found: Vec<(Digest, Self, Vec<String>)> = Vec::new();
        for (place, offer) in offers.iter().enumerate() {
            let name = [&full, &short].into_iter().find_map(|names| names.get(place)?.clone());
            let digest = &offer.descriptor.digest;
            match found.iter_mut().find(|(known, _, _)| known == digest) {
                Some((_, _, names)) => names.extend(name),
                None => found.push((digest.clone(), at(place), name.into_iter().collect())),
            }
        }
        Ok(found.into_iter().map(|(_, layout, names)| (layout, names)).collect())
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
        use std::os::unix::fs::OpenOptionsExt;
        match &self.files {
            Files::Directory(directory) => {
                let io = |source| Error::Io { what: format!("{path} of {}", self.name), source };
                // A pipe in the place of a file is not waited for.
                let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
                let mut options = std::fs::OpenOptions::new();
                let opened = options.read(true).custom_flags(flags).open(directory.join(path));
                let mut file = opened.map_err(io)?;
                if !file.metadata().map_err(io)?.is_file() {
                    return Err(io(std::io::Error::other("it is no regular file")));
                }
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

    fn offers(&self, index: &[u8]) -> Result<Vec<Offer>, Error> {
        match document::read(&self.name, index, Some(crate::oci::media_type::OCI_INDEX))? {
            Document::Index(offers) => Ok(offers),
            Document::Manifest { .. } => {
                let why = "its index.json is no index".into();
                Err(Error::Document { what: self.name.clone(), why })
            }
        }
    }

    /// The entry of index.json that was asked for.
    fn entry(&self, index: &[u8]) -> Result<Offer, Error> {
        let offers = self.offers(index)?;
        let names = annotations(index, REF_NAME);
        let wanted = |place: &usize| match &self.choice {
            Choice::Named(None) => true,
            Choice::Named(Some(tag)) => names.get(*place).and_then(Option::as_ref) == Some(tag),
            Choice::At(at) => place == at,
        };
        let found: Vec<usize> = (0..offers.len()).filter(wanted).collect();
        let asked = match &self.choice {
            Choice::Named(Some(tag)) => tag.clone(),
            Choice::Named(None) | Choice::At(_) => "without a name: it has several".into(),
        };
        match found[..] {
            [place] => Ok(offers[place].clone()),
            _ => Err(Error::NotInArchive {
                archive: self.name.clone(),
                wanted: asked,
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

/// An annotation of each of index.json's entries, in their order.
fn annotations(index: &[u8], key: &str) -> Vec<Option<String>> {
    let value: serde_json::Value = serde_json::from_slice(index).unwrap_or_default();
    let entries = value["manifests"].as_array().cloned().unwrap_or_default();
    entries.iter().map(|entry| entry["annotations"][key].as_str().map(str::to_owned)).collect()
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
