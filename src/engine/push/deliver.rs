//! Documents and their blobs to a registry: whatever they are of.

use std::io::BufReader;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::oci::{Digest, Hashed};
use crate::registry::{self, Descriptor, Parts, Repository};
use crate::store::Store;

use super::{Error, Event, Progress, Sources, State};

/// A document with what it consists of.
pub(in crate::engine) struct Paper {
    pub(in crate::engine) digest: Digest,
    pub(in crate::engine) bytes: Vec<u8>,
    pub(in crate::engine) parts: Parts,
}

/// What goes to a registry: blobs first, then the documents that the last one names, then that one.
pub(in crate::engine) struct Load {
    pub(in crate::engine) blobs: Vec<(Descriptor, PathBuf)>,
    pub(in crate::engine) below: Vec<Paper>,
    pub(in crate::engine) top: Paper,
}

/// Where it goes.
#[derive(Clone, Copy)]
pub(in crate::engine) struct To<'a> {
    pub(in crate::engine) target: &'a Repository,
    pub(in crate::engine) sources: &'a Sources,
    pub(in crate::engine) jobs: usize,
}

impl Paper {
    pub(in crate::engine) fn new(bytes: Vec<u8>) -> Result<Self, Error> {
        let digest = Digest::of(&bytes);
        let parts = registry::parts(&digest.to_string(), &bytes)?;
        Ok(Self { digest, bytes, parts })
    }

    pub(in crate::engine) fn of(store: &Store, digest: &Digest) -> Result<Self, Error> {
        let bytes = store.document(digest)?;
        let parts = registry::parts(&digest.to_string(), &bytes)?;
        Ok(Self { digest: digest.clone(), bytes, parts })
    }
}

/// The blobs of several documents, each once.
pub(in crate::engine) fn blobs_of<'a>(
    papers: impl IntoIterator<Item = &'a Paper>,
) -> Vec<Descriptor> {
    let mut blobs: Vec<Descriptor> = Vec::new();
    for blob in papers.into_iter().flat_map(|paper| &paper.parts.blobs) {
        if blobs.iter().all(|other| other.digest != blob.digest) {
            blobs.push(blob.clone());
        }
    }
    blobs
}

/// Sends all of it; the last document gets the tag.
pub(in crate::engine) fn deliver(
    to: To,
    load: &Load,
    progress: &dyn Progress,
) -> Result<(), Error> {
    send(to, &load.blobs, progress)?;
    for paper in &load.below {
        let name = paper.digest.to_string();
        to.target.put_manifest(&name, &paper.parts.media_type, &paper.bytes)?;
    }
    let tag = to.target.reference().tag_or_digest();
    to.target.put_manifest(&tag, &load.top.parts.media_type, &load.top.bytes)?;
    Ok(())
}

/// Sends what is not there, several at once.
fn send(to: To, blobs: &[(Descriptor, PathBuf)], progress: &dyn Progress) -> Result<(), Error> {
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let failed: Mutex<Option<Error>> = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..to.jobs.clamp(1, blobs.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(blob) = blobs.get(index).filter(|_| !stop.load(Ordering::Relaxed))
                    else {
                        return;
                    };
                    if let Err(error) = send_one(to, (index, blob), progress) {
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
    to: To,
    (index, (blob, path)): (usize, &(Descriptor, PathBuf)),
    progress: &dyn Progress,
) -> Result<(), Error> {
    let tell = |state| progress.pushed(Event { index, blob: blob.clone(), state });
    tell(State::Preparing);
    let sources: Vec<String> = to.sources.of(&blob.digest);
    let told = |done| tell(State::Sending { done });
    match to.target.put_blob(blob, path, &sources, &told) {
        Ok(placed) => {
            tell(State::Done(placed));
            Ok(())
        }
        // The registry hashes what it gets: it may have found out what was not looked for here.
        Err(registry::Error::Status { status: 400, .. }) if !is_sound(path, &blob.digest) => {
            let image = to.target.reference().familiar();
            Err(Error::DamagedBlob { image, digest: blob.digest.clone(), path: path.clone() })
        }
        Err(error) => Err(error.into()),
    }
}

fn is_sound(path: &std::path::Path, digest: &Digest) -> bool {
    let hash = || {
        let file = BufReader::with_capacity(128 << 10, std::fs::File::open(path)?);
        let mut hashed = Hashed::by(digest.algorithm(), file);
        std::io::copy(&mut hashed, &mut std::io::sink())?;
        Ok::<_, std::io::Error>(hashed.finish().1)
    };
    hash().is_ok_and(|found| found == *digest)
}
