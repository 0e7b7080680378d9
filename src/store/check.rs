//! Looking for damage: what a disk, a power failure or another program did to files of the store.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::oci::{ChainId, Digest, Hasher};
use crate::owners::Owners;
use crate::sys;

use super::Store;
use super::error::{At, Error};
use super::image::Image;
use super::lock::{How, Lock, lock};
use super::names::{Tag, read_json};
use super::publish::Form;

/// An image's record as it is found.
#[derive(Debug)]
pub struct RecordFound {
    /// Whose record it should be.
    pub id: Digest,
    /// Where it is.
    pub path: PathBuf,
    /// The record, or what is wrong with it.
    pub image: Result<Image, String>,
}

/// A name as it is found.
#[derive(Debug)]
pub struct NameFound {
    /// Where it is.
    pub path: PathBuf,
    /// The name in full form and its image, or what is wrong with it.
    pub tag: Result<(String, Digest), String>,
}

impl Store {
    /// Waits until nobody holds the store, and keeps it so.
    pub fn alone(&self) -> Result<Lock, Error> {
        match lock(&self.path("locks").join("gc"), How::Exclusive)? {
            Some(lock) => Ok(lock),
            None => unreachable!("an exclusive lock waits"),
        }
    }

    /// The records of all images, readable or not.
    pub fn records_found(&self) -> Result<Vec<RecordFound>, Error> {
        let mut found = Vec::new();
        for id in self.ids()? {
            let path = self.image_path(&id);
            let image = match read_json::<Image>(&path) {
                Ok(None) => continue, // removed a moment ago
                Ok(Some(image)) if image.id == id => Ok(image),
                Ok(Some(_)) => Err("it is another image's".to_owned()),
                Err(Error::Damaged { why, .. }) => Err(why),
                Err(error) => Err(error.to_string()),
            };
            found.push(RecordFound { id, path, image });
        }
        found.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        Ok(found)
    }

    /// All names, readable or not.
    pub fn names_found(&self) -> Result<Vec<NameFound>, Error> {
        let directory = self.path("tags");
        let mut found = Vec::new();
        for path in files(&directory)? {
            let tag = match read_json::<Tag>(&path) {
                Ok(None) => continue,
                Ok(Some(tag)) if self.tag_path(&tag.reference) == path => {
                    Ok((tag.reference, tag.image))
                }
                Ok(Some(_)) => Err("it is another name's".to_owned()),
                Err(Error::Damaged { why, .. }) => Err(why),
                Err(error) => Err(error.to_string()),
            };
            found.push(NameFound { path, tag });
        }
        found.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        Ok(found)
    }

    /// All blobs that are here; `None` where a file's name is no digest.
    pub fn blobs_found(&self) -> Result<Vec<(PathBuf, Option<Digest>)>, Error> {
        let mut found = Vec::new();
        for directory in files(&self.path("blobs"))? {
            let algorithm =
                directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
            for path in files(&directory)? {
                let hex = path.file_name().unwrap_or_default().to_string_lossy();
                let digest = format!("{algorithm}:{hex}").parse().ok();
                found.push((path, digest));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// What is wrong with a blob; `None` if nothing is.
    pub fn blob_fault(&self, digest: &Digest) -> Result<Option<String>, Error> {
        let path = self.blob_path(digest);
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Some("it is missing".to_owned()));
            }
            file => file.at("open", &path)?,
        };
        let mut hasher = Hasher::new(digest.algorithm());
        let mut buffer = vec![0; 128 << 10];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => hasher.update(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A disk that gives a part of it no more.
                Err(error) => return Ok(Some(format!("it cannot be read: {error}"))),
            }
        }
        let got = hasher.finish();
        Ok((got != *digest).then(|| "its content does not match its name".to_owned()))
    }

    /// Whether a layer lies unpacked, for any kind of owners.
    pub fn has_layer(&self, chain: &ChainId) -> Result<bool, Error> {
        let has = |directory: PathBuf| directory.join(chain.0.hex()).join("fs").is_dir();
        Ok(self.layer_directories()?.into_iter().any(has))
    }

    /// Where a layer lies unpacked, for these owners, whole or not.
    pub fn layer_found(&self, owners: Owners, chain: &ChainId) -> Option<PathBuf> {
        let path = self.layer_path(owners, chain);
        path.symlink_metadata().is_ok().then_some(path)
    }

    /// Takes a damaged file away: a blob, a record, a name. The caller is [`Store::alone`].
    pub fn drop_file(&self, path: &Path) -> Result<(), Error> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(_) if path.is_dir() => sys::remove_tree(path).at("remove", path),
            removed => removed.at("remove", path),
        }
    }

    /// Takes a damaged layer away. The caller is [`Store::alone`].
    pub fn drop_layer(&self, owners: Owners, chain: &ChainId) -> Result<(), Error> {
        match self.layer_found(owners, chain) {
            Some(path) => self.discard(&path).map(drop),
            None => Ok(()),
        }
    }

    /// Takes the layers of a stack as one directory away. The caller is [`Store::alone`].
    pub fn drop_flat(&self, owners: Owners, chain: &ChainId) -> Result<(), Error> {
        for path in Form::ALL.map(|form| self.flat_path(form, owners, chain)) {
            if path.symlink_metadata().is_ok() {
                self.discard(&path)?;
            }
        }
        Ok(())
    }
}

fn files(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = fs::read_dir(directory).at("read", directory)?;
    read.map(|entry| Ok(entry.at("read", directory)?.path())).collect()
}
