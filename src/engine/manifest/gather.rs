//! An image to entries of a list.

use serde_json::Value;

use crate::oci::{Digest, Platform, media_type};
use crate::reference::Reference;
use crate::registry::{self, Descriptor, ImageSource, Remote, Sent};
use crate::store::{self, Image, Kind, Store, full_name};

use super::index::{self, Index};
use super::{Error, Place, Registries, Wanted};

/// An entry, and what belongs to it.
pub(super) struct Found {
    pub(super) entry: Value,
    pub(super) digest: Digest,
    /// Its blobs, as far as its manifest is known here.
    pub(super) parts: Vec<Digest>,
    /// The image it is from, in full form.
    pub(super) origin: Option<String>,
}

/// What an image has for a list. Its documents are in the store then; who asks holds the store.
pub(super) fn gather(
    store: &Store,
    wanted: &Wanted,
    registries: Registries<'_>,
) -> Result<Vec<Found>, Error> {
    if wanted.place != Place::Registry {
        match local(store, wanted)? {
            Some(found) => return Ok(found),
            None if wanted.place == Place::Store => {
                return Err(store::Error::NoSuchImage { query: wanted.image.clone() }.into());
            }
            None => {}
        }
    }
    let reference: Reference = wanted.image.parse().map_err(|error: crate::reference::Error| {
        Error::NoImage { image: wanted.image.clone(), why: error.to_string() }
    })?;
    let remote = registries(&reference)?;
    let sent = remote.sent(None)?;
    from_registry(store, wanted, &reference, &remote, &sent)
}

/// From the store: a list, or an image. All of an image that came as an index is not here.
fn local(store: &Store, wanted: &Wanted) -> Result<Option<Vec<Found>>, Error> {
    let name = wanted.image.parse::<Reference>().ok().map(|reference| full_name(&reference));
    let list = name.as_ref().map(|name| store.pinned(Kind::List, name)).transpose()?.flatten();
    if let Some(list) = list {
        let bytes = store.document(&list.document)?;
        let chosen = chosen(wanted, &bytes)?;
        let found = chosen.into_iter().map(|(digest, entry)| {
            let (parts, origin) = (parts_of(store, &digest), list.origins.get(&digest).cloned());
            Found { entry, digest, parts, origin }
        });
        return Ok(Some(found.collect()));
    }
    let image = match store.resolve(&wanted.image) {
        Err(store::Error::NoSuchImage { .. }) => return Ok(None),
        image => image?,
    };
    let suits = wanted.platform.as_ref().is_none_or(|it| it.accepts(&image.platform));
    if (wanted.all && image.index.is_some()) || !suits {
        return Ok(None);
    }
    Ok(Some(vec![of_image(store, &image, name)?]))
}

fn of_image(store: &Store, image: &Image, name: Option<String>) -> Result<Found, Error> {
    let bytes = store.document(&image.manifest)?;
    let parts = registry::parts(&image.manifest.to_string(), &bytes)?;
    let config = store.document(&image.id)?;
    let entry = index::entry(&parts.media_type, &image.manifest, bytes.len(), &config);
    // A name by digest leads to the very manifest, wherever its tag has gone by now.
    let names = store.names(&image.id)?;
    let named = name.filter(|name| names.tags.contains(name) || names.digests.contains(name));
    let origin = named.or_else(|| names.digests.first().or(names.tags.first()).cloned());
    let parts = parts.blobs.into_iter().map(|blob| blob.digest).collect();
    Ok(Found { entry, digest: image.manifest.clone(), parts, origin })
}

fn from_registry(
    store: &Store,
    wanted: &Wanted,
    reference: &Reference,
    remote: &Remote,
    sent: &Sent,
) -> Result<Vec<Found>, Error> {
    let origin = Some(full_name(reference));
    if !is_index(&sent.media_type) {
        let parts = registry::parts(&wanted.image, &sent.bytes)?;
        let config = config_of(store, remote, wanted, &parts.blobs)?;
        store.keep_document(&sent.bytes)?;
        let entry = index::entry(&sent.media_type, &sent.digest, sent.bytes.len(), &config);
        let parts = parts.blobs.into_iter().map(|blob| blob.digest).collect();
        return Ok(vec![Found { entry, digest: sent.digest.clone(), parts, origin }]);
    }
    let mut found = Vec::new();
    for (digest, entry) in chosen(wanted, &sent.bytes)? {
        let manifest = remote.sent(Some(&digest))?;
        store.keep_document(&manifest.bytes)?;
        let parts = parts_of(store, &digest);
        found.push(Found { entry, digest, parts, origin: origin.clone() });
    }
    Ok(found)
}

/// The configuration, which tells the platform; nothing for what is no image.
fn config_of(
    store: &Store,
    remote: &Remote,
    wanted: &Wanted,
    blobs: &[Descriptor],
) -> Result<Vec<u8>, Error> {
    let kinds = [media_type::OCI_CONFIG, media_type::DOCKER_CONFIG];
    let config = blobs.iter().find(|blob| kinds.contains(&blob.media_type.as_str()));
    let Some(config) = config else {
        let why = "it is an artifact and no image".to_owned();
        return Err(Error::NoImage { image: wanted.image.clone(), why });
    };
    let bytes = remote.config(config)?;
    store.keep_document(&bytes)?;
    Ok(bytes)
}

/// The entries of an index that are asked for.
fn chosen(wanted: &Wanted, bytes: &[u8]) -> Result<Vec<(Digest, Value)>, Error> {
    let index = Index::read(bytes).map_err(|error| registry::Error::Document {
        what: wanted.image.clone(),
        why: error.to_string(),
    })?;
    let platform = || wanted.platform.clone().unwrap_or_else(Platform::host);
    let one = match wanted.all {
        true => None,
        false => Some(registry::offered(&wanted.image, bytes, &platform())?.digest),
    };
    let entries = index.entries().iter().filter_map(|entry| {
        let digest = index::digest_of(entry)?;
        one.as_ref().is_none_or(|one| *one == digest).then(|| (digest, entry.clone()))
    });
    Ok(entries.collect())
}

/// The blobs of a manifest that is here.
fn parts_of(store: &Store, digest: &Digest) -> Vec<Digest> {
    let known = store.document(digest).ok().and_then(|bytes| registry::parts("", &bytes).ok());
    known.into_iter().flat_map(|parts| parts.blobs).map(|blob| blob.digest).collect()
}

pub(super) fn is_index(kind: &str) -> bool {
    [media_type::OCI_INDEX, media_type::DOCKER_LIST].contains(&kind)
}
