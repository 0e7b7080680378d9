//! One blob on its way: from a source, or an earlier try, through the hash into the kept file
//! and on to who unpacks it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::oci::{Digest, Hasher};
use crate::registry::{Descriptor, ImageSource};
use crate::store::Partial;

use super::error::{Error, Which};
use super::inflate::fill;
use super::pipe::Writer;
use super::splice::Plan;
use super::{Event, Progress, State};

/// Broken connections in a row, without a byte between them, before a pull gives up.
const MOST_FAILURES: u32 = 5;
/// Bytes that a connection must have brought before it stalled to be worth another one.
const CRAWL: u64 = 64 << 10;
/// The wait before the second try; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// One layer's place in a pull.
pub(super) struct Job<'a> {
    pub(super) which: Which,
    pub(super) descriptor: &'a Descriptor,
    pub(super) progress: &'a dyn Progress,
    /// The pull failed elsewhere.
    pub(super) stop: &'a AtomicBool,
}

impl Job<'_> {
    pub(super) fn report(&self, state: State) {
        self.progress.event(Event::Layer {
            index: self.which.number - 1,
            total: self.which.total,
            digest: self.descriptor.digest.clone(),
            size: self.descriptor.size,
            state,
        });
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        if self.stop.load(Ordering::Relaxed) { Err(Error::Stopped) } else { Ok(()) }
    }
}

/// What is behind the pipe: it may go away while the blob is still coming.
struct Sink {
    output: Option<Writer>,
}

impl Sink {
    fn buffer(&mut self) -> Vec<u8> {
        let buffer = self.output.as_mut().and_then(|output| output.buffer().ok());
        buffer.unwrap_or_else(|| vec![0; super::pipe::CHUNK])
    }

    /// A reader that is gone met something odd. The digest of the whole blob tells whether the
    /// blob was to blame, so it is fetched to its end.
    fn send(&mut self, buffer: Vec<u8>, length: usize) {
        if let Some(output) = &mut self.output
            && output.send(buffer, length).is_err()
        {
            self.output = None;
        }
    }
}

/// Fetches what `partial` lacks of the blob, and passes the whole of it on, where there is whom to.
pub(super) fn fetch(
    job: &Job,
    source: &dyn ImageSource,
    mut plan: Option<&Plan>,
    partial: &Partial,
    output: Option<Writer>,
    hopeless: &AtomicBool, // who unpacks failed in a way that a wrong blob does not explain
) -> Result<(), Error> {
    let Descriptor { digest, size, .. } = job.descriptor;
    let mut sink = Sink { output };
    let mut hasher = Hasher::new(digest.algorithm());
    let kept = partial.length()?;
    if kept > *size {
        partial.clear()?;
    }
    let mut done = 0;
    if kept <= *size {
        done = pass_on(job, partial, kept, &mut hasher, &mut sink)?;
    }
    let mut failures = 0;
    while done < *size {
        let before = done;
        // What fails was tried again down there.
        let planned = plan.map_or(Ok(None), |plan| plan.open(source, job.descriptor, done))?;
        let (mut stream, until) = if let Some(planned) = planned {
            planned
        } else {
            plan = None;
            (source.blob(job.descriptor, done)?, *size)
        };
        let start = stream.offset();
        let failed = skip(&mut stream, done.saturating_sub(start)).and_then(|()| {
            let mut to = Receiving { job, partial, hasher: &mut hasher, sink: &mut sink };
            to.receive(&mut stream, &mut done, until, hopeless)
        });
        match failed {
            Ok(()) => {}
            Err(Failure::Ours(error)) => return Err(error),
            Err(Failure::Theirs(reason)) => {
                failures = match reason.kind() {
                    // Waiting took long by itself, and a few bytes are no reason to go on with it.
                    io::ErrorKind::TimedOut if done - before < CRAWL => {
                        failures + MOST_FAILURES / 2 + 1
                    }
                    _ if done > before => 1,
                    _ => failures + 1,
                };
                if failures >= MOST_FAILURES {
                    let (which, size) = (job.which.clone(), *size);
                    return Err(Error::Download { which, done, size, source: reason });
                }
                // What is here and cannot be read is fetched.
                plan = plan.filter(|plan| !plan.has(done));
                let state = State::Retrying { attempt: failures + 1, reason: reason.to_string() };
                job.report(state);
                wait(job, FIRST_WAIT * 2_u32.pow(failures - 1))?;
            }
        }
    }
    let got = hasher.finish();
    if got != *digest {
        partial.clear()?; // nothing of it can be trusted
        let what = job.which.to_string();
        return Err(Error::Digest { what, want: digest.clone(), got });
    }
    job.report(State::Unpacking);
    // A reader that is gone says why itself.
    let _ = sink.output.map(Writer::finish);
    Ok(())
}

