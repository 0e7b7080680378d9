//! Artifacts: files in a registry, under a manifest that is no image's.
//!
//! ```text
//! add       files ─ hashed, kept as blobs ─► manifest
//! pull      manifest ─ its blobs, several at once
//! push      blobs ─ manifest, as they are
//! extract   blobs ─ checked ─► files, under names that lead nowhere else
//! ```
//!
//! Each is a record in the store (`artifacts/`) that keeps its blobs from a collection.

mod document;
mod error;
mod extract;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::oci::{Digest, Hashed};
use crate::owners::Owners;
use crate::reference::Reference;
use crate::registry::{Descriptor, Guarded, ImageSource, Remote, Repository};
use crate::store::{Kind, PATIENCE, Pinned, Store, full_name};

use super::push::{self, Load, Paper, Pushed, Sources, To, deliver};
use super::{Engine, pull};

pub use error::Error;

use document::{Blob, Manifest, NOTHING};

/// Files that become an artifact, or are added to one.
#[derive(Clone, Debug)]
pub struct Adding {
    /// Its name.
    pub name: Reference,
    /// The files.
    pub files: Vec<PathBuf>,
    /// What kind of artifact it is.
    pub kind: Option<String>,
    /// What the files are.
    pub media_type: Option<String>,
    /// Said of each file.
    pub annotations: Vec<(String, String)>,
    /// To one that is there.
    pub append: bool,
}

/// One file of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// By its title.
    Title(String),
    /// By its digest, or the beginning of it.
    Digest(String),
}

/// An artifact in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Artifact {
    /// Its name in full form.
    pub reference: String,
    /// The digest of its manifest.
    pub digest: Digest,
    /// The bytes of its files.
    pub size: u64,
    /// Its manifest.
    pub manifest: serde_json::Value,
}

/// The media type of a file of which nothing is said.
const OCTETS: &str = "application/octet-stream";

impl Engine {
    /// Makes an artifact of files, or adds them to one.
    pub fn add_artifact(&self, adding: &Adding) -> Result<Digest, super::Error> {
        Ok(add(self.store(), adding)?)
    }

    /// Brings an artifact into the store; its digest.
    pub fn pull_artifact(
        &self,
        name: &Reference,
        remote: &Guarded<Remote>,
        jobs: usize,
        progress: &dyn pull::Progress,
    ) -> Result<Digest, super::Error> {
        Ok(fetch(self.store(), name, remote, jobs, progress)?)
    }

    /// Brings an artifact to a registry.
    pub fn push_artifact(
        &self,
        query: &str,
        target: &Repository,
        jobs: usize,
        progress: &dyn push::Progress,
    ) -> Result<Pushed, super::Error> {
        Ok(send(self.store(), query, target, jobs, progress)?)
    }

    /// All artifacts, by name.
    pub fn artifacts(&self) -> Result<Vec<Artifact>, super::Error> {
        let all = self.store().all_pinned(Kind::Artifact)?;
        let described = all.iter().map(|pinned| described(self.store(), pinned));
        Ok(described.collect::<Result<_, Error>>()?)
    }

    /// An artifact by its name, its digest or the beginning of that.
    pub fn artifact(&self, query: &str) -> Result<Artifact, super::Error> {
        Ok(found(self.store(), query).and_then(|pinned| described(self.store(), &pinned))?)
    }

    /// Writes files of an artifact to a directory, or one to a file.
    pub fn extract_artifact(
        &self,
        query: &str,
        which: Option<&Which>,
        to: &Path,
    ) -> Result<(), super::Error> {
        let store = self.store();
        let _hold = store.hold()?;
        let pinned = found(store, query)?;
        let files = manifest(store, &pinned)?.files();
        let name = crate::reference::familiar(&pinned.reference);
        let chosen = extract::choose(&name, &files, which)?;
        Ok(extract::extract(store, &name, &chosen, to)?)
    }

