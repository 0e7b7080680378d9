//! An image in other words or other packings than it came in: its layers' archives stay what they
//! are, and so does its ID; manifest and blobs are new.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use serde_json::{Value, json};

use crate::engine::pull::inflated;
use crate::oci::{Digest, Hashed, media_type};
use crate::registry::Compression;
use crate::store::{Image, Layer, Shipped, Store};

use super::Error;
use super::content::{Checked, Content, descriptor, open};

/// In whose words a manifest or a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// The OCI's.
    Oci,
    /// docker's (version 2, schema 2).
    Docker,
}

/// What is to be another than it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// In whose words.
    pub words: Option<Words>,
    /// How layers are packed.
    pub packing: Option<Packing>,
}

/// How layers are packed anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packing {
    /// gzip or zstd.
    pub format: Compression,
    /// How hard it tries; the format's own default where nothing is said.
    pub level: Option<i32>,
    /// Which of them.
    pub which: Repack,
}

/// Which layers are packed anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repack {
    /// Those that are not compressed at all.
    Plain,
    /// Those that are packed otherwise.
    Other,
    /// All.
    All,
}

impl Packing {
    fn concerns(&self, format: Compression) -> bool {
        match self.which {
            Repack::Plain => format == Compression::None,
            Repack::Other => format != self.format,
            Repack::All => true,
        }
    }
}

/// docker's layer, not compressed.
const DOCKER_PLAIN: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// The media type of a layer; docker has none for zstd.
fn layer_kind(words: Words, format: Compression) -> Option<String> {
    match (words, format) {
        (Words::Oci, Compression::None) => Some(media_type::OCI_LAYER.to_owned()),
        (Words::Oci, Compression::Gzip) => Some(format!("{}+gzip", media_type::OCI_LAYER)),
        (Words::Oci, Compression::Zstd) => Some(format!("{}+zstd", media_type::OCI_LAYER)),
        (Words::Docker, Compression::None) => Some(DOCKER_PLAIN.to_owned()),
        (Words::Docker, Compression::Gzip) => Some(media_type::DOCKER_LAYER.to_owned()),
        (Words::Docker, Compression::Zstd) => None,
    }
}

/// Gives an image that shape; `None` if it has it. Layers that are packed anew lie in `scratch`.
pub(in crate::engine) fn reshaped(
    store: &Store,
    image: &Image,
    content: &Content,
    shape: &Shape,
    scratch: &Path,
) -> Result<Option<Content>, Error> {
    let own = match content.media_type == media_type::DOCKER_MANIFEST {
        true => Words::Docker,
        false => Words::Oci,
    };
    let mut formats = Vec::new();
    let mut packed: HashMap<Digest, Shipped> = HashMap::new();
    let mut layers = Vec::new();
    let mut files = HashMap::new();
    for (layer, shipped) in image.layers.iter().zip(&content.layers) {
        let format = format_of(store, &shipped.digest)?;
        let wanted = shape.packing.filter(|wanted| wanted.concerns(format));
        let Some(wanted) = wanted else {
            formats.push(format);
            layers.push(shipped.clone());
            continue;
        };
        formats.push(wanted.format);
        if !packed.contains_key(&shipped.digest) {
            let path = scratch.join(format!("packed-{}", packed.len()));
            let new = pack(store, image, layer, shipped, wanted, &path)?;
            files.insert(new.digest.clone(), path);
            packed.insert(shipped.digest.clone(), new);
        }
        layers.extend(packed.get(&shipped.digest).cloned());
    }
    // docker's words, unless there are none and nobody insists on them.
    let speechless = formats.contains(&Compression::Zstd);
    let words = shape.words.unwrap_or(if speechless { Words::Oci } else { own });
    if words == own && packed.is_empty() {
        return Ok(None);
    }
    for (layer, format) in layers.iter_mut().zip(&formats) {
        let kind = layer_kind(words, *format);
        let kind = kind.ok_or_else(|| Error::NotDocker {
            image: image.id.clone(),
            kind: "layer that is packed with zstd".to_owned(),
        });
        layer.media_type = kind?;
    }
    let (media_type, of_config) = match words {
        Words::Oci => (media_type::OCI_MANIFEST, media_type::OCI_CONFIG),
        Words::Docker => (media_type::DOCKER_MANIFEST, media_type::DOCKER_CONFIG),
    };
    let manifest = rewritten(content, &layers, words, (media_type, of_config));
    Ok(Some(Content {
        config: content.config.clone(),
        manifest: manifest.to_string().into_bytes(),
        media_type: media_type.to_owned(),
        layers,
        files,
    }))
}