/// Reads a blob that is here and checked into the pipe.
pub(super) fn read(job: &Job, path: &Path, mut output: Writer) -> Result<(), Error> {
    let io = |source| Error::Io { action: "read", path: path.to_owned(), source };
    let mut file = File::open(path).map_err(io)?;
    job.report(State::Unpacking);
    loop {
        job.check()?;
        let Ok(mut buffer) = output.buffer() else { return Ok(()) };
        let length = fill(&mut file, &mut buffer).map_err(io)?;
        let sent = match length {
            0 => {
                let _ = output.finish(); // a reader that is gone says why itself
                return Ok(());
            }
            length => output.send(buffer, length),
        };
        if sent.is_err() {
            return Ok(());
        }
    }
}

/// Whose fault it is decides whether another try helps.
enum Failure {
    Ours(Error),
    Theirs(io::Error),
}

/// Where the bytes of a connection go.
struct Receiving<'a> {
    job: &'a Job<'a>,
    partial: &'a Partial,
    hasher: &'a mut Hasher,
    sink: &'a mut Sink,
}

impl Receiving<'_> {
    /// Takes bytes until so much of the blob is here or the connection breaks.
    fn receive(
        &mut self,
        stream: &mut impl Read,
        done: &mut u64,
        until: u64,
        hopeless: &AtomicBool,
    ) -> Result<(), Failure> {
        while *done < until {
            self.job.check().map_err(Failure::Ours)?;
            if hopeless.load(Ordering::Relaxed) {
                return Err(Failure::Ours(Error::Stopped));
            }
            let mut buffer = self.sink.buffer();
            let room = usize::try_from(until - *done).map_or(buffer.len(), |n| n.min(buffer.len()));
            let mut length = 0;
            let mut broken = None;
            while length < room {
                match stream.read(&mut buffer[length..room]) {
                    Ok(0) => broken = Some(io::ErrorKind::UnexpectedEof.into()),
                    Ok(count) => {
                        length += count;
                        continue;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => broken = Some(error),
                }
                break;
            }
            self.keep(&buffer[..length], *done)?;
            *done += length as u64;
            self.sink.send(buffer, length);
            self.job.report(State::Downloading { done: *done });
            if let Some(error) = broken {
                return Err(Failure::Theirs(error));
            }
        }
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8], offset: u64) -> Result<(), Failure> {
        self.hasher.update(bytes);
        self.partial.write(bytes, offset).map_err(|error| Failure::Ours(error.into()))
    }
}

/// Sends what an earlier try left, and gives how much that was.
fn pass_on(
    job: &Job,
    partial: &Partial,
    kept: u64,
    hasher: &mut Hasher,
    sink: &mut Sink,
) -> Result<u64, Error> {
    let mut done = 0;
    while done < kept {
        job.check()?;
        let mut buffer = sink.buffer();
        let room = usize::try_from(kept - done).map_or(buffer.len(), |n| n.min(buffer.len()));
        let read = partial.file().read_at(&mut buffer[..room], done);
        let length = read.map_err(|source| Error::Io {
            action: "read",
            path: partial.path().to_owned(),
            source,
        })?;
        if length == 0 {
            break;
        }
        hasher.update(&buffer[..length]);
        done += length as u64;
        sink.send(buffer, length);
        job.report(State::Downloading { done });
    }
    Ok(done)
}

/// Passes over what a source sent that cannot start in the middle.
fn skip(stream: &mut impl Read, count: u64) -> Result<(), Failure> {
    match io::copy(&mut stream.by_ref().take(count), &mut io::sink()) {
        Ok(skipped) if skipped == count => Ok(()),
        Ok(_) => Err(Failure::Theirs(io::ErrorKind::UnexpectedEof.into())),
        Err(error) => Err(Failure::Theirs(error)),
    }
}

fn wait(job: &Job, time: Duration) -> Result<(), Error> {
    let step = Duration::from_millis(50);
    let mut waited = Duration::ZERO;
    while waited < time {
        job.check()?;
        std::thread::sleep(step);
        waited += step;
    }
    Ok(())
}

/// Checks a document that is wholly in memory.
pub(super) fn check_document(what: &str, want: &Digest, bytes: &[u8]) -> Result<(), Error> {
    let mut hasher = Hasher::new(want.algorithm());
    hasher.update(bytes);
    let got = hasher.finish();
    if got == *want {
        return Ok(());
    }
    Err(Error::Digest { what: what.to_owned(), want: want.clone(), got })
}
