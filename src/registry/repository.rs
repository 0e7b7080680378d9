//! A repository that images are pushed to (distribution-spec, "Push").
//!
//! ```text
//! blob: there already? ─ mounted from another repository? ─ whole, in one request
//!                                                            │ refused, or broken off
//!                                          in chunks, each from where the registry says it is
//! ```

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{self, Poll};
use std::time::Duration;

use reqwest::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName, LOCATION, RANGE,
};
use reqwest::{Body, Method, Response, Url};
use tokio::sync::mpsc;

use super::error::Cause;
use super::remote::{Runtime, accepted};
use super::transport::{Ask, Payload, Place, Purpose, Transport, accepting};
use super::{Descriptor, Error, Options, Way};
use crate::oci::Digest;
use crate::reference::Reference;

/// What one chunk has, where a blob does not go as a whole: well below what proxies refuse.
const CHUNK: u64 = 16 << 20;
/// The most that a registry may insist on in a chunk.
const LARGEST_CHUNK: u64 = 1 << 30;
/// Chunks that fail in a row before the blob is given up.
const MOST_FAILURES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(300);
/// Bytes that are read at once, and wait for a slow registry so many times over.
const PIECE: usize = 64 << 10;
const WAITING: usize = 4;

/// How a blob came to be in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It was there.
    There,
    /// It is taken from another repository of the registry.
    Mounted(String),
    /// It was sent.
    Sent,
}

/// A repository to push to.
pub struct Repository {
    transport: Transport,
    runtime: Runtime,
    reference: Reference,
}

/// A place for a blob's bytes.
struct Upload {
    url: Url,
    /// What a chunk must have at least, the last one excepted.
    least: u64,
}

/// A blob on its way.
struct Sending<'a> {
    blob: &'a Descriptor,
    path: &'a Path,
    told: &'a (dyn Fn(u64) + Sync),
}

impl Repository {
    /// The repository of `reference`; blobs may be mounted from those of `sources`.
    pub fn new(
        options: &Options,
        reference: &Reference,
        Way { endpoint, login, .. }: Way,
        sources: &[String],
    ) -> Result<Self, Error> {
        let mut scopes = vec![format!("repository:{}:pull,push", endpoint.repository)];
        scopes.extend(sources.iter().map(|source| format!("repository:{source}:pull")));
        let purpose = (Purpose::Push, reference.familiar());
        let transport = Transport::new(options, &endpoint, purpose, scopes, login)?;
        let runtime = super::remote::runtime()?;
        Ok(Self { transport, runtime, reference: reference.clone() })
    }

    /// What it is the repository of.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Whether a document is there.
    pub fn has_manifest(&self, digest: &Digest) -> Result<bool, Error> {
        self.runtime.block_on(self.has(&format!("manifests/{digest}")))
    }

