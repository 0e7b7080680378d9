//! What lies beside an image in its registry: signatures, attestations, SBOMs.
//!
//! ```text
//! cosign's tags   sha256-HEX.sig, .att, .sbom ─ a manifest ─ a layer each
//! referrers       the API, or the tag sha256-HEX ─ an index ─ a manifest each ─ its layers
//! BuildKit        within the image's own index ─ a manifest each ─ its layers
//! ```
//!
//! All of it is a stranger's: anybody who may push can attach, and nothing of it is believed here.

use std::collections::BTreeMap;

use reqwest::header::LINK;
use serde::Deserialize;

use super::document::MANIFEST_LIMIT;
use super::guarded::tag;
use super::lists::next_page;
use super::remote::{verified, whole};
use super::transport::Place;
use super::{Beside, Error, Remote};
use crate::oci::{Digest, media_type};
use crate::trust::{BUNDLE, SIMPLE_SIGNING, Signature};

/// The annotation of a layer with its signature, in base64.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// What cosign calls a signature that refers to its image.
const SIGNATURE_ARTIFACT: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
/// The largest payload or bundle, in bytes; containers/image takes 4 MiB too.
const SIGNATURE_LIMIT: u64 = 4 << 20;
/// The most signatures of a place that are looked at, and the most referrers.
const MOST: usize = 1000;
/// The most pages of a list of referrers.
const MOST_PAGES: usize = 50;

/// A manifest of whatever kind, as far as it is about what is attached.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Manifest {
    layers: Vec<Part>,
    manifests: Vec<Part>,
}

/// A descriptor with what it says beside.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    media_type: String,
    digest: Digest,
    size: u64,
    artifact_type: Option<String>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

/// What something attached is, by what it says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A signature.
    Signature,
    /// A statement about the image: how it was built, what was found in it.
    Attestation,
    /// A list of what is in the image.
    Sbom,
    /// Something else.
    Other,
}

/// Something that lies beside an image. The texts are a stranger's: escape them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// What it is attached to: an index or a manifest.
    pub to: Digest,
    /// What it is.
    pub kind: Kind,
    /// The type of its statement, else of the artifact, else of its bytes.
    pub named: String,
    /// The blob, or the manifest that refers.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Where it was found: a tag, `referrers`, `index`.
    pub place: String,
}

/// cosign's tags, and what each holds.
const TAGS: [(&str, Kind); 3] =
    [("sig", Kind::Signature), ("att", Kind::Attestation), ("sbom", Kind::Sbom)];
/// Annotations that name the statement's type: cosign's, in-toto's (BuildKit), sigstore's.
const PREDICATES: [&str; 3] =
    ["predicateType", "in-toto.io/predicate-type", "dev.sigstore.bundle.predicateType"];
/// BuildKit's annotations of an index's entries (buildkit, docs/attestations).
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";

impl Kind {
    fn of(named: &str) -> Self {
        let named = named.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| named.contains(word));
        if says(&["spdx", "cyclonedx", "syft", "sbom"]) {
            Self::Sbom
        } else if says(&["simplesigning", "artifact.sig", "cosign/sign/", "notary.signature"]) {
            Self::Signature
        } else if says(&["in-toto", "slsa", "dsse", "attestation", "sigstore.bundle"]) {
            Self::Attestation
        } else {
            Self::Other
        }
    }
}

impl Part {
    /// What it says it is, the most telling word first.
    fn named(&self) -> String {
        let predicate = PREDICATES.iter().find_map(|key| self.annotation(key));
        let named = predicate.or(self.artifact_type.as_deref()).filter(|text| !text.is_empty());
        named.unwrap_or(&self.media_type).to_owned()
    }

    fn attached(self, to: &Digest, kind: Option<Kind>, place: &str) -> Attached {
        let named = self.named();
        let kind = kind.unwrap_or_else(|| Kind::of(&named));
        let (to, place) = (to.clone(), place.to_owned());
        Attached { to, kind, named, digest: self.digest, size: self.size, place }
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }
}

impl Remote {
    pub(super) fn show_signatures(
        &self,
        document: &Digest,
        place: Beside,
        enough: &mut dyn FnMut(&Signature) -> bool,
    ) -> Result<(), Error> {
        match place {
            Beside::Tag => {
                let Some(manifest) = self.attachment(&tag(document, "sig"))? else { return Ok(()) };
                self.show(&manifest, enough).map(drop)
            }
            Beside::Referrers => {
                for referrer in self.referrers(document)? {
                    let kind = referrer.artifact_type.as_deref().unwrap_or_default();
                    if kind != SIGNATURE_ARTIFACT && !kind.starts_with(BUNDLE) {
                        continue;
                    }
                    let manifest = self.attachment(&referrer.digest.to_string())?;
                    let what = || format!("what refers to {document}");
                    let manifest = manifest.ok_or_else(|| Error::Document {
                        what: what(),
                        why: format!("{} is listed and not there", referrer.digest),
                    })?;
                    if self.show(&manifest, enough)? {
                        break;
                    }
                }
                Ok(())
            }
        }
    }

