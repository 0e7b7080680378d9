//! What a document consists of, whatever it is about: an image, an artifact, an index of either.

use serde::Deserialize;

use super::{Descriptor, Error};
use crate::oci::{Digest, media_type};

/// A document that is to be sent on: what must be there before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Its own media type.
    pub media_type: String,
    /// Configuration and layers.
    pub blobs: Vec<Descriptor>,
    /// Further documents.
    pub manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shipped {
    media_type: Option<String>,
    config: Option<Part>,
    #[serde(default)]
    layers: Vec<Part>,
    manifests: Option<Vec<Part>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    media_type: String,
    digest: Digest,
    size: u64,
}

impl From<Part> for Descriptor {
    fn from(Part { media_type, digest, size }: Part) -> Self {
        Self { media_type, digest, size }
    }
}

/// Reads what a document consists of.
pub fn parts(what: &str, bytes: &[u8]) -> Result<Parts, Error> {
    let shipped: Shipped = serde_json::from_slice(bytes)
        .map_err(|error| Error::Document { what: what.to_owned(), why: error.to_string() })?;
    let usual = match shipped.manifests {
        Some(_) => media_type::OCI_INDEX,
        None => media_type::OCI_MANIFEST,
    };
    let mut blobs: Vec<Descriptor> = Vec::new();
    for blob in shipped.layers.into_iter().chain(shipped.config).map(Descriptor::from) {
        if blobs.iter().all(|other| other.digest != blob.digest) {
            blobs.push(blob);
        }
    }
    Ok(Parts {
        media_type: shipped.media_type.unwrap_or_else(|| usual.to_owned()),
        blobs,
        manifests: shipped.manifests.into_iter().flatten().map(Descriptor::from).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_named_once_and_the_configuration_last() {
        let digest = |byte: &[u8]| Digest::of(byte);
        let text = format!(
            r#"{{"config":{{"mediaType":"c","digest":"{0}","size":1}},"layers":[
            {{"mediaType":"l","digest":"{1}","size":2}},{{"mediaType":"l","digest":"{1}","size":2}}]}}"#,
            digest(b"config"),
            digest(b"layer"),
        );
        let parts = parts("x", text.as_bytes()).expect("valid");
        let digests: Vec<&Digest> = parts.blobs.iter().map(|blob| &blob.digest).collect();
        assert_eq!(digests, [&digest(b"layer"), &digest(b"config")]);
        assert_eq!(parts.media_type, media_type::OCI_MANIFEST);
        assert!(parts.manifests.is_empty());
    }
}
