//! docker's forms: the archive of `docker save`, and the directory of `dir:`.

use serde_json::{Value, json};

use crate::reference::familiar;
use crate::store::{Image, Store};

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

/// One image, each blob in a file that is called by its digest (containers-transports(5), `dir:`).
pub(super) fn write_directory(
    store: &Store,
    image: &Image,
    content: &Content,
    sink: &mut dyn Sink,
) -> Result<(), Error> {
    for layer in &content.layers {
        write_blob(store, content, image, layer, layer.digest.hex(), sink)?;
    }
    document(sink, image.id.hex(), &content.config)?;
    document(sink, "manifest.json", &content.manifest)?;
    document(sink, "version", b"Directory Transport Version: 1.1\n")
}
