//! docker's forms: the archive of `docker save`, and podman's `docker-dir`.

use serde_json::{Value, json};

use crate::oci::media_type;
use crate::reference::familiar;
use crate::store::Store;

use super::content::{Content, write_archive, write_blob};
use super::oci::document;
use super::sink::Sink;
use super::{Chosen, Error};

/// Layers uncompressed and called by their `DiffId`s; images that share one have it once.
pub(super) fn write_archive_of(
    store: &Store,
    images: &[Chosen],
    sink: &mut dyn Sink,
) -> Result<(), Error> {
    let mut entries: Vec<Value> = Vec::new();
    for Chosen { image, names } in images {
        let mut layers = Vec::new();
        for layer in &image.layers {
            let name = format!("{}.tar", layer.diff_id.0.hex());
            write_archive(store, image, layer, &name, sink)?;
            layers.push(name);
        }
        let config = format!("{}.json", image.id.hex());
        document(sink, &config, &store.document(&image.id)?)?;
        let names: Vec<String> = names.iter().map(|name| familiar(name)).collect();
        let names = if names.is_empty() { Value::Null } else { json!(names) };
        entries.push(json!({"Config": config, "RepoTags": names, "Layers": layers}));
    }
    document(sink, "manifest.json", Value::Array(entries).to_string().as_bytes())
}

/// One image as a registry of docker's would have it.
pub(super) fn write_directory(
    store: &Store,
    chosen: &Chosen,
    sink: &mut dyn Sink,
) -> Result<(), Error> {
    let image = &chosen.image;
    let content = Content::of(store, image)?;
    for layer in &content.layers {
        write_blob(store, image, layer, layer.digest.hex(), sink)?;
    }
    document(sink, image.id.hex(), &content.config)?;
    let manifest = match content.media_type == media_type::DOCKER_MANIFEST {
        true => content.manifest,
        false => {
            dockers(&content).map_err(|kind| Error::NotDocker { image: image.id.clone(), kind })?
        }
    };
    document(sink, "manifest.json", &manifest)?;
    document(sink, "version", b"Directory Transport Version: 1.1\n")
}

/// The manifest in docker's words; the error names the one that there is none for.
fn dockers(content: &Content) -> Result<Vec<u8>, String> {
    let entry = |kind: &str, digest: Value, size: u64| json!({"mediaType": kind, "size": size, "digest": digest});
    let layers = content.layers.iter().map(|layer| {
        let kind = docker_layer(&layer.media_type).ok_or_else(|| layer.media_type.clone())?;
        Ok(entry(kind, json!(layer.digest), layer.size))
    });
    let config = crate::oci::Digest::of(&content.config);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::DOCKER_MANIFEST,
        "config": entry(media_type::DOCKER_CONFIG, json!(config), content.config.len() as u64),
        "layers": layers.collect::<Result<Vec<Value>, String>>()?,
    });
    Ok(manifest.to_string().into_bytes())
}

/// docker's media type for a layer; it has none for zstd.
fn docker_layer(kind: &str) -> Option<&'static str> {
    match kind {
        media_type::OCI_LAYER | "application/vnd.docker.image.rootfs.diff.tar" => {
            Some("application/vnd.docker.image.rootfs.diff.tar")
        }
        media_type::DOCKER_LAYER => Some(media_type::DOCKER_LAYER),
        _ if kind == format!("{}+gzip", media_type::OCI_LAYER) => Some(media_type::DOCKER_LAYER),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_has_no_word_for_zstd() {
        assert_eq!(
            docker_layer("application/vnd.oci.image.layer.v1.tar+gzip"),
            Some(media_type::DOCKER_LAYER)
        );
        assert_eq!(docker_layer("application/vnd.oci.image.layer.v1.tar+zstd"), None);
    }
}