    /// Removes an artifact and what only it needed; its digest. `owners` as
    /// [`Engine::enter_owners`] gave them.
    pub fn remove_artifact(&self, query: &str, owners: Owners) -> Result<Digest, super::Error> {
        let store = self.store();
        let digest = {
            let _hold = store.hold()?;
            let _pinned = store.hold_pinned()?;
            let pinned = found(store, query)?;
            store.unpin(Kind::Artifact, &pinned.reference)?;
            pinned.document
        };
        store.collect(|| self.layers_in_use(), owners, PATIENCE)?;
        Ok(digest)
    }
}

fn found(store: &Store, query: &str) -> Result<Pinned, Error> {
    if let Ok(name) = query.parse::<Reference>()
        && let Some(pinned) = store.pinned(Kind::Artifact, &full_name(&name))?
    {
        return Ok(pinned);
    }
    let query = query.to_owned();
    let hex = query.strip_prefix("sha256:").unwrap_or(&query);
    if hex.is_empty() || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Error::NoSuchArtifact { query });
    }
    let all = store.all_pinned(Kind::Artifact)?.into_iter();
    let mut fits = all.filter(|pinned| pinned.document.hex().starts_with(hex));
    match (fits.next(), fits.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => Err(Error::Ambiguous { query }),
        (None, _) => Err(Error::NoSuchArtifact { query }),
    }
}

fn manifest(store: &Store, pinned: &Pinned) -> Result<Manifest, Error> {
    let name = crate::reference::familiar(&pinned.reference);
    Manifest::read(&store.document(&pinned.document)?).map_err(|why| Error::Document { name, why })
}

fn described(store: &Store, pinned: &Pinned) -> Result<Artifact, Error> {
    let files = manifest(store, pinned)?.files();
    let bytes = store.document(&pinned.document)?;
    let json = serde_json::from_slice(&bytes).map_err(|error| Error::Document {
        name: crate::reference::familiar(&pinned.reference),
        why: error.to_string(),
    })?;
    Ok(Artifact {
        reference: pinned.reference.clone(),
        digest: pinned.document.clone(),
        size: files.iter().map(|file| file.descriptor.size).sum(),
        manifest: json,
    })
}

fn add(store: &Store, adding: &Adding) -> Result<Digest, Error> {
    let _hold = store.hold()?;
    let _pinned = store.hold_pinned()?;
    let (full, name) = (full_name(&adding.name), adding.name.familiar());
    let mut manifest = match store.pinned(Kind::Artifact, &full)? {
        Some(_) if !adding.append => return Err(Error::Exists { name }),
        None if adding.append => return Err(Error::NoSuchArtifact { query: name }),
        Some(known) => self::manifest(store, &known)?,
        None => Manifest::new(adding.kind.as_deref()),
    };
    for path in &adding.files {
        let title = path.file_name().and_then(|name| name.to_str());
        let Some(title) = title.map(str::to_owned) else {
            let path = path.display().to_string();
            return Err(Error::NoFile { path, why: "it has no name that could be its title" });
        };
        if manifest.files().iter().any(|file| file.title.as_ref() == Some(&title)) {
            return Err(Error::Twice { name, title });
        }
        let descriptor = keep(store, path, adding.media_type.as_deref().unwrap_or(OCTETS))?;
        manifest.add(&Blob { descriptor, title: Some(title) }, &adding.annotations);
    }
    // One that came from elsewhere has its own configuration, which is here already.
    if manifest.inline_config().as_deref() == Some(NOTHING) {
        store.keep_document(NOTHING)?;
    }
    pin(store, full, manifest.write())
}

/// Gives a manifest, whose blobs are here, its name.
fn pin(store: &Store, reference: String, bytes: Vec<u8>) -> Result<Digest, Error> {
    let paper = Paper::new(bytes)?;
    store.keep_document(&paper.bytes)?;
    let parts = paper.parts.blobs.into_iter().map(|blob| blob.digest).collect();
    let document = paper.digest;
    let pinned = Pinned { reference, document: document.clone(), parts, origins: BTreeMap::new() };
    store.pin(Kind::Artifact, &pinned)?;
    Ok(document)
}

