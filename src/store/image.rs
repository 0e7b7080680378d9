//! What the store knows of an image: one small record, enough to run it.

use serde::{Deserialize, Serialize};

use crate::oci::{ChainId, DiffId, Digest, Platform};

/// An image in the store: `images/HEX.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The digest of its configuration: the image ID.
    pub id: Digest,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// The digest of the index it was chosen from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<Digest>,
    /// What it runs on.
    pub platform: Platform,
    /// RFC 3339 creation time, as shipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
}

/// One layer of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The digest of the layer as shipped.
    pub digest: Digest,
    /// How it was shipped.
    pub media_type: String,
    /// Its size as shipped, in bytes.
    pub shipped: u64,
    /// The digest of its tar archive.
    pub diff_id: DiffId,
    /// The digest of the stack up to it: where it lies unpacked.
    pub chain: ChainId,
    /// The bytes its files hold unpacked.
    pub unpacked: u64,
}

impl Image {
    /// The bytes the image's files hold, as docker's SIZE counts them.
    pub fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.unpacked).sum()
    }

    /// The digest a registry knows the image by: the index's, else the manifest's.
    pub fn digest(&self) -> &Digest {
        self.index.as_ref().unwrap_or(&self.manifest)
    }
}

/// The names an image goes by, in full form, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// `docker.io/library/debian:12`
    pub tags: Vec<String>,
    /// `docker.io/library/debian@sha256:…`
    pub digests: Vec<String>,
}

impl Names {
    /// Adds a name to its kind.
    pub fn add(&mut self, name: String) {
        let kind = if name.contains('@') { &mut self.digests } else { &mut self.tags };
        kind.push(name);
    }
}
