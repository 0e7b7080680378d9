//! Lists and artifacts: their records and documents, and an artifact's files.

use crate::engine::artifact;
use crate::engine::manifest;
use crate::engine::pull::Progress;
use crate::engine::{Engine, Error};
use crate::oci::Digest;
use crate::reference::{Reference, familiar};
use crate::registry;
use crate::store::{self, Kind, Pinned, Store};

use super::{Cause, Checked, Sources, Work};

impl Work<'_> {
    pub(super) fn look_at_pinned(&mut self) -> Result<(), Error> {
        for found in self.store.pinned_found()? {
            match found.pinned {
                Err(why) => self.fault(&found.path, why, Vec::new(), Cause::File),
                Ok(pinned) => {
                    let who = familiar(&pinned.reference);
                    for digest in needed(self.store, found.kind, &pinned) {
                        let path = self.store.blob_path(&digest);
                        let relative = path.strip_prefix(self.store.root()).unwrap_or(&path);
                        let known = self.done.faults.iter().any(|it| it.path == relative);
                        if known || !path.is_file() {
                            self.fault(&path, "it is missing", vec![who.clone()], Cause::File);
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// The blobs that must be here. The layers of a list's images may be in a registry alone.
fn needed(store: &Store, kind: Kind, pinned: &Pinned) -> Vec<Digest> {
    let mut needed = vec![pinned.document.clone()];
    match kind {
        Kind::Artifact => needed.extend(pinned.parts.iter().cloned()),
        Kind::List => {
            let bytes = store.document(&pinned.document).unwrap_or_default();
            let parts = registry::parts("", &bytes).ok();
            let manifests = parts.into_iter().flat_map(|parts| parts.manifests);
            needed.extend(manifests.map(|manifest| manifest.digest));
        }
    }
    needed
}

impl Engine {
    /// Brings what is damaged of lists and artifacts again, from where they came.
    pub(super) fn bring_pinned_again(
        &self,
        checked: &Checked,
        sources: Sources<'_>,
        progress: &dyn Progress,
        mut tell: impl FnMut(&str, &Error),
    ) -> Result<(), Error> {
        for found in self.store().pinned_found()? {
            let Ok(pinned) = found.pinned else { continue };
            let who = familiar(&pinned.reference);
            if !checked.faults.iter().any(|fault| fault.images.contains(&who)) {
                continue;
            }
            let done = match found.kind {
                Kind::Artifact => self.bring_artifact_again(&pinned, sources, progress),
                Kind::List => self.bring_list_again(&pinned, sources),
            };
            if let Err(error) = done {
                tell(&who, &error);
            }
        }
        Ok(())
    }

    fn bring_artifact_again(
        &self,
        pinned: &Pinned,
        sources: Sources<'_>,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let named = name(&pinned.reference)?;
        // What the registry has under the name by now may be another one.
        let remote = sources(&name(&format!("{}@{}", named.name(), pinned.document))?)?;
        self.pull_artifact(&named, &remote, 3, progress).map(drop)
    }

    fn bring_list_again(&self, pinned: &Pinned, sources: Sources<'_>) -> Result<(), Error> {
        let store = self.store();
        let _hold = store.hold()?;
        for digest in needed(store, Kind::List, pinned) {
            if store.document(&digest).is_ok() {
                continue;
            }
            let origin = pinned.origins.get(&digest);
            let origin = origin.ok_or_else(|| store::Error::Damaged {
                path: store.blob_path(&digest),
                why: "it was made here and is in no registry".to_owned(),
            })?;
            let remote = sources(&name(origin)?)?;
            let sent = remote.inner().sent(Some(&digest)).map_err(manifest::Error::from)?;
            store.keep_document(&sent.bytes)?;
        }
        Ok(())
    }
}

fn name(text: &str) -> Result<Reference, Error> {
    let why = |error: crate::reference::Error| artifact::Error::Document {
        name: text.to_owned(),
        why: error.to_string(),
    };
    Ok(text.parse().map_err(why)?)
}
