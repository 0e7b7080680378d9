//! Manifests and indexes: read, checked, chosen from. No I/O.
//!
//! The types are oci-client's; what they let pass is refused here: two readings of one document
//! (CVE-2021-41190), digests that are paths, layers of unknown kinds, endless lists.

use std::collections::BTreeMap;

use oci_client::manifest::{OciDescriptor, OciImageIndex, OciImageManifest};
use serde::Deserialize;

use super::{Compression, Contents, Descriptor, Error, LayerDescriptor};
use crate::oci::{Digest, Platform, media_type};

/// The largest manifest or index, in bytes; what registries themselves take is 4 MiB.
pub(super) const MANIFEST_LIMIT: u64 = 8 << 20;
/// The largest configuration, in bytes.
pub(super) const CONFIG_LIMIT: u64 = 8 << 20;
/// The most layers; overlayfs takes 500, docker 127.
pub(super) const MOST_LAYERS: usize = 1000;
/// The most entries of an index.
const MOST_MANIFESTS: usize = 10_000;

/// What a document turned out to be.
#[derive(Debug)]
pub(super) enum Document {
    /// An image: its configuration and layers.
    Manifest { media_type: String, config: Descriptor, layers: Vec<LayerDescriptor> },
    /// Images for several platforms.
    Index(Vec<Offer>),
}

/// An entry of an index.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) descriptor: Descriptor,
    pub(super) platform: Option<Platform>,
}

/// What every document may say of itself.
#[derive(Deserialize)]
struct Outline {
    #[serde(rename = "schemaVersion")]
    schema_version: Option<u64>,
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    #[serde(rename = "fsLayers")]
    fs_layers: Option<serde::de::IgnoredAny>,
}

/// Reads a document. `sent_as` is the media type that named it: a descriptor's or a header's.
pub(super) fn read(what: &str, bytes: &[u8], sent_as: Option<&str>) -> Result<Document, Error> {
    let odd = |why: String| Error::Document { what: what.to_owned(), why };
    let json = |source: serde_json::Error| odd(source.to_string());
    let outline: Outline = serde_json::from_slice(bytes).map_err(json)?;
    if outline.fs_layers.is_some() || outline.schema_version == Some(1) {
        return Err(odd("it is of docker's schema 1, which is no longer read".into()));
    }
    if let Some(said) = outline.media_type.as_deref().filter(|said| !is_known(said)) {
        return Err(odd(format!("it calls itself {said:?}, which is no image")));
    }
    if let (Some(said), Some(sent)) = (&outline.media_type, sent_as)
        && said != sent
        && is_known(sent)
    {
        return Err(odd(format!("it calls itself {said:?} and was sent as {sent:?}")));
    }
    let kind = outline.media_type.as_deref().or(sent_as.filter(|sent| is_known(sent)));
    let index = matches!(kind, Some(media_type::OCI_INDEX | media_type::DOCKER_LIST));
    match (outline.manifests.is_some(), outline.layers.is_some()) {
        (true, true) => Err(odd("it has both layers and manifests".into())),
        (true, false) if index || kind.is_none() => read_index(bytes, &odd),
        (false, true) if !index => read_manifest(bytes, kind, &odd),
        _ => Err(odd("its content is not what its media type says".into())),
    }
}

fn is_known(kind: &str) -> bool {
    [
        media_type::OCI_INDEX,
        media_type::OCI_MANIFEST,
        media_type::DOCKER_LIST,
        media_type::DOCKER_MANIFEST,
    ]
    .contains(&kind)
}

fn read_index(bytes: &[u8], odd: &dyn Fn(String) -> Error) -> Result<Document, Error> {
    let index: OciImageIndex =
        serde_json::from_slice(bytes).map_err(|error| odd(error.to_string()))?;
    if index.manifests.len() > MOST_MANIFESTS {
        return Err(odd(format!("it lists {} manifests", index.manifests.len())));
    }
    let offers = index.manifests.into_iter().map(|entry| {
        let platform = entry.platform.map(|platform| Platform {
            os: platform.os.to_string(),
            architecture: platform.architecture.to_string(),
            variant: platform.variant,
        });
        let descriptor = descriptor(entry.media_type, &entry.digest, entry.size, odd)?;
        Ok(Offer { descriptor, platform })
    });
    Ok(Document::Index(offers.collect::<Result<_, Error>>()?))
}

