//! A registry as a source of images (distribution-spec, "Pull").
//!
//! There may be several ways to it: mirrors, then the registry itself. Each question goes to the
//! first of them that answers it; one that failed in the middle of a blob comes last from then on.

use std::collections::HashMap;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, RANGE};
use reqwest::{Method, Response};
use tokio::sync::mpsc;

use super::document::{self, CONFIG_LIMIT, Document, MANIFEST_LIMIT};
use super::error::Cause;
use super::pace::Pace;
use super::route::Endpoint;
use super::transport::{Ask, Place, Purpose, STALL, Transport, accepting};
use super::{Beside, BlobStream, Descriptor, Error, ImageSource, Login, Options, Resolved, Way};
use crate::oci::{Digest, Platform, media_type};
use crate::reference::Reference;
use crate::sys::process::WithoutSigpipe;
use crate::trust::Signature;

/// Times that a document may break off and be asked for again.
const MOST_BREAKS: u32 = 3;
/// Chunks that wait for a slow reader, each up to some 400 kB; what it does not take is not fetched.
const WAITING: usize = 2;

/// One image of one registry. Opens no connection and starts no thread before the first question.
pub struct Remote {
    options: Options,
    reference: Reference,
    doors: Vec<Door>,
    /// Which of them each blob came from last.
    served: Mutex<HashMap<Digest, usize>>,
    runtime: OnceLock<Runtime>,
}

/// A document as a registry has it, verified where there is a digest to hold it against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its digest.
    pub digest: Digest,
    /// What it calls itself, or was sent as.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// One way to the image.
pub(super) struct Door {
    way: Way,
    transport: OnceLock<Transport>,
    /// Blobs that broke off, or many of them where one was another than it should be.
    broken: Arc<AtomicU32>,
    /// As nobody, where the stored login turned out to be worth nothing.
    anonymous: OnceLock<Transport>,
}

/// What one wrong blob counts for: nobody who only breaks off is asked after that mirror.
const WRONG: u32 = 1 << 16;

impl Door {
    fn is_trusted(&self) -> bool {
        self.broken.load(Ordering::Relaxed) < WRONG
    }

    /// Whether a stored login may be to blame for a refusal.
    fn may_be_stale(&self, error: &Error) -> bool {
        let refused = matches!(
            error,
            Error::Unauthorized { login: true, .. } | Error::Denied { login: true, .. }
        );
        refused && self.way.stored
    }
}

/// The kinds of documents that are understood, as an Accept header.
pub(super) fn accepted() -> String {
    [
        media_type::OCI_INDEX,
        media_type::OCI_MANIFEST,
        media_type::DOCKER_LIST,
        media_type::DOCKER_MANIFEST,
    ]
    .join(", ")
}

/// Where requests run: one thread, which starts at the first of them. Who hangs up is an error and no
/// SIGPIPE: several buffers at once are written by writev(2), which cannot say that it wants none.
#[derive(Debug)]
pub(super) struct Runtime(tokio::runtime::Runtime);

impl Runtime {
    /// Waits for an answer.
    pub(super) fn block_on<F: Future>(&self, asked: F) -> F::Output {
        let _errors = WithoutSigpipe::begin();
        self.0.block_on(asked)
    }
}

/// Makes one.
pub(super) fn runtime() -> Result<Runtime, Error> {
    // Its threads are like the one that makes them.
    let _errors = WithoutSigpipe::begin();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map(Runtime)
        .map_err(|source| Error::Io { what: "the network".into(), source })
}

impl Remote {
    /// The image that `reference` names, asked for with `login` (see [`super::lookup`]).
    pub fn new(options: Options, reference: Reference, login: Option<Login>) -> Self {
        let way = Way { endpoint: Endpoint::of(&reference), login, stored: false };
        Self::by(options, reference, vec![way])
    }

    /// The same by these ways, the first first (see [`super::ways`]).
    pub fn by(options: Options, reference: Reference, ways: Vec<Way>) -> Self {
        let door = |way| Door {
            way,
            transport: OnceLock::new(),
            broken: Arc::default(),
            anonymous: OnceLock::new(),
        };
        let doors = ways.into_iter().map(door).collect();
        Self { options, reference, doors, served: Mutex::default(), runtime: OnceLock::new() }
    }

