//! A source whose images must show a signature.
//!
//! The check stands between the manifest and everything that the manifest names: nothing else of an
//! image is fetched before it is trusted.

use std::ops::Range;

use super::{Beside, BlobStream, Descriptor, Error, ImageSource, Resolved};
use crate::oci::{Digest, Platform};
use crate::reference::Reference;
use crate::trust::{self, Demand, Findings, Subject, Verdict};

/// A source, and what its image must show.
pub struct Guarded<S> {
    source: S,
    /// The image as it was asked for, which a signature must be for.
    asked: Reference,
    demands: Vec<Demand>,
}

impl<S: ImageSource> Guarded<S> {
    /// `source`, which gives the image `asked` only if that meets all of `demands`.
    pub fn new(source: S, asked: Reference, demands: Vec<Demand>) -> Self {
        Self { source, asked, demands }
    }

    /// What stands behind it.
    pub fn inner(&self) -> &S {
        &self.source
    }

    /// Checks a document of the source, whatever it is about, before anything that it names is fetched.
    pub fn check_document(&self, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
        if self.demands.is_empty() {
            return Ok(());
        }
        let subject = Subject { digest: digest.clone(), bytes: bytes.to_vec() };
        self.check(self.demands.iter().collect(), &[subject])
    }

    /// Looks until each demand is met. What cannot be looked at is no consent.
    fn check(&self, demands: Vec<&Demand>, subjects: &[Subject]) -> Result<(), Error> {
        let mut unmet: Vec<(&Demand, Findings)> =
            demands.into_iter().map(|demand| (demand, Findings::default())).collect();
        for place in [Beside::Tag, Beside::Referrers] {
            for subject in subjects {
                if unmet.is_empty() {
                    return Ok(());
                }
                self.source.signatures(&subject.digest, place, &mut |signature| {
                    unmet.retain_mut(|(demand, findings)| {
                        match demand.judge(signature, &self.asked, subjects) {
                            Verdict::Good => false,
                            verdict => {
                                findings.add(verdict);
                                true
                            }
                        }
                    });
                    unmet.is_empty()
                })?;
            }
        }
        let Some((demand, findings)) = unmet.pop() else { return Ok(()) };
        Err(Error::Trust(unsigned(&self.asked, demand, findings, subjects)))
    }
}

fn unsigned(
    asked: &Reference,
    demand: &Demand,
    findings: Findings,
    subjects: &[Subject],
) -> trust::Error {
    let keys: Vec<String> = demand.keys.iter().map(ToString::to_string).collect();
    let places = |subject: &Subject| {
        format!("the tag {} and the referrers of {}", tag(&subject.digest, "sig"), subject.digest)
    };
    let places: Vec<String> = subjects.iter().map(places).collect();
    // The first is what the name stands for: the index, where there is one.
    let digest = subjects.first().map_or_else(|| Digest::of(b""), |first| first.digest.clone());
    trust::Error::Unsigned {
        image: asked.familiar(),
        digest,
        keys: keys.join(" or "),
        by: demand.by.clone(),
        findings,
        looked: format!("{} in {}", places.join(", "), asked.name()),
    }
}

/// The tag under which cosign keeps what belongs to a digest.
pub(super) fn tag(digest: &Digest, kind: &str) -> String {
    format!("{}-{}.{kind}", digest.algorithm().name(), digest.hex())
}

impl<S: ImageSource> ImageSource for Guarded<S> {
    fn manifest(&self, platform: &Platform) -> Result<Resolved, Error> {
        let resolved = self.source.manifest(platform)?;
        if !self.demands.is_empty() {
            let index = resolved.index.iter().cloned();
            let manifest = (resolved.manifest_digest.clone(), resolved.manifest_bytes.clone());
            let subjects = index.chain([manifest]);
            let subjects: Vec<Subject> =
                subjects.map(|(digest, bytes)| Subject { digest, bytes }).collect();
            self.check(self.demands.iter().collect(), &subjects)?;
        }
        Ok(resolved)
    }

    fn vouch(&self, here: &dyn Fn() -> Result<Vec<Subject>, Error>) -> Result<(), Error> {
        let again: Vec<&Demand> = self.demands.iter().filter(|demand| demand.again).collect();
        if again.is_empty() { Ok(()) } else { self.check(again, &here()?) }
    }

    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        self.source.config(descriptor)
    }

    fn digest(&self) -> Result<Option<Digest>, Error> {
        self.source.digest()
    }

    fn distrust(&self, blob: &Digest) -> bool {
        self.source.distrust(blob)
    }

    fn blob(&self, descriptor: &Descriptor, from: u64) -> Result<BlobStream, Error> {
        self.source.blob(descriptor, from)
    }

    fn part(&self, blob: &Descriptor, range: Range<u64>) -> Result<Option<BlobStream>, Error> {
        self.source.part(blob, range)
    }
}