fn read_manifest(
    bytes: &[u8],
    kind: Option<&str>,
    odd: &dyn Fn(String) -> Error,
) -> Result<Document, Error> {
    let manifest: OciImageManifest =
        serde_json::from_slice(bytes).map_err(|error| odd(error.to_string()))?;
    if manifest.layers.len() > MOST_LAYERS {
        return Err(odd(format!("it has {} layers", manifest.layers.len())));
    }
    let config = plain(manifest.config, odd)?;
    if ![media_type::OCI_CONFIG, media_type::DOCKER_CONFIG].contains(&config.media_type.as_str()) {
        let kind = manifest.artifact_type.unwrap_or(config.media_type);
        return Err(odd(format!("it is an artifact ({kind}) and no image")));
    }
    if config.size > CONFIG_LIMIT {
        return Err(odd(format!("its configuration has {} bytes", config.size)));
    }
    let layer = |entry: OciDescriptor| {
        let contents = entry.annotations.as_ref().and_then(contents);
        let descriptor = plain(entry, odd)?;
        let compression = compression(&descriptor.media_type)
            .ok_or_else(|| odd(format!("it has a layer of kind {:?}", descriptor.media_type)))?;
        Ok(LayerDescriptor { descriptor, compression, contents })
    };
    let media_type = kind.unwrap_or(media_type::OCI_MANIFEST).to_owned();
    let layers = manifest.layers.into_iter().map(layer).collect::<Result<_, Error>>()?;
    Ok(Document::Manifest { media_type, config, layers })
}

/// Without `urls`: they lead to hosts that nobody chose (CVE-2020-15157).
fn plain(entry: OciDescriptor, odd: &dyn Fn(String) -> Error) -> Result<Descriptor, Error> {
    descriptor(entry.media_type, &entry.digest, entry.size, odd)
}

fn descriptor(
    media_type: String,
    digest: &str,
    size: i64,
    odd: &dyn Fn(String) -> Error,
) -> Result<Descriptor, Error> {
    let digest: Digest = digest.parse().map_err(|error| odd(format!("{error}")))?;
    let size = u64::try_from(size).map_err(|_| odd(format!("{digest} has a size of {size}")))?;
    Ok(Descriptor { media_type, digest, size })
}

/// How a layer of this media type is compressed; `None` for what is no layer.
fn compression(kind: &str) -> Option<Compression> {
    let (base, suffix) = kind.rsplit_once(['+', '.']).unwrap_or((kind, ""));
    let layers = [
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
    ];
    if layers.contains(&kind) {
        return Some(Compression::None);
    }
    match (layers.contains(&base), suffix) {
        (true, "gzip") => Some(Compression::Gzip),
        (true, "zstd") => Some(Compression::Zstd),
        _ => None,
    }
}

/// The table of contents that a layer's annotations tell of. What cannot be read is none: the layer
/// is fetched like any other.
fn contents(annotations: &BTreeMap<String, String>) -> Option<Contents> {
    // Before containers/storage 1.46 the names had no `github` in them.
    let chunked = ["io.github.containers.zstd-chunked", "io.containers.zstd-chunked"];
    for name in chunked {
        let Some(position) = annotations.get(&format!("{name}.manifest-position")) else {
            continue;
        };
        let digest = annotations.get(&format!("{name}.manifest-checksum"))?.parse().ok()?;
        let mut numbers = position.split(':').map(|number| number.parse::<u64>().ok());
        let (offset, length) = (numbers.next()??, numbers.next()??);
        let (_unpacked, kind) = (numbers.next()??, numbers.next()??);
        return (kind == 1).then_some(Contents::Chunked { offset, length, digest });
    }
    let digest = annotations.get("containerd.io/snapshot/stargz/toc.digest")?.parse().ok()?;
    Some(Contents::Stargz { digest })
}

/// The media type that a document says of itself.
pub(super) fn own_kind(what: &str, bytes: &[u8]) -> Result<Option<String>, Error> {
    let outline: Outline = serde_json::from_slice(bytes)
        .map_err(|error| Error::Document { what: what.to_owned(), why: error.to_string() })?;
    Ok(outline.media_type)
}

/// What an index has for a platform.
pub fn offered(what: &str, index: &[u8], wanted: &Platform) -> Result<Descriptor, Error> {
    let Document::Index(offers) = read(what, index, None)? else {
        return Err(Error::Document { what: what.to_owned(), why: "it is no index".into() });
    };
    choose(&offers, wanted).map(|offer| offer.descriptor.clone()).ok_or_else(|| Error::NoPlatform {
        image: what.to_owned(),
        wanted: wanted.clone(),
        offered: offers.iter().filter_map(|offer| offer.platform.clone()).collect(),
    })
}

