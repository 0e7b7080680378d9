//! What `docker save` writes, as a source of images: manifest.json, configurations, layers.
//!
//! docker's layers are plain tar archives; other programs that write such files (kaniko, ko, jib,
//! crane) compress theirs.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use oci_client::manifest::{OciDescriptor, OciImageManifest};
use serde::Deserialize;

use super::archive::Archive;
use super::document::{CONFIG_LIMIT, MANIFEST_LIMIT, MOST_LAYERS};
use super::{BlobStream, Compression, Descriptor, Error, ImageSource, LayerDescriptor, Resolved};
use crate::oci::{Algorithm, Digest, Hasher, ImageConfig, Platform, media_type};
use crate::reference::Reference;

/// One image of a docker archive. Its layers are kept as they are in it: plain ones are known by
/// their `DiffId`s, of compressed ones the digest is found by reading them.
pub struct DockerArchive {
    archive: Arc<Archive>,
    name: String,
    entry: Entry,
    config: Vec<u8>,
    layers: Vec<LayerDescriptor>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Entry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl DockerArchive {
    /// Opens an archive; a compressed one is written out to `scratch` first.
    pub fn open(file: &Path, wanted: Option<&Reference>, scratch: &Path) -> Result<Self, Error> {
        let archive = Arc::new(Archive::open(file, scratch)?);
        let name = format!("docker-archive:{}", file.display());
        let entry = choose(&Self::entries(&archive, &name)?, wanted, &name)?.clone();
        Self::of(archive, name, entry)
    }

    /// The images of an archive.
    pub(super) fn entries(archive: &Archive, name: &str) -> Result<Vec<Entry>, Error> {
        let bytes = read(archive, "manifest.json", MANIFEST_LIMIT, name)?;
        let odd = |error: serde_json::Error| Error::Document {
            what: name.to_owned(),
            why: error.to_string(),
        };
        serde_json::from_slice(&bytes).map_err(odd)
    }

    /// One image of an archive.
    pub(super) fn of(archive: Arc<Archive>, name: String, entry: Entry) -> Result<Self, Error> {
        let odd = |why: String| Error::Document { what: name.clone(), why };
        let config = read(&archive, &entry.config, CONFIG_LIMIT, &name)?;
        let parsed = ImageConfig::parse(&config).map_err(|error| odd(error.to_string()))?;
        let diff_ids: Vec<Digest> = parsed.diff_ids.into_iter().map(|id| id.0).collect();
        if diff_ids.len() != entry.layers.len() {
            let (layers, ids) = (entry.layers.len(), diff_ids.len());
            return Err(odd(format!("it has {layers} layers, its configuration {ids}")));
        }
        if diff_ids.len() > MOST_LAYERS {
            return Err(odd(format!("it has {} layers", diff_ids.len())));
        }
        let layers = diff_ids.iter().zip(&entry.layers);
        let layers = layers.map(|(diff_id, member)| describe(&archive, &name, diff_id, member));
        let layers = layers.collect::<Result<_, _>>()?;
        Ok(Self { archive, name, entry, config, layers })
    }

    /// The names that the archive has for the image.
    pub fn tags(&self) -> Vec<Reference> {
        let tags = self.entry.repo_tags.iter().flatten();
        tags.filter_map(|tag| tag.parse().ok()).collect()
    }
}

fn describe(
    archive: &Archive,
    name: &str,
    diff_id: &Digest,
    member: &str,
) -> Result<LayerDescriptor, Error> {
    let size = archive.size(member).ok_or_else(|| Error::Document {
        what: name.to_owned(),
        why: format!("it has no {}", super::answer::escape(member)),
    })?;
    let io = |source| Error::Io { what: format!("a layer of {name}"), source };
    let mut start = Vec::new();
    archive.member(member, 0)?.take(4).read_to_end(&mut start).map_err(io)?;
    let compression = Compression::of(&start);
    let (suffix, digest) = match compression {
        Compression::None => ("", diff_id.clone()),
        Compression::Gzip => ("+gzip", hash(archive.member(member, 0)?).map_err(io)?),
        Compression::Zstd => ("+zstd", hash(archive.member(member, 0)?).map_err(io)?),
    };
    let media_type = format!("{}{suffix}", media_type::OCI_LAYER);
    Ok(LayerDescriptor {
        descriptor: Descriptor { media_type, digest, size },
        compression,
        contents: None,
    })
}

fn hash(mut stream: impl Read) -> io::Result<Digest> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; 128 << 10];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