    pub(super) fn runtime(&self) -> Result<&Runtime, Error> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        let runtime = runtime()?;
        Ok(self.runtime.get_or_init(|| runtime))
    }

    /// The registry that refused the stored login, and gave to anybody what it was asked for.
    pub fn refused_login(&self) -> Option<String> {
        let door = self.doors.iter().find(|door| door.anonymous.get().is_some())?;
        Some(door.way.endpoint.registry.clone())
    }

    fn transport<'a>(&self, door: &'a Door) -> Result<&'a Transport, Error> {
        if let Some(transport) = door.anonymous.get().or_else(|| door.transport.get()) {
            return Ok(transport);
        }
        let transport = self.open(door, door.way.login.clone())?;
        Ok(door.transport.get_or_init(|| transport))
    }

    fn open(&self, door: &Door, login: Option<Login>) -> Result<Transport, Error> {
        let endpoint = &door.way.endpoint;
        // Whoever else could be asked is, rather than this one a second time.
        let mut options = self.options.clone();
        let is_last = self.doors.last().is_some_and(|last| std::ptr::eq(last, door));
        options.retries = if is_last { options.retries } else { Some(0) };
        let scopes = vec![format!("repository:{}:pull", endpoint.repository)];
        let purpose = (Purpose::Pull, self.named());
        Transport::new(&options, endpoint, purpose, scopes, login)
    }

    /// Asks as nobody, after the stored login was refused: many registries give to anybody what they
    /// refuse to a login that has ended.
    fn as_nobody<T>(
        &self,
        door: &Door,
        ask: &mut impl FnMut(&Door, &Transport) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let transport = self.open(door, None)?;
        let answer = ask(door, &transport)?;
        let _ = door.anonymous.set(transport);
        Ok(answer)
    }

    /// Asks one after the other; gives the first answer, or what the last one said.
    pub(super) fn first<T>(
        &self,
        mut ask: impl FnMut(&Door, &Transport) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut doors: Vec<&Door> = self.doors.iter().collect();
        // Whoever gave wrong bytes is asked only where all have.
        if doors.iter().any(|door| door.is_trusted()) {
            doors.retain(|door| door.is_trusted());
        }
        doors.sort_by_key(|door| door.broken.load(Ordering::Relaxed)); // stable
        let mut failure = None;
        for door in doors {
            match self.transport(door).and_then(|transport| ask(door, transport)) {
                Ok(answer) => return Ok(answer),
                Err(error) if door.may_be_stale(&error) => {
                    match self.as_nobody(door, &mut ask) {
                        Ok(answer) => return Ok(answer),
                        // Refused as well: what was said of the login is the nearer reason.
                        Err(_) => failure = Some(error),
                    }
                }
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| Error::Unreachable {
            registry: self.reference.registry().to_owned(),
            why: "there is no way to it".into(),
            cause: Cause::Other,
        }))
    }

    /// A document by tag or digest: its bytes and the media type it was sent as.
    pub(super) fn document(&self, tag_or_digest: &str) -> Result<(Vec<u8>, Option<String>), Error> {
        let path = format!("manifests/{tag_or_digest}");
        let what = format!("the manifest of {}", self.named());
        let by_digest: Option<Digest> = tag_or_digest.parse().ok();
        self.first(|_, transport| {
            let (bytes, headers) = self.runtime()?.block_on(whole(
                transport,
                Place::Repository(&path),
                &accepted(),
                MANIFEST_LIMIT,
            ))?;
            // By what it was asked for, or by what the registry itself calls it.
            let told = || headers.get("docker-content-digest")?.to_str().ok()?.parse().ok();
            if let Some(want) = by_digest.clone().or_else(told) {
                verified(&what, &want, &bytes)?;
            }
            let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            let kind =
                kind.map(|kind| kind.split(';').next().unwrap_or_default().trim().to_owned());
            Ok((bytes, kind))
        })
    }

    /// What the name stands for, or a document of its repository by its digest, whatever it is about:
    /// an image, an index, an artifact.
    pub fn sent(&self, digest: Option<&Digest>) -> Result<Sent, Error> {
        let name = digest.map_or_else(|| self.reference.tag_or_digest(), Digest::to_string);
        let (bytes, sent_as) = self.document(&name)?;
        let by_digest = digest.or(self.reference.digest()).cloned();
        let digest = by_digest.unwrap_or_else(|| Digest::of(&bytes));
        let own = document::own_kind(&self.named(), &bytes)?;
        let media_type = own.or(sent_as).unwrap_or_else(|| media_type::OCI_MANIFEST.to_owned());
        Ok(Sent { digest, media_type, bytes })
    }

    pub(super) fn named(&self) -> String {
        self.reference.familiar()
    }

    /// The body of an answer, whose door is remembered as the one the blob came from.
    fn streamed(
        &self,
        door: &Door,
        blob: &Digest,
        runtime: &Runtime,
        response: Response,
        offset: u64,
    ) -> BlobStream {
        let place = self.doors.iter().position(|it| std::ptr::eq(it, door));
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.extend(place.map(|place| (blob.clone(), place)));
        drop(served);
        let (sender, receiver) = mpsc::channel(WAITING);
        runtime.0.spawn(stream(response, sender));
        let broken = door.broken.clone();
        BlobStream::new(offset, Chunks { receiver, chunk: io::Cursor::default(), broken })
    }
}

