//! Reference to image: what is fetched, checked, unpacked and named.
//!
//! ```text
//! source ─ manifest, configuration ─ which layers are missing (work)
//!   each layer, several at once (unpack), three threads with pipes between them:
//!     source, or blobs with the same parts (contents, splice)
//!       ┬ fetch: hash, partial/sha256-HEX ─ inflate ─ hash DiffId, tar to tmp/…/fs
//!     the disk begins with blobs (store/blob.rs) and large files (layer/tree.rs) at once, and a
//!     fourth thread has it begin with what is written so far (write_out)
//!   settle, the lowest layer first
//!   one syncfs, then renames: layers, blobs, image, tags (store/publish.rs)
//! ```
//!
//! Until the renames nothing of it is visible. What was fetched stays in `partial/`, however
//! the pull ends, and the next one goes on from there.

mod blobs;
mod budget;
mod contents;
mod error;
mod fetch;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod gzip;
mod inflate;
mod kept;
mod pipe;
mod splice;
mod unpack;
mod work;
mod write_out;

use std::str::FromStr;

use crate::oci::{Digest, Platform};
use crate::owners::Owners;
use crate::registry::{Compression, Descriptor, ImageSource, LayerDescriptor, Resolved};
use crate::store::{Image, Store};
use crate::trust::Subject;

pub use blobs::bring_blobs;
pub use error::{Error, Which};

pub(super) use inflate::inflated;

use kept::{Kept, Nowhere};
use work::Work;

/// When to ask the registry (`--pull`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Only if the image is not here.
    #[default]
    Missing,
    /// Each time.
    Always,
    /// At no time.
    Never,
    /// If the registry has another one than is here; what is here serves when it does not answer.
    Newer,
}

/// A text that is no pull policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid pull policy {0:?}: want missing, always, never or newer")]
pub struct InvalidPolicy(pub String);

impl FromStr for Policy {
    type Err = InvalidPolicy;

    fn from_str(text: &str) -> Result<Self, InvalidPolicy> {
        match text {
            "missing" => Ok(Self::Missing),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            "newer" => Ok(Self::Newer),
            _ => Err(InvalidPolicy(text.to_owned())),
        }
    }
}

/// Where a layer stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Another layer goes first, or another process holds it.
    Waiting,
    /// Unpacked before: nothing to do.
    Exists,
    /// So many bytes of it are here.
    Downloading {
        /// Bytes of the blob read so far, those of an earlier try included.
        done: u64,
    },
    /// Parts of it are here, in layers that hold the same files.
    Partly {
        /// The bytes that need not be fetched.
        here: u64,
    },
    /// The blob is here; the rest of it is being unpacked.
    Unpacking,
    /// The connection broke; it is tried again.
    Retrying {
        /// Which try comes next, from 2.
        attempt: u32,
        /// Why the last one failed.
        reason: String,
    },
    /// Unpacked.
    Done,
}

/// What happens during a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The manifest is being fetched.
    Resolving,
    /// The manifest is known: so many layers will follow.
    Resolved {
        /// Number of layers.
        layers: usize,
        /// The digest of the index or manifest.
        digest: Digest,
    },
    /// Layer `index` of `total` moved.
    Layer {
        /// From 0, the lowest first.
        index: usize,
        /// Number of layers.
        total: usize,
        /// The layer as shipped.
        digest: Digest,
        /// Its size as shipped.
        size: u64,
        /// Where it stands.
        state: State,
    },
    /// All is here; it is being written out to disk.
    Storing,
}

/// Who wants to know. Called from several threads.
pub trait Progress: Sync {
    /// Something happened; return quickly.
    fn event(&self, event: Event);
}

/// Nobody does.
impl Progress for () {
    fn event(&self, _event: Event) {}
}

/// Whether the pull brought something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// docker's "Downloaded newer image for".
    Downloaded,
    /// docker's "Image is up to date for".
    UpToDate,
}

