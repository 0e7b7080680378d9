//! A signature as it lies beside an image, and what it claims once a key has vouched for it. No I/O.
//!
//! ```text
//! simple signing   payload ─ signed as it is ─ digest, repository
//! bundle           DSSE envelope ─ signed with its type ─ statement ─ digest
//!                  message signature ─ signed: the manifest's own bytes
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::Key;
use crate::oci::Digest;

/// The layer of a signature by cosign, podman and skopeo (containers-signature(5) in JSON).
pub const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// What a sigstore bundle's media type begins with, whatever its version.
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";

/// `type` of a payload.
const TYPE: &str = "cosign container image signature";
/// The predicate of a statement that is cosign's signature of an image, and not an attestation.
const SIGNED: &str = "https://sigstore.dev/cosign/sign/v1";
const STATEMENT: &str = "application/vnd.in-toto+json";
/// Signatures of one envelope that are tried.
const MOST: usize = 16;

/// A document that a signature may be about: an index or a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Its digest.
    pub digest: Digest,
    /// Its bytes, as shipped.
    pub bytes: Vec<u8>,
}

/// A signature as it was found: nothing of it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// A payload, and the signature of its bytes in base64.
    Simple {
        /// JSON.
        payload: Vec<u8>,
        /// The annotation.
        signature: String,
    },
    /// A sigstore bundle, in JSON.
    Bundle(Vec<u8>),
}

/// What a signature claims, vouched for by a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// The digests it speaks of.
    pub(super) digests: Vec<String>,
    /// The image's name, where it says one.
    pub(super) name: Option<String>,
}

/// Why a signature claims nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Void {
    OtherKey,
    Keyless,
    Attestation,
    Broken(&'static str),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    critical: Critical,
    #[serde(default, rename = "optional")]
    _optional: serde::de::IgnoredAny,
}

// What is unknown here may forbid something: as in containers/image, it voids the signature.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Critical {
    identity: SignedIdentity,
    image: SignedImage,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignedIdentity {
    #[serde(rename = "docker-reference")]
    reference: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignedImage {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    verification_material: Material,
    dsse_envelope: Option<Envelope>,
    message_signature: Option<MessageSignature>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    certificate: Option<serde::de::IgnoredAny>,
    x509_certificate_chain: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Deserialize)]
struct EnvelopeSignature {
    sig: String,
}

#[derive(Deserialize)]
struct MessageSignature {
    signature: String,
}

/// An in-toto statement (in-toto attestation framework, v1 and v0.1).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(default)]
    subject: Vec<StatementSubject>,
    predicate_type: String,
}

#[derive(Deserialize)]
struct StatementSubject {
    digest: std::collections::BTreeMap<String, String>,
}

impl Signature {
    /// What it claims, if one of `keys` vouches for it.
    pub(super) fn claim(&self, keys: &[Key], subjects: &[Subject]) -> Result<Claim, Void> {
        let by_one = |message: &[u8], signature: &[u8]| {
            keys.iter().any(|key| key.verifies(message, signature))
        };
        match self {
            Self::Simple { payload, signature } => {
                let signature = decoded(signature)?;
                // Nothing is read before it is known to be the signer's.
                if !by_one(payload, &signature) {
                    return Err(Void::OtherKey);
                }
                read_payload(payload)
            }
            Self::Bundle(bytes) => {
                let bundle: Bundle = serde_json::from_slice(bytes)
                    .map_err(|_| Void::Broken("a bundle is not of the form of its kind"))?;
                if !bundle.media_type.starts_with(BUNDLE) {
                    return Err(Void::Broken("a bundle calls itself something else"));
                }
                let Material { certificate, x509_certificate_chain } = bundle.verification_material;
                if certificate.is_some() || x509_certificate_chain.is_some() {
                    return Err(Void::Keyless);
                }
                match (bundle.dsse_envelope, bundle.message_signature) {
                    (Some(envelope), None) => read_envelope(&envelope, &by_one),
                    (None, Some(message)) => {
                        let signature = decoded(&message.signature)?;
                        let signed = subjects.iter().find(|it| by_one(&it.bytes, &signature));
                        let signed = signed.ok_or(Void::OtherKey)?;
                        Ok(Claim { digests: vec![signed.digest.to_string()], name: None })
                    }
                    _ => Err(Void::Broken("a bundle holds no signature, or two")),
                }
            }
        }
    }
}

fn read_payload(payload: &[u8]) -> Result<Claim, Void> {
    let Payload { critical: Critical { identity, image, kind }, .. } =
        serde_json::from_slice(payload)
            .map_err(|_| Void::Broken("what is signed is not of the form of its kind"))?;
    if kind != TYPE {
        return Err(Void::Broken("what is signed is no image"));
    }
    let name = (!identity.reference.is_empty()).then_some(identity.reference);
    Ok(Claim { digests: vec![image.digest], name })
}

/// DSSE v1: what is signed is the type and the payload, each with its length before it.
fn read_envelope(
    envelope: &Envelope,
    by_one: &dyn Fn(&[u8], &[u8]) -> bool,
) -> Result<Claim, Void> {
    let body = decoded(&envelope.payload)?;
    let kind = &envelope.payload_type;
    let head = format!("DSSEv1 {} {kind} {} ", kind.len(), body.len());
    let signed = [head.as_bytes(), &body].concat();
    let signatures = envelope.signatures.iter().take(MOST);
    let mut signatures = signatures.filter_map(|it| decoded(&it.sig).ok());
    if !signatures.any(|signature| by_one(&signed, &signature)) {
        return Err(Void::OtherKey);
    }
    let odd = || Void::Broken("what is signed is no statement");
    if kind != STATEMENT {
        return Err(odd());
    }
    let statement: Statement = serde_json::from_slice(&body).map_err(|_| odd())?;
    if statement.predicate_type != SIGNED {
        return Err(Void::Attestation);
    }
    let digests = statement.subject.into_iter().flat_map(|subject| subject.digest);
    let digests = digests.map(|(algorithm, hex)| format!("{algorithm}:{hex}")).collect();
    Ok(Claim { digests, name: None })
}

fn decoded(text: &str) -> Result<Vec<u8>, Void> {
    STANDARD.decode(text.trim()).map_err(|_| Void::Broken("its signature is not base64"))
}
