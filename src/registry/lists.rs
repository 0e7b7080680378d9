//! What a registry has: its repositories, a repository's tags, what a search finds.

use std::time::Instant;

use reqwest::header::{ACCEPT, LINK};
use reqwest::{Method, Url};
use serde::Deserialize;

use super::answer::without_controls;
use super::pace::Pace;
use super::remote::Runtime;
use super::route::Endpoint;
use super::transport::{Ask, Place, Purpose, STALL, Transport};
use super::{Error, Login, Options, Way};

/// The largest page of a list, in bytes.
const PAGE_LIMIT: usize = 8 << 20;
/// The most names of a list that goes on and on.
const MOST_NAMES: usize = 100_000;

/// One registry, or one of its repositories, to look around in.
pub struct Lists {
    transport: Transport,
    runtime: Runtime,
}

/// What a search finds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SearchResult {
    /// The repository, without its registry.
    pub name: String,
    /// A line about it.
    #[serde(deserialize_with = "nullable")]
    pub description: String,
    /// How many like it.
    pub star_count: u64,
    /// Whether the hub's keepers make it.
    pub is_official: bool,
    /// Whether it was built by the hub.
    pub is_automated: bool,
}

fn nullable<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    results: Vec<SearchResult>,
}

#[derive(Deserialize)]
struct Page {
    tags: Option<Vec<String>>,
    repositories: Option<Vec<String>>,
}

impl Lists {
    /// A registry, or a repository there, by a way to it.
    pub fn new(options: &Options, Way { endpoint, login, .. }: Way) -> Result<Self, Error> {
        let scopes = match endpoint.repository.as_str() {
            "" => Vec::new(),
            repository => vec![format!("repository:{repository}:pull")],
        };
        Self::open(options, &endpoint, scopes, login)
    }

    fn open(
        options: &Options,
        endpoint: &Endpoint,
        scopes: Vec<String>,
        login: Option<Login>,
    ) -> Result<Self, Error> {
        let purpose = (Purpose::Look, endpoint.name());
        let transport = Transport::new(options, endpoint, purpose, scopes, login)?;
        Ok(Self { transport, runtime: super::remote::runtime()? })
    }

    /// Whether the registry takes the login, or wants none.
    pub fn check_login(&self) -> Result<(), Error> {
        let ask = Ask::new(&Method::GET, Place::Host("v2/"));
        self.runtime.block_on(self.transport.ask(ask)).map(drop)
    }

    /// The repository's tags, in the registry's order, `most` at most.
    pub fn tags(&self, most: usize) -> Result<Vec<String>, Error> {
        let path = format!("v2/{}/tags/list", self.transport.endpoint.repository);
        let mut tags = self.pages(&path, most, |page| page.tags)?;
        tags.retain(|tag| crate::reference::is_tag(tag));
        Ok(tags)
    }

    /// The registry's repositories whose names have `term` in them, `most` at most.
    fn catalog(&self, term: &str, most: usize) -> Result<Vec<String>, Error> {
        let mut names = self.pages("v2/_catalog?n=1000", MOST_NAMES, |page| page.repositories)?;
        names.retain(|name| name.contains(term) && crate::reference::is_path(name));
        names.truncate(most);
        Ok(names)
    }

    /// What the registry finds for a term, `most` at most: by docker's search where it has one, else
    /// by the names in its catalog, as podman does.
    pub fn search(&self, term: &str, most: usize) -> Result<Vec<SearchResult>, Error> {
        if !term.is_empty() {
            match self.runtime.block_on(self.search_index(term, most)) {
                Ok(Some(found)) => return Ok(found),
                // The hub has no catalog to fall back to.
                Err(error) if self.transport.endpoint.registry == INDEX => return Err(error),
                Err(error @ (Error::Unreachable { .. } | Error::Tls { .. })) => return Err(error),
                Ok(None) | Err(_) => {}
            }
        }
        let names = self.catalog(term, most)?;
        Ok(names.into_iter().map(|name| SearchResult { name, ..SearchResult::default() }).collect())
    }

