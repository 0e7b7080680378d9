//! An image of the store to a registry, byte for byte as it came or was made.
//!
//! ```text
//! image ─ its index, if all that it names is here or there; else its manifest
//!   blobs, several at once: there already, mounted from another repository, sent
//!   manifests of an index by their digests, last of all what gets the tag
//! ```

mod error;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::oci::Digest;
use crate::reference::Reference;
use crate::registry::{self, Descriptor, Parts, Placed, Repository};
use crate::store::{Image, Store, full_name};

use super::Engine;

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

/// A document with what it consists of.
struct Paper {
    digest: Digest,
    bytes: Vec<u8>,
    parts: Parts,
}

fn push(store: &Store, request: &Request, progress: &dyn Progress) -> Result<Pushed, Error> {
    let _hold = store.hold()?;
    let (top, below) = papers(store, request)?;
    let mut blobs: Vec<Descriptor> = Vec::new();
    for blob in below.iter().chain([&top]).flat_map(|paper| &paper.parts.blobs) {
        if blobs.iter().all(|other| other.digest != blob.digest) {
            blobs.push(blob.clone());
        }
    }
    // A layer that another image had brought, packed otherwise, was not fetched again.
    let (blobs, missing): (Vec<Descriptor>, Vec<Descriptor>) =
        blobs.into_iter().partition(|blob| store.has_blob(&blob.digest, blob.size));
    for Descriptor { digest, .. } in missing {
        if !request.target.has_blob(&digest)? {
            let image = request.target.reference().familiar();
            return Err(Error::MissingBlob { image, digest });
        }
    }
    send(store, request, &blobs, progress)?;
    for paper in below {
        let name = paper.digest.to_string();
        request.target.put_manifest(&name, &paper.parts.media_type, &paper.bytes)?;
    }
    let reference = request.target.reference();
    let tag = reference.tag_or_digest();
    request.target.put_manifest(&tag, &top.parts.media_type, &top.bytes)?;
    store.tag(&format!("{}@{}", reference.name(), top.digest), &request.image.id)?;
    let alone = request.image.index.as_ref().is_some_and(|index| *index != top.digest);
    Ok(Pushed { digest: top.digest, size: top.bytes.len(), alone })
}

/// The document that gets the tag, and those that it names and that are here.
fn papers(store: &Store, request: &Request) -> Result<(Paper, Vec<Paper>), Error> {
    let image = request.image;
    if let Some(index) = image.index.as_ref().and_then(|index| paper(store, index).ok()) {
        let mut below = Vec::new();
        let mut whole = true;
        for manifest in &index.parts.manifests {
            let here = paper(store, &manifest.digest).ok().filter(|paper| {
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
    Ok((paper(store, &image.manifest)?, Vec::new()))
}

fn paper(store: &Store, digest: &Digest) -> Result<Paper, Error> {
    let bytes = store.document(digest)?;
    let parts = registry::parts(&digest.to_string(), &bytes)?;
    Ok(Paper { digest: digest.clone(), bytes, parts })
}

/// Sends what is not there, several at once.
fn send(
    store: &Store,
    request: &Request,
    blobs: &[Descriptor],
    progress: &dyn Progress,
) -> Result<(), Error> {
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let failed: Mutex<Option<Error>> = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..request.jobs.clamp(1, blobs.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(blob) = blobs.get(index).filter(|_| !stop.load(Ordering::Relaxed))
                    else {
                        return;
                    };
                    if let Err(error) = send_one(store, request, (index, blob), progress) {
                        stop.store(true, Ordering::Relaxed);
                        failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                        return;
                    }
                }
            });
        }
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn send_one(
    store: &Store,
    request: &Request,
    (index, blob): (usize, &Descriptor),
    progress: &dyn Progress,
) -> Result<(), Error> {
    let tell = |state| progress.pushed(Event { index, blob: blob.clone(), state });
    tell(State::Preparing);
    let path = store.blob_path(&blob.digest);
    let sources: Vec<String> =
        request.sources.0.get(&blob.digest).into_iter().flatten().cloned().collect();
    let told = |done| tell(State::Sending { done });
    match request.target.put_blob(blob, &path, &sources, &told) {
        Ok(placed) => {
            tell(State::Done(placed));
            Ok(())
        }
        // The registry hashes what it gets: it may have found out what was not looked for here.
        Err(registry::Error::Status { status: 400, .. }) if !is_sound(&path, &blob.digest) => {
            let image = request.target.reference().familiar();
            Err(Error::DamagedBlob { image, digest: blob.digest.clone(), path })
        }
        Err(error) => Err(error.into()),
    }
}

fn is_sound(path: &std::path::Path, digest: &Digest) -> bool {
    let hash = || {
        let mut file = std::fs::File::open(path)?;
        let mut hasher = crate::oci::Hasher::new(digest.algorithm());
        let mut buffer = vec![0; 128 << 10];
        loop {
            match std::io::Read::read(&mut file, &mut buffer)? {
                0 => return Ok::<_, std::io::Error>(hasher.finish()),
                length => hasher.update(&buffer[..length]),
            }
        }
    };
    hash().is_ok_and(|found| found == *digest)
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