/// A body that fits in memory.
pub(super) async fn whole(
    transport: &Transport,
    place: Place<'_>,
    accept: &str,
    limit: u64,
) -> Result<(Vec<u8>, reqwest::header::HeaderMap), Error> {
    let mut broken = 0;
    let headers = accepting(accept);
    let ask = Ask::new(&Method::GET, place);
    let ask = if accept.is_empty() { ask } else { ask.headers(&headers) };
    let mut response = transport.ask(ask).await?;
    let (mut bytes, mut pace) = (Vec::new(), Pace::default());
    loop {
        let began = Instant::now();
        match tokio::time::timeout(STALL, response.chunk()).await {
            Ok(Ok(Some(chunk))) => {
                bytes.extend_from_slice(&chunk);
                if pace.crawls(began.elapsed(), chunk.len()) {
                    return Err(transport.crawling());
                }
            }
            Ok(Ok(None)) => return Ok((bytes, response.headers().clone())),
            // A document that broke off is short enough to be asked for again from its
            // start; blobs, which are not, go on where they broke off.
            Ok(Err(_)) if broken < MOST_BREAKS => {
                broken += 1;
                bytes.clear();
                response = transport.ask(ask).await?;
                continue;
            }
            Ok(Err(error)) => return Err(transport.unreachable(&error)),
            Err(_) => return Err(transport.stalled(STALL)),
        }
        if bytes.len() as u64 > limit {
            let why = format!("it is longer than {limit} bytes");
            return Err(Error::Document { what: ask.what(), why });
        }
    }
}

impl ImageSource for Remote {
    fn manifest(&self, platform: &Platform) -> Result<Resolved, Error> {
        let (bytes, sent_as) = self.document(&self.reference.tag_or_digest())?;
        let digest = self.reference.digest().cloned().unwrap_or_else(|| Digest::of(&bytes));
        match document::read(&self.named(), &bytes, sent_as.as_deref())? {
            Document::Manifest { media_type, config, layers } => Ok(Resolved {
                index: None,
                manifest_digest: digest,
                manifest_bytes: bytes,
                media_type,
                config,
                layers,
            }),
            Document::Index(offers) => {
                let chosen =
                    document::choose(&offers, platform).ok_or_else(|| Error::NoPlatform {
                        image: self.named(),
                        wanted: platform.clone(),
                        offered: offers.iter().filter_map(|offer| offer.platform.clone()).collect(),
                    })?;
                let Descriptor { digest: want, size, media_type } = &chosen.descriptor;
                let (manifest, sent_as) = self.document(&want.to_string())?;
                let what = format!("the manifest of {} for {platform}", self.named());
                let manifest_digest = verified(&what, want, &manifest)?;
                if manifest.len() as u64 != *size {
                    let why = format!("it has {} bytes, the index says {size}", manifest.len());
                    return Err(Error::Document { what, why });
                }
                if let Some(sent) = sent_as.filter(|sent| sent != media_type) {
                    let why = format!("the index calls it {media_type:?}, it was sent as {sent:?}");
                    return Err(Error::Document { what, why });
                }
                match document::read(&what, &manifest, Some(media_type))? {
                    Document::Manifest { media_type, config, layers } => Ok(Resolved {
                        index: Some((digest, bytes)),
                        manifest_digest,
                        manifest_bytes: manifest,
                        media_type,
                        config,
                        layers,
                    }),
                    Document::Index(_) => {
                        Err(Error::Document { what, why: "it is an index within an index".into() })
                    }
                }
            }
        }
    }

    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let path = format!("blobs/{}", descriptor.digest);
        let what = format!("the configuration of {}", self.named());
        self.first(|_, transport| {
            let place = Place::Repository(&path);
            let (bytes, _) = self.runtime()?.block_on(whole(transport, place, "", CONFIG_LIMIT))?;
            verified(&what, &descriptor.digest, &bytes)?;
            Ok(bytes)
        })
    }

    fn signatures(
        &self,
        document: &Digest,
        place: Beside,
        enough: &mut dyn FnMut(&Signature) -> bool,
    ) -> Result<(), Error> {
        self.show_signatures(document, place, enough)
    }

    fn digest(&self) -> Result<Option<Digest>, Error> {
        let path = format!("manifests/{}", self.reference.tag_or_digest());
        let headers = accepting(&accepted());
        self.first(|_, transport| {
            let ask = Ask::new(&Method::HEAD, Place::Repository(&path)).headers(&headers);
            let response = self.runtime()?.block_on(transport.ask(ask))?;
            let header = response.headers().get("docker-content-digest");
            Ok(header.and_then(|digest| digest.to_str().ok()?.parse().ok()))
        })
    }

    fn distrust(&self, blob: &Digest) -> bool {
        let served = self.served.lock().unwrap_or_else(PoisonError::into_inner).get(blob).copied();
        if let Some(door) = served.and_then(|at| self.doors.get(at)) {
            door.broken.fetch_add(WRONG, Ordering::Relaxed);
        }
        served.is_some() && self.doors.iter().any(Door::is_trusted)
    }

    fn blob(&self, descriptor: &Descriptor, from: u64) -> Result<BlobStream, Error> {
        let path = format!("blobs/{}", descriptor.digest);
        self.first(|door, transport| {
            let runtime = self.runtime()?;
            let (response, offset) = match runtime.block_on(part(transport, &path, from, None)) {
                // Who has nothing from there on may have it from the start: who asked skips.
                Err(Error::Status { status: 416, .. }) if from > 0 => {
                    runtime.block_on(part(transport, &path, 0, None))?
                }
                answer => answer?,
            };
            Ok(self.streamed(door, &descriptor.digest, runtime, response, offset))
        })
    }

    fn part(&self, blob: &Descriptor, range: Range<u64>) -> Result<Option<BlobStream>, Error> {
        let path = format!("blobs/{}", blob.digest);
        self.first(|door, transport| {
            let runtime = self.runtime()?;
            let asked = part(transport, &path, range.start, Some(range.end));
            let (response, offset) = match runtime.block_on(asked) {
                Err(Error::Status { status: 416, .. }) => return Ok(None),
                answer => answer?,
            };
            // The whole of it: dropped before its body came.
            if response.status().as_u16() != 206 {
                return Ok(None);
            }
            Ok(Some(self.streamed(door, &blob.digest, runtime, response, offset)))
        })
    }
}

