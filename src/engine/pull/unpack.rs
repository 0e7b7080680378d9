//! One layer: fetch | inflate | hash and unpack, a thread each, with pipes between them.

use std::fs::DirBuilder;
use std::io::{self, BufRead};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::layer::{self, Applied, Limits, Tree};
use crate::oci::DiffId;
use crate::owners::Owners;
use crate::registry::{Compression, ImageSource};
use crate::store::Partial;

use super::State;
use super::budget::Budget;
use super::error::Error;
use super::fetch::{self, Job};
use super::inflate::{self, inflate};
use super::pipe::{Reader, Writer, pipe};
use super::splice::Plan;

/// Where a layer's bytes are.
#[derive(Clone, Copy)]
pub(super) enum Blob<'a> {
    /// Here, and checked.
    Here(&'a Path),
    /// To be fetched, or the rest of it.
    Coming(&'a Partial),
}

/// One layer to unpack.
pub(super) struct Task<'a> {
    pub(super) job: Job<'a>,
    pub(super) source: &'a dyn ImageSource,
    /// Which parts of the blob are here in others.
    pub(super) plan: Option<Plan>,
    pub(super) diff_id: &'a DiffId,
    pub(super) owners: Owners,
    /// A directory that does not exist yet.
    pub(super) place: PathBuf,
    /// What the image may still unpack to.
    pub(super) budget: &'a Budget,
}

/// A layer whose tree is to be settled.
pub(super) struct Unpacked {
    pub(super) tree: Tree,
    pub(super) applied: Applied,
}

/// Unpacks a layer into its place.
pub(super) fn unpack(task: &Task, blob: Blob) -> Result<Unpacked, Error> {
    let kept = match blob {
        Blob::Here(_) => 0,
        Blob::Coming(partial) => partial.length()?,
    };
    if let Some(plan) = &task.plan {
        task.job.report(State::Partly { here: plan.saved() });
    }
    match attempt(task, blob, task.plan.as_ref()) {
        // What an earlier try left was wrong, after a power failure perhaps, or what other blobs
        // have is packed otherwise: all of it again.
        Err(Error::Digest { .. }) if kept > 0 || task.plan.is_some() => {
            let reason = "an earlier try or another layer had other bytes".to_owned();
            task.job.report(State::Retrying { attempt: 2, reason });
            crate::sys::remove_tree(&task.place).map_err(|source| Error::Io {
                action: "remove",
                path: task.place.clone(),
                source,
            })?;
            attempt(task, blob, None)
        }
        done => done,
    }
}

fn attempt(task: &Task, blob: Blob, plan: Option<&Plan>) -> Result<Unpacked, Error> {
    let Task { job, source, .. } = task;
    let which = || job.which.clone();
    // The image's budget bounds the bytes of all layers together.
    let limits = Limits { bytes: u64::MAX, ..Limits::of(job.descriptor.size) };
    DirBuilder::new().mode(0o700).create(&task.place).map_err(|source| Error::Io {
        action: "make",
        path: task.place.clone(),
        source,
    })?;
    let unpack_error = |source| Error::Unpack { which: which(), source };
    let mut tree = Tree::create(&task.place, task.owners, &limits).map_err(unpack_error)?;
    let hopeless = AtomicBool::new(false);
    let (fetched, inflated, applied) = thread::scope(|scope| {
        let (writer, mut reader) = pipe();
        let hopeless = &hopeless;
        let fetching = scope.spawn(move || match blob {
            Blob::Here(path) => fetch::read(job, path, writer),
            Blob::Coming(partial) => {
                fetch::fetch(job, *source, plan, partial, Some(writer), hopeless)
            }
        });
        // A stream that fails at its first byte says so again below.
        let format = reader.fill_buf().map_or(Compression::None, Compression::of);
        let mut apply = |input: Reader| {
            let algorithm = task.diff_id.0.algorithm();
            let metered = task.budget.meter(input);
            let applied = layer::apply(metered, &mut tree, algorithm, &limits);
            let hopes = |error: &layer::Error| match error {
                layer::Error::Read(error) => error.kind() != io::ErrorKind::FileTooLarge,
                error => matches!(error, layer::Error::Malformed { .. }),
            };
            // Of what was put together anything may come: its digest is waited for.
            if plan.is_none() && applied.as_ref().is_err_and(|error| !hopes(error)) {
                hopeless.store(true, Ordering::Relaxed);
            }
            applied
        };
        let (inflated, applied) = if format == Compression::None {
            (Ok(()), apply(reader))
        } else {
            let (output, input): (Writer, Reader) = pipe();
            let inflating = scope.spawn(move || inflate(format, reader, output));
            let applied = apply(input);
            (inflating.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())), applied)
        };
        let inflated = inflated.map_err(|source| (inflate::name(format), source));
        (fetching.join().unwrap_or(Err(Error::Stopped)), inflated, applied)
    });
    // The first stage that failed of itself is the cause; those behind it met a broken pipe.
    match fetched {
        Err(Error::Stopped) | Ok(()) => {}
        Err(error) => return Err(error),
    }
    match inflated {
        Err((format, source)) if source.kind() != io::ErrorKind::BrokenPipe => {
            return Err(Error::Inflate { which: which(), format, source });
        }
        Err(_) | Ok(()) => {}
    }
    let applied = match applied {
        Err(layer::Error::Read(error)) if error.kind() == io::ErrorKind::FileTooLarge => {
            let limit = task.budget.limit();
            return Err(Error::TooLarge { image: which().image, limit });
        }
        Err(layer::Error::Read(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            return Err(Error::Stopped);
        }
        applied => applied.map_err(unpack_error)?,
    };
    if applied.diff_id != *task.diff_id {
        let (want, got) = (task.diff_id.0.clone(), applied.diff_id.0);
        return Err(Error::DiffId { which: which(), want, got });
    }
    job.report(State::Done);
    Ok(Unpacked { tree, applied })
}
