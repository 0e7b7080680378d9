//! What `docker save` writes, as a source of images: manifest.json, configurations, plain tar layers.

use std::io::Read;
use std::path::Path;

use oci_client::manifest::{OciDescriptor, OciImageManifest};
use serde::Deserialize;

use super::archive::Archive;
use super::document::{CONFIG_LIMIT, MANIFEST_LIMIT};
use super::{BlobStream, Compression, Descriptor, Error, ImageSource, LayerDescriptor, Resolved};
use crate::oci::{Digest, ImageConfig, Platform, media_type};
use crate::reference::Reference;

/// One image of a docker archive. Its layers are known by their `DiffId`s: the archive has them
/// uncompressed, and that is how they are kept.
pub struct DockerArchive {
    archive: Archive,
    name: String,
    entry: Entry,
    config: Vec<u8>,
    diff_ids: Vec<Digest>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl DockerArchive {
    /// Opens an archive; a compressed one is written out to `scratch` first.
    pub fn open(file: &Path, wanted: Option<&Reference>, scratch: &Path) -> Result<Self, Error> {
        let name = format!("docker-archive:{}", file.display());
        let archive = Archive::open(file, scratch)?;
        let odd = |why: String| Error::Document { what: name.clone(), why };
        let bytes = read(&archive, "manifest.json", MANIFEST_LIMIT, &name)?;
        let entries: Vec<Entry> =
            serde_json::from_slice(&bytes).map_err(|error| odd(error.to_string()))?;
        let entry = choose(&entries, wanted, &name)?.clone();
        let config = read(&archive, &entry.config, CONFIG_LIMIT, &name)?;
        let parsed = ImageConfig::parse(&config).map_err(|error| odd(error.to_string()))?;
        let diff_ids: Vec<Digest> = parsed.diff_ids.into_iter().map(|id| id.0).collect();
        if diff_ids.len() != entry.layers.len() {
            let (layers, ids) = (entry.layers.len(), diff_ids.len());
            return Err(odd(format!("it has {layers} layers, its configuration {ids}")));
        }
        Ok(Self { archive, name, entry, config, diff_ids })
    }

    /// The names that the archive has for the image.
    pub fn tags(&self) -> Vec<Reference> {
        let tags = self.entry.repo_tags.iter().flatten();
        tags.filter_map(|tag| tag.parse().ok()).collect()
    }

    fn descriptors(&self) -> Result<Vec<Descriptor>, Error> {
        let layers = self.diff_ids.iter().zip(&self.entry.layers);
        let descriptor = |(digest, member): (&Digest, &String)| {
            let size = self.archive.size(member).ok_or_else(|| Error::Document {
                what: self.name.clone(),
                why: format!("it has no {}", super::answer::escape(member)),
            })?;
            let media_type = media_type::OCI_LAYER.to_owned();
            Ok(Descriptor { media_type, digest: digest.clone(), size })
        };
        layers.map(descriptor).collect()
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
        let layers = self.descriptors()?;
        let entry = |descriptor: &Descriptor| OciDescriptor {
            media_type: descriptor.media_type.clone(),
            digest: descriptor.digest.to_string(),
            size: i64::try_from(descriptor.size).unwrap_or(i64::MAX),
            ..OciDescriptor::default()
        };
        let manifest = OciImageManifest {
            media_type: Some(media_type::OCI_MANIFEST.to_owned()),
            config: entry(&config),
            layers: layers.iter().map(entry).collect(),
            ..OciImageManifest::default()
        };
        let bytes = serde_json::to_vec(&manifest)
            .map_err(|error| Error::Document { what: self.name.clone(), why: error.to_string() })?;
        let layer = |descriptor| LayerDescriptor { descriptor, compression: Compression::None };
        Ok(Resolved {
            index: None,
            manifest_digest: Digest::of(&bytes),
            manifest_bytes: bytes,
            media_type: media_type::OCI_MANIFEST.to_owned(),
            config,
            layers: layers.into_iter().map(layer).collect(),
        })
    }

    fn config(&self, _descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        Ok(self.config.clone())
    }

    fn blob(&self, descriptor: &Descriptor, from: u64) -> Result<BlobStream, Error> {
        let place = self.diff_ids.iter().position(|digest| *digest == descriptor.digest);
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
