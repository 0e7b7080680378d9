//! `system check`: every file of the store against what it should be, and its repair.
//!
//! ```text
//! names ─► images ─► documents, blobs: their digests
//!                 ├► layers: each unpacked once more from its blob, and compared file by file
//!                 └► many layers as one: made once more from these, and compared
//! lists, artifacts ─► their documents and files
//! containers ─► their layers
//! repair: what is damaged is taken away while nobody else is in the store; then each image is
//!         unpacked again from blobs that are whole, or pulled again by its digest
//! ```

mod pinned;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::pull::{self, Policy, Progress, inflated};
use super::{Engine, Error, flat};
use crate::container::{Record, Status};
use crate::layer::{self, Limits, Tree};
use crate::oci::{ChainId, Digest, ImageConfig};
use crate::owners::Owners;
use crate::reference::{Reference, familiar};
use crate::registry::{Compression, Guarded, Remote};
use crate::store::{Form, Image, Scratch, Store};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file or directory, below the store's root.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
    /// The images, lists and artifacts that need it, as the user knows them.
    pub images: Vec<String>,
    cause: Cause,
}

/// What takes the fault away.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cause {
    /// A blob, a name or a record: the file goes, and the images come again.
    File,
    /// An unpacked layer.
    Layer(ChainId),
    /// The layers up to this one as one directory, which is made again when it is needed.
    Flat(ChainId),
    /// A container: only the user can tell what it is worth.
    Container,
}

/// What was looked at, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Number of images.
    pub images: usize,
    /// Number of blobs.
    pub blobs: usize,
    /// Number of unpacked layers that were compared with their blobs.
    pub layers: usize,
    /// What is damaged.
    pub faults: Vec<Fault>,
}

/// How to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// `--quick`: blobs by their sizes, layers by their being there.
    pub quick: bool,
    /// Whose the files are.
    pub owners: Owners,
}

/// Where an image is fetched from again.
pub type Sources<'a> = &'a dyn Fn(&Reference) -> Result<Guarded<Remote>, Error>;

impl Engine {
    /// Looks at everything. What is in the store stays meanwhile.
    pub fn check_store(&self, check: Check) -> Result<Checked, Error> {
        let store = self.store();
        let _hold = store.hold()?;
        let mut work = Work { store, check, names: names(store)?, done: Checked::default() };
        work.look_at_names()?;
        work.look_at_blobs()?;
        work.look_at_images()?;
        work.look_at_pinned()?;
        self.look_at_containers(&mut work.done)?;
        let mut done = work.done;
        done.faults.dedup_by(|one, other| one.path == other.path);
        Ok(done)
    }

    /// Takes away what `checked` found and brings the images again; tells of each image that could
    /// not be repaired, and why. A second check has the last word.
    pub fn repair_store(
        &self,
        check: Check,
        checked: &Checked,
        sources: Sources<'_>,
        progress: &dyn Progress,
        mut tell: impl FnMut(&str, &Error),
    ) -> Result<(), Error> {
        let store = self.store();
        // Asked before anything goes: their records tell where they come from.
        let (images, names) = (store.records_found()?, names(store)?);
        let busy = self.layers_of_running()?;
        {
            let _alone = store.alone()?;
            for fault in &checked.faults {
                match &fault.cause {
                    // Its files are open in a root file system: it is repaired when that has ended.
                    Cause::Layer(chain) | Cause::Flat(chain) if busy.contains(chain) => {}
                    Cause::Layer(chain) => {
                        store.drop_layer(check.owners, chain)?;
                        // It has the files of the layer that was damaged.
                        for image in images.iter().filter_map(|found| found.image.as_ref().ok()) {
                            let has = image.layers.iter().any(|layer| layer.chain == *chain);
                            if let Some(top) = image.layers.last().filter(|_| has) {
                                store.drop_flat(check.owners, &top.chain)?;
                            }
                        }
                    }
                    Cause::Flat(chain) => store.drop_flat(check.owners, chain)?,
                    Cause::File => store.drop_file(&store.root().join(&fault.path))?,
                    Cause::Container => {}
                }
            }
        }
        let hurt = |id: &Digest| {
            let shown = shown(&names, id);
            checked.faults.iter().any(|fault| fault.images.contains(&shown))
        };
        let found = images.iter().map(|found| (found.id.clone(), found.image.as_ref().ok()));
        // An image whose record is gone is known by its name alone.
        let gone = names.iter().filter(|(_, id)| !images.iter().any(|found| found.id == *id));
        for (id, image) in found.chain(gone.map(|(_, id)| (id.clone(), None))) {
            if hurt(&id)
                && let Err(error) = self.bring_again(&id, image, &names, check, sources, progress)
            {
                tell(&shown(&names, &id), &error);
            }
        }
        self.bring_pinned_again(checked, sources, progress, tell)
    }

