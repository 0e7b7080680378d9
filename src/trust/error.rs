//! Why an image is not trusted.

use std::path::PathBuf;

use super::Findings;
use crate::diagnose::{Diagnose, Hint};
use crate::oci::Digest;

/// Why an image is not trusted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A key that cannot be used.
    #[error("cannot use the key {name}: {why}")]
    Key {
        /// Where it is from.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A policy file that cannot be understood.
    #[error("cannot use the policy {}: {why}", path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        why: String,
    },
    /// The policy wants no such image.
    #[error("{image} is refused: the policy {} says reject for {scope}", path.display())]
    Rejected {
        /// The image.
        image: String,
        /// The policy.
        path: PathBuf,
        /// The scope.
        scope: String,
    },
    /// The policy wants something that coracle does not verify.
    #[error("{image} is refused: the policy {} wants {what} for {scope}, which coracle does not verify",
        path.display())]
    Unverifiable {
        /// The image.
        image: String,
        /// The policy.
        path: PathBuf,
        /// The scope.
        scope: String,
        /// What it wants.
        what: &'static str,
    },
    /// A source that has no place for signatures.
    #[error("cannot verify {image}: signatures lie in registries, and {by} asks for one")]
    NoPlace {
        /// The image.
        image: String,
        /// Who asks.
        by: String,
    },
    /// No good signature.
    #[error(
        "cannot verify {image} ({digest}) by {keys}, as {by} asks: {findings}; looked at {looked}"
    )]
    Unsigned {
        /// The image.
        image: String,
        /// Its digest.
        digest: Digest,
        /// The keys.
        keys: String,
        /// Who asks.
        by: String,
        /// What was found.
        findings: Findings,
        /// Where was looked.
        looked: String,
    },
}

impl Diagnose for Error {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Unsigned { findings, digest, image, .. } => {
                Some(Hint::new(match findings.other_name() {
                    Some(name) => format!(
                        "if {name} is what {image} should be, pull it by that name, or map the names: remapIdentity in policy.json"
                    ),
                    None => format!(
                        "whoever has the key can sign it: cosign sign --key KEY REPOSITORY@{digest}"
                    ),
                }))
            }
            Self::Rejected { path, .. } | Self::Unverifiable { path, .. } => {
                Some(Hint::new(format!(
                    "what is accepted stands in {}, or in a policy.json of your own: containers-policy.json(5)",
                    path.display()
                )))
            }
            Self::Read { .. } | Self::Key { .. } | Self::Policy { .. } | Self::NoPlace { .. } => {
                None
            }
        }
    }
}
