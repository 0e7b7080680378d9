//! A registry as a source of images (distribution-spec, "Pull").

use std::io::{self, Read};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use tokio::sync::mpsc;

use super::document::{self, CONFIG_LIMIT, Document, MANIFEST_LIMIT};
use super::transport::{Ask, STALL, Transport};
use super::{BlobStream, Descriptor, Error, ImageSource, Login, Options, Resolved};
use crate::oci::{Digest, Platform, media_type};
use crate::reference::Reference;

/// Times that a document may break off and be asked for again.
const MOST_BREAKS: u32 = 3;
/// Chunks that wait for a slow reader; what it does not take is not fetched.
const WAITING: usize = 16;
/// Slower than this over `SLOW_SPAN`, a connection is given up, to be resumed by another.
const SLOWEST: u64 = 64 << 10;
const SLOW_SPAN: Duration = Duration::from_secs(60);

/// One image of one registry. Opens no connection and starts no thread before the first question.
pub struct Remote {
    options: Options,
    reference: Reference,
    login: Option<Login>,
    line: OnceLock<Line>,
}

/// What the first question starts.
struct Line {
    runtime: tokio::runtime::Runtime,
    transport: std::sync::Arc<Transport>,
}

/// The kinds of documents that are understood, as an Accept header.
fn accepted() -> String {
    [
        media_type::OCI_INDEX,
        media_type::OCI_MANIFEST,
        media_type::DOCKER_LIST,
        media_type::DOCKER_MANIFEST,
    ]
    .join(", ")
}

impl Remote {
    /// The image that `reference` names, asked for with `login` (see [`super::lookup`]).
    pub fn new(options: Options, reference: Reference, login: Option<Login>) -> Self {
        Self { options, reference, login, line: OnceLock::new() }
    }

    fn line(&self) -> Result<&Line, Error> {
        if let Some(line) = self.line.get() {
            return Ok(line);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|source| Error::Io { what: "the network".into(), source })?;
        let login = self.login.clone();
        let transport = Transport::new(&self.options, &self.reference, login)?.into();
        Ok(self.line.get_or_init(|| Line { runtime, transport }))
    }

    /// A document by tag or digest: its bytes and the media type it was sent as.
    fn document(&self, tag_or_digest: &str) -> Result<(Vec<u8>, Option<String>), Error> {
        let path = format!("manifests/{tag_or_digest}");
        self.whole(&path, &accepted(), MANIFEST_LIMIT)
    }

    fn whole(
        &self,
        path: &str,
        accept: &str,
        limit: u64,
    ) -> Result<(Vec<u8>, Option<String>), Error> {
        let line = self.line()?;
        let mut broken = 0;
        line.runtime.block_on(async {
            let ask = Ask { method: &Method::GET, path, accept, from: 0 };
            let mut response = line.transport.ask(ask).await?;
            let sent_as = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            let sent_as =
                sent_as.map(|kind| kind.split(';').next().unwrap_or_default().trim().to_owned());
            let mut bytes = Vec::new();
            loop {
                match tokio::time::timeout(STALL, response.chunk()).await {
                    Ok(Ok(Some(chunk))) => bytes.extend_from_slice(&chunk),
                    Ok(Ok(None)) => return Ok((bytes, sent_as)),
                    // A document that broke off is short enough to be asked for again from its
                    // start; blobs, which are not, go on where they broke off.
                    Ok(Err(_)) if broken < MOST_BREAKS => {
                        broken += 1;
                        bytes.clear();
                        response = line.transport.ask(ask).await?;
                        continue;
                    }
                    Ok(Err(error)) => return Err(line.transport.unreachable(&error)),
                    Err(_) => {
                        return Err(Error::Io {
                            what: path.to_owned(),
                            source: io::ErrorKind::TimedOut.into(),
                        });
                    }
                }
                if bytes.len() as u64 > limit {
                    let why = format!("it is longer than {limit} bytes");
                    return Err(Error::Document { what: path.to_owned(), why });
                }
            }
        })
    }

