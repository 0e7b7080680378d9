//! Whether an image is what somebody with a key says it is: sigstore's signatures, and the policy
//! file that asks for them. No network; it reads the files that hold keys and the policy.
//!
//! ```text
//! --verify KEY ─┐                     a signature, from beside the image ─┐
//! policy.json ──┴─ Trust ─ demands ───────────────────────────────────────┴─ Demand::judge ─ Verdict
//!                    └ refused already: reject, or what cannot be verified here
//! ```
//!
//! A signature speaks of a digest, so what it vouches for is every byte below that digest. It is
//! good for an image where it is for the index or for the manifest that was chosen from it: cosign
//! signs the index, podman the manifest, and either names the other's bytes.
//!
//! What is not verified: certificates (keyless signing), the transparency log and timestamps. A key
//! says who, and not when.

mod demand;
mod der;
mod error;
mod identity;
mod key;
mod policy;
mod signature;

pub use demand::{Demand, Findings, Verdict};
pub use error::Error;
pub use identity::Identity;
pub use key::Key;
pub use policy::{Policy, Scope};
pub use signature::{BUNDLE, SIMPLE_SIGNING, Signature, Subject};

use std::path::Path;

use crate::reference::Reference;

/// What must be true of an image before it is used.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// `--verify`: one of these keys must have signed it.
    pub keys: Vec<Key>,
    /// containers-policy.json(5), where there is one.
    pub policy: Option<Policy>,
}

/// Where an image comes from.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// A registry, under this name.
    Registry(&'a Reference),
    /// A transport of containers-transports(5), and the file or directory.
    File {
        /// `oci`, `docker-archive`…
        transport: &'static str,
        /// Where; none for a pipe.
        path: Option<&'a Path>,
    },
}

impl std::fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Registry(reference) => f.write_str(&reference.familiar()),
            Self::File { transport, path: Some(path) } => {
                write!(f, "{transport}:{}", path.display())
            }
            Self::File { transport, path: None } => write!(f, "{transport}: from a pipe"),
        }
    }
}

impl Trust {
    /// What an image from there must show, or that it is refused whatever it shows.
    pub fn demands(&self, origin: Origin<'_>) -> Result<Vec<Demand>, Error> {
        let mut demands = match &self.policy {
            Some(policy) => policy.demands(origin)?,
            None => Vec::new(),
        };
        if !self.keys.is_empty() {
            demands.push(Demand {
                keys: self.keys.clone(),
                identity: Identity::RepositoryIfSaid,
                by: "--verify".to_owned(),
                again: true,
            });
        }
        match (demands.first(), origin) {
            (Some(demand), Origin::File { .. }) => {
                Err(Error::NoPlace { image: origin.to_string(), by: demand.by.clone() })
            }
            _ => Ok(demands),
        }
    }
}
