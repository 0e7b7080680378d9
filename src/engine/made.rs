//! Images that coracle makes itself: a configuration and layers to a manifest.

use serde_json::{Value, json};

use crate::oci::{Digest, media_type};
use crate::registry::{Descriptor, LayerDescriptor, Resolved};

/// The image of a configuration and its layers, the lowest first.
pub(super) fn resolved(config: &[u8], layers: Vec<LayerDescriptor>) -> Resolved {
    let config = Descriptor {
        media_type: media_type::OCI_CONFIG.to_owned(),
        digest: Digest::of(config),
        size: config.len() as u64,
    };
    let entry = |it: &Descriptor| -> Value {
        json!({"mediaType": it.media_type, "digest": it.digest, "size": it.size})
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": entry(&config),
        "layers": layers.iter().map(|layer| entry(&layer.descriptor)).collect::<Vec<Value>>(),
    });
    let manifest = manifest.to_string().into_bytes();
    Resolved {
        index: None,
        manifest_digest: Digest::of(&manifest),
        manifest_bytes: manifest,
        media_type: media_type::OCI_MANIFEST.to_owned(),
        config,
        layers,
    }
}