    fn named(&self) -> String {
        self.reference.familiar()
    }
}

impl ImageSource for Remote {
    fn manifest(&self, platform: &Platform) -> Result<Resolved, Error> {
        let (bytes, sent_as) = self.document(&self.reference.tag_or_digest())?;
        let digest = match self.reference.digest() {
            Some(want) => verified(&self.named(), want, &bytes)?,
            None => Digest::of(&bytes),
        };
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
        let (bytes, _) = self.whole(&path, "", CONFIG_LIMIT)?;
        let what = format!("the configuration of {}", self.named());
        verified(&what, &descriptor.digest, &bytes)?;
        Ok(bytes)
    }

    fn digest(&self) -> Result<Option<Digest>, Error> {
        let line = self.line()?;
        let path = format!("manifests/{}", self.reference.tag_or_digest());
        line.runtime.block_on(async {
            let ask = Ask { method: &Method::HEAD, path: &path, accept: &accepted(), from: 0 };
            let response = line.transport.ask(ask).await?;
            let header = response.headers().get("docker-content-digest");
            Ok(header.and_then(|digest| digest.to_str().ok()?.parse().ok()))
        })
    }

    fn blob(&self, descriptor: &Descriptor, from: u64) -> Result<BlobStream, Error> {
        let line = self.line()?;
        let path = format!("blobs/{}", descriptor.digest);
        let ask = Ask { method: &Method::GET, path: &path, accept: "", from };
        let response = line.runtime.block_on(line.transport.ask(ask))?;
        // 200 answers a range with the whole; who asked skips what it has.
        let offset = if response.status().as_u16() == 206 { from } else { 0 };
        if offset > 0 && !starts_at(&response, from) {
            return Err(Error::Document { what: path, why: "it answers another range".into() });
        }
        let (sender, receiver) = mpsc::channel(WAITING);
        line.runtime.spawn(stream(response, sender));
        Ok(BlobStream::new(offset, Chunks { receiver, chunk: io::Cursor::default() }))
    }
}

/// Whether `Content-Range: bytes FROM-…` says what was asked for.
fn starts_at(response: &reqwest::Response, from: u64) -> bool {
    let header = response.headers().get("content-range").and_then(|range| range.to_str().ok());
    let start = header.and_then(|range| range.trim().strip_prefix("bytes ")?.split('-').next());
    start.and_then(|start| start.parse().ok()) == Some(from)
}

fn verified(what: &str, want: &Digest, bytes: &[u8]) -> Result<Digest, Error> {
    let mut hasher = crate::oci::Hasher::new(want.algorithm());
    hasher.update(bytes);
    let got = hasher.finish();
    if got == *want {
        return Ok(got);
    }
    Err(Error::Digest { what: what.to_owned(), want: want.clone(), got })
}

type Chunk = Vec<u8>;

/// Brings a body to its reader, chunk by chunk, until it ends, stalls or nobody reads on.
async fn stream(mut response: reqwest::Response, sender: mpsc::Sender<io::Result<Chunk>>) {
    let (mut began, mut brought) = (Instant::now(), 0_u64);
    loop {
        let next = match tokio::time::timeout(STALL, response.chunk()).await {
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
        brought += chunk.len() as u64;
        if sender.send(Ok(chunk.into())).await.is_err() {
            return;
        }
        if began.elapsed() > SLOW_SPAN {
            if brought < SLOWEST {
                let _ =
                    sender.send(Err(io::Error::new(io::ErrorKind::TimedOut, "it crawls"))).await;
                return;
            }
            (began, brought) = (Instant::now(), 0);
        }
    }
}

/// A blocking reader of what `stream` brings.
struct Chunks {
    receiver: mpsc::Receiver<io::Result<Chunk>>,
    chunk: io::Cursor<Chunk>,
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
                Some(chunk) => self.chunk = io::Cursor::new(chunk?),
            }
        }
    }
}
