use crate::diagnose::{Diagnose, Hint};
use crate::engine::{pull, push, save};
use crate::oci::Digest;
use crate::{registry, store};

/// Why a list of manifests could not be made, changed or sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A registry.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// A registry that the list is sent to.
    #[error(transparent)]
    Push(#[from] push::Error),
    /// The files that the list is written to.
    #[error(transparent)]
    Save(#[from] save::Error),
    /// A blob on its way from one registry to another.
    #[error(transparent)]
    Pull(#[from] pull::Error),
    /// No list of that name; docker's words.
    #[error("No such manifest: {name}")]
    NoSuchList {
        /// The name.
        name: String,
    },
    /// There is one; docker's words.
    #[error("refusing to amend an existing manifest list with no --amend flag")]
    Exists {
        /// The name.
        name: String,
    },
    /// docker's words.
    #[error("manifest for image {image} does not exist in {list}")]
    NotInList {
        /// The list.
        list: String,
        /// What was asked for.
        image: String,
    },
    /// An image that brought several manifests.
    #[error("{image} stands for {} manifests of {list}", digests.len())]
    Several {
        /// The list.
        list: String,
        /// What was asked for.
        image: String,
        /// The manifests.
        digests: Vec<Digest>,
    },
    /// A document that is neither an image nor an index.
    #[error("cannot add {image}: {why}")]
    NoImage {
        /// What was to be added.
        image: String,
        /// What it is.
        why: String,
    },
    /// An image that was added from the store and is not there any more.
    #[error("{digest} of the list {list} is not here, and came from no registry")]
    Gone {
        /// The list.
        list: String,
        /// The manifest of the image.
        digest: Digest,
    },
    /// Something that docker's list has no word for.
    #[error("cannot write {list} as docker's manifest list: it has no {what}")]
    NotDocker {
        /// The list.
        list: String,
        /// What it is.
        what: String,
    },
    /// A blob of an entry that is nowhere any more.
    #[error("cannot push {list}: the blob {digest} of {image} is neither here nor there: {why}")]
    NoBlob {
        /// The list.
        list: String,
        /// The blob.
        digest: Digest,
        /// The image that the entry came from.
        image: String,
        /// Why it was not fetched.
        why: String,
    },
}

impl Diagnose for Error {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Registry(error) => error.hint(),
            Self::Push(error) => error.hint(),
            Self::Save(error) => error.hint(),
            Self::Pull(error) => error.hint(),
            Self::NoSuchList { name } => {
                Some(Hint::new(format!("coracle manifest create {name} IMAGE…")))
            }
            Self::Exists { name } => Some(Hint::new(format!(
                "coracle manifest create --amend {name} IMAGE…, or manifest add"
            ))),
            Self::Several { digests, .. } => {
                let digests: Vec<String> = digests.iter().map(Digest::to_string).collect();
                Some(Hint::new(format!("name one of {}", digests.join(", "))))
            }
            Self::Gone { list, .. } => {
                Some(Hint::new(format!("coracle manifest add {list} IMAGE, once it is here again")))
            }
            Self::NotDocker { .. } => Some(Hint::new("--format oci has it")),
            Self::NoBlob { image, .. } => Some(Hint::new(format!("coracle pull {image}"))),
            Self::NotInList { .. } | Self::NoImage { .. } => None,
        }
    }
}
