//! An artifact's manifest (image-spec 1.1, "Guidelines for Artifact Usage"): read and made. No I/O.

use serde_json::{Map, Value, json};

use crate::oci::{Digest, media_type};
use crate::registry::{self, Descriptor};

/// The annotation by which a layer says which file it is.
pub(super) const TITLE: &str = "org.opencontainers.image.title";
/// The type where nobody names one, as podman has it.
const UNKNOWN: &str = "application/vnd.unknown.artifact.v1";
/// The media type of a configuration that says nothing.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// Its bytes.
pub(super) const NOTHING: &[u8] = b"{}";
/// The most files.
const MOST_FILES: usize = 1000;

/// A file of an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) descriptor: Descriptor,
    pub(super) title: Option<String>,
}

/// Its manifest.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Manifest(Map<String, Value>);

impl Manifest {
    /// One without files.
    pub(super) fn new(kind: Option<&str>) -> Self {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_MANIFEST,
            "artifactType": kind.unwrap_or(UNKNOWN),
            "config": {
                "mediaType": EMPTY,
                "digest": Digest::of(NOTHING),
                "size": NOTHING.len(),
                "data": "e30=",
            },
            "layers": [],
        });
        match manifest {
            Value::Object(manifest) => Self(manifest),
            _ => unreachable!("it is written so"),
        }
    }

    /// Reads one; the error says what is wrong with it.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let manifest = Self(serde_json::from_slice(bytes).map_err(|error| error.to_string())?);
        if manifest.0.contains_key("manifests") {
            return Err("it is an index of several".to_owned());
        }
        let count = manifest.layers().len();
        if count > MOST_FILES {
            return Err(format!("it has {count} files"));
        }
        // A registry's words for each file: digests and sizes that can be.
        registry::parts("", bytes).map_err(|error| error.to_string())?;
        Ok(manifest)
    }

    fn layers(&self) -> &[Value] {
        self.0.get("layers").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// Its files, in their order.
    pub(super) fn files(&self) -> Vec<Blob> {
        let file = |layer: &Value| {
            let descriptor = Descriptor {
                media_type: layer["mediaType"].as_str()?.to_owned(),
                digest: layer["digest"].as_str()?.parse().ok()?,
                size: layer["size"].as_u64()?,
            };
            let title = layer["annotations"][TITLE].as_str().map(str::to_owned);
            Some(Blob { descriptor, title })
        };
        self.layers().iter().filter_map(file).collect()
    }

    /// Adds a file.
    pub(super) fn add(&mut self, file: &Blob, annotations: &[(String, String)]) {
        let Descriptor { media_type, digest, size } = &file.descriptor;
        let mut layer = json!({"mediaType": media_type, "digest": digest, "size": size});
        let said = annotations.iter().map(|(key, value)| (key.clone(), json!(value)));
        let mut all: Map<String, Value> = said.collect();
        all.extend(file.title.iter().map(|title| (TITLE.to_owned(), json!(title))));
        if !all.is_empty() {
            layer["annotations"] = Value::Object(all);
        }
        let layers = self.0.entry("layers").or_insert(json!([]));
        if let Value::Array(layers) = layers {
            layers.push(layer);
        }
    }

    /// The document.
    pub(super) fn write(&self) -> Vec<u8> {
        Value::Object(self.0.clone()).to_string().into_bytes()
    }

    /// A configuration that stands in the manifest itself, as long as it is what its digest says.
    pub(super) fn inline_config(&self) -> Option<Vec<u8>> {
        use base64::Engine as _;
        let config = self.0.get("config")?;
        let data = config["data"].as_str()?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(data).ok()?;
        let digest: Digest = config["digest"].as_str()?.parse().ok()?;
        (Digest::of(&bytes) == digest).then_some(bytes)
    }
}

/// Under which name a file is written out into a directory; the error says why under none. The title
/// is a stranger's: it leads nowhere else, and moves no cursor.
pub(super) fn file_name(file: &Blob) -> Result<String, &'static str> {
    let Some(title) = &file.title else {
        // podman's: a colon is no part of a name everywhere.
        return Ok(file.descriptor.digest.to_string().replace(':', "-"));
    };
    match title.as_str() {
        "" | "." | ".." => Err("that is no file's name"),
        title if title.contains('/') => Err("a name in a directory has no slash"),
        title if title.chars().any(char::is_control) => Err("it has control characters"),
        title if title.len() > 255 => Err("it is longer than a name may be"),
        title => Ok(title.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(title: Option<&str>) -> Blob {
        let descriptor =
            Descriptor { media_type: "text/plain".into(), digest: Digest::of(b"file"), size: 4 };
        Blob { descriptor, title: title.map(str::to_owned) }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut manifest = Manifest::new(Some("application/x-thing"));
        manifest.add(&file(Some("a.txt")), &[("k".into(), "v".into()), (TITLE.into(), "x".into())]);
        manifest.add(&file(None), &[]);
        let again = Manifest::read(&manifest.write()).expect("a manifest");
        assert_eq!(again, manifest);
        assert_eq!(again.files(), [file(Some("a.txt")), file(None)]);
        assert_eq!(again.inline_config().as_deref(), Some(NOTHING));
        assert!(again.layers()[1].get("annotations").is_none());
    }

    #[test]
    fn a_title_leads_nowhere_else() {
        assert_eq!(file_name(&file(Some("a b.txt"))).as_deref(), Ok("a b.txt"));
        let digest = Digest::of(b"file");
        assert_eq!(file_name(&file(None)), Ok(format!("sha256-{}", digest.hex())));
        let long = "x".repeat(256);
        for odd in ["", ".", "..", "../x", "/etc/passwd", "a/b", "a\u{1b}[2J", "a\nb", "\0", &long]
        {
            assert!(file_name(&file(Some(odd))).is_err(), "{odd:?}");
        }
    }

    #[test]
    fn an_index_is_no_artifact() {
        assert!(Manifest::read(br#"{"schemaVersion":2,"manifests":[]}"#).is_err());
        let bad = r#"{"layers":[{"mediaType":"x","digest":"sha256:../x","size":1}]}"#;
        assert!(Manifest::read(bad.as_bytes()).is_err());
    }
}
