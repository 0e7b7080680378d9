//! A registry inside the test, for what a real one never does: wrong bytes, cut and slow
//! bodies, refusals, redirects. Plain HTTP/1.1 on loopback; it ends with the test.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::image::{Image, digest};

pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(&name.to_ascii_lowercase()).map(String::as_str)
    }

    pub fn is_blob(&self) -> bool {
        self.method == "GET" && self.path.contains("/blobs/")
    }
}

#[derive(Clone, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Close the connection after so many bytes of the body, though all were promised.
    pub cut_after: Option<usize>,
    /// Bytes a second; all at once without it.
    pub pace: Option<usize>,
    /// Hang up in place of an answer.
    pub hang_up: bool,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, body: body.into(), ..Self::default() }
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// Sees each request with the right answer and may give another.
pub type Hook = dyn Fn(&Request, Reply) -> Reply + Send + Sync;

#[derive(Default)]
struct Content {
    /// Path below /v2/ to media type and bytes.
    files: Mutex<HashMap<String, (String, Vec<u8>)>>,
    /// Uploads that began, by their numbers.
    uploads: Mutex<Vec<Vec<u8>>>,
    log: Mutex<Vec<String>>,
    sent: Mutex<usize>,
    connections: Mutex<usize>,
    /// Whether it gives a part of a blob.
    ranges: AtomicBool,
}

pub struct Registry {
    pub address: SocketAddr,
    content: Arc<Content>,
}

impl Registry {
    pub fn new() -> Self {
        Self::with(|_, reply| reply)
    }

    /// One that answers whoever asks for a part with the whole.
    pub fn without_ranges() -> Self {
        let registry = Self::new();
        registry.content.ranges.store(false, Ordering::SeqCst);
        registry
    }

    pub fn with(hook: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let content = Arc::new(Content { ranges: true.into(), ..Content::default() });
        let hook: Arc<Hook> = Arc::new(hook);
        let served = Arc::clone(&content);
        // The thread sleeps in accept when the test is over; the process's end ends it.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A body follows its head at once, not when the head was acknowledged: 40 ms a request.
                let _ = stream.set_nodelay(true);
                let (content, hook) = (Arc::clone(&served), Arc::clone(&hook));
                *content.connections.lock().unwrap() += 1;
                thread::spawn(move || serve(&stream, &content, &*hook));
            }
        });
        Self { address, content }
    }

    /// Put an image here; gives the reference to pull it by.
    pub fn push(&self, name: &str, tag: &str, image: &Image) -> String {
        for blob in image.layers.iter().chain([&image.config]) {
            self.put_blob(name, &digest(blob), blob);
        }
        // A lying descriptor still finds its bytes: the lie is to be seen, not a 404.
        let told =
            |value: &serde_json::Value| value["digest"].as_str().unwrap_or_default().to_owned();
        self.put_blob(name, &told(&image.manifest["config"]), &image.config);
        for (layer, described) in
            image.layers.iter().zip(image.manifest["layers"].as_array().into_iter().flatten())
        {
            self.put_blob(name, &told(described), layer);
        }
        let media_type = image.manifest["mediaType"]
            .as_str()
            .unwrap_or("application/vnd.oci.image.manifest.v1+json");
        self.put_manifest(name, tag, media_type, image.manifest.to_string().as_bytes());
        self.reference(name, tag)
    }

    pub fn reference(&self, name: &str, tag: &str) -> String {
        format!("{}/{name}:{tag}", self.address)
    }

    pub fn put_manifest(&self, name: &str, tag: &str, media_type: &str, bytes: &[u8]) {
        let mut files = self.content.files.lock().unwrap();
        for reference in [tag, &digest(bytes)] {
            files
                .insert(format!("{name}/manifests/{reference}"), (media_type.into(), bytes.into()));
        }
    }

    pub fn put_blob(&self, name: &str, digest: &str, bytes: &[u8]) {
        let file = ("application/octet-stream".to_owned(), bytes.to_vec());
        self.content.files.lock().unwrap().insert(format!("{name}/blobs/{digest}"), file);
    }

    /// What was pushed or put here, by its path below /v2/.
    pub fn file(&self, path: &str) -> Option<Vec<u8>> {
        self.content.files.lock().unwrap().get(path).map(|(_, bytes)| bytes.clone())
    }

    /// Every request so far: `GET /v2/x/blobs/sha256:… bytes=5-`.
    pub fn log(&self) -> Vec<String> {
        self.content.log.lock().unwrap().clone()
    }

    pub fn blob_requests(&self) -> usize {
        self.log().iter().filter(|line| line.starts_with("GET") && line.contains("/blobs/")).count()
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        *self.content.connections.lock().unwrap()
    }

    /// Bytes of bodies sent so far.
    pub fn sent(&self) -> usize {
        *self.content.sent.lock().unwrap()
    }
}

fn serve(stream: &TcpStream, content: &Content, hook: &Hook) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader) {
        let range = request.header("range").unwrap_or_default().to_owned();
        content
            .log
            .lock()
            .unwrap()
            .push(format!("{} {} {range}", request.method, request.path).trim_end().to_owned());
        let reply = hook(&request, right_answer(&request, content));
        if reply.hang_up || write_reply(stream, &request, &reply, content).is_none() {
            let _ = stream.shutdown(std::net::Shutdown::Both);
            return;
        }
    }
}

