//! A list to a registry, with the images that it names.

use crate::engine::push::{Load, Paper, Progress, Pushed, Sources, To, blobs_of, deliver};
use crate::engine::save::Words;
use crate::engine::{Engine, pull};
use crate::oci::Digest;
use crate::reference::Reference;
use crate::registry::{Descriptor, Repository};
use crate::store::{Kind, Pinned, Store, full_name};

use super::index::Index;
use super::{Error, Registries};

/// What is sent, and where to.
pub struct Sending<'a> {
    /// The list.
    pub name: &'a Reference,
    /// The repository, with the tag that the list is to have there.
    pub target: &'a Repository,
    /// Its images too; they must be there otherwise.
    pub all: bool,
    /// In whose words.
    pub words: Option<Words>,
    /// How blobs that are neither here nor there are fetched.
    pub registries: Registries<'a>,
    /// Blobs at once.
    pub jobs: usize,
}

impl Engine {
    /// The repositories of the target's registry that a list's images came from.
    pub fn list_sources(
        &self,
        name: &Reference,
        target: &Reference,
    ) -> Result<Sources, crate::engine::Error> {
        Ok(sources(self.store(), &pinned(self.store(), name)?, target))
    }

    /// Brings a list to a registry.
    pub fn push_list(
        &self,
        sending: &Sending,
        fetched: &dyn pull::Progress,
        progress: &dyn Progress,
    ) -> Result<Pushed, crate::engine::Error> {
        Ok(send(self.store(), sending, fetched, progress)?)
    }
}

fn pinned(store: &Store, name: &Reference) -> Result<Pinned, Error> {
    let found = store.pinned(Kind::List, &full_name(name))?;
    found.ok_or_else(|| Error::NoSuchList { name: name.familiar() })
}

fn sources(store: &Store, list: &Pinned, target: &Reference) -> Sources {
    let mut sources = Sources::default();
    for (manifest, origin) in &list.origins {
        let Ok(origin) = origin.parse::<Reference>() else { continue };
        if origin.registry() != target.registry() || origin.repository() == target.repository() {
            continue;
        }
        let Ok(paper) = Paper::of(store, manifest) else { continue };
        for blob in &paper.parts.blobs {
            sources.add(blob.digest.clone(), origin.repository().to_owned());
        }
    }
    sources
}

fn send(
    store: &Store,
    sending: &Sending,
    fetched: &dyn pull::Progress,
    progress: &dyn Progress,
) -> Result<Pushed, Error> {
    let _hold = store.hold()?;
    let list = pinned(store, sending.name)?;
    let bytes = in_words(store, sending, &list)?;
    let top = Paper::new(bytes)?;
    let sources = sources(store, &list, sending.target.reference());
    let mut load = Load { blobs: Vec::new(), below: Vec::new(), top };
    if sending.all {
        for manifest in &load.top.parts.manifests {
            load.below.push(below(store, sending, &list, &manifest.digest)?);
        }
        for blob in blobs_of(&load.below) {
            if must_be_sent(store, sending, &list, &sources, &load.below, &blob, fetched)? {
                let path = store.blob_path(&blob.digest);
                load.blobs.push((blob, path));
            }
        }
    }
    let to = To { target: sending.target, sources: &sources, jobs: sending.jobs };
    deliver(to, &load, progress)?;
    let (digest, size) = (load.top.digest, load.top.bytes.len());
    Ok(Pushed { digest, size, alone: false, repacked: false })
}

fn in_words(store: &Store, sending: &Sending, list: &Pinned) -> Result<Vec<u8>, Error> {
    let bytes = store.document(&list.document)?;
    let Some(words) = sending.words else { return Ok(bytes) };
    let damaged = |error: serde_json::Error| crate::store::Error::Damaged {
        path: store.blob_path(&list.document),
        why: error.to_string(),
    };
    let mut index = Index::read(&bytes).map_err(damaged)?;
    let list = sending.name.familiar();
    index.write(Some(words)).map_err(|what| Error::NotDocker { list, what })
}

/// A manifest of the list: from the store, where it was kept, or from where it came.
fn below(store: &Store, sending: &Sending, list: &Pinned, digest: &Digest) -> Result<Paper, Error> {
    if let Ok(paper) = Paper::of(store, digest) {
        return Ok(paper);
    }
    let origin = origin(sending, list, digest, digest)?;
    Ok(Paper::new((sending.registries)(&origin)?.sent(Some(digest))?.bytes)?)
}

/// The image that a manifest of the list came from.
fn origin(
    sending: &Sending,
    list: &Pinned,
    manifest: &Digest,
    missing: &Digest,
) -> Result<Reference, Error> {
    let named = list.origins.get(manifest).and_then(|origin| origin.parse().ok());
    named.ok_or_else(|| Error::NoBlob {
        list: sending.name.familiar(),
        digest: missing.clone(),
        image: manifest.to_string(),
        why: "it has no name that says where it came from".to_owned(),
    })
}

/// Whether a blob is to be sent from the store. One that is not here is there already, is taken from
/// another repository of the registry, or is fetched first.
fn must_be_sent(
    store: &Store,
    sending: &Sending,
    list: &Pinned,
    sources: &Sources,
    papers: &[Paper],
    blob: &Descriptor,
    progress: &dyn pull::Progress,
) -> Result<bool, Error> {
    if store.has_blob(&blob.digest, blob.size) {
        return Ok(true);
    }
    let target = sending.target;
    if target.has_blob(&blob.digest)?
        || target.mount(&blob.digest, &sources.of(&blob.digest))?.is_some()
    {
        return Ok(false);
    }
    let of = |paper: &&Paper| paper.parts.blobs.iter().any(|it| it.digest == blob.digest);
    let Some(paper) = papers.iter().find(of) else { return Ok(false) };
    let origin = origin(sending, list, &paper.digest, &blob.digest)?;
    let failed = |why: String| Error::NoBlob {
        list: sending.name.familiar(),
        digest: blob.digest.clone(),
        image: origin.familiar(),
        why,
    };
    let remote = (sending.registries)(&origin).map_err(|error| failed(error.to_string()))?;
    let blobs = std::slice::from_ref(blob);
    pull::bring_blobs(store, &remote, (&origin.familiar(), blobs), 1, progress)
        .map_err(|error| failed(error.to_string()))?;
    Ok(true)
}