/// What a pull ends with: docker's last three lines are made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The image ID.
    pub id: Digest,
    /// The reference in full form; none for an archive without names.
    pub reference: Option<String>,
    /// The digest of the index or manifest.
    pub digest: Digest,
    /// Whether something was fetched.
    pub status: Status,
}

/// What to pull.
pub struct Request<'a> {
    /// Where from.
    pub source: &'a dyn ImageSource,
    /// The image as the user said it, for messages.
    pub image: String,
    /// Its name in the store, in full form: `docker.io/library/debian:12`, or with a digest.
    pub name: Option<String>,
    /// Its repository in full form, to which its digest is added as a second name.
    pub repository: Option<String>,
    /// What it must run on; the platform of this machine is chosen, but not insisted on.
    pub platform: Option<Platform>,
    /// When to ask the source.
    pub policy: Policy,
    /// Whose the files are to be.
    pub owners: Owners,
    /// Layers at once; docker's is 3.
    pub jobs: usize,
    /// The bytes that the layers may unpack to, all together; by default 4 GiB, or 256 times as
    /// much as is shipped if that is more.
    pub most_unpacked: Option<u64>,
}

/// Brings an image into the store, as far as it is not there.
pub fn pull(store: &Store, request: &Request, progress: &dyn Progress) -> Result<Pulled, Error> {
    let _hold = store.hold()?;
    let pulled = pull_held(store, request, progress);
    // What a killed pull left goes last: on ext4 new files are ten times slower for some seconds
    // after many were removed. What cannot be removed now, the next pull tries again.
    let _ = store.sweep();
    pulled
}

fn pull_held(store: &Store, request: &Request, progress: &dyn Progress) -> Result<Pulled, Error> {
    let here = local(store, request)?;
    if let Some(image) = &here
        && may_stay(request, image)
    {
        vouch(store, request, image)?;
        if store.layers(image, request.owners).is_ok() {
            return Ok(pulled(request, image, Status::UpToDate));
        }
        // Unpacked for other owners so far: what was shipped is kept, and serves again.
        match from_kept(store, request, progress, image) {
            Err(error) if request.policy == Policy::Never => return Err(error),
            Err(_) => {}
            Ok(pulled) => return Ok(pulled),
        }
    }
    if request.policy == Policy::Never {
        return Err(Error::NotHere { image: request.image.clone() });
    }
    progress.event(Event::Resolving);
    let platform = request.platform.clone().unwrap_or_else(Platform::host);
    let resolved = match (request.source.manifest(&platform), &here) {
        // An image that shows no good signature is an answer, and not a registry that is away.
        (Err(error), Some(image))
            if request.policy == Policy::Newer
                && !matches!(error, crate::registry::Error::Trust(_))
                && store.layers(image, request.owners).is_ok() =>
        {
            vouch(store, request, image)?;
            return Ok(pulled(request, image, Status::UpToDate));
        }
        (resolved, _) => resolved?,
    };
    let outcome = bring(store, request, progress, &resolved)?;
    let same = here.is_some_and(|image| image.id == outcome.id);
    let status = if same && !outcome.brought { Status::UpToDate } else { Status::Downloaded };
    let reference = request.name.clone();
    Ok(Pulled { id: outcome.id, reference, digest: digest_of(&resolved).clone(), status })
}

fn bring(
    store: &Store,
    request: &Request,
    progress: &dyn Progress,
    resolved: &Resolved,
) -> Result<work::Outcome, Error> {
    let digest = digest_of(resolved).clone();
    progress.event(Event::Resolved { layers: resolved.layers.len(), digest });
    loop {
        match Work::new(store, request, progress, resolved)?.perform() {
            // A mirror that has other bytes is not asked again; what is right so far was kept.
            Err(Error::Digest { want, .. }) if request.source.distrust(&want) => {}
            done => return done,
        }
    }
}

