//! A demand, and whether a signature meets it. No I/O.

use std::collections::BTreeMap;
use std::fmt;

use super::signature::{Claim, Void};
use super::{Identity, Key, Signature, Subject};
use crate::reference::Reference;

/// What an image must show: a signature by one of these keys, for this name.
#[derive(Clone, Debug)]
pub struct Demand {
    /// Any of them will do.
    pub keys: Vec<Key>,
    /// What the signature must call the image.
    pub identity: Identity,
    /// Who demands it, for messages: `--verify`, or a scope of a policy.
    pub by: String,
    /// Whether it is made of an image too that is here already.
    pub again: bool,
}

/// What a signature is worth to a demand.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It meets it.
    Good,
    /// None of the keys made it.
    OtherKey,
    /// A key made it, for another image.
    OtherDigest(String),
    /// A key made it, for another name, or for none.
    OtherName(Option<String>),
    /// It is by a certificate.
    Keyless,
    /// It says something about the image, and not that it is signed.
    Attestation,
    /// It is none.
    Broken(&'static str),
}

impl Demand {
    /// What a signature is worth for an image that was asked for as `asked`.
    pub fn judge(&self, signature: &Signature, asked: &Reference, subjects: &[Subject]) -> Verdict {
        let Claim { digests, name } = match signature.claim(&self.keys, subjects) {
            Ok(claim) => claim,
            Err(Void::OtherKey) => return Verdict::OtherKey,
            Err(Void::Keyless) => return Verdict::Keyless,
            Err(Void::Attestation) => return Verdict::Attestation,
            Err(Void::Broken(why)) => return Verdict::Broken(why),
        };
        let is_meant = |digest: &String| subjects.iter().any(|it| it.digest.to_string() == *digest);
        if !digests.iter().any(is_meant) {
            return Verdict::OtherDigest(digests.into_iter().next().unwrap_or_default());
        }
        if !self.identity.accepts(asked, name.as_deref()) {
            return Verdict::OtherName(name);
        }
        Verdict::Good
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good => f.write_str("good"),
            Self::OtherKey => f.write_str("by another key"),
            Self::OtherDigest(digest) => write!(f, "for another image, {digest}"),
            Self::OtherName(Some(name)) => write!(f, "for the name {name}"),
            Self::OtherName(None) => f.write_str("for no name, where one is wanted"),
            Self::Keyless => f.write_str("by a certificate, which is not verified here"),
            Self::Attestation => f.write_str("an attestation, which signs nothing but itself"),
            Self::Broken(why) => write!(f, "useless: {why}"),
        }
    }
}

/// What was found in the place of a good signature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings(BTreeMap<Verdict, usize>);

/// Kinds of findings that are told.
const MOST_TOLD: usize = 5;

impl Findings {
    /// One more.
    pub fn add(&mut self, verdict: Verdict) {
        *self.0.entry(verdict).or_default() += 1;
    }

    /// The name of another image that a key did sign.
    pub(super) fn other_name(&self) -> Option<&str> {
        self.0.keys().find_map(|verdict| match verdict {
            Verdict::OtherName(name) => name.as_deref(),
            _ => None,
        })
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("there is no signature");
        }
        let parts: Vec<String> = self
            .0
            .iter()
            .take(MOST_TOLD)
            .map(|(verdict, count)| format!("{count} {verdict}"))
            .collect();
        let count: usize = self.0.values().sum();
        let word = if count == 1 { "signature" } else { "signatures" };
        write!(f, "of {count} {word} none is good ({})", parts.join("; "))
    }
}
