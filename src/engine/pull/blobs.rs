//! Blobs that are kept as they come, and not unpacked: of artifacts, and of lists on their way
//! from one registry to another.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::registry::{Descriptor, ImageSource};
use crate::store::Store;

use super::error::{Error, Which};
use super::fetch::{Job, fetch};
use super::{Progress, State};

/// Brings what of `blobs` is not in the store, `jobs` of them at once. The caller holds the store
/// until something needs them. Each thread has one blob's lock at a time and waits for nothing
/// meanwhile.
pub fn bring_blobs(
    store: &Store,
    source: &dyn ImageSource,
    (image, blobs): (&str, &[Descriptor]),
    jobs: usize,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let failed: Mutex<Option<Error>> = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, blobs.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(descriptor) = blobs.get(index) else { return };
                    let (number, total) = (index + 1, blobs.len());
                    let which = Which { number, total, image: image.to_owned() };
                    let job = Job { which, descriptor, progress, stop: &stop };
                    match bring(store, source, &job) {
                        Ok(()) => {}
                        Err(Error::Stopped) => return,
                        Err(error) => {
                            stop.store(true, Ordering::Relaxed);
                            let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                            failed.get_or_insert(error);
                            return;
                        }
                    }
                }
            });
        }
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn bring(store: &Store, source: &dyn ImageSource, job: &Job) -> Result<(), Error> {
    job.check()?;
    let Descriptor { digest, size, .. } = job.descriptor;
    if store.has_blob(digest, *size) {
        job.report(State::Exists);
        return Ok(());
    }
    let partial = store.partial(digest, || job.report(State::Waiting))?;
    if store.has_blob(digest, *size) {
        partial.discard();
        job.report(State::Exists);
        return Ok(());
    }
    loop {
        match fetch(job, source, None, &partial, None, &AtomicBool::new(false)) {
            Err(Error::Digest { want, .. }) if source.distrust(&want) => {}
            done => break done?,
        }
    }
    store.keep_partial(partial)?;
    job.report(State::Done);
    Ok(())
}
