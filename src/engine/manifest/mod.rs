//! Lists of manifests, for several platforms under one name.
//!
//! ```text
//! create, add    image of the store, or of a registry ─ its manifest ─ an entry, and where it is from
//! annotate       what an entry says of its platform
//! run            the image for this machine: its ID, or where it came from
//! push           blobs: there, mounted, from the store, fetched from where they are ─ manifests ─ list;
//!                to a registry, or to an OCI layout
//! ```
//!
//! The list is a document in the store like a pulled index; a record gives it its name and keeps what
//! it names. Lists and images have names of their own: one may be called as the other is.

mod error;
mod gather;
mod index;
mod inspect;
mod member;
mod send;

use std::collections::BTreeMap;

use crate::oci::{Digest, Platform};
use crate::owners::Owners;
use crate::reference::Reference;
use crate::registry::{self, Remote};
use crate::store::{self, Kind, PATIENCE, Pinned, Store, full_name};

use super::Engine;

pub use error::Error;
pub use index::Details;
pub use inspect::Inspected;
pub use send::Sending;

use gather::Found;
use index::Index;

/// How a registry is asked for an image.
pub type Registries<'a> = &'a dyn Fn(&Reference) -> Result<Remote, registry::Error>;

/// An image that is to be in a list.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// As the user calls it, without what says where it is.
    pub image: String,
    /// Where it is looked for.
    pub place: Place,
    /// All of an index, and not one platform's.
    pub all: bool,
    /// Whose of an index.
    pub platform: Option<Platform>,
    /// What is said of it.
    pub details: Details,
}

/// Where an image for a list is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the store, and in a registry where it is not there.
    Anywhere,
    /// `containers-storage:`
    Store,
    /// `docker://`
    Registry,
}

impl Engine {
    /// Makes a list, or with `amend` adds to the one that is there.
    pub fn create_list(
        &self,
        name: &Reference,
        wanted: &[Wanted],
        amend: bool,
        registries: Registries<'_>,
    ) -> Result<Digest, super::Error> {
        let store = self.store();
        let _hold = store.hold()?;
        let free = |known: bool| match known && !amend {
            true => Err(Error::Exists { name: name.familiar() }),
            false => Ok(()),
        };
        free(store.pinned(Kind::List, &full_name(name))?.is_some())?;
        let found = gather_all(store, wanted, registries)?;
        Ok(change(store, name, |known| {
            free(known.is_some())?;
            let mut list = known.unwrap_or_else(List::new);
            list.add(found);
            Ok(list)
        })?)
    }

    /// Adds to a list.
    pub fn add_to_list(
        &self,
        name: &Reference,
        wanted: &[Wanted],
        registries: Registries<'_>,
    ) -> Result<Digest, super::Error> {
        let store = self.store();
        let _hold = store.hold()?;
        let missing = || Error::NoSuchList { name: name.familiar() };
        store.pinned(Kind::List, &full_name(name))?.ok_or_else(missing)?;
        let found = gather_all(store, wanted, registries)?;
        Ok(change(store, name, |known| {
            let mut list = there(known, name)?;
            list.add(found);
            Ok(list)
        })?)
    }

    /// Says more of an image of a list.
    pub fn annotate_list(
        &self,
        name: &Reference,
        image: &str,
        details: &Details,
    ) -> Result<Digest, super::Error> {
        Ok(change(self.store(), name, |known| {
            let mut list = there(known, name)?;
            let digest = list.find(self.store(), name, image)?;
            list.index.annotate(&digest, details);
            Ok(list)
        })?)
    }

    /// Says more of a list itself.
    pub fn annotate_whole_list(
        &self,
        name: &Reference,
        annotations: &[(String, String)],
    ) -> Result<Digest, super::Error> {
        Ok(change(self.store(), name, |known| {
            let mut list = there(known, name)?;
            list.index.annotate_all(annotations);
            Ok(list)
        })?)
    }

    /// Takes an image out of a list.
    pub fn remove_from_list(&self, name: &Reference, image: &str) -> Result<Digest, super::Error> {
        Ok(change(self.store(), name, |known| {
            let mut list = there(known, name)?;
            let digest = list.find(self.store(), name, image)?;
            list.index.remove(&digest);
            list.parts.remove(&digest);
            list.origins.remove(&digest);
            Ok(list)
        })?)
    }

    /// The document of a list; `None` where there is no list of that name.
    pub fn list(&self, name: &Reference) -> Result<Option<Vec<u8>>, super::Error> {
        let Some(pinned) = self.store().pinned(Kind::List, &full_name(name))? else {
            return Ok(None);
        };
        Ok(Some(self.store().document(&pinned.document)?))
    }

    /// All lists, by name.
    pub fn lists(&self) -> Result<Vec<Pinned>, super::Error> {
        Ok(self.store().all_pinned(Kind::List)?)
    }

