//! What is missing of an image: found, locked, fetched, unpacked, published.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::fs::{CWD, Mode, OFlags, fstatvfs, openat};

use crate::layer::Limits;
use crate::oci::{ChainId, Digest, ImageConfig, Platform};
use crate::registry::{Descriptor, LayerDescriptor, Resolved};
use crate::store::{
    FinishedLayer, Image, Layer, LayerRecord, Lock, Partial, Publication, Scratch, Shipped, Store,
};

use super::budget::Budget;
use super::error::{Error, Which};
use super::fetch::{Job, check_document, fetch};
use super::splice::Plan;
use super::unpack::{Blob, Task, Unpacked, unpack};
use super::write_out;
use super::{Event, Progress, Request, State};

/// One image on its way into the store.
pub(super) struct Work<'a> {
    pub(super) store: &'a Store,
    pub(super) request: &'a Request<'a>,
    pub(super) progress: &'a dyn Progress,
    pub(super) resolved: &'a Resolved,
    config_bytes: Vec<u8>,
    config: ImageConfig,
    chain: Vec<ChainId>,
}

/// A layer that something is to be done for.
#[derive(Clone, Copy)]
struct Wanted {
    index: usize,
    /// Whether it is to be unpacked; else its blob alone is fetched.
    unpack: bool,
}

/// What was done.
pub(super) struct Outcome {
    pub(super) id: Digest,
    /// Whether a layer was unpacked.
    pub(super) brought: bool,
}

impl<'a> Work<'a> {
    /// Reads the configuration and checks that it belongs to the manifest.
    pub(super) fn new(
        store: &'a Store,
        request: &'a Request,
        progress: &'a dyn Progress,
        resolved: &'a Resolved,
    ) -> Result<Self, Error> {
        let image = &request.image;
        let config_bytes = request.source.config(&resolved.config)?;
        let what = format!("the configuration of {image}");
        check_document(&what, &resolved.config.digest, &config_bytes)?;
        let (size, told) = (config_bytes.len() as u64, resolved.config.size);
        if size != told {
            let why = format!("it has {size} bytes where its manifest says {told}");
            return Err(crate::registry::Error::Document { what, why }.into());
        }
        let config = ImageConfig::parse(&config_bytes)
            .map_err(|source| Error::Config { image: image.clone(), source })?;
        let (layers, diff_ids) = (resolved.layers.len(), config.diff_ids.len());
        if layers != diff_ids {
            return Err(Error::LayerCount { image: image.clone(), layers, diff_ids });
        }
        if let (Some(wanted), Some(found)) = (&request.platform, &config.platform)
            && !wanted.accepts(found)
        {
            let (found, wanted) = (Box::new(found.clone()), Box::new(wanted.clone()));
            return Err(Error::WrongPlatform { image: image.clone(), found, wanted });
        }
        let chain = ChainId::of_stack(&config.diff_ids);
        Ok(Self { store, request, progress, resolved, config_bytes, config, chain })
    }

    /// Does what is to be done.
    pub(super) fn perform(&self) -> Result<Outcome, Error> {
        // From the lowest up, so that no two pulls wait for each other (store/lock.rs).
        let mut locks: Vec<Lock> = Vec::new();
        let mut records = Vec::new();
        for (index, chain) in self.chain.iter().enumerate() {
            let owners = self.request.owners;
            let mut record = self.store.layer(owners, chain)?;
            if record.is_none() {
                let waits = || self.report(index, State::Waiting);
                locks.push(self.store.lock_layer(chain, waits)?);
                record = self.store.layer(owners, chain)?; // by whom we waited for
            }
            if record.is_some() {
                self.report(index, State::Exists);
            }
            records.push(record);
        }
        let wanted = self.wanted(&records);
        let partials = self.partials(&wanted)?;
        self.check_space(&wanted, &partials)?;
        let scratch = self.store.scratch()?;
        let unpacked = self.unpack(&wanted, &partials, &scratch)?;
        let layers = self.settle(&mut records, unpacked)?;
        let image = self.image(records)?;
        let outcome = Outcome { id: image.id.clone(), brought: !layers.is_empty() };
        let names = self.names();
        if layers.is_empty() && partials.is_empty() && self.is_known(&image, &names) {
            return Ok(outcome);
        }
        self.progress.event(Event::Storing);
        let blobs = partials.into_values().collect();
        self.store.publish(Publication {
            scratch: &scratch,
            blobs,
            layers,
            image: &image,
            names,
        })?;
        Ok(outcome)
    }

