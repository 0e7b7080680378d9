//! Layers with a table of contents, right or wrong: eStargz as docs/estargz.md of the
//! stargz-snapshotter describes it, and whatever images buildah packed as zstd:chunked.

use std::fs;

use serde_json::{Value, json};

use super::image::{Image, Tar, digest, gzip};
use super::registry::Registry;

/// Bytes that nobody can compress, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

/// An image of one eStargz layer that holds `files`. `lie` may change its table.
pub fn stargz(files: &[(String, Vec<u8>)], lie: impl FnOnce(&mut Value)) -> Image {
    let (mut blob, mut entries) = (Vec::new(), Vec::new());
    // What stands before a payload is the end of the member of the one before.
    let mut member = Vec::new();
    for (name, data) in files {
        let file = Tar::new().file(name, "").unfinished();
        let size = format!("{:011o}\0", data.len());
        let whole = Tar::new()
            .entry(&super::image::Entry {
                name: name.as_bytes(),
                size: Some(size.as_bytes()),
                ..super::image::Entry::default()
            })
            .raw(data)
            .unfinished();
        let (header, payload) = whole.split_at(file.len());
        member.extend_from_slice(header);
        blob.extend(gzip(&member));
        member = payload.to_vec();
        entries.push(json!({
            "name": name, "type": "reg", "size": data.len(), "mode": 0o644, "offset": blob.len(),
            "digest": digest(data), "chunkDigest": digest(data),
        }));
    }
    blob.extend(gzip(&member));
    let mut table = json!({"version": 1, "entries": entries});
    lie(&mut table);
    let table = match table {
        Value::String(text) => text, // not JSON at all
        table => table.to_string(),
    };
    finish(blob, &table)
}

fn finish(mut blob: Vec<u8>, table: &str) -> Image {
    let start = blob.len();
    blob.extend(gzip(&Tar::new().file("stargz.index.json", table).finish()));
    let mut footer = vec![0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 26, 0, b'S', b'G', 22, 0];
    footer.extend(format!("{start:016x}STARGZ").as_bytes());
    footer.extend([1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
    blob.extend(footer);
    let mut tar = Vec::new();
    std::io::copy(&mut flate2::read::MultiGzDecoder::new(&blob[..]), &mut tar).unwrap();
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [digest(&tar)]},
    });
    let mut image = Image::with_config(config.to_string().into_bytes(), vec![blob]);
    image.manifest["layers"][0]["annotations"] =
        json!({"containerd.io/snapshot/stargz/toc.digest": digest(table.as_bytes())});
    image
}

/// An image of an OCI layout of the fixtures, put into a registry; gives the reference and the
/// size of its only layer.
pub fn put_layout(registry: &Registry, name: &str, tag: &str) -> (String, usize) {
    let layout = super::fixtures().join("oci").join(name);
    let blob = |digest: &Value| {
        let hex = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
        fs::read(layout.join("blobs/sha256").join(hex)).unwrap()
    };
    let index: Value =
        serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let named = |entry: &&Value| entry["annotations"]["org.opencontainers.image.ref.name"] == tag;
    let entry = index["manifests"].as_array().unwrap().iter().find(named).unwrap();
    let bytes = blob(&entry["digest"]);
    let manifest: Value = serde_json::from_slice(&bytes).unwrap();
    let layer = &manifest["layers"][0];
    for described in [&manifest["config"], layer] {
        let digest = described["digest"].as_str().unwrap();
        registry.put_blob(name, digest, &blob(&described["digest"]));
    }
    registry.put_manifest(name, tag, entry["mediaType"].as_str().unwrap(), &bytes);
    let size = layer["size"].as_u64().unwrap();
    (registry.reference(name, tag), usize::try_from(size).unwrap())
}