    /// From the blobs that are here, else from where its names lead.
    fn bring_again(
        &self,
        id: &Digest,
        image: Option<&Image>,
        names: &[(String, Digest)],
        check: Check,
        sources: Sources<'_>,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let store = self.store();
        let mut last = None;
        if let Some(image) = image {
            match pull::restore(store, image, check.owners, progress) {
                Ok(_) if image.layers.iter().all(|it| matches!(store.shipped(it), Ok(Some(_)))) => {
                    return Ok(());
                }
                Ok(_) => {}
                Err(error) => last = Some(error.into()),
            }
        }
        let own = names.iter().filter(|(_, image)| image == id);
        for (name, _) in own {
            let Ok(named) = name.parse::<Reference>() else { continue };
            // What the registry has under the name by now may be another image.
            let exact = image.map(|image| format!("{}@{}", named.name(), image.digest()));
            let exact = exact.and_then(|exact| exact.parse::<Reference>().ok());
            let reference = exact.unwrap_or_else(|| named.clone());
            let brought = sources(&reference).and_then(|source| {
                let request = pull::Request {
                    source: &source,
                    image: familiar(name),
                    name: Some(name.clone()),
                    repository: name.contains('@').then(|| named.name()),
                    platform: image.map(|image| image.platform.clone()),
                    policy: Policy::Always,
                    owners: check.owners,
                    jobs: 3,
                    most_unpacked: Some(u64::MAX), // it was here before
                };
                self.pull(&request, progress)
            });
            match brought {
                Ok(_) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        Err(last
            .unwrap_or_else(|| crate::store::Error::NoSuchImage { query: id.to_string() }.into()))
    }

    fn look_at_containers(&self, done: &mut Checked) -> Result<(), Error> {
        let store = self.store();
        let mut fault = |path: PathBuf, why: String| {
            done.faults.push(Fault { path, why, images: Vec::new(), cause: Cause::Container });
        };
        let survey = self.containers.survey(&|_: &Record, _| true)?;
        for (id, error) in survey.unreadable {
            fault(Path::new("containers").join(id), error.to_string());
        }
        for (record, _) in survey.records {
            for chain in &record.layers {
                if !store.has_layer(chain)? {
                    let path = Path::new("containers").join(&record.id);
                    fault(path, format!("container {} lacks its layer {chain}", record.name));
                }
            }
        }
        Ok(())
    }

    fn layers_of_running(&self) -> Result<Vec<ChainId>, Error> {
        let up = |_: &Record, status: Status| status.is_up();
        let running = self.containers.survey(&up)?.records.into_iter();
        Ok(running.flat_map(|(record, _)| record.layers).collect())
    }
}

/// All names that can be read.
fn names(store: &Store) -> Result<Vec<(String, Digest)>, Error> {
    Ok(store.names_found()?.into_iter().filter_map(|found| found.tag.ok()).collect())
}

/// An image as the user knows it.
fn shown(names: &[(String, Digest)], id: &Digest) -> String {
    let own = || names.iter().filter(|(_, image)| image == id).map(|(name, _)| name);
    let name = own().find(|name| !name.contains('@')).or_else(|| own().next());
    name.map_or_else(|| id.to_string(), |name| familiar(name))
}

struct Work<'a> {
    store: &'a Store,
    check: Check,
    names: Vec<(String, Digest)>,
    done: Checked,
}

impl Work<'_> {
    fn fault(&mut self, path: &Path, why: impl Into<String>, images: Vec<String>, cause: Cause) {
        let path = path.strip_prefix(self.store.root()).unwrap_or(path).to_owned();
        match self.done.faults.iter_mut().find(|fault| fault.path == path) {
            Some(known) => {
                known.images.extend(images);
                known.images.sort_unstable();
                known.images.dedup();
            }
            None => self.done.faults.push(Fault { path, why: why.into(), images, cause }),
        }
    }

