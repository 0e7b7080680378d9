//! The document of a list: read, changed, written. No I/O.
//!
//! What it says beyond what is known here stays as it came. It is docker's manifest list as long as
//! all that it names is docker's and nothing in it is the OCI's alone.

use serde_json::{Map, Value, json};

use crate::engine::save::Words;
use crate::oci::{Digest, media_type};

/// What is said of an entry, or changed: what is not given stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// `--arch`
    pub architecture: Option<String>,
    /// `--os`
    pub os: Option<String>,
    /// `--variant`
    pub variant: Option<String>,
    /// `--os-version`
    pub os_version: Option<String>,
    /// `--os-features`
    pub os_features: Vec<String>,
    /// `--features`, which the OCI reserves.
    pub features: Vec<String>,
    /// `--annotation`
    pub annotations: Vec<(String, String)>,
}

/// A list of manifests.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Index(Map<String, Value>);

impl Index {
    pub(super) fn new() -> Self {
        let mut index = Map::new();
        index.insert("schemaVersion".into(), json!(2));
        index.insert("mediaType".into(), json!(media_type::OCI_INDEX));
        index.insert("manifests".into(), json!([]));
        Self(index)
    }

    pub(super) fn read(bytes: &[u8]) -> serde_json::Result<Self> {
        let mut index = Self(serde_json::from_slice(bytes)?);
        index.manifests(); // a list of them, whatever it was
        Ok(index)
    }

    fn manifests(&mut self) -> &mut Vec<Value> {
        let value = self.0.entry("manifests").or_insert(Value::Null);
        if !value.is_array() {
            *value = json!([]);
        }
        match value {
            Value::Array(entries) => entries,
            _ => unreachable!("it was made one"),
        }
    }

    pub(super) fn entries(&self) -> &[Value] {
        self.0.get("manifests").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// The digests of its manifests.
    pub(super) fn digests(&self) -> Vec<Digest> {
        self.entries().iter().filter_map(digest_of).collect()
    }

    /// Adds an entry, in place of one for the same manifest.
    pub(super) fn add(&mut self, entry: Value) {
        let digest = digest_of(&entry);
        let entries = self.manifests();
        match entries.iter_mut().find(|known| digest_of(known) == digest) {
            Some(known) => *known = entry,
            None => entries.push(entry),
        }
    }

    /// Takes an entry away; `false` if there is none.
    pub(super) fn remove(&mut self, digest: &Digest) -> bool {
        let entries = self.manifests();
        let before = entries.len();
        entries.retain(|entry| digest_of(entry).as_ref() != Some(digest));
        entries.len() < before
    }

    /// Changes what is said of an entry; `false` if there is none.
    pub(super) fn annotate(&mut self, digest: &Digest, details: &Details) -> bool {
        let mut entries = self.manifests().iter_mut();
        let found = entries.find(|entry| digest_of(entry).as_ref() == Some(digest));
        found.map(|entry| describe(entry, details)).is_some()
    }

    /// Says something of the list itself.
    pub(super) fn annotate_all(&mut self, annotations: &[(String, String)]) {
        add_annotations(&mut self.0, annotations);
    }

    /// The document, in the words that were asked for, or in those of its entries. The error is the
    /// first that docker has no word for.
    pub(super) fn write(&mut self, words: Option<Words>) -> Result<Vec<u8>, String> {
        let odd = self.not_dockers();
        let kind = match (words, odd) {
            (Some(Words::Docker), Some(odd)) => return Err(odd),
            (Some(Words::Docker), None) => media_type::DOCKER_LIST,
            (None, None) if !self.entries().is_empty() => media_type::DOCKER_LIST,
            (Some(Words::Oci) | None, _) => media_type::OCI_INDEX,
        };
        self.0.insert("mediaType".into(), json!(kind));
        Ok(Value::Object(self.0.clone()).to_string().into_bytes())
    }

    fn not_dockers(&self) -> Option<String> {
        if ["annotations", "artifactType", "subject"].iter().any(|key| self.0.contains_key(*key)) {
            return Some("its annotations".to_owned());
        }
        self.entries().iter().find_map(|entry| {
            let kind = entry["mediaType"].as_str().unwrap_or_default();
            let odd = kind != media_type::DOCKER_MANIFEST || entry.get("annotations").is_some();
            odd.then(|| format!("{} ({kind})", entry["digest"].as_str().unwrap_or_default()))
        })
    }
}

/// An entry for a manifest, by what its configuration says (image-spec, image-index.md).
pub(super) fn entry(media_type: &str, digest: &Digest, size: usize, config: &[u8]) -> Value {
    let config: Value = serde_json::from_slice(config).unwrap_or_default();
    let mut platform = Map::new();
    for key in ["architecture", "os", "os.version", "os.features", "variant"] {
        match config.get(key) {
            Some(value) if !value.is_null() && value != "" => {
                platform.insert(key.into(), value.clone());
            }
            _ => {}
        }
    }
    let mut entry = json!({"mediaType": media_type, "digest": digest, "size": size});
    if !platform.is_empty() {
        entry["platform"] = Value::Object(platform);
    }
    entry
}

/// Says more of an entry.
pub(super) fn describe(entry: &mut Value, details: &Details) {
    let Value::Object(entry) = entry else { return };
    let texts = [
        ("architecture", &details.architecture),
        ("os", &details.os),
        ("os.version", &details.os_version),
        ("variant", &details.variant),
    ];
    let lists = [("os.features", &details.os_features), ("features", &details.features)];
    let texts = texts.iter().filter_map(|(key, text)| Some((*key, json!(text.as_ref()?))));
    let lists = lists.iter().filter(|(_, list)| !list.is_empty());
    let said: Vec<(&str, Value)> =
        texts.chain(lists.map(|(key, list)| (*key, json!(list)))).collect();
    if !said.is_empty() {
        let platform = object(entry, "platform");
        for (key, value) in said {
            platform.insert(key.to_owned(), value);
        }
    }
    add_annotations(entry, &details.annotations);
}

fn add_annotations(to: &mut Map<String, Value>, annotations: &[(String, String)]) {
    if !annotations.is_empty() {
        let known = object(to, "annotations");
        known.extend(annotations.iter().map(|(key, value)| (key.clone(), json!(value))));
    }
}

fn object<'a>(of: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let value = of.entry(key).or_insert(Value::Null);
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was made one"),
    }
}