/// The manifest with these layers. What the OCI's says of the image, or of a layer that is the same,
/// stays; docker's has no words for it.
fn rewritten(
    content: &Content,
    layers: &[Shipped],
    words: Words,
    (media_type, of_config): (&str, &str),
) -> Value {
    let known: Value = serde_json::from_slice(&content.manifest).unwrap_or_default();
    let mut config = known["config"].clone();
    config["mediaType"] = json!(of_config);
    let entry = |(layer, (place, before)): (&Shipped, (usize, &Shipped))| {
        let mut entry = descriptor(layer);
        let annotations = &known["layers"][place]["annotations"];
        if words == Words::Oci && layer.digest == before.digest && annotations.is_object() {
            entry["annotations"] = annotations.clone();
        }
        entry
    };
    let entries: Vec<Value> =
        layers.iter().zip(content.layers.iter().enumerate()).map(entry).collect();
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": config,
        "layers": entries,
    });
    if words == Words::Oci {
        for key in ["annotations", "artifactType", "subject"] {
            if let Some(said) = known.get(key) {
                manifest[key] = said.clone();
            }
        }
    }
    manifest
}

fn format_of(store: &Store, digest: &Digest) -> Result<Compression, Error> {
    let read = |source| Error::Io { action: "read", what: format!("the blob {digest}"), source };
    let mut file = BufReader::with_capacity(16, open(store, digest)?);
    Ok(Compression::of(file.fill_buf().map_err(read)?))
}

/// Packs a layer anew, and checks its archive on the way.
fn pack(
    store: &Store,
    image: &Image,
    layer: &Layer,
    from: &Shipped,
    packing: Packing,
    to: &Path,
) -> Result<Shipped, Error> {
    let io = |action| {
        let what = format!("layer {} packed anew", from.digest);
        move |source: io::Error| Error::Io { action, what, source }
    };
    let mut input = BufReader::with_capacity(128 << 10, open(store, &from.digest)?);
    let format = Compression::of(input.fill_buf().map_err(io("read"))?);
    let mut archive = Checked::new(inflated(format, input).map_err(io("read"))?, &layer.diff_id.0);
    let file = BufWriter::with_capacity(256 << 10, File::create(to).map_err(io("write"))?);
    let output = compress(&mut archive, Hashed::new(file), packing).map_err(io("write"))?;
    archive.check(&image.id)?;
    let (mut file, digest, size) = output.finish();
    file.flush().map_err(io("write"))?;
    Ok(Shipped { digest, media_type: String::new(), size })
}

fn compress<W: Write>(mut from: impl Read, to: W, packing: Packing) -> io::Result<W> {
    match packing.format {
        Compression::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(to, packing.level.unwrap_or(0))?;
            io::copy(&mut from, &mut encoder)?;
            encoder.finish()
        }
        Compression::Gzip => {
            let level = packing.level.and_then(|level| u32::try_from(level).ok());
            let level = level.map_or(flate2::Compression::default(), flate2::Compression::new);
            let mut encoder = flate2::write::GzEncoder::new(to, level);
            io::copy(&mut from, &mut encoder)?;
            encoder.finish()
        }
        Compression::None => {
            let mut to = to;
            io::copy(&mut from, &mut to)?;
            Ok(to)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_has_no_word_for_zstd() {
        let docker = |format| layer_kind(Words::Docker, format);
        assert_eq!(docker(Compression::Gzip).as_deref(), Some(media_type::DOCKER_LAYER));
        assert_eq!(docker(Compression::None).as_deref(), Some(DOCKER_PLAIN));
        assert_eq!(docker(Compression::Zstd), None);
    }
}