    /// docker's search (registry protocol, version 1); `None` where the answer is no such thing.
    async fn search_index(
        &self,
        term: &str,
        most: usize,
    ) -> Result<Option<Vec<SearchResult>>, Error> {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("q", term)
            .append_pair("n", &most.to_string())
            .finish();
        let path = format!("v1/search?{query}");
        let headers = [(ACCEPT, "application/json".to_owned())];
        let ask = Ask::new(&Method::GET, Place::Host(&path)).headers(&headers);
        let (bytes, _) = self.read(ask).await?;
        let Ok(Found { mut results }) = serde_json::from_slice(&bytes) else { return Ok(None) };
        results.truncate(most);
        results.retain(|result| crate::reference::is_path(&result.name));
        for result in &mut results {
            result.description = without_controls(&result.description);
        }
        Ok(Some(results))
    }

    /// A list that may come in pages, each naming the next (RFC 8288).
    fn pages(
        &self,
        path: &str,
        most: usize,
        names: impl Fn(Page) -> Option<Vec<String>>,
    ) -> Result<Vec<String>, Error> {
        let mut all = Vec::new();
        let mut next: Option<Url> = None;
        loop {
            let place = next.as_ref().map_or(Place::Host(path), Place::Url);
            let (bytes, link) = self.runtime.block_on(self.read(Ask::new(&Method::GET, place)))?;
            let page: Page = serde_json::from_slice(&bytes).map_err(|error| Error::Document {
                what: format!("the list of {}", self.transport.endpoint.name()),
                why: error.to_string(),
            })?;
            let before = all.len();
            all.extend(names(page).unwrap_or_default());
            // A page without a name would go on for ever.
            if all.len() >= most || all.len() == before || link.is_none() {
                all.truncate(most);
                return Ok(all);
            }
            next = link;
        }
    }

    async fn read(&self, ask: Ask<'_>) -> Result<(Vec<u8>, Option<Url>), Error> {
        let mut response = self.transport.ask(ask).await?;
        let link = response.headers().get(LINK).and_then(|link| link.to_str().ok());
        let link = link.and_then(next_page);
        let next = link.map(|link| self.transport.next(response.url(), link)).transpose()?;
        let (mut bytes, mut pace) = (Vec::new(), Pace::default());
        loop {
            let began = Instant::now();
            match tokio::time::timeout(STALL, response.chunk()).await {
                Ok(Ok(Some(chunk))) => {
                    bytes.extend_from_slice(&chunk);
                    if pace.crawls(began.elapsed(), chunk.len()) {
                        return Err(self.transport.crawling());
                    }
                }
                Ok(Ok(None)) => return Ok((bytes, next)),
                Ok(Err(error)) => return Err(self.transport.unreachable(&error)),
                Err(_) => return Err(self.transport.stalled(STALL)),
            }
            if bytes.len() > PAGE_LIMIT {
                let why = format!("it is longer than {PAGE_LIMIT} bytes");
                return Err(Error::Document { what: ask.what(), why });
            }
        }
    }
}

/// The hub's host for searches.
pub const INDEX: &str = "index.docker.io";

/// `</v2/…>; rel="next"`
pub(super) fn next_page(link: &str) -> Option<&str> {
    link.split(',').find_map(|part| {
        let (target, parameters) = part.trim().strip_prefix('<')?.split_once('>')?;
        let mut parameters = parameters.split(';').map(|text| text.trim().replace('"', ""));
        parameters.any(|text| text.eq_ignore_ascii_case("rel=next")).then_some(target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_named_by_a_link() {
        assert_eq!(
            next_page("</v2/_catalog?last=b&n=2>; rel=\"next\""),
            Some("/v2/_catalog?last=b&n=2")
        );
        assert_eq!(next_page("<a>; rel=prev, <b>; rel=next"), Some("b"));
        assert_eq!(next_page("<a>; rel=prev"), None);
        assert_eq!(next_page("a"), None);
    }
}
