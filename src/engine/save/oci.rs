//! The OCI image layout (image-spec, image-layout.md).

use serde_json::{Value, json};

use crate::oci::{Digest, media_type};
use crate::registry::{FULL_NAME, REF_NAME};
use crate::store::{Shipped, Store};

use super::content::{Content, descriptor, write_blob};
use super::sink::Sink;
use super::{Chosen, Error, blob_path};

/// Writes images as they were shipped: their digests stay what they are.
pub(super) fn write(store: &Store, images: &[Chosen], sink: &mut dyn Sink) -> Result<(), Error> {
    let mut entries: Vec<Value> = Vec::new();
    for Chosen { image, names } in images {
        let content = Content::of(store, image)?;
        for layer in &content.layers {
            write_blob(store, image, layer, &blob_path(&layer.digest), sink)?;
        }
        document(sink, &blob_path(&image.id), &content.config)?;
        let manifest = Shipped {
            digest: Digest::of(&content.manifest),
            media_type: content.media_type,
            size: content.manifest.len() as u64,
        };
        document(sink, &blob_path(&manifest.digest), &content.manifest)?;
        let entry = |name: &String| {
            let mut entry = descriptor(&manifest);
            // podman reads the first, docker and containerd the second.
            entry["annotations"] = json!({REF_NAME: name, FULL_NAME: name});
            entry
        };
        match names[..] {
            [] => entries.push(descriptor(&manifest)),
            _ => entries.extend(names.iter().map(entry)),
        }
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_INDEX,
        "manifests": entries,
    });
    document(sink, "index.json", index.to_string().as_bytes())?;
    document(sink, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
}

/// A file that is in memory.
pub(super) fn document(sink: &mut dyn Sink, name: &str, bytes: &[u8]) -> Result<(), Error> {
    sink.file(name, bytes.len() as u64, &mut &*bytes)
}