/// A blob from a byte on, up to another, and where what comes really starts: 200 answers a range
/// with the whole.
async fn part(
    transport: &Transport,
    path: &str,
    from: u64,
    to: Option<u64>,
) -> Result<(Response, u64), Error> {
    let last = to.map_or_else(String::new, |to| to.saturating_sub(1).to_string());
    let range = [(RANGE, format!("bytes={from}-{last}"))];
    let ask = Ask::new(&Method::GET, Place::Repository(path));
    let is_part = from > 0 || to.is_some();
    let response = transport.ask(if is_part { ask.headers(&range) } else { ask }).await?;
    let partial = is_part && response.status().as_u16() == 206;
    let offset = if partial { from } else { 0 };
    if partial && !starts_at(&response, from) {
        let why = "it answers another range".into();
        return Err(Error::Document { what: path.to_owned(), why });
    }
    Ok((response, offset))
}

/// Whether `Content-Range: bytes FROM-…` says what was asked for.
fn starts_at(response: &reqwest::Response, from: u64) -> bool {
    let header = response.headers().get("content-range").and_then(|range| range.to_str().ok());
    let start = header.and_then(|range| range.trim().strip_prefix("bytes ")?.split('-').next());
    start.and_then(|start| start.parse().ok()) == Some(from)
}

pub(super) fn verified(what: &str, want: &Digest, bytes: &[u8]) -> Result<Digest, Error> {
    let mut hasher = crate::oci::Hasher::new(want.algorithm());
    hasher.update(bytes);
    let got = hasher.finish();
    if got == *want {
        return Ok(got);
    }
    Err(Error::Digest { what: what.to_owned(), want: want.clone(), got })
}

/// Brings a body to its reader, chunk by chunk, until it ends, stalls or nobody reads on.
async fn stream(mut response: Response, sender: mpsc::Sender<io::Result<Bytes>>) {
    let mut pace = Pace::default();
    loop {
        let began = Instant::now();
        let next = tokio::time::timeout(STALL, response.chunk()).await;
        let waited = began.elapsed();
        let next = match next {
            Ok(Ok(Some(chunk))) => Ok(chunk),
            Ok(Ok(None)) => return,
            Ok(Err(error)) => Err(io::Error::other(error.to_string())),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "nothing came for 30 seconds")),
        };
        let chunk = match next {
            Ok(chunk) => chunk,
            Err(error) => {
                let _ = sender.send(Err(error)).await;
                return;
            }
        };
        let crawls = pace.crawls(waited, chunk.len());
        if sender.send(Ok(chunk)).await.is_err() {
            return;
        }
        if crawls {
            let crawl = io::Error::new(io::ErrorKind::TimedOut, "it crawls");
            let _ = sender.send(Err(crawl)).await;
            return;
        }
    }
}

/// A blocking reader of what `stream` brings.
struct Chunks {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    chunk: io::Cursor<Bytes>,
    broken: Arc<AtomicU32>,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.chunk.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            match self.receiver.blocking_recv() {
                None => return Ok(0),
                Some(chunk) => {
                    let chunk = chunk.inspect_err(|_| {
                        self.broken.fetch_add(1, Ordering::Relaxed);
                    });
                    self.chunk = io::Cursor::new(chunk?);
                }
            }
        }
    }
}
