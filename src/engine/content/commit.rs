//! `commit`: a container's changes as one more layer, and an image with it.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::str::FromStr;

use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::config::{self, New};
use super::pause::Pause;
use super::subject::Subject;
use crate::container::Status;
use crate::engine::events::Event;
use crate::engine::pull::{self, Policy};
use crate::engine::{Engine, Error};
use crate::layer;
use crate::oci::{Change, DiffId, Digest, Hashed, Platform, media_type};
use crate::reference::Reference;
use crate::registry::{
    self, BlobStream, Compression, Descriptor, ImageSource, LayerDescriptor, Resolved,
};
use crate::store::{self, Image, Store, full_name};

/// The form of an image's manifest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// OCI's.
    #[default]
    Oci,
    /// Docker's (manifest v2, schema 2).
    Docker,
}

/// A text that is no form of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown format {0:?}: want oci or docker")]
pub struct UnknownFormat(pub String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        match text {
            "oci" => Ok(Self::Oci),
            "docker" => Ok(Self::Docker),
            _ => Err(UnknownFormat(text.to_owned())),
        }
    }
}

/// What `commit` was asked for.
#[derive(Clone, Debug)]
pub struct CommitRequest {
    /// The container, by name or ID.
    pub container: String,
    /// The image's name; none for an image without one.
    pub name: Option<Reference>,
    /// `--author`
    pub author: Option<String>,
    /// `--message`
    pub message: Option<String>,
    /// `--change`, in order.
    pub changes: Vec<Change>,
    /// `--pause`: the container's processes stop while it is read, where they can be stopped.
    pub pause: bool,
    /// `--format`
    pub format: Format,
    /// `--include-volumes`: what is mounted in the container is a volume of the image.
    pub volumes: bool,
}

/// A layer that was written to a file.
struct Packed {
    diff_id: DiffId,
    digest: Digest,
    size: u64,
}

impl Engine {
    /// Makes an image of a container; gives its ID. This process gives up its own ids for it.
    pub fn commit(&self, request: &CommitRequest) -> Result<Digest, Error> {
        let subject = self.subject(&request.container)?;
        let store = &subject.engine.store;
        let parent = store.resolve(&subject.record.image_id.to_string())?;
        let group = subject.record.in_force.group.as_ref();
        let pausable = group.filter(|group| {
            request.pause && subject.record.status() == Status::Running && group.can_freeze()
        });
        let pause = pausable.map(Pause::of).transpose()?;
        subject.write_back();
        let written = subject.written()?;
        let differences = written.differences()?;
        let scratch = store.scratch()?;
        let path = scratch.path().join("layer");
        let packed = match differences.is_empty() {
            true => None,
            false => Some(pack(&path, |to| layer::write_layer(&written.now, &differences, to))?),
        };
        drop(pause);
        if let Some(Packed { digest, .. }) = &packed {
            store.keep_blob(&path, digest)?;
        }
        let image = compose(&subject, &parent, packed.as_ref(), request)?;
        let source = Made { store, image };
        let pulled = pull::pull(
            store,
            &pull::Request {
                source: &source,
                image: subject.record.name.clone(),
                name: request.name.as_ref().map(full_name),
                repository: None,
                platform: None,
                policy: Policy::Always,
                owners: subject.owners,
                jobs: 1,
                most_unpacked: Some(u64::MAX), // it is here
            },
            &(),
        )?;
        self.emit(&[Event::of_container("commit", &subject.record)]);
        Ok(pulled.id)
    }
}

/// Writes a layer, compressed.
fn pack(
    path: &Path,
    write: impl FnOnce(Compressed) -> Result<Compressed, layer::Error>,
) -> Result<Packed, Error> {
    let failed = |source| Error::Io { action: "write", path: path.to_owned(), source };
    let file = BufWriter::with_capacity(256 << 10, File::create(path).map_err(failed)?);
    let level = flate2::Compression::default();
    let compressed = Hashed::new(GzEncoder::new(Hashed::new(file), level));
    let (encoder, diff_id, _) = write(compressed)?.finish();
    let (file, digest, size) = encoder.finish().map_err(failed)?.finish();
    let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    Ok(Packed { diff_id: DiffId(diff_id), digest, size })
}

type Compressed = Hashed<GzEncoder<Hashed<BufWriter<File>>>>;