fn choose<'a>(
    entries: &'a [Entry],
    wanted: Option<&Reference>,
    name: &str,
) -> Result<&'a Entry, Error> {
    let has = |entry: &&Entry, wanted: &Reference| {
        entry.repo_tags.iter().flatten().any(|tag| tag.parse::<Reference>().as_ref() == Ok(wanted))
    };
    let found = match wanted {
        Some(wanted) => entries.iter().find(|entry| has(entry, wanted)),
        None => entries.first().filter(|_| entries.len() == 1),
    };
    found.ok_or_else(|| Error::NotInArchive {
        archive: name.to_owned(),
        wanted: wanted
            .map_or_else(|| "without a name: it has several".to_owned(), Reference::familiar),
        offered: entries.iter().filter_map(|entry| entry.repo_tags.clone()).flatten().collect(),
    })
}

fn read(archive: &Archive, member: &str, limit: u64, name: &str) -> Result<Vec<u8>, Error> {
    let what = format!("{member} of {name}");
    let mut bytes = Vec::new();
    let read = archive.member(member, 0)?.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|source| Error::Io { what: what.clone(), source })?;
    if bytes.len() as u64 > limit {
        return Err(Error::Document { what, why: format!("it is longer than {limit} bytes") });
    }
    Ok(bytes)
}

impl ImageSource for DockerArchive {
    /// The archive has no manifest of the registries' kind; this one names what it has.
    fn manifest(&self, _platform: &Platform) -> Result<Resolved, Error> {
        let config = Descriptor {
            media_type: media_type::OCI_CONFIG.to_owned(),
            digest: Digest::of(&self.config),
            size: self.config.len() as u64,
        };
        let layers = self.layers.iter().map(|layer| &layer.descriptor);
        let entry = |descriptor: &Descriptor| OciDescriptor {
            media_type: descriptor.media_type.clone(),
            digest: descriptor.digest.to_string(),
            size: i64::try_from(descriptor.size).unwrap_or(i64::MAX),
            ..OciDescriptor::default()
        };
        let manifest = OciImageManifest {
            media_type: Some(media_type::OCI_MANIFEST.to_owned()),
            config: entry(&config),
            layers: layers.map(entry).collect(),
            ..OciImageManifest::default()
        };
        let bytes = serde_json::to_vec(&manifest)
            .map_err(|error| Error::Document { what: self.name.clone(), why: error.to_string() })?;
        Ok(Resolved {
            index: None,
            manifest_digest: Digest::of(&bytes),
            manifest_bytes: bytes,
            media_type: media_type::OCI_MANIFEST.to_owned(),
            config,
            layers: self.layers.clone(),
        })
    }

    fn config(&self, _descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        Ok(self.config.clone())
    }

    fn blob(&self, descriptor: &Descriptor, from: u64) -> Result<BlobStream, Error> {
        let wanted = |layer: &LayerDescriptor| layer.descriptor.digest == descriptor.digest;
        let place = self.layers.iter().position(wanted);
        let member = place.and_then(|place| self.entry.layers.get(place)).ok_or_else(|| {
            let why = format!("it has no layer {}", descriptor.digest);
            Error::Document { what: self.name.clone(), why }
        })?;
        Ok(BlobStream::new(from, self.archive.member(member, from)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive as docker writes one: the second image's layer is a link to the first's.
    fn archive(directory: &Path) -> std::path::PathBuf {
        let layer = b"layer".repeat(300);
        let config = |n: u8| {
            format!(
                r#"{{"architecture":"amd64","os":"linux","author":"{n}","rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
                Digest::of(&layer)
            )
        };
        let path = directory.join("save.tar");
        let mut tar = tar::Builder::new(std::fs::File::create(&path).expect("a file"));
        let mut add = |name: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, bytes).expect(name);
        };
        add("a.json", config(1).as_bytes());
        add("b.json", config(2).as_bytes());
        add("one/layer.tar", &layer);
        add(
            "manifest.json",
            br#"[{"Config":"a.json","RepoTags":["app:1"],"Layers":["one/layer.tar"]},
                {"Config":"b.json","RepoTags":["app:2"],"Layers":["two/layer.tar"]}]"#,
        );
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        tar.append_link(&mut link, "two/layer.tar", "../one/layer.tar").expect("a link");
        tar.finish().expect("an archive");
        path
    }

    #[test]
    fn an_image_is_chosen_by_name_and_read_through_links() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = archive(directory.path());
        let open = |name: Option<&str>| {
            let wanted = name.map(|name| name.parse().expect(name));
            DockerArchive::open(&file, wanted.as_ref(), directory.path())
        };
        assert!(matches!(open(None), Err(Error::NotInArchive { .. })));
        assert!(matches!(open(Some("app:3")), Err(Error::NotInArchive { .. })));
        let image = open(Some("app:2")).expect("an image");
        let resolved = image.manifest(&Platform::host()).expect("a manifest");
        let mut bytes = Vec::new();
        let layer = &resolved.layers[0].descriptor;
        image.blob(layer, 5).expect("a blob").read_to_end(&mut bytes).expect("bytes");
        assert_eq!(bytes.len() as u64, layer.size - 5);
    }
}