    /// The layers that something is to be done for: those that are not unpacked, and those whose
    /// blob is lost (`save` and `push` need it).
    fn wanted(&self, records: &[Option<LayerRecord>]) -> Vec<Wanted> {
        let has_blob = |index: usize, record: &LayerRecord| {
            let descriptor = &self.layer(index).descriptor;
            let from = record.blob.as_ref();
            self.store.has_blob(&descriptor.digest, descriptor.size)
                || from.is_some_and(|blob| self.store.has_blob(&blob.digest, blob.size))
        };
        let wanted = |(index, record): (usize, &Option<LayerRecord>)| match record {
            None => Some(Wanted { index, unpack: true }),
            Some(record) if has_blob(index, record) => None,
            Some(_) => Some(Wanted { index, unpack: false }),
        };
        records.iter().enumerate().filter_map(wanted).collect()
    }

    fn layer(&self, index: usize) -> &LayerDescriptor {
        &self.resolved.layers[index]
    }

    fn which(&self, index: usize) -> Which {
        let (total, image) = (self.chain.len(), self.request.image.clone());
        Which { number: index + 1, total, image }
    }

    fn job<'b>(&'b self, index: usize, stop: &'b AtomicBool) -> Job<'b> {
        let descriptor = &self.layer(index).descriptor;
        Job { which: self.which(index), descriptor, progress: self.progress, stop }
    }

    fn report(&self, index: usize, state: State) {
        self.job(index, &AtomicBool::new(false)).report(state);
    }

    /// Manifest, index and configuration.
    fn documents(&self) -> Vec<(&Digest, &[u8])> {
        let resolved = self.resolved;
        let mut documents = vec![
            (&resolved.manifest_digest, &resolved.manifest_bytes[..]),
            (&resolved.config.digest, &self.config_bytes[..]),
        ];
        documents.extend(resolved.index.as_ref().map(|(digest, bytes)| (digest, &bytes[..])));
        documents
    }

    /// Takes all blobs that are not here, in the order of their digests, and writes the small
    /// ones.
    fn partials(&self, layers: &[Wanted]) -> Result<BTreeMap<Digest, Partial>, Error> {
        let mut wanted: BTreeMap<&Digest, (u64, Option<usize>, &[u8])> = BTreeMap::new();
        for &Wanted { index, .. } in layers {
            let descriptor = &self.layer(index).descriptor;
            wanted.entry(&descriptor.digest).or_insert((descriptor.size, Some(index), &[]));
        }
        for (digest, bytes) in self.documents() {
            wanted.insert(digest, (bytes.len() as u64, None, bytes));
        }
        let mut partials = BTreeMap::new();
        for (digest, (size, index, bytes)) in wanted {
            if self.store.has_blob(digest, size) {
                continue;
            }
            let waits = || index.map_or((), |index| self.report(index, State::Waiting));
            let partial = self.store.partial(digest, waits)?;
            if self.store.has_blob(digest, size) {
                partial.discard();
                continue;
            }
            if index.is_none() {
                partial.replace(bytes)?;
            }
            partials.insert(digest.clone(), partial);
        }
        Ok(partials)
    }