    /// All that lies beside these documents of the image; `index` is the image's own, where it has
    /// one.
    pub fn attached(
        &self,
        documents: &[Digest],
        index: Option<&[u8]>,
    ) -> Result<Vec<Attached>, Error> {
        let mut all = Vec::new();
        let within = index.map(|bytes| read(&format!("the index of {}", self.named()), bytes));
        let within = within.transpose()?.unwrap_or_default().manifests;
        for document in documents {
            for (suffix, kind) in TAGS {
                let tag = tag(document, suffix);
                let layers = self.attachment(&tag)?.unwrap_or_default().layers;
                all.extend(layers.into_iter().map(|it| it.attached(document, Some(kind), &tag)));
            }
            let referrers = self.referrers(document)?;
            all.extend(referrers.into_iter().map(|it| it.attached(document, None, "referrers")));
            let text = document.to_string();
            let about = |part: &&Part| {
                part.annotation(REFERENCE_TYPE) == Some("attestation-manifest")
                    && part.annotation(REFERENCE_DIGEST) == Some(&text)
            };
            for part in within.iter().filter(about) {
                let manifest = self.attachment(&part.digest.to_string())?.unwrap_or_default();
                let layers = manifest.layers.into_iter();
                all.extend(layers.map(|it| it.attached(document, None, "index")));
            }
        }
        Ok(all)
    }

    /// Shows the signatures of a manifest; whether that was enough.
    fn show(
        &self,
        manifest: &Manifest,
        enough: &mut dyn FnMut(&Signature) -> bool,
    ) -> Result<bool, Error> {
        for layer in &manifest.layers {
            let signature = if layer.media_type.starts_with(BUNDLE) {
                Signature::Bundle(self.small_blob(layer)?)
            } else if layer.media_type == SIMPLE_SIGNING {
                let signature = layer.annotation(SIGNATURE).unwrap_or_default().to_owned();
                Signature::Simple { payload: self.small_blob(layer)?, signature }
            } else {
                continue;
            };
            if enough(&signature) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A manifest or index that belongs to an image, by tag or digest; `None` if there is none.
    fn attachment(&self, tag_or_digest: &str) -> Result<Option<Manifest>, Error> {
        let bytes = match self.document(tag_or_digest) {
            Err(Error::NotFound { .. }) => return Ok(None),
            document => document?.0,
        };
        read(&format!("{tag_or_digest} of {}", self.named()), &bytes).map(Some)
    }

    /// What refers to a digest: by the API, or where a registry has none by the tag that stands in
    /// for it.
    fn referrers(&self, digest: &Digest) -> Result<Vec<Part>, Error> {
        let path = format!("referrers/{digest}");
        let what = format!("what refers to {digest} in {}", self.named());
        let listed = self.first(|_, transport| {
            let mut parts: Vec<Part> = Vec::new();
            let mut next = None;
            for _ in 0..MOST_PAGES {
                let place = next.as_ref().map_or(Place::Repository(&path), Place::Url);
                let asked = whole(transport, place, media_type::OCI_INDEX, MANIFEST_LIMIT);
                let (bytes, headers) = self.runtime()?.block_on(asked)?;
                let page = read(&what, &bytes)?.manifests;
                let link = headers.get(LINK).and_then(|link| next_page(link.to_str().ok()?));
                let here = transport.place(place)?;
                next = link.map(|link| transport.next(&here, link)).transpose()?;
                let empty = page.is_empty();
                parts.extend(page);
                if next.is_none() || empty {
                    return Ok(parts);
                }
                if parts.len() > MOST {
                    break;
                }
            }
            Err(too_many(&what))
        });
        match listed {
            // Not every registry has the API; and some have no words for that.
            Err(Error::Status { status: 400 | 404 | 405 | 501, .. }) => {
                let stand_in = format!("{}-{}", digest.algorithm().name(), digest.hex());
                Ok(self.attachment(&stand_in)?.map(|index| index.manifests).unwrap_or_default())
            }
            listed => listed,
        }
    }

    fn small_blob(&self, part: &Part) -> Result<Vec<u8>, Error> {
        let what = format!("a signature of {}", self.named());
        if part.size > SIGNATURE_LIMIT {
            return Err(Error::Document { what, why: format!("it has {} bytes", part.size) });
        }
        let path = format!("blobs/{}", part.digest);
        self.first(|_, transport| {
            let place = Place::Repository(&path);
            let (bytes, _) = self.runtime()?.block_on(whole(transport, place, "", part.size))?;
            verified(&what, &part.digest, &bytes)?;
            Ok(bytes)
        })
    }
}

fn read(what: &str, bytes: &[u8]) -> Result<Manifest, Error> {
    let odd = |why: String| Error::Document { what: what.to_owned(), why };
    let manifest: Manifest =
        serde_json::from_slice(bytes).map_err(|error| odd(error.to_string()))?;
    if !manifest.layers.is_empty() && !manifest.manifests.is_empty() {
        return Err(odd("it has both layers and manifests".to_owned()));
    }
    if manifest.layers.len().max(manifest.manifests.len()) > MOST {
        return Err(too_many(what));
    }
    Ok(manifest)
}

fn too_many(what: &str) -> Error {
    Error::Document { what: what.to_owned(), why: format!("it lists more than {MOST} things") }
}
