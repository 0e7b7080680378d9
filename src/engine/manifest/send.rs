//! A list to a registry, or to an OCI layout, with the images that it names.

use serde_json::Value;

use crate::engine::push::{Load, Paper, Progress, Pushed, Sources, To, blobs_of, deliver};
use crate::engine::save::{self, Sink, Words};
use crate::engine::{Engine, pull};
use crate::oci::Digest;
use crate::reference::Reference;
use crate::registry::{Descriptor, Repository};
use crate::store::{Kind, Pinned, Store, full_name};

use super::index::Index;
use super::{Error, Registries};

/// What is sent.
#[derive(Clone, Copy)]
pub struct Sending<'a> {
    /// The list.
    pub name: &'a Reference,
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

    /// Brings a list to a registry's repository, where it gets the tag that `target` has.
    pub fn push_list(
        &self,
        sending: &Sending,
        target: &Repository,
        fetched: &dyn pull::Progress,
        progress: &dyn Progress,
    ) -> Result<Pushed, crate::engine::Error> {
        Ok(send(self.store(), sending, target, (fetched, progress))?)
    }

    /// Writes a list to an OCI layout, under `name` and beside the entries `known` of it; gives its digest.
    pub fn write_list(
        &self,
        sending: &Sending,
        (name, known): (Option<&str>, Vec<Value>),
        sink: &mut dyn Sink,
        fetched: &dyn pull::Progress,
    ) -> Result<Digest, crate::engine::Error> {
        Ok(write(self.store(), sending, (name, known), sink, fetched)?)
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
    target: &Repository,
    (fetched, progress): (&dyn pull::Progress, &dyn Progress),
) -> Result<Pushed, Error> {
    let _hold = store.hold()?;
    let list = pinned(store, sending.name)?;
    let bytes = in_words(store, sending, &list)?;
    let top = Paper::new(bytes)?;
    let sources = sources(store, &list, target.reference());
    let below = all_below(store, sending, &list, &top)?;
    let mut load = Load { blobs: Vec::new(), below, top };
    for blob in blobs_of(&load.below) {
        let (digest, sources) = (&blob.digest, sources.of(&blob.digest));
        // What is not here is there already, is taken from another repository of the registry, or is
        // fetched first.
        if !store.has_blob(digest, blob.size)
            && (target.has_blob(digest)? || target.mount(digest, &sources)?.is_some())
        {
            continue;
        }
        if bring(store, sending, &list, &load.below, &blob, fetched)? {
            let path = store.blob_path(digest);
            load.blobs.push((blob, path));
        }
    }
    let to = To { target, sources: &sources, jobs: sending.jobs };
    deliver(to, &load, progress)?;
    let (digest, size) = (load.top.digest, load.top.bytes.len());
    Ok(Pushed { digest, size, alone: false, repacked: false })
}

fn write(
    store: &Store,
    sending: &Sending,
    (name, known): (Option<&str>, Vec<Value>),
    sink: &mut dyn Sink,
    fetched: &dyn pull::Progress,
) -> Result<Digest, Error> {
    let _hold = store.hold()?;
    let list = pinned(store, sending.name)?;
    let top = Paper::new(in_words(store, sending, &list)?)?;
    let below = all_below(store, sending, &list, &top)?;
    for blob in blobs_of(&below) {
        if bring(store, sending, &list, &below, &blob, fetched)? {
            save::write_kept(store, &top.digest, &blob, sink)?;
        }
    }
    for paper in &below {
        save::write_document(&paper.digest, &paper.bytes, sink)?;
    }
    save::write_document(&top.digest, &top.bytes, sink)?;
    let entry = Descriptor {
        media_type: top.parts.media_type,
        digest: top.digest.clone(),
        size: top.bytes.len() as u64,
    };
    save::write_index(entry, name, known, sink)?;
    sink.finish()?;
    Ok(top.digest)
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

/// The manifests that a list names, where they are to go with it.
fn all_below(
    store: &Store,
    sending: &Sending,
    list: &Pinned,
    top: &Paper,
) -> Result<Vec<Paper>, Error> {
    let manifests = top.parts.manifests.iter().filter(|_| sending.all);
    manifests.map(|manifest| below(store, sending, list, &manifest.digest)).collect()
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

/// Fetches a blob of these documents that is not here; `false` where none of them has it.
fn bring(
    store: &Store,
    sending: &Sending,
    list: &Pinned,
    papers: &[Paper],
    blob: &Descriptor,
    progress: &dyn pull::Progress,
) -> Result<bool, Error> {
    if store.has_blob(&blob.digest, blob.size) {
        return Ok(true);
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