    fn look_at_names(&mut self) -> Result<(), Error> {
        for found in self.store.names_found()? {
            match found.tag {
                Err(why) => self.fault(&found.path, why, Vec::new(), Cause::File),
                Ok((_, id)) => {
                    if matches!(self.store.image(&id), Ok(None)) {
                        let why = format!("it names the image {id}, which is not here");
                        let images = vec![shown(&self.names, &id)];
                        self.fault(&found.path, why, images, Cause::File);
                    }
                }
            }
        }
        Ok(())
    }

    /// Every blob that is here, needed or not.
    fn look_at_blobs(&mut self) -> Result<(), Error> {
        for (path, digest) in self.store.blobs_found()? {
            self.done.blobs += 1;
            match digest {
                None => self.fault(&path, "its name is no digest", Vec::new(), Cause::File),
                Some(_) if self.check.quick => {}
                Some(digest) => {
                    if let Some(why) = self.store.blob_fault(&digest)? {
                        self.fault(&path, why, Vec::new(), Cause::File);
                    }
                }
            }
        }
        Ok(())
    }

    fn look_at_images(&mut self) -> Result<(), Error> {
        let mut compared: Vec<ChainId> = Vec::new();
        for found in self.store.records_found()? {
            self.done.images += 1;
            let who = shown(&self.names, &found.id);
            match found.image {
                Err(why) => self.fault(&found.path, why, vec![who], Cause::File),
                Ok(image) => {
                    self.look_at_documents(&image, &found.path, &who);
                    self.look_at_layers(&image, &who, &mut compared)?;
                }
            }
        }
        Ok(())
    }

    fn look_at_documents(&mut self, image: &Image, path: &Path, who: &str) {
        let documents = [Some(&image.manifest), Some(&image.id), image.index.as_ref()];
        for digest in documents.into_iter().flatten() {
            if let Err(error) = self.store.document(digest) {
                let why = match error {
                    crate::store::Error::Damaged { why, .. } => why,
                    error => error.to_string(),
                };
                let path = self.store.blob_path(digest);
                self.fault(&path, why, vec![who.to_owned()], Cause::File);
            }
        }
        let Ok(config) = self.store.document(&image.id) else { return };
        let chain = ImageConfig::parse(&config).map(|it| ChainId::of_stack(&it.diff_ids));
        let own: Vec<ChainId> = image.layers.iter().map(|layer| layer.chain.clone()).collect();
        if chain.ok() != Some(own) {
            let why = "its layers are not those of its configuration";
            self.fault(path, why, vec![who.to_owned()], Cause::File);
        }
    }

    /// Blobs and trees of an image's layers, from the lowest up: a tree may have links into those
    /// below.
    fn look_at_layers(
        &mut self,
        image: &Image,
        who: &str,
        compared: &mut Vec<ChainId>,
    ) -> Result<(), Error> {
        let owners = self.check.owners;
        let scratch = self.store.scratch()?;
        for (index, layer) in image.layers.iter().enumerate() {
            let blob = self.store.shipped(layer)?;
            let path = self.store.blob_path(&layer.digest);
            let relative = path.strip_prefix(self.store.root()).unwrap_or(&path).to_owned();
            let damaged = self.done.faults.iter().any(|fault| fault.path == relative);
            if blob.is_none() || damaged {
                let why = if path.exists() { "it has another size" } else { "it is missing" };
                self.fault(&path, why, vec![who.to_owned()], Cause::File);
            }
            let Some(tree) = self.store.layer_found(owners, &layer.chain) else {
                // Unpacked for other owners, or not at all: then nothing runs until it is.
                if !self.store.has_layer(&layer.chain)? {
                    let path = self.store.layer_path(owners, &layer.chain);
                    let cause = Cause::Layer(layer.chain.clone());
                    self.fault(&path, "it is missing", vec![who.to_owned()], cause);
                }
                continue;
            };
            let known = compared.contains(&layer.chain);
            let cause = Cause::Layer(layer.chain.clone());
            let why = if known {
                let relative = tree.strip_prefix(self.store.root()).unwrap_or(&tree);
                let found = self.done.faults.iter().find(|fault| fault.path == relative);
                found.map(|fault| fault.why.clone())
            } else if self.store.layer(owners, &layer.chain)?.is_none() {
                Some("it is not whole".to_owned())
            } else if self.check.quick || damaged || blob.is_none() {
                None // there is nothing to compare it with
            } else {
                self.done.layers += 1;
                compared.push(layer.chain.clone());
                self.compare(image, index, &tree, &scratch)?
            };
            if let Some(why) = why {
                self.fault(&tree, why, vec![who.to_owned()], cause);
            }
        }
        self.look_at_flat(image, who, &scratch)
    }

