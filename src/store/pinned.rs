//! Documents that have a name of their own and are no image: lists of manifests, artifacts.
//!
//! Their records say what belongs to them, so that a collection reads nothing that a registry sent.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::oci::Digest;

use super::error::{At, Error};
use super::lock::{How, Lock, lock};
use super::names::{encoded, read_json, remove_file};
use super::{Store, make_private, sync_directory};

/// What a document with a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A list of manifests, for several platforms: an index.
    List,
    /// Files in a registry: a manifest whose layers they are.
    Artifact,
}

impl Kind {
    const ALL: [Self; 2] = [Self::List, Self::Artifact];

    fn directory(self) -> &'static str {
        match self {
            Self::List => "lists",
            Self::Artifact => "artifacts",
        }
    }
}

/// `lists/ENCODED`, `artifacts/ENCODED`: a name in full form, its document, and what stays with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    /// The name.
    pub reference: String,
    /// The document.
    pub document: Digest,
    /// Every blob that goes with it, if it is here.
    pub parts: Vec<Digest>,
    /// The images, in full form, that the manifests of a list came from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub origins: BTreeMap<Digest, String>,
}

/// A record as it is found.
#[derive(Debug)]
pub struct PinnedFound {
    /// Of what.
    pub kind: Kind,
    /// Where it is.
    pub path: PathBuf,
    /// The record, or what is wrong with it.
    pub pinned: Result<Pinned, String>,
}

impl Store {
    /// The document of that name, in full form.
    pub fn pinned(&self, kind: Kind, name: &str) -> Result<Option<Pinned>, Error> {
        read_json(&self.pinned_path(kind, name))
    }

    /// All of a kind, by name.
    pub fn all_pinned(&self, kind: Kind) -> Result<Vec<Pinned>, Error> {
        let mut all = Vec::new();
        for path in self.pinned_paths(kind)? {
            all.extend(read_json::<Pinned>(&path)?);
        }
        all.sort_unstable_by(|one, other| one.reference.cmp(&other.reference));
        Ok(all)
    }

    /// All records, readable or not.
    pub fn pinned_found(&self) -> Result<Vec<PinnedFound>, Error> {
        let mut all = Vec::new();
        for kind in Kind::ALL {
            for path in self.pinned_paths(kind)? {
                let pinned = match read_json::<Pinned>(&path) {
                    Ok(None) => continue, // removed a moment ago
                    Ok(Some(found)) if self.pinned_path(kind, &found.reference) == path => {
                        Ok(found)
                    }
                    Ok(Some(_)) => Err("it is another name's".to_owned()),
                    Err(Error::Damaged { why, .. }) => Err(why),
                    Err(error) => Err(error.to_string()),
                };
                all.push(PinnedFound { kind, path, pinned });
            }
        }
        all.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        Ok(all)
    }

    /// Keeps all of them as they are until dropped: for who reads one, changes it and pins it again.
    /// The store is held by then, and no blob yet (see the order in `lock.rs`).
    pub fn hold_pinned(&self) -> Result<Lock, Error> {
        match lock(&self.path("locks").join("pinned"), How::Exclusive)? {
            Some(lock) => Ok(lock),
            None => unreachable!("an exclusive lock waits"),
        }
    }

    /// Gives a document its name, in place of what has it. Its blobs are in the store by now, and who
    /// pins it holds the store since then.
    pub fn pin(&self, kind: Kind, pinned: &Pinned) -> Result<(), Error> {
        let directory = self.path(kind.directory());
        make_private(&directory).at("make", &directory)?; // a store from before has none
        let path = self.pinned_path(kind, &pinned.reference);
        let record = self.draft(&path, pinned)?;
        record.sync()?;
        record.publish(&path)?;
        sync_directory(&directory)?;
        sync_directory(self.root())
    }

    /// Takes the name away; `false` if nothing has it. [`Store::collect`] removes what was its.
    pub fn unpin(&self, kind: Kind, name: &str) -> Result<bool, Error> {
        remove_file(&self.pinned_path(kind, name))
    }

    fn pinned_path(&self, kind: Kind, name: &str) -> PathBuf {
        self.path(kind.directory()).join(encoded(name))
    }

    fn pinned_paths(&self, kind: Kind) -> Result<Vec<PathBuf>, Error> {
        let directory = self.path(kind.directory());
        match fs::read_dir(&directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            read => read
                .at("read", &directory)?
                .map(|entry| Ok(entry.at("read", &directory)?.path()))
                .collect(),
        }
    }

    /// The digits of all blobs that such documents need.
    pub(super) fn pinned_blobs(&self) -> Result<Vec<String>, Error> {
        let mut all = Vec::new();
        for kind in Kind::ALL {
            for pinned in self.all_pinned(kind)? {
                let digests = pinned.parts.iter().chain([&pinned.document]);
                all.extend(digests.map(|digest| digest.hex().to_owned()));
            }
        }
        Ok(all)
    }
}