/// The best offer for a platform: one for exactly it before one that merely serves.
pub(super) fn choose<'a>(offers: &'a [Offer], wanted: &Platform) -> Option<&'a Offer> {
    let fits = |offer: &&Offer| match &offer.platform {
        Some(platform) => wanted.accepts(platform),
        // An index of one image may say nothing of its platform.
        None => offers.len() == 1,
    };
    let exact = |offer: &&Offer| {
        offer.platform.as_ref().is_some_and(|platform| platform.variant == wanted.variant)
    };
    offers.iter().filter(fits).find(exact).or_else(|| offers.iter().find(fits))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn manifest(layer: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}","digest":"{HEX}","size":2}},
            "layers":[{{"mediaType":"{layer}","digest":"{HEX}","size":3,"urls":["http://x"]}}]}}"#,
            media_type::OCI_MANIFEST,
            media_type::OCI_CONFIG,
        )
    }

    #[test]
    fn layers_are_known_by_their_media_types() {
        let cases = [
            ("application/vnd.oci.image.layer.v1.tar", Compression::None),
            ("application/vnd.oci.image.layer.v1.tar+gzip", Compression::Gzip),
            ("application/vnd.oci.image.layer.v1.tar+zstd", Compression::Zstd),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Compression::Gzip),
            ("application/vnd.docker.image.rootfs.diff.tar", Compression::None),
        ];
        for (kind, expected) in cases {
            match read("x", manifest(kind).as_bytes(), None) {
                Ok(Document::Manifest { layers, .. }) => {
                    assert_eq!(layers[0].compression, expected, "{kind}");
                }
                other => panic!("{kind}: {other:?}"),
            }
        }
        assert!(read("x", manifest("application/x-sh").as_bytes(), None).is_err());
    }

    #[test]
    fn annotations_tell_of_a_table_of_contents() {
        let of = |pairs: &[(&str, &str)]| {
            let own = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            contents(&own.collect())
        };
        let digest: Digest = HEX.parse().expect("a digest");
        let chunked = Contents::Chunked { offset: 7, length: 8, digest: digest.clone() };
        for name in ["io.github.containers.zstd-chunked", "io.containers.zstd-chunked"] {
            let at = |position: &str| {
                let position = (&*format!("{name}.manifest-position"), position);
                of(&[position, (&format!("{name}.manifest-checksum"), HEX)])
            };
            assert_eq!(at("7:8:9:1"), Some(chunked.clone()));
            for odd in ["7:8:9:2", "7:8:9", "-7:8:9:1", "7:99999999999999999999:9:1", ""] {
                assert_eq!(at(odd), None, "{odd}");
            }
        }
        let stargz = "containerd.io/snapshot/stargz/toc.digest";
        assert_eq!(of(&[(stargz, HEX)]), Some(Contents::Stargz { digest }));
        assert_eq!(of(&[(stargz, "sha256:../x")]), None);
        assert_eq!(of(&[("io.containers.zstd-chunked.manifest-checksum", HEX)]), None);
    }

    #[test]
    fn documents_of_two_meanings_are_refused() {
        let good = manifest("application/vnd.oci.image.layer.v1.tar");
        assert!(read("x", good.as_bytes(), Some(media_type::OCI_INDEX)).is_err());
        assert!(read("x", good.as_bytes(), Some(media_type::DOCKER_MANIFEST)).is_err());
        let both = good.replacen('{', r#"{"manifests":[],"#, 1);
        assert!(read("x", both.as_bytes(), None).is_err());
        let old = r#"{"schemaVersion":1,"fsLayers":[]}"#;
        assert!(read("x", old.as_bytes(), None).is_err());
        let path = good.replace(HEX, "sha256:../../x");
        assert!(read("x", path.as_bytes(), None).is_err());
        let negative = good.replace("\"size\":3", "\"size\":-3");
        assert!(read("x", negative.as_bytes(), None).is_err());
    }

    #[test]
    fn the_exact_platform_is_chosen() {
        let offer = |text: &str| Offer {
            descriptor: Descriptor {
                media_type: String::new(),
                digest: Digest::of(text.as_bytes()),
                size: 0,
            },
            platform: text.parse().ok(),
        };
        let offers = [offer("linux/arm/v6"), offer("linux/arm/v7"), offer("linux/amd64")];
        let chosen = |text: &str| {
            choose(&offers, &text.parse().expect(text)).and_then(|offer| offer.platform.clone())
        };
        assert_eq!(chosen("linux/arm/v7"), "linux/arm/v7".parse().ok());
        assert_eq!(chosen("linux/amd64"), "linux/amd64".parse().ok());
        assert_eq!(chosen("linux/s390x"), None);
    }
}
