//! The OCI image layout (image-spec, image-layout.md).

use serde_json::{Value, json};

use crate::oci::{Digest, media_type};
use crate::registry::{Descriptor, FULL_NAME, REF_NAME};
use crate::store::{Shipped, Store};

use super::content::{Checked, Content, descriptor, open, write_blob};
use super::sink::Sink;
use super::{Chosen, Error, blob_path};

/// Writes images as they were shipped: their digests stay what they are. `known` are the entries of
/// the layout that was there: those that have none of the images' names stay.
pub(super) fn write(
    store: &Store,
    images: &[(Chosen, Content)],
    known: Vec<Value>,
    sink: &mut dyn Sink,
) -> Result<(), Error> {
    let mut entries = known;
    for (Chosen { image, names }, content) in images {
        for layer in &content.layers {
            write_blob(store, content, image, layer, &blob_path(&layer.digest), sink)?;
        }
        document(sink, &blob_path(&image.id), &content.config)?;
        let manifest = Shipped {
            digest: Digest::of(&content.manifest),
            media_type: content.media_type.clone(),
            size: content.manifest.len() as u64,
        };
        document(sink, &blob_path(&manifest.digest), &content.manifest)?;
        name_it(&mut entries, &manifest, names);
    }
    index(&entries, sink)
}

/// Puts a manifest into the entries of a layout, under its names or without one.
fn name_it(entries: &mut Vec<Value>, manifest: &Shipped, names: &[String]) {
    let entry = |name: &String| {
        let mut entry = descriptor(manifest);
        // podman reads the first, docker and containerd the second, which is a whole name.
        entry["annotations"] = match name.contains(['/', ':']) {
            true => json!({REF_NAME: name, FULL_NAME: name}),
            false => json!({REF_NAME: name}),
        };
        entry
    };
    entries.retain(|entry| !is_replaced(entry, names, &manifest.digest));
    match names {
        [] => entries.push(descriptor(manifest)),
        _ => entries.extend(names.iter().map(entry)),
    }
}

fn index(entries: &[Value], sink: &mut dyn Sink) -> Result<(), Error> {
    let index = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_INDEX,
        "manifests": entries,
    });
    document(sink, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    // Last: what it names is there by now.
    document(sink, "index.json", index.to_string().as_bytes())
}

/// Writes a blob of the store where a layout has it, and checks it. `of` is what needs it, for messages.
pub(in crate::engine) fn write_kept(
    store: &Store,
    of: &Digest,
    blob: &Descriptor,
    sink: &mut dyn Sink,
) -> Result<(), Error> {
    let name = blob_path(&blob.digest);
    if sink.has(&name) {
        return Ok(());
    }
    let mut checked = Checked::new(open(store, &blob.digest)?, &blob.digest);
    sink.file(&name, blob.size, &mut checked)?;
    checked.check(of)
}

/// Writes a manifest or a list where a layout has it.
pub(in crate::engine) fn write_document(
    digest: &Digest,
    bytes: &[u8],
    sink: &mut dyn Sink,
) -> Result<(), Error> {
    document(sink, &blob_path(digest), bytes)
}

/// Ends a layout: what lies there under `top` has this name, beside the entries `known`.
pub(in crate::engine) fn write_index(
    top: Descriptor,
    name: Option<&str>,
    known: Vec<Value>,
    sink: &mut dyn Sink,
) -> Result<(), Error> {
    let Descriptor { media_type, digest, size } = top;
    let (mut entries, names) = (known, name.map(str::to_owned));
    name_it(&mut entries, &Shipped { digest, media_type, size }, names.as_slice());
    index(&entries, sink)
}

/// Whether an entry gives way to an image with these names: it has one of them, or none and is the
/// same manifest.
fn is_replaced(entry: &Value, names: &[String], digest: &Digest) -> bool {
    match entry["annotations"][REF_NAME].as_str() {
        Some(name) => names.iter().any(|new| new == name),
        None => entry["digest"] == json!(digest),
    }
}

/// A file that is in memory.
pub(super) fn document(sink: &mut dyn Sink, name: &str, bytes: &[u8]) -> Result<(), Error> {
    sink.file(name, bytes.len() as u64, &mut &*bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_layout_stands_for_one_image() {
        let digest = Digest::of(b"new");
        let named = json!({"digest": "x", "annotations": {REF_NAME: "v1"}});
        assert!(is_replaced(&named, &["v1".into()], &digest));
        assert!(!is_replaced(&named, &["v2".into()], &digest));
        assert!(!is_replaced(&named, &[], &digest));
        assert!(is_replaced(&json!({"digest": digest}), &["v1".into()], &digest));
    }
}