    /// Removes a list and what only it needed; the digest that it had. `owners` as
    /// [`Engine::enter_owners`] gave them.
    pub fn remove_list(&self, name: &Reference, owners: Owners) -> Result<Digest, super::Error> {
        let digest = self.forget_list(name)?;
        self.store().collect(|| self.layers_in_use(), owners, PATIENCE)?;
        Ok(digest)
    }

    /// Removes a list, and leaves what only it needed to a later collection.
    pub fn forget_list(&self, name: &Reference) -> Result<Digest, super::Error> {
        let store = self.store();
        let _hold = store.hold()?;
        let _pinned = store.hold_pinned()?;
        let full = full_name(name);
        let missing = || Error::NoSuchList { name: name.familiar() };
        let pinned = store.pinned(Kind::List, &full)?.ok_or_else(missing)?;
        store.unpin(Kind::List, &full)?;
        Ok(pinned.document)
    }
}

/// A list with what belongs to it.
struct List {
    index: Index,
    /// The blobs of each manifest.
    parts: BTreeMap<Digest, Vec<Digest>>,
    origins: BTreeMap<Digest, String>,
}

impl List {
    fn new() -> Self {
        Self { index: Index::new(), parts: BTreeMap::new(), origins: BTreeMap::new() }
    }

    fn of(store: &Store, pinned: &Pinned) -> Result<Self, Error> {
        let bytes = store.document(&pinned.document)?;
        let index = Index::read(&bytes).map_err(|error| store::Error::Damaged {
            path: store.blob_path(&pinned.document),
            why: error.to_string(),
        })?;
        let mut parts = BTreeMap::new();
        for digest in index.digests() {
            let known = store.document(&digest).ok();
            let known = known.and_then(|bytes| registry::parts("", &bytes).ok());
            let blobs = known.into_iter().flat_map(|parts| parts.blobs);
            parts.insert(digest, blobs.map(|blob| blob.digest).collect());
        }
        Ok(Self { index, parts, origins: pinned.origins.clone() })
    }

    fn add(&mut self, found: Vec<Found>) {
        for Found { entry, digest, parts, origin } in found {
            self.index.add(entry);
            self.parts.insert(digest.clone(), parts);
            self.origins.extend(origin.map(|origin| (digest, origin)));
        }
    }

    /// The manifest that a digest, or the name of an image that was added, stands for.
    fn find(&self, store: &Store, list: &Reference, image: &str) -> Result<Digest, Error> {
        let known = self.index.digests();
        let image = image.trim_start_matches("docker://").trim_start_matches("containers-storage:");
        let (list, missing) = (list.familiar(), image.to_owned());
        let missing = || Error::NotInList { list: list.clone(), image: missing.clone() };
        let text = image.rsplit('@').next().unwrap_or(image);
        if let Ok(digest) = text.parse::<Digest>() {
            return known.into_iter().find(|it| *it == digest).ok_or_else(missing);
        }
        let named: Option<String> = image.parse::<Reference>().ok().map(|it| full_name(&it));
        let from = |digest: &&Digest| self.origins.get(digest) == named.as_ref() && named.is_some();
        let digests: Vec<Digest> = known.iter().filter(from).cloned().collect();
        match &digests[..] {
            [digest] => Ok(digest.clone()),
            [] => {
                let local = store.resolve(image).map_err(|_| missing())?;
                known.into_iter().find(|it| *it == local.manifest).ok_or_else(missing)
            }
            _ => Err(Error::Several { list, image: image.to_owned(), digests }),
        }
    }
}

/// What all of the images have for a list. The registries are asked before the list is locked: others
/// wait for nobody's network.
fn gather_all(
    store: &Store,
    wanted: &[Wanted],
    registries: Registries<'_>,
) -> Result<Vec<Found>, Error> {
    let mut all = Vec::new();
    for wanted in wanted {
        let mut found = gather::gather(store, wanted, registries)?;
        for found in &mut found {
            index::describe(&mut found.entry, &wanted.details);
        }
        all.extend(found);
    }
    Ok(all)
}

fn there(known: Option<List>, name: &Reference) -> Result<List, Error> {
    known.ok_or_else(|| Error::NoSuchList { name: name.familiar() })
}

/// Changes a list, while nobody else does; gives its new digest.
fn change(
    store: &Store,
    name: &Reference,
    how: impl FnOnce(Option<List>) -> Result<List, Error>,
) -> Result<Digest, Error> {
    let _hold = store.hold()?;
    let _pinned = store.hold_pinned()?;
    let full = full_name(name);
    let known = store.pinned(Kind::List, &full)?;
    let known = known.map(|pinned| List::of(store, &pinned)).transpose()?;
    let mut list = how(known)?;
    let bytes =
        list.index.write(None).map_err(|what| Error::NotDocker { list: name.familiar(), what })?;
    let document = store.keep_document(&bytes)?;
    let mut parts: Vec<Digest> = list.parts.keys().cloned().collect();
    parts.extend(list.parts.into_values().flatten());
    parts.sort_unstable();
    parts.dedup();
    let pinned =
        Pinned { reference: full, document: document.clone(), parts, origins: list.origins };
    store.pin(Kind::List, &pinned)?;
    Ok(document)
}
