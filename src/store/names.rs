//! Tags and image records: small files, replaced as a whole.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::oci::{Digest, ImageConfig};
use crate::reference::Reference;

use super::error::{At, Error};
use super::image::{Image, Names};
use super::lock::{How, Lock, lock};
use super::scratch::Draft;
use super::{Store, sync_directory};

/// `tags/ENCODED`: a reference in full form and the image it names.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Tag {
    pub(super) reference: String,
    pub(super) image: Digest,
}

impl Store {
    /// The image a tag, digest reference, ID or ID prefix names: two small files are read.
    pub fn resolve(&self, query: &str) -> Result<Image, Error> {
        let missing = || Error::NoSuchImage { query: query.to_owned() };
        if let Ok(reference) = query.parse::<Reference>()
            && let Some(image) = self.named(&full_name(&reference))?
        {
            return Ok(image);
        }
        let hex = query.strip_prefix("sha256:").unwrap_or(query);
        if hex.is_empty() || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(missing());
        }
        if let Ok(id) = format!("sha256:{hex}").parse() {
            return self.image(&id)?.ok_or_else(missing);
        }
        let mut ids = self.ids()?.into_iter().filter(|id| id.hex().starts_with(hex));
        match (ids.next(), ids.next()) {
            (None, _) => Err(missing()),
            (Some(id), None) => self.image(&id)?.ok_or_else(missing),
            (Some(_), Some(_)) => Err(Error::Ambiguous { query: query.to_owned() }),
        }
    }

    /// Whether an image is called this; nothing is read.
    pub fn has_name(&self, query: &str) -> bool {
        let reference = query.parse::<Reference>();
        reference.is_ok_and(|reference| self.tag_path(&full_name(&reference)).exists())
    }

    /// The image that has exactly this name, in full form.
    pub fn named(&self, name: &str) -> Result<Option<Image>, Error> {
        match read_json::<Tag>(&self.tag_path(name))? {
            Some(tag) => self.image(&tag.image),
            None => Ok(None),
        }
    }

    /// The record of an image.
    pub fn image(&self, id: &Digest) -> Result<Option<Image>, Error> {
        read_json(&self.image_path(id))
    }

    /// The image's configuration.
    pub fn config(&self, image: &Image) -> Result<ImageConfig, Error> {
        let bytes = self.document(&image.id)?;
        ImageConfig::parse(&bytes).map_err(|error| Error::Damaged {
            path: self.blob_path(&image.id),
            why: error.to_string(),
        })
    }

    /// All images, in no order.
    pub fn images(&self) -> Result<Vec<Image>, Error> {
        let ids = self.ids()?;
        ids.iter().filter_map(|id| self.image(id).transpose()).collect()
    }

    /// The names of an image.
    pub fn names(&self, id: &Digest) -> Result<Names, Error> {
        let mut names = Names::default();
        for (name, image) in self.tags()? {
            if image == *id {
                names.add(name);
            }
        }
        Ok(names)
    }

    /// All names and the images they name, sorted by name.
    pub fn tags(&self) -> Result<Vec<(String, Digest)>, Error> {
        let directory = self.path("tags");
        let mut tags = Vec::new();
        for entry in fs::read_dir(&directory).at("read", &directory)? {
            let path = entry.at("read", &directory)?.path();
            if let Some(Tag { reference, image }) = read_json(&path)? {
                tags.push((reference, image));
            }
        }
        tags.sort_unstable();
        Ok(tags)
    }

    /// Keeps names and records as they are until dropped: for who looks at them and then changes
    /// them. It is the last lock that is taken, and held for a few renames.
    pub fn hold_names(&self) -> Result<Lock, Error> {
        match lock(&self.path("locks").join("names"), How::Exclusive)? {
            Some(lock) => Ok(lock),
            None => unreachable!("an exclusive lock waits"),
        }
    }

    /// Gives an image a name, in full form, in place of the image that has it.
    pub fn tag(&self, name: &str, id: &Digest) -> Result<(), Error> {
        let draft = self.draft_tag(name, id)?;
        draft.sync()?;
        draft.publish(&self.tag_path(name))?;
        sync_directory(&self.path("tags"))
    }

    /// Takes a name away; `false` if nothing has it.
    pub fn untag(&self, name: &str) -> Result<bool, Error> {
        remove_file(&self.tag_path(name))
    }

    /// Forgets an image, not its layers: [`Store::collect`] removes what no one needs any more.
    pub fn forget(&self, id: &Digest) -> Result<bool, Error> {
        remove_file(&self.image_path(id))
    }

    pub(super) fn draft_tag(&self, name: &str, id: &Digest) -> Result<Draft, Error> {
        let tag = Tag { reference: name.to_owned(), image: id.clone() };
        self.draft(&self.tag_path(name), &tag)
    }

    pub(super) fn draft<T: Serialize>(&self, path: &Path, value: &T) -> Result<Draft, Error> {
        let bytes = serde_json::to_vec(value).map_err(std::io::Error::from).at("write", path)?;
        Draft::new(&self.path("tmp"), &bytes)
    }

    pub(super) fn tag_path(&self, name: &str) -> PathBuf {
        self.path("tags").join(encoded(name))
    }

    pub(super) fn image_path(&self, id: &Digest) -> PathBuf {
        self.path("images").join(format!("{}.json", id.hex()))
    }

    pub(super) fn ids(&self) -> Result<Vec<Digest>, Error> {
        let directory = self.path("images");
        let mut ids = Vec::new();
        for entry in fs::read_dir(&directory).at("read", &directory)? {
            let name = entry.at("read", &directory)?.file_name();
            let hex = name.to_str().and_then(|name| name.strip_suffix(".json"));
            let algorithm = |hex: &str| if hex.len() == 64 { "sha256" } else { "sha512" };
            let id = hex.map(|hex| format!("{}:{hex}", algorithm(hex)).parse());
            ids.extend(id.and_then(Result::ok));
        }
        Ok(ids)
    }
}

/// A reference in full form, as the store keeps it: a digest wins over a tag, as docker has it.
pub fn full_name(reference: &Reference) -> String {
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => format!("{}@{digest}", reference.name()),
        (None, tag) => format!("{}:{}", reference.name(), tag.unwrap_or("latest")),
    }
}

/// A reference as a file name.
pub(super) fn encoded(name: &str) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(name.len() + 16);
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-') {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    // Longer than a file name may be; `~` stands in no encoded name.
    if text.len() > 255 { format!("~{}", Digest::of(name.as_bytes()).hex()) } else { text }
}

/// Reads a small file; `None` where there is none.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        bytes => {
            let parsed = serde_json::from_slice(&bytes.at("read", path)?);
            let damaged = |error: serde_json::Error| Error::Damaged {
                path: path.to_owned(),
                why: error.to_string(),
            };
            parsed.map(Some).map_err(damaged)
        }
    }
}

pub(super) fn remove_file(path: &Path) -> Result<bool, Error> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        removed => removed.at("remove", path).map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_is_a_file_name() {
        assert_eq!(encoded("docker.io/library/debian:12"), "docker.io%2Flibrary%2Fdebian%3A12");
        let long = format!("host/{}:tag", "a/".repeat(120));
        assert_eq!(encoded(&long).len(), 65);
    }
}
