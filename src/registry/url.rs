//! A file of the web: what `import` is given by its URL.

use std::fs::File;
use std::io::Write;
use std::time::Instant;

use reqwest::{Method, Url};

use super::answer::masked;
use super::pace::Pace;
use super::remote::runtime;
use super::route::Endpoint;
use super::transport::{Ask, Place, Purpose, STALL, Transport};
use super::{Error, Options};

/// Writes what `url` leads to into `file`. Certificates, proxies, tries, patience and the rules for
/// redirects are those of registries; no login is sent but the one in the URL.
pub fn download(options: &Options, url: &str, mut file: &File) -> Result<(), Error> {
    let shown = masked(url);
    let odd = |why: &str| Error::Document { what: shown.clone(), why: why.to_owned() };
    let url = Url::parse(url).map_err(|error| odd(&error.to_string()))?;
    let host = url.host_str().ok_or_else(|| odd("it names no host"))?;
    let registry = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let endpoint = Endpoint { plain: url.scheme() == "http", ..Endpoint::registry(&registry) };
    let purpose = (Purpose::Look, shown.clone());
    let transport = Transport::new(options, &endpoint, purpose, Vec::new(), None)?;
    let io = |source| Error::Io { what: format!("what {shown} brings"), source };
    runtime()?.block_on(async {
        let mut response = transport.ask(Ask::new(&Method::GET, Place::Url(&url))).await?;
        let mut pace = Pace::default();
        loop {
            let began = Instant::now();
            let next = tokio::time::timeout(STALL, response.chunk()).await;
            let next = next.map_err(|_| transport.stalled(STALL))?;
            let Some(chunk) = next.map_err(|error| transport.unreachable(&error))? else {
                return Ok(());
            };
            if pace.crawls(began.elapsed(), chunk.len()) {
                return Err(transport.crawling());
            }
            file.write_all(&chunk).map_err(io)?;
        }
    })
}