    /// Whether a blob is there.
    pub fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        self.runtime.block_on(self.has(&format!("blobs/{digest}")))
    }

    /// Brings a document there under a name: a tag or its digest.
    pub fn put_manifest(&self, name: &str, media_type: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = format!("manifests/{name}");
        let headers = [(CONTENT_TYPE, media_type.to_owned())];
        let ask = Ask {
            payload: Payload::Bytes(bytes),
            ..Ask::new(&Method::PUT, Place::Repository(&path)).headers(&headers)
        };
        let response = self.runtime.block_on(self.transport.ask(ask))?;
        let told = response.headers().get("docker-content-digest");
        let told: Option<Digest> = told.and_then(|digest| digest.to_str().ok()?.parse().ok());
        let want = Digest::of(bytes);
        match told.filter(|got| got.algorithm() == want.algorithm() && *got != want) {
            Some(got) => Err(Error::Digest {
                what: format!(
                    "{} as {} took it",
                    self.reference.familiar(),
                    self.transport.registry()
                ),
                want,
                got,
            }),
            None => Ok(()),
        }
    }

    /// Brings a blob there, unless it is; from one of `sources`, repositories of the registry, if
    /// that can be. `told` learns how many bytes are on their way.
    pub fn put_blob(
        &self,
        blob: &Descriptor,
        path: &Path,
        sources: &[String],
        told: &(dyn Fn(u64) + Sync),
    ) -> Result<Placed, Error> {
        let sending = Sending { blob, path, told };
        self.runtime.block_on(async {
            if self.has(&format!("blobs/{}", blob.digest)).await? {
                return Ok(Placed::There);
            }
            let mut upload = None;
            for source in sources {
                let from = format!("blobs/uploads/?mount={}&from={source}", blob.digest);
                // Who may not look into the other repository can still send the blob.
                let Ok(response) = self.begin(&from).await else { continue };
                if response.status().as_u16() == 201 {
                    return Ok(Placed::Mounted(source.clone()));
                }
                upload = Some(self.upload(&response)?);
                break;
            }
            let upload = match upload {
                Some(upload) => upload,
                None => self.start().await?,
            };
            match self.send_whole(&sending, &upload.url).await {
                Err(error) if chunks_may_help(&error) => self.send_chunks(&sending).await?,
                sent => sent?,
            }
            Ok(Placed::Sent)
        })
    }

    /// Whether a blob could be taken from one of `sources`, repositories of the same registry.
    pub fn mount(&self, digest: &Digest, sources: &[String]) -> Result<Option<Placed>, Error> {
        self.runtime.block_on(async {
            for source in sources {
                let from = format!("blobs/uploads/?mount={digest}&from={source}");
                // Who may not look into the other repository may have the blob from elsewhere. What
                // is begun in place of a mount is left to the registry, which forgets it.
                let Ok(response) = self.begin(&from).await else { continue };
                if response.status().as_u16() == 201 {
                    return Ok(Some(Placed::Mounted(source.clone())));
                }
            }
            Ok(None)
        })
    }

    async fn has(&self, path: &str) -> Result<bool, Error> {
        let headers = accepting(&accepted());
        let ask = Ask::new(&Method::HEAD, Place::Repository(path));
        let ask = if path.starts_with("manifests") { ask.headers(&headers) } else { ask };
        match self.transport.ask(ask).await {
            Ok(_) => Ok(true),
            Err(Error::Status { status: 404, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn begin(&self, path: &str) -> Result<Response, Error> {
        let headers = [(CONTENT_LENGTH, "0".to_owned())];
        self.transport.ask(Ask::new(&Method::POST, Place::Repository(path)).headers(&headers)).await
    }

    async fn start(&self) -> Result<Upload, Error> {
        let response = self.begin("blobs/uploads/").await?;
        self.upload(&response)
    }

    /// Where the registry wants the bytes.
    fn upload(&self, response: &Response) -> Result<Upload, Error> {
        let number = |name| response.headers().get(name)?.to_str().ok()?.trim().parse().ok();
        let least: u64 = number("oci-chunk-min-length").unwrap_or(0);
        Ok(Upload { url: self.location(response)?, least: least.min(LARGEST_CHUNK) })
    }

    fn location(&self, response: &Response) -> Result<Url, Error> {
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.ok_or_else(|| Error::Document {
            what: format!("the answer of {} to an upload", self.transport.registry()),
            why: "it does not say where to".into(),
        })?;
        self.transport.next(response.url(), location)
    }

    /// One request with all of it.
    async fn send_whole(&self, sending: &Sending<'_>, url: &Url) -> Result<(), Error> {
        let size = sending.blob.size;
        let url = with_digest(url, &sending.blob.digest);
        let headers = [
            (CONTENT_TYPE, "application/octet-stream".to_owned()),
            (CONTENT_LENGTH, size.to_string()),
        ];
        self.send(sending, &Method::PUT, &url, &headers, 0..size).await.map(drop)
    }

    /// Chunk by chunk; after a failure from where the registry says it is.
    async fn send_chunks(&self, sending: &Sending<'_>) -> Result<(), Error> {
        let size = sending.blob.size;
        let mut upload = self.start().await?;
        let (mut done, mut failures) = (0, 0);
        while done < size {
            let end = size.min(done + CHUNK.max(upload.least));
            let headers = [
                (CONTENT_TYPE, "application/octet-stream".to_owned()),
                (CONTENT_LENGTH, (end - done).to_string()),
                (CONTENT_RANGE, format!("{done}-{}", end - 1)),
            ];
            let sent = self.send(sending, &Method::PATCH, &upload.url, &headers, done..end).await;
            match sent {
                Ok(response) => {
                    upload.url = self.location(&response)?;
                    (done, failures) = (taken(response.headers()).unwrap_or(end).min(size), 0);
                }
                Err(error) if failures < MOST_FAILURES && may_pass(&error) => {
                    failures += 1;
                    tokio::time::sleep(FIRST_WAIT * 2_u32.pow(failures - 1)).await;
                    done = if let Ok(done) = self.status(&mut upload).await {
                        done.min(size)
                    } else {
                        // It has forgotten all about it.
                        upload = self.start().await?;
                        0
                    };
                }
                Err(error) => return Err(error),
            }
        }
        let url = with_digest(&upload.url, &sending.blob.digest);
        let headers = [(CONTENT_LENGTH, "0".to_owned())];
        let ask = Ask::new(&Method::PUT, Place::Url(&url)).headers(&headers);
        self.transport.ask(ask).await.map(drop)
    }

    /// How much of it is there.
    async fn status(&self, upload: &mut Upload) -> Result<u64, Error> {
        let response = self.transport.ask(Ask::new(&Method::GET, Place::Url(&upload.url))).await?;
        if response.headers().contains_key(LOCATION) {
            upload.url = self.location(&response)?;
        }
        Ok(taken(response.headers()).unwrap_or(0))
    }

    async fn send(
        &self,
        sending: &Sending<'_>,
        method: &Method,
        url: &Url,
        headers: &[(HeaderName, String)],
        range: std::ops::Range<u64>,
    ) -> Result<Response, Error> {
        let moved = Arc::new(AtomicU64::new(0));
        let body = || body(sending.path.to_owned(), range.clone(), moved.clone());
        let told = |moved| (sending.told)(range.start + moved);
        let payload = Payload::Stream { body: &body, moved: &moved, told: &told };
        // What broke off has left bytes behind: it is not for the transport to begin again.
        let ask =
            Ask { payload, again: false, ..Ask::new(method, Place::Url(url)).headers(headers) };
        self.transport.ask(ask).await
    }
}

/// Whether smaller requests may do where a large one did not.
fn chunks_may_help(error: &Error) -> bool {
    match error {
        // Too large, no length, not like this, not here: a proxy's or a registry's own limit.
        Error::Status { status, .. } => matches!(status, 404 | 405 | 411 | 413 | 416 | 500..),
        error => may_pass(error),
    }
}

fn may_pass(error: &Error) -> bool {
    matches!(
        error,
        Error::Unreachable { cause: Cause::Other | Cause::Stall, .. }
            | Error::Status { status: 404 | 416 | 500.., .. }
            | Error::TooMany { .. }
    )
}

/// `Range: 0-N`: how many bytes a registry has of an upload. `0-0` is what some say of none; one
/// byte that is sent twice is refused, and then asked about again.
fn taken(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(RANGE)?.to_str().ok()?;
    let last: u64 = range.trim().trim_start_matches("bytes=").split_once('-')?.1.parse().ok()?;
    Some(if last == 0 { 0 } else { last + 1 })
}

fn with_digest(url: &Url, digest: &Digest) -> Url {
    let mut url = url.clone();
    url.query_pairs_mut().append_pair("digest", &digest.to_string());
    url
}

/// A part of a file as a body. It is read on a thread of its own, which ends when nobody takes the
/// bytes any more.
fn body(path: std::path::PathBuf, range: std::ops::Range<u64>, moved: Arc<AtomicU64>) -> Body {
    let (sender, receiver) = mpsc::channel(WAITING);
    moved.store(0, Ordering::Relaxed);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = read(&path, range, &sender, &moved) {
            let _ = sender.blocking_send(Err(error));
        }
    });
    Body::wrap_stream(Pieces(receiver))
}

fn read(
    path: &Path,
    range: std::ops::Range<u64>,
    sender: &mpsc::Sender<io::Result<Vec<u8>>>,
    moved: &AtomicU64,
) -> io::Result<()> {
    let file = File::open(path)?;
    let mut at = range.start;
    while at < range.end {
        let room = usize::try_from(range.end - at).map_or(PIECE, |left| left.min(PIECE));
        let mut piece = vec![0; room];
        file.read_exact_at(&mut piece, at)?;
        if sender.blocking_send(Ok(piece)).is_err() {
            return Ok(());
        }
        at += room as u64;
        moved.store(at - range.start, Ordering::Relaxed);
    }
    Ok(())
}

struct Pieces(mpsc::Receiver<io::Result<Vec<u8>>>);

impl futures_core::Stream for Pieces {
    type Item = io::Result<Vec<u8>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_has_is_read_from_its_range() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, text.parse().expect("a header"));
            taken(&headers)
        };
        assert_eq!(of("0-99"), Some(100));
        assert_eq!(of("bytes=0-99"), Some(100));
        assert_eq!(of("0-0"), Some(0));
        assert_eq!(of("all"), None);
    }

    #[test]
    fn a_digest_joins_what_a_location_carries() {
        let url = Url::parse("http://r/v2/a/blobs/uploads/1?_state=x%3D").expect("a url");
        let digest = Digest::of(b"");
        let text = with_digest(&url, &digest).to_string();
        assert!(
            text.ends_with(&format!("?_state=x%3D&digest=sha256%3A{}", digest.hex())),
            "{text}"
        );
    }
}