/// The image as it is in the store. A damaged record is none: the pull replaces it.
fn local(store: &Store, request: &Request) -> Result<Option<Image>, Error> {
    let Some(name) = &request.name else { return Ok(None) };
    let image = match store.named(name) {
        Err(crate::store::Error::Damaged { .. }) => None,
        image => image?,
    };
    let suits = |image: &Image| match &request.platform {
        Some(wanted) => wanted.accepts(&image.platform),
        None => true,
    };
    Ok(image.filter(suits))
}

/// Asks the source whether an image that is here may be used.
fn vouch(store: &Store, request: &Request, image: &Image) -> Result<(), Error> {
    let here = || {
        let digests = image.index.iter().chain([&image.manifest]);
        let subject = |digest: &Digest| {
            let bytes = store.document(digest).map_err(std::io::Error::other);
            let what = format!("the kept manifest {digest}");
            let bytes = bytes.map_err(|source| crate::registry::Error::Io { what, source })?;
            Ok(Subject { digest: digest.clone(), bytes })
        };
        digests.map(subject).collect()
    };
    Ok(request.source.vouch(&here)?)
}

/// Whether what is here will do without the manifest being fetched.
fn may_stay(request: &Request, image: &Image) -> bool {
    match request.policy {
        Policy::Missing | Policy::Never => true,
        Policy::Always => false,
        Policy::Newer => match request.source.digest() {
            Ok(Some(digest)) => {
                [Some(&image.manifest), image.index.as_ref()].contains(&Some(&digest))
            }
            Ok(None) => false,
            Err(_) => true,
        },
    }
}

/// Unpacks an image once more, from the blobs that were kept.
fn from_kept(
    store: &Store,
    request: &Request,
    progress: &dyn Progress,
    image: &Image,
) -> Result<Pulled, Error> {
    let config_size = store.document(&image.id)?.len() as u64;
    let index = image.index.as_ref();
    let resolved = Resolved {
        index: index
            .map(|digest| Ok((digest.clone(), store.document(digest)?)))
            .transpose()
            .map_err(|error: crate::store::Error| Error::Store(error))?,
        manifest_digest: image.manifest.clone(),
        manifest_bytes: store.document(&image.manifest)?,
        media_type: String::new(),
        config: Descriptor {
            media_type: String::new(),
            digest: image.id.clone(),
            size: config_size,
        },
        layers: image.layers.iter().map(described).collect(),
    };
    let source = Kept(store, resolved);
    let request = Request {
        source: &source,
        image: request.image.clone(),
        name: request.name.clone(),
        repository: None,
        platform: None,
        ..*request
    };
    bring(store, &request, progress, &source.1)?;
    Ok(pulled(&request, image, Status::UpToDate))
}

/// Unpacks what is missing of an image from the blobs that are here; asks no registry.
pub fn restore(
    store: &Store,
    image: &Image,
    owners: Owners,
    progress: &dyn Progress,
) -> Result<Pulled, Error> {
    let _hold = store.hold()?;
    let request = Request {
        source: &Nowhere,
        image: image.id.to_string(),
        name: None,
        repository: None,
        platform: None,
        policy: Policy::Never,
        owners,
        jobs: 3,
        most_unpacked: Some(u64::MAX), // it was here before
    };
    from_kept(store, &request, progress, image)
}

fn described(layer: &crate::store::Layer) -> LayerDescriptor {
    let descriptor = Descriptor {
        media_type: layer.media_type.clone(),
        digest: layer.digest.clone(),
        size: layer.shipped,
    };
    // Its first bytes tell (inflate.rs).
    LayerDescriptor { descriptor, compression: Compression::None, contents: None }
}

fn pulled(request: &Request, image: &Image, status: Status) -> Pulled {
    Pulled {
        id: image.id.clone(),
        reference: request.name.clone(),
        digest: image.digest().clone(),
        status,
    }
}

/// The digest a registry knows the image by.
fn digest_of(resolved: &Resolved) -> &Digest {
    resolved.index.as_ref().map_or(&resolved.manifest_digest, |(digest, _)| digest)
}

#[cfg(test)]
mod tests;