fn read_request(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, headers, body })
}

/// Pushes (distribution-spec, "Push"); `None` for what is none.
fn receive(request: &Request, content: &Content) -> Option<Reply> {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let path = path.strip_prefix("/v2/")?;
    let wanted = query.split('&').find_map(|pair| pair.strip_prefix("digest="));
    if let ("PUT", Some((name, tag))) = (request.method.as_str(), path.split_once("/manifests/")) {
        let kind = request.header("content-type").unwrap_or_default().to_owned();
        let mut files = content.files.lock().unwrap();
        for tag in [tag, &digest(&request.body)] {
            files.insert(format!("{name}/manifests/{tag}"), (kind.clone(), request.body.clone()));
        }
        return Some(Reply::new(201, "").header("Docker-Content-Digest", digest(&request.body)));
    }
    let (name, number) = path.split_once("/blobs/uploads/")?;
    let mut uploads = content.uploads.lock().unwrap();
    if request.method == "POST" {
        uploads.push(Vec::new());
        let number = uploads.len() - 1;
        return Some(
            Reply::new(202, "")
                .header("Location", format!("/v2/{name}/blobs/uploads/{number}?s=1")),
        );
    }
    let upload = uploads.get_mut(number.parse::<usize>().ok()?)?;
    let range = |upload: &[u8]| format!("0-{}", upload.len().saturating_sub(1));
    let told = |reply: Reply, upload: &[u8]| {
        reply.header("Location", request.path.clone()).header("Range", range(upload))
    };
    match request.method.as_str() {
        "GET" => Some(told(Reply::new(204, ""), upload)),
        "PATCH" => {
            let start = request.header("content-range").and_then(|range| range.split_once('-'));
            if start.is_some_and(|(start, _)| start != upload.len().to_string()) {
                return Some(told(Reply::new(416, ""), upload));
            }
            upload.extend(&request.body);
            Some(told(Reply::new(202, ""), upload))
        }
        _ => {
            upload.extend(&request.body);
            if wanted != Some(&digest(upload).replace(':', "%3A")) {
                return Some(Reply::new(400, r#"{"errors":[{"code":"DIGEST_INVALID"}]}"#));
            }
            let file = ("application/octet-stream".to_owned(), upload.clone());
            content.files.lock().unwrap().insert(format!("{name}/blobs/{}", digest(upload)), file);
            Some(Reply::new(201, ""))
        }
    }
}

fn right_answer(request: &Request, content: &Content) -> Reply {
    let path = request.path.split('?').next().unwrap_or_default();
    // As a proxy it is asked for another host's.
    let path =
        path.strip_prefix("http://").map_or(path, |rest| &rest[rest.find('/').unwrap_or(0)..]);
    if path == "/v2/" {
        return Reply::new(200, "{}");
    }
    if let Some(reply) = receive(request, content) {
        return reply;
    }
    let key = path.strip_prefix("/v2/").unwrap_or_default();
    let Some((media_type, bytes)) = content.files.lock().unwrap().get(key).cloned() else {
        let code = if key.contains("/manifests/") { "MANIFEST_UNKNOWN" } else { "BLOB_UNKNOWN" };
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"not here"}}]}}"#);
        return Reply::new(404, body).header("Content-Type", "application/json");
    };
    let range = request.header("range").filter(|_| content.ranges.load(Ordering::SeqCst));
    let range = range.and_then(|it| it.strip_prefix("bytes=")?.split_once('-'));
    let total = bytes.len();
    let reply = match range {
        None => Reply::new(200, bytes.clone()),
        Some((start, last)) => {
            let start = start.parse::<usize>().unwrap_or(0);
            let end = last.parse::<usize>().map_or(total, |last| total.min(last + 1));
            if start >= end {
                return Reply::new(416, "").header("Content-Range", format!("bytes */{total}"));
            }
            Reply::new(206, &bytes[start..end])
                .header("Content-Range", format!("bytes {start}-{}/{total}", end - 1))
        }
    };
    reply.header("Content-Type", media_type).header("Docker-Content-Digest", digest(&bytes))
}

fn write_reply(
    mut stream: &TcpStream,
    request: &Request,
    reply: &Reply,
    content: &Content,
) -> Option<()> {
    let mut head = format!("HTTP/1.1 {} Said\r\n", reply.status);
    let length_told =
        reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    if !length_told {
        let _ = write!(head, "Content-Length: {}\r\n", reply.body.len());
    }
    for (name, value) in &reply.headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    if request.method == "HEAD" {
        return Some(());
    }
    let body = &reply.body[..reply.cut_after.unwrap_or(usize::MAX).min(reply.body.len())];
    // A tenth of a second's worth at a time.
    for part in body.chunks(reply.pace.map_or(1 << 20, |pace| (pace / 10).max(1))) {
        stream.write_all(part).ok()?;
        *content.sent.lock().unwrap() += part.len();
        if reply.pace.is_some() {
            thread::sleep(Duration::from_millis(100));
        }
    }
    (reply.cut_after.is_none() && !length_told).then_some(())
}
