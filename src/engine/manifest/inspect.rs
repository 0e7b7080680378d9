//! What a list or a registry has under a name.

use serde_json::Value;

use crate::engine::Engine;
use crate::oci::Digest;
use crate::reference::Reference;
use crate::registry::{self, ImageSource, Sent};
use crate::store::{Kind, Store, full_name};

use super::gather::is_index;
use super::index::{self, Index};
use super::{Error, List, Registries};

/// A manifest, and what is said of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspected {
    /// Its name, with its digest where an index names it.
    pub reference: String,
    /// Its descriptor.
    pub descriptor: Value,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Engine {
    /// The document of a name: a list's, else what the registry has.
    pub fn manifest_document(
        &self,
        name: &Reference,
        registries: Registries<'_>,
    ) -> Result<Vec<u8>, crate::engine::Error> {
        match self.list(name)? {
            Some(bytes) => Ok(bytes),
            None => Ok(registries(name).and_then(|it| it.sent(None)).map_err(Error::from)?.bytes),
        }
    }

    /// The manifest of an image of a list.
    pub fn manifest_in_list(
        &self,
        name: &Reference,
        image: &str,
        registries: Registries<'_>,
    ) -> Result<Vec<u8>, crate::engine::Error> {
        let store = self.store();
        let missing = || Error::NoSuchList { name: name.familiar() };
        let pinned = store.pinned(Kind::List, &full_name(name))?.ok_or_else(missing)?;
        let digest = List::of(store, &pinned)?.find(store, name, image)?;
        Ok(of_list(store, name, pinned.origins.get(&digest), &digest, registries)?)
    }

    /// Every manifest of a name: those of a list or an index, or one alone.
    pub fn manifests_of(
        &self,
        name: &Reference,
        registries: Registries<'_>,
    ) -> Result<Vec<Inspected>, crate::engine::Error> {
        Ok(manifests(self.store(), name, registries)?)
    }
}

fn manifests(
    store: &Store,
    name: &Reference,
    registries: Registries<'_>,
) -> Result<Vec<Inspected>, Error> {
    let full = full_name(name);
    if let Some(pinned) = store.pinned(Kind::List, &full)? {
        let bytes = store.document(&pinned.document)?;
        return each(&full, &bytes, |digest| {
            of_list(store, name, pinned.origins.get(digest), digest, registries)
        });
    }
    let remote = registries(name)?;
    let Sent { digest, media_type, bytes } = remote.sent(None)?;
    if is_index(&media_type) {
        return each(&full, &bytes, |digest| Ok(remote.sent(Some(digest))?.bytes));
    }
    let parts = registry::parts(&full, &bytes)?;
    let config = match parts.blobs.last().filter(|blob| blob.media_type.contains("image")) {
        Some(config) => remote.config(config)?,
        None => Vec::new(), // of an artifact
    };
    let descriptor = index::entry(&media_type, &digest, bytes.len(), &config);
    Ok(vec![Inspected { reference: full, descriptor, bytes }])
}

fn each(
    name: &str,
    index: &[u8],
    manifest: impl Fn(&Digest) -> Result<Vec<u8>, Error>,
) -> Result<Vec<Inspected>, Error> {
    let odd = |error: serde_json::Error| registry::Error::Document {
        what: name.to_owned(),
        why: error.to_string(),
    };
    let index = Index::read(index).map_err(odd)?;
    let entries = index.entries().iter().filter_map(|it| Some((index::digest_of(it)?, it)));
    let inspected = entries.map(|(digest, entry)| {
        let reference = format!("{name}@{digest}");
        Ok(Inspected { reference, descriptor: entry.clone(), bytes: manifest(&digest)? })
    });
    inspected.collect()
}

fn of_list(
    store: &Store,
    list: &Reference,
    origin: Option<&String>,
    digest: &Digest,
    registries: Registries<'_>,
) -> Result<Vec<u8>, Error> {
    let missing = match store.document(digest) {
        Ok(bytes) => return Ok(bytes),
        Err(error) => error,
    };
    let Some(origin) = origin.and_then(|origin| origin.parse::<Reference>().ok()) else {
        return Err(Error::NoBlob {
            list: list.familiar(),
            digest: digest.clone(),
            image: digest.to_string(),
            why: missing.to_string(),
        });
    };
    Ok(registries(&origin)?.sent(Some(digest))?.bytes)
}
