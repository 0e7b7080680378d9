//! Reference to image: what is fetched, checked, unpacked and named.

use std::str::FromStr;

use crate::oci::Digest;

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
