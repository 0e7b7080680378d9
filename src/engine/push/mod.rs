//! An image of the store to a registry, byte for byte as it came or was made.
//!
//! ```text
//! image ─ its index, if all that it names is here or there; else its manifest
//!   blobs, several at once: there already, mounted from another repository, sent
//!   manifests of an index by their digests, last of all what gets the tag
//! ```

mod deliver;
mod error;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::oci::Digest;
use crate::reference::Reference;
use crate::registry::{Descriptor, Placed, Repository};
use crate::store::{Image, Store, full_name};

use super::Engine;
use super::save::{self, Content, Shape};

pub(super) use deliver::{Load, Paper, To, blobs_of, deliver};
pub use error::Error;

/// Repositories of one registry that blobs are mounted from, at most: a token names each.
const MOST_SOURCES: usize = 8;

/// Where a blob stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The registry is asked whether it has it.
    Preparing,
    /// So many bytes of it are on their way.
    Sending {
        /// Bytes.
        done: u64,
    },
    /// It is there.
    Done(Placed),
}

/// A blob moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place among the blobs.
    pub index: usize,
    /// Which.
    pub blob: Descriptor,
    /// Where it stands.
    pub state: State,
}

/// Who wants to know. Called from several threads.
pub trait Progress: Sync {
    /// Something happened; return quickly.
    fn pushed(&self, event: Event);
}

/// What is pushed, and where to.
pub struct Request<'a> {
    /// The image.
    pub image: &'a Image,
    /// The repository, with the tag that the image is to have there.
    pub target: &'a Repository,
    /// Where layers may be mounted from (see [`Engine::push_sources`]).
    pub sources: &'a Sources,
    /// Blobs at once; docker's is 5.
    pub jobs: usize,
    /// What is to be another than it was.
    pub shape: Shape,
    /// The image alone, though it came as one of several platforms.
    pub alone: bool,
}

/// What a push ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The digest that has the tag now.
    pub digest: Digest,
    /// The size of that document in bytes, as docker prints it.
    pub size: usize,
    /// Whether only a part of an index was here, so that its manifest stands alone now.
    pub alone: bool,
    /// Whether a layer was sent in another packing than the image came in, so that the digest is new.
    pub repacked: bool,
}

/// Which repositories of the registry have a layer, as far as the store knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources(BTreeMap<Digest, BTreeSet<String>>);

impl Sources {
    /// All of the repositories.
    pub fn repositories(&self) -> Vec<String> {
        let all: BTreeSet<&String> = self.0.values().flatten().collect();
        all.into_iter().cloned().collect()
    }

    /// Says that a repository of the registry has a blob.
    pub(super) fn add(&mut self, digest: Digest, repository: String) {
        self.0.entry(digest).or_default().insert(repository);
    }

    pub(super) fn of(&self, digest: &Digest) -> Vec<String> {
        self.0.get(digest).into_iter().flatten().cloned().collect()
    }
}

/// Looks up where the layers of `image` came from or went to: other repositories of the registry.
fn sources(store: &Store, image: &Image, target: &Reference) -> Result<Sources, Error> {
    let wanted: BTreeSet<&Digest> = image.layers.iter().map(|layer| &layer.digest).collect();
    let mut sources = Sources::default();
    let mut known = BTreeSet::new();
    for (name, id) in store.tags()? {
        // Only a name with a digest says that it was there.
        let Some((repository, _)) = name.split_once('@') else { continue };
        let Some(path) = repository.strip_prefix(target.registry()) else { continue };
        let Some(path) = path.strip_prefix('/').filter(|path| *path != target.repository()) else {
            continue;
        };
        let Some(other) = store.image(&id)? else { continue };
        for layer in other.layers.iter().filter(|layer| wanted.contains(&layer.digest)) {
            if known.len() < MOST_SOURCES || known.contains(path) {
                known.insert(path.to_owned());
                sources.0.entry(layer.digest.clone()).or_default().insert(path.to_owned());
            }
        }
    }
    Ok(sources)
}

impl Engine {
    /// Brings an image to a registry.
    pub fn push(&self, request: &Request, progress: &dyn Progress) -> Result<Pushed, super::Error> {
        Ok(push(self.store(), request, progress)?)
    }

    /// Where the layers of an image may be mounted from.
    pub fn push_sources(&self, image: &Image, target: &Reference) -> Result<Sources, super::Error> {
        Ok(sources(self.store(), image, target)?)
    }

    /// The image that has exactly this name; an ID will not do.
    pub fn named(&self, reference: &Reference) -> Result<Image, super::Error> {
        Ok(named(self.store(), reference)?)
    }

    /// All tags of a repository, in full form.
    pub fn tags_of(&self, reference: &Reference) -> Result<Vec<String>, super::Error> {
        Ok(tags(self.store(), reference)?)
    }
}