    /// Refuses early what surely does not fit: a layer takes at least its shipped size again.
    fn check_space(
        &self,
        wanted: &[Wanted],
        partials: &BTreeMap<Digest, Partial>,
    ) -> Result<(), Error> {
        let mut needed = 0_u64;
        for &Wanted { index, unpack } in wanted {
            let size = self.layer(index).descriptor.size;
            needed = needed.saturating_add(if unpack { size } else { 0 });
            if let Some(partial) = partials.get(&self.layer(index).descriptor.digest) {
                needed = needed.saturating_add(size.saturating_sub(partial.length()?));
            }
        }
        let path = self.store.root();
        if self.free().is_none_or(|free| needed <= free) {
            return Ok(());
        }
        self.store.sweep()?; // a killed pull may have left enough
        let Some(free) = self.free().filter(|&free| needed > free) else { return Ok(()) };
        let (image, path) = (self.request.image.clone(), path.to_owned());
        Err(Error::NoSpace { image, needed, free, path })
    }

    /// Bytes that may be written to the store, if that can be told.
    fn free(&self) -> Option<u64> {
        let root = openat(CWD, self.store.root(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let space = root.and_then(fstatvfs).ok()?;
        Some(space.f_bavail.saturating_mul(space.f_frsize))
    }

    /// Unpacks the missing layers, several at once; the largest first, so that none is left
    /// over at the end.
    fn unpack(
        &self,
        wanted: &[Wanted],
        partials: &BTreeMap<Digest, Partial>,
        scratch: &Scratch,
    ) -> Result<Vec<(usize, PathBuf, Unpacked)>, Error> {
        let mut by_digest: BTreeMap<&Digest, Vec<Wanted>> = BTreeMap::new();
        for &layer in wanted {
            by_digest.entry(&self.layer(layer.index).descriptor.digest).or_default().push(layer);
        }
        let mut groups: Vec<Vec<Wanted>> = by_digest.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(self.layer(group[0].index).descriptor.size));
        let budget = Budget::new(self.limit());
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let done = Mutex::new(Vec::new());
        let failed = Mutex::new(None);
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            let _writing = write_out::start(scope, scratch, &budget, &ended, |error| {
                lock(&failed).get_or_insert(error);
                stop.store(true, Ordering::Relaxed);
            });
            let jobs = self.request.jobs.clamp(1, groups.len().max(1));
            let work = |_| {
                scope.spawn(|| {
                    while let Some(group) = groups.get(next.fetch_add(1, Ordering::Relaxed)) {
                        match self.unpack_group(group, partials, scratch, &budget, &stop) {
                            Ok(unpacked) => lock(&done).extend(unpacked),
                            Err(Error::Stopped) => break,
                            Err(error) => {
                                lock(&failed).get_or_insert(error);
                                stop.store(true, Ordering::Relaxed);
                                break;
                            }
                        }
                    }
                })
            };
            let workers: Vec<_> = (0..jobs).map(work).collect();
            for worker in workers {
                worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            }
        });
        if let Some(error) = lock(&failed).take() {
            return Err(error);
        }
        let mut done = std::mem::take(&mut *lock(&done));
        done.sort_unstable_by_key(|(index, _, _)| *index);
        Ok(done)
    }

    /// Layers that were shipped as one blob: it is fetched once.
    fn unpack_group(
        &self,
        group: &[Wanted],
        partials: &BTreeMap<Digest, Partial>,
        scratch: &Scratch,
        budget: &Budget,
        stop: &AtomicBool,
    ) -> Result<Vec<(usize, PathBuf, Unpacked)>, Error> {
        let mut done = Vec::new();
        for (count, &Wanted { index, unpack: unpacks }) in group.iter().enumerate() {
            let digest = &self.layer(index).descriptor.digest;
            let coming = partials.get(digest).filter(|_| count == 0);
            let plan = coming.filter(|_| unpacks).and_then(|_| self.plan(index));
            let task = Task {
                job: self.job(index, stop),
                source: self.request.source,
                plan,
                diff_id: &self.config.diff_ids[index],
                owners: self.request.owners,
                place: scratch.path().join(index.to_string()),
                budget,
            };
            task.job.check()?;
            let here = self.store.blob_path(digest);
            let blob = match partials.get(digest) {
                None => Blob::Here(&here),
                Some(partial) if count > 0 => Blob::Here(partial.path()),
                Some(partial) => Blob::Coming(partial),
            };
            if !unpacks {
                if let Blob::Coming(partial) = blob {
                    fetch(&task.job, task.source, None, partial, None, &AtomicBool::new(false))?;
                }
                task.job.report(State::Exists);
                continue;
            }
            let unpacked = unpack(&task, blob)?;
            done.push((index, task.place, unpacked));
        }
        Ok(done)
    }

    /// Which parts of a layer are in blobs of other layers.
    fn plan(&self, index: usize) -> Option<Plan> {
        Plan::new(self.request.source, self.layer(index), self.store)
    }

    /// Ends the trees, from the lowest up: each may look at those below.
    fn settle(
        &self,
        records: &mut [Option<LayerRecord>],
        unpacked: Vec<(usize, PathBuf, Unpacked)>,
    ) -> Result<Vec<FinishedLayer>, Error> {
        let owners = self.request.owners;
        let tree = |chain| self.store.layer_path(owners, chain).join("fs");
        let mut trees: Vec<PathBuf> = self.chain.iter().map(tree).collect();
        let mut layers = Vec::new();
        for (index, path, Unpacked { tree, applied }) in unpacked {
            trees[index] = path.join("fs");
            tree.settle(&trees[..index])
                .map_err(|source| Error::Unpack { which: self.which(index), source })?;
            let record = LayerRecord {
                diff_id: applied.diff_id,
                unpacked: applied.bytes,
                entries: applied.entries,
                archive: applied.archive,
                blob: Some(self.shipped(index)),
            };
            records[index] = Some(record.clone());
            layers.push(FinishedLayer { path, owners, chain: self.chain[index].clone(), record });
        }
        Ok(layers)
    }

    fn shipped(&self, index: usize) -> Shipped {
        let Descriptor { media_type, digest, size } = self.layer(index).descriptor.clone();
        Shipped { digest, media_type, size }
    }

    /// The bytes that all layers together may unpack to.
    fn limit(&self) -> u64 {
        let sizes = self.resolved.layers.iter().map(|layer| layer.descriptor.size);
        let shipped = sizes.fold(0, u64::saturating_add);
        self.request.most_unpacked.unwrap_or_else(|| Limits::of(shipped).bytes)
    }

    fn image(&self, records: Vec<Option<LayerRecord>>) -> Result<Image, Error> {
        let mut layers = Vec::new();
        for (index, record) in records.into_iter().enumerate() {
            let descriptor = &self.layer(index).descriptor;
            layers.push(Layer {
                digest: descriptor.digest.clone(),
                media_type: descriptor.media_type.clone(),
                shipped: descriptor.size,
                diff_id: self.config.diff_ids[index].clone(),
                chain: self.chain[index].clone(),
                unpacked: record.ok_or(Error::Stopped)?.unpacked,
            });
        }
        let asked = || self.request.platform.clone().unwrap_or_else(Platform::host);
        Ok(Image {
            id: self.resolved.config.digest.clone(),
            manifest: self.resolved.manifest_digest.clone(),
            index: self.resolved.index.as_ref().map(|(digest, _)| digest.clone()),
            platform: self.config.platform.clone().unwrap_or_else(asked),
            created: self.config.created.clone(),
            layers,
        })
    }

    /// The names the image gets: the one asked for, and one by digest.
    fn names(&self) -> Vec<String> {
        let digest = super::digest_of(self.resolved);
        let by_digest = |repository| format!("{repository}@{digest}");
        let mut names: Vec<String> = self.request.name.iter().cloned().collect();
        names.extend(self.request.repository.as_ref().map(by_digest));
        names.dedup();
        names
    }

    /// Whether the store says all of this already.
    fn is_known(&self, image: &Image, names: &[String]) -> bool {
        let known = self.store.image(&image.id);
        matches!(known, Ok(Some(known)) if known == *image)
            && names
                .iter()
                .all(|name| matches!(self.store.named(name), Ok(Some(it)) if it.id == image.id))
    }
}

/// No panic can leave these lists half-changed.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