/// Configuration and manifest of the new image.
fn compose(
    subject: &Subject,
    parent: &Image,
    packed: Option<&Packed>,
    request: &CommitRequest,
) -> Result<Composed, Error> {
    let store = &subject.engine.store;
    let damaged = |error: serde_json::Error| store::Error::Damaged {
        path: store.blob_path(&parent.id),
        why: error.to_string(),
    };
    let shipped: Value = serde_json::from_slice(&store.document(&parent.id)?).map_err(damaged)?;
    let new = New {
        created: &crate::engine::run::now(),
        author: request.author.as_deref(),
        message: request.message.as_deref(),
        layer: packed.map(|packed| &packed.diff_id),
        changes: &request.changes,
        volumes: request.volumes,
    };
    let bytes = config::compose(&shipped, &subject.record, subject.creation.as_ref(), &new);
    let bytes = bytes.map_err(damaged)?;
    let described = |media_type: String, digest: &Digest, size| Descriptor {
        media_type,
        digest: digest.clone(),
        size,
    };
    let below = parent.layers.iter().map(|layer| {
        described(in_form(request.format, &layer.media_type), &layer.digest, layer.shipped)
    });
    let gzip = match request.format {
        Format::Oci => format!("{}+gzip", media_type::OCI_LAYER),
        Format::Docker => media_type::DOCKER_LAYER.to_owned(),
    };
    let own = packed.map(|packed| described(gzip, &packed.digest, packed.size));
    let layers: Vec<Descriptor> = below.chain(own).collect();
    let (kind, of_config) = match request.format {
        Format::Oci => (media_type::OCI_MANIFEST, media_type::OCI_CONFIG),
        Format::Docker => (media_type::DOCKER_MANIFEST, media_type::DOCKER_CONFIG),
    };
    let config = described(of_config.to_owned(), &Digest::of(&bytes), bytes.len() as u64);
    let entry =
        |it: &Descriptor| json!({"mediaType": it.media_type, "size": it.size, "digest": it.digest});
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": kind,
        "config": entry(&config),
        "layers": layers.iter().map(entry).collect::<Vec<_>>(),
    }));
    let manifest = manifest.map_err(damaged)?;
    let resolved = Resolved {
        index: None,
        manifest_digest: Digest::of(&manifest),
        manifest_bytes: manifest,
        media_type: kind.to_owned(),
        config,
        // Their first bytes tell how they are compressed.
        layers: layers
            .into_iter()
            .map(|descriptor| LayerDescriptor {
                descriptor,
                compression: Compression::None,
                contents: None,
            })
            .collect(),
    };
    Ok(Composed { resolved, config: bytes })
}

/// A layer's media type as a manifest of that form names it.
fn in_form(format: Format, known: &str) -> String {
    let ending = match known {
        media_type::DOCKER_LAYER => "gzip",
        _ => known.rsplit(['+', '.']).next().unwrap_or_default(),
    };
    match (format, ending) {
        (Format::Oci, "gzip" | "zstd") => format!("{}+{ending}", media_type::OCI_LAYER),
        (Format::Oci, _) => media_type::OCI_LAYER.to_owned(),
        (Format::Docker, "gzip") => media_type::DOCKER_LAYER.to_owned(),
        (Format::Docker, "zstd") => media_type::DOCKER_LAYER.replace("gzip", "zstd"),
        (Format::Docker, _) => media_type::DOCKER_LAYER.trim_end_matches(".gzip").to_owned(),
    }
}

struct Composed {
    resolved: Resolved,
    config: Vec<u8>,
}

/// The new image as a source: its layers are in the store by now.
struct Made<'a> {
    store: &'a Store,
    image: Composed,
}

impl ImageSource for Made<'_> {
    fn manifest(&self, _platform: &Platform) -> Result<Resolved, registry::Error> {
        Ok(self.image.resolved.clone())
    }

    fn config(&self, _descriptor: &Descriptor) -> Result<Vec<u8>, registry::Error> {
        Ok(self.image.config.clone())
    }

    fn blob(&self, descriptor: &Descriptor, _from: u64) -> Result<BlobStream, registry::Error> {
        let file = File::open(self.store.blob_path(&descriptor.digest));
        let what = format!("the blob {}", descriptor.digest);
        let file = file.map_err(|source| registry::Error::Io { what, source })?;
        Ok(BlobStream::new(0, file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_named_as_the_manifest_names_them() {
        let oci = |known: &str| in_form(Format::Oci, known);
        let docker = |known: &str| in_form(Format::Docker, known);
        let plain = media_type::OCI_LAYER;
        assert_eq!(oci(media_type::DOCKER_LAYER), format!("{plain}+gzip"));
        assert_eq!(oci(&format!("{plain}+zstd")), format!("{plain}+zstd"));
        assert_eq!(oci(plain), plain);
        assert_eq!(docker(&format!("{plain}+gzip")), media_type::DOCKER_LAYER);
        assert_eq!(docker(plain), "application/vnd.docker.image.rootfs.diff.tar");
    }
}