fn push(store: &Store, request: &Request, progress: &dyn Progress) -> Result<Pushed, Error> {
    let _hold = store.hold()?;
    let scratch = store.scratch()?;
    let shaped = in_shape(store, request, scratch.path())?;
    let is_shaped = shaped.is_some();
    let mut load = shaped.map_or_else(|| as_it_came(store, request), Ok)?;
    let mut repacked = false;
    if !is_shaped && !take_what_is_there(store, request.target, &mut load)? {
        load = as_it_is_here(store, request)?;
        repacked = true;
    }
    let to = To { target: request.target, sources: request.sources, jobs: request.jobs };
    deliver(to, &load, progress)?;
    let (reference, top) = (request.target.reference(), load.top);
    store.tag(&format!("{}@{}", reference.name(), top.digest), &request.image.id)?;
    let alone = request.image.index.is_some() && !is_shaped && top.parts.manifests.is_empty();
    Ok(Pushed { digest: top.digest, size: top.bytes.len(), alone, repacked })
}

/// The image in the shape that was asked for; `None` if it is as it came.
fn in_shape(store: &Store, request: &Request, scratch: &Path) -> Result<Option<Load>, Error> {
    if request.shape == Shape::default() {
        return Ok(None);
    }
    let content = here(store, request)?;
    let shaped = save::reshaped(store, request.image, &content, &request.shape, scratch)?;
    shaped.map(|content| load_of(store, content)).transpose()
}

/// The document that gets the tag, and those that it names and that are here.
fn as_it_came(store: &Store, request: &Request) -> Result<Load, Error> {
    let (top, below) = papers(store, request)?;
    let blobs = blobs_of(below.iter().chain([&top]));
    let blobs = blobs.into_iter().map(|blob| (blob.clone(), store.blob_path(&blob.digest)));
    Ok(Load { blobs: blobs.collect(), below, top })
}

/// Leaves out what is not here and is there already; `false` if something is in neither place: a layer
/// that another image had brought, packed otherwise, was not fetched again.
fn take_what_is_there(store: &Store, target: &Repository, load: &mut Load) -> Result<bool, Error> {
    let mut missing = Vec::new();
    load.blobs.retain(|(blob, _)| {
        let here = store.has_blob(&blob.digest, blob.size);
        if !here {
            missing.push(blob.digest.clone());
        }
        here
    });
    for digest in missing {
        if !target.has_blob(&digest)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The image with the packings of its layers that are here, under a manifest made anew.
fn as_it_is_here(store: &Store, request: &Request) -> Result<Load, Error> {
    load_of(store, here(store, request)?)
}

fn here(store: &Store, request: &Request) -> Result<Content, Error> {
    let image = request.target.reference().familiar();
    Content::of(store, request.image).map_err(|error| match error {
        save::Error::NoBlob { layer, .. } => Error::MissingBlob { image, digest: layer },
        error => error.into(),
    })
}

fn load_of(store: &Store, content: Content) -> Result<Load, Error> {
    let top = Paper::new(content.manifest)?;
    let blobs = top.parts.blobs.iter().map(|blob| {
        let path = content.files.get(&blob.digest).cloned();
        (blob.clone(), path.unwrap_or_else(|| store.blob_path(&blob.digest)))
    });
    Ok(Load { blobs: blobs.collect(), below: Vec::new(), top })
}

fn papers(store: &Store, request: &Request) -> Result<(Paper, Vec<Paper>), Error> {
    let image = request.image;
    let index = image.index.as_ref().filter(|_| !request.alone);
    if let Some(index) = index.and_then(|index| Paper::of(store, index).ok()) {
        let mut below = Vec::new();
        let mut whole = true;
        for manifest in &index.parts.manifests {
            let here = Paper::of(store, &manifest.digest).ok().filter(|paper| {
                let here = |blob: &Descriptor| store.has_blob(&blob.digest, blob.size);
                paper.parts.manifests.is_empty() && paper.parts.blobs.iter().all(here)
            });
            match here {
                Some(paper) => below.push(paper),
                None if request.target.has_manifest(&manifest.digest)? => {}
                None => {
                    whole = false;
                    break;
                }
            }
        }
        if whole {
            return Ok((index, below));
        }
    }
    Ok((Paper::of(store, &image.manifest)?, Vec::new()))
}

fn named(store: &Store, reference: &Reference) -> Result<Image, Error> {
    let name = full_name(reference);
    store.named(&name)?.ok_or_else(|| Error::NoSuchTag { name: reference.familiar() })
}

fn tags(store: &Store, reference: &Reference) -> Result<Vec<String>, Error> {
    let of =
        |name: &String| name.rsplit_once(':').is_some_and(|(name, _)| name == reference.name());
    let names = store.tags()?.into_iter().map(|(name, _)| name);
    let names: Vec<String> = names.filter(|name| !name.contains('@') && of(name)).collect();
    match names.is_empty() {
        true => Err(Error::NoSuchTag { name: crate::reference::familiar(&reference.name()) }),
        false => Ok(names),
    }
}