    /// The layers as one directory, where there is one and they themselves are whole.
    fn look_at_flat(&mut self, image: &Image, who: &str, scratch: &Scratch) -> Result<(), Error> {
        let (owners, store) = (self.check.owners, self.store);
        let Some(top) = image.layers.last() else { return Ok(()) };
        let is_hurt = |fault: &Fault| fault.images.iter().any(|image| image == who);
        if self.check.quick || self.done.faults.iter().any(is_hurt) {
            return Ok(());
        }
        for form in Form::ALL {
            let Some(fs) = store.flat(form, owners, &top.chain) else { continue };
            let here = fs.parent().unwrap_or(&fs);
            let again = scratch.path().join("flat");
            flat::merge(store, form, owners, &store.layers(image, owners)?, &again)?;
            let io = |action| {
                let path = here.to_owned();
                move |source| Error::Io { action, path, source }
            };
            let found = Self::differs(here, &again).map_err(io("compare"))?;
            crate::sys::remove_tree(&again).map_err(io("remove the copy of"))?;
            if let Some(why) = found {
                self.fault(here, why, vec![who.to_owned()], Cause::Flat(top.chain.clone()));
            }
        }
        Ok(())
    }

    /// Unpacks a layer once more and compares.
    fn compare(
        &self,
        image: &Image,
        index: usize,
        here: &Path,
        scratch: &Scratch,
    ) -> Result<Option<String>, Error> {
        let owners = self.check.owners;
        let layer = &image.layers[index];
        let Some(blob) = self.store.shipped(layer)? else { return Ok(None) };
        let path = self.store.blob_path(&blob.digest);
        let io = |action| {
            let path = path.clone();
            move |source| Error::Io { action, path, source }
        };
        let place = scratch.path().join(index.to_string());
        fs::create_dir(&place).map_err(io("make a place for"))?;
        let mut file = BufReader::with_capacity(128 << 10, File::open(&path).map_err(io("open"))?);
        let format = Compression::of(file.fill_buf().map_err(io("read"))?);
        let tar = BufReader::with_capacity(128 << 10, inflated(format, file).map_err(io("read"))?);
        let limits = Limits { bytes: u64::MAX, ..Limits::of(blob.size) };
        let again = || -> Result<Option<String>, layer::Error> {
            let mut tree = Tree::create(&place, owners, &limits)?;
            let applied = layer::apply(tar, &mut tree, layer.diff_id.0.algorithm(), &limits)?;
            if applied.diff_id != layer.diff_id {
                return Ok(Some("its blob unpacks to another archive".to_owned()));
            }
            let below: Vec<PathBuf> = image.layers[..index]
                .iter()
                .map(|layer| self.store.layer_path(owners, &layer.chain).join("fs"))
                .collect();
            tree.settle(&below)?;
            Ok(None)
        };
        let outcome = match again() {
            Ok(None) => Self::differs(here, &place),
            Ok(why) => Ok(why),
            Err(error) => Ok(Some(format!("its blob cannot be unpacked: {error}"))),
        };
        let removed = crate::sys::remove_tree(&place).map_err(io("remove the copy of"));
        let found = outcome.map_err(io("compare"))?;
        removed.map(|()| found)
    }

    fn differs(here: &Path, again: &Path) -> std::io::Result<Option<String>> {
        if let Some((name, what)) = layer::difference(&here.join("fs"), &again.join("fs"))? {
            return Ok(Some(format!("{name}: {what}")));
        }
        let owners = |layer: &Path| fs::read(layer.join("owners")).unwrap_or_default();
        Ok((owners(here) != owners(again)).then(|| "owners: its content".to_owned()))
    }
}