pub(super) fn digest_of(entry: &Value) -> Option<Digest> {
    entry["digest"].as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dockers(name: &str) -> Value {
        let digest = Digest::of(name.as_bytes());
        entry(media_type::DOCKER_MANIFEST, &digest, 7, br#"{"os":"linux","architecture":"amd64"}"#)
    }

    #[test]
    fn a_list_of_dockers_manifests_is_dockers_until_it_says_more() {
        let mut index = Index::new();
        let kind = |index: &mut Index| {
            let bytes = index.write(None).expect("a document");
            serde_json::from_slice::<Value>(&bytes).expect("json")["mediaType"].clone()
        };
        assert_eq!(kind(&mut index), media_type::OCI_INDEX);
        index.add(dockers("one"));
        assert_eq!(kind(&mut index), media_type::DOCKER_LIST);
        let digest = Digest::of(b"one");
        let details = Details { annotations: vec![("a".into(), "b".into())], ..Details::default() };
        assert!(index.annotate(&digest, &details) && !index.annotate(&Digest::of(b"x"), &details));
        assert_eq!(kind(&mut index), media_type::OCI_INDEX);
        assert!(index.write(Some(Words::Docker)).is_err());
        index.add(dockers("one"));
        assert_eq!((kind(&mut index), index.entries().len()), (json!(media_type::DOCKER_LIST), 1));
        index.add(entry(media_type::OCI_MANIFEST, &Digest::of(b"two"), 3, b"{}"));
        assert_eq!(kind(&mut index), media_type::OCI_INDEX);
        assert!(index.remove(&Digest::of(b"two")) && !index.remove(&Digest::of(b"two")));
    }

    #[test]
    fn what_is_said_of_an_entry_goes_over_what_was() {
        let mut entry = dockers("one");
        let details = Details {
            variant: Some("v8".into()),
            architecture: Some("arm64".into()),
            os_features: vec!["x".into()],
            ..Details::default()
        };
        describe(&mut entry, &details);
        let want =
            json!({"architecture": "arm64", "os": "linux", "variant": "v8", "os.features": ["x"]});
        assert_eq!(entry["platform"], want);
        assert_eq!(entry.get("annotations"), None);
    }

    #[test]
    fn the_same_list_gives_the_same_bytes() {
        let mut index = Index::new();
        index.add(dockers("one"));
        let bytes = index.write(None).expect("a document");
        let mut again = Index::read(&bytes).expect("an index");
        assert_eq!(again.write(None).expect("a document"), bytes);
    }
}