/// Copies all of `input`; which side failed is told by `read` or `write`.
fn pour(
    mut input: impl Read,
    output: &mut File,
    read: impl FnOnce(io::Error) -> Error,
    write: impl FnOnce(io::Error) -> Error,
) -> Result<(), Error> {
    let mut buffer = vec![0; 128 << 10];
    loop {
        let count = match input.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(read(error)),
        };
        if let Err(error) = output.write_all(&buffer[..count]) {
            return Err(write(error));
        }
    }
}

/// Copies a file into the store.
fn keep(store: &Store, path: &Path, media_type: &str) -> Result<Descriptor, Error> {
    let io = |action: &'static str| {
        let what = path.display().to_string();
        move |source: io::Error| Error::Io { action, what, source }
    };
    let is_file = path.metadata().map_err(io("add"))?.is_file();
    let input = File::open(path).map_err(io("open"))?;
    if !is_file {
        let path = path.display().to_string();
        return Err(Error::NoFile { path, why: "it is no regular file" });
    }
    let scratch = store.scratch()?;
    let draft = scratch.path().join("file");
    let write = |source| Error::Io { action: "write", what: draft.display().to_string(), source };
    let mut output = File::create(&draft).map_err(write)?;
    let mut input = Hashed::new(input);
    pour(&mut input, &mut output, io("read"), write)?;
    let (_, digest, size) = input.finish();
    if !store.has_blob(&digest, size) {
        output.sync_all().map_err(write)?;
        store.keep_blob(&draft, &digest)?;
    }
    Ok(Descriptor { media_type: media_type.to_owned(), digest, size })
}

fn fetch(
    store: &Store,
    name: &Reference,
    remote: &Guarded<Remote>,
    jobs: usize,
    progress: &dyn pull::Progress,
) -> Result<Digest, Error> {
    let _hold = store.hold()?;
    let sent = remote.inner().sent(None)?;
    remote.check_document(&sent.digest, &sent.bytes)?;
    let document = |why| Error::Document { name: name.familiar(), why };
    let manifest = Manifest::read(&sent.bytes).map_err(document)?;
    if let Some(config) = manifest.inline_config() {
        store.keep_document(&config)?;
    }
    let blobs = Paper::new(sent.bytes.clone())?.parts.blobs;
    bring(store, name, remote.inner(), &blobs, jobs, progress)?;
    let _pinned = store.hold_pinned()?;
    pin(store, full_name(name), sent.bytes)
}

/// Brings what of an artifact's blobs is not here.
fn bring(
    store: &Store,
    name: &Reference,
    source: &dyn ImageSource,
    blobs: &[Descriptor],
    jobs: usize,
    progress: &dyn pull::Progress,
) -> Result<(), Error> {
    Ok(pull::bring_blobs(store, source, (&name.familiar(), blobs), jobs, progress)?)
}

fn send(
    store: &Store,
    query: &str,
    target: &Repository,
    jobs: usize,
    progress: &dyn push::Progress,
) -> Result<Pushed, Error> {
    let _hold = store.hold()?;
    let top = Paper::of(store, &found(store, query)?.document)?;
    for blob in &top.parts.blobs {
        if !store.has_blob(&blob.digest, blob.size) && !target.has_blob(&blob.digest)? {
            let image = target.reference().familiar();
            return Err(push::Error::MissingBlob { image, digest: blob.digest.clone() }.into());
        }
    }
    let here = top.parts.blobs.iter().filter(|blob| store.has_blob(&blob.digest, blob.size));
    let blobs = here.map(|blob| (blob.clone(), store.blob_path(&blob.digest))).collect();
    let load = Load { blobs, below: Vec::new(), top };
    let sources = Sources::default();
    deliver(To { target, sources: &sources, jobs }, &load, progress)?;
    let (digest, size) = (load.top.digest, load.top.bytes.len());
    Ok(Pushed { digest, size, alone: false, repacked: false })
}
