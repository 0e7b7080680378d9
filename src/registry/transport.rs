//! Requests to one registry: TLS or not, tokens, redirects, patience.
//!
//! oci-client gives the vocabulary (manifests, indexes, the error envelope); the requests are
//! reqwest's, because oci-client knows no retries, identity tokens, credential helpers, own TLS
//! configuration or rules for redirects.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use oci_client::errors::OciEnvelope;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, HeaderMap, LOCATION, RANGE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;

use super::challenge::{self, Challenge};
use super::error::Cause;
use super::{Error, Login, Options, tls};
use crate::reference::Reference;

/// Tries for what may pass: a busy registry, a broken connection.
const TRIES: u32 = 4;
/// The longest wait that a registry may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A read that brings nothing for so long is a stall.
pub(super) const STALL: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(15);
const MOST_REDIRECTS: usize = 10;
/// What is kept of an error's body.
const ERROR_LIMIT: usize = 16 << 10;

/// One registry, as one user.
pub(super) struct Transport {
    client: reqwest::Client,
    reference: Reference,
    login: Option<Login>,
    /// `https`, or `http` once that is known to be spoken.
    scheme: Mutex<&'static str>,
    may_be_plain: bool,
    tokens: Mutex<HashMap<String, String>>,
    proxy: Option<String>,
    certificates: std::path::PathBuf,
}

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) method: &'a Method,
    /// Behind `/v2/REPOSITORY/`.
    pub(super) path: &'a str,
    pub(super) accept: &'a str,
    pub(super) from: u64,
}

impl Transport {
    pub(super) fn new(
        options: &Options,
        reference: &Reference,
        login: Option<Login>,
    ) -> Result<Self, Error> {
        let registry = reference.registry();
        let failed = |error: &dyn std::fmt::Display| Error::Tls {
            registry: registry.to_owned(),
            why: error.to_string(),
        };
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::configure(options, registry)?)
            .hickory_dns(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(CONNECT)
            .http2_adaptive_window(true)
            .user_agent(concat!("coracle/", env!("CARGO_PKG_VERSION")));
        let none = options.no_proxy.as_deref().and_then(reqwest::NoProxy::from_string);
        if let Some(proxy) = &options.https_proxy {
            let proxy = reqwest::Proxy::https(proxy).map_err(|error| failed(&error))?;
            builder = builder.proxy(proxy.no_proxy(none.clone()));
        }
        if let Some(proxy) = &options.http_proxy {
            let proxy = reqwest::Proxy::http(proxy).map_err(|error| failed(&error))?;
            builder = builder.proxy(proxy.no_proxy(none));
        }
        let certificates = options.certificate_directories.first().cloned().unwrap_or_default();
        Ok(Self {
            client: builder.build().map_err(|error| failed(&error))?,
            reference: reference.clone(),
            login,
            scheme: Mutex::new("https"),
            may_be_plain: reference.is_loopback() || options.tls_verify == Some(false),
            tokens: Mutex::default(),
            proxy: options.https_proxy.as_deref().map(masked),
            certificates: certificates.join(registry),
        })
    }

    /// The registry's host; the hub has another for its API than in names.
    fn host(&self) -> &str {
        match self.reference.registry() {
            "docker.io" => "registry-1.docker.io",
            other => other,
        }
    }

    fn image(&self) -> String {
        self.reference.familiar()
    }

    fn registry(&self) -> String {
        self.reference.registry().to_owned()
    }

    /// Asks, with a token where one is wanted, again where that may help.
    pub(super) async fn ask(&self, ask: Ask<'_>) -> Result<Response, Error> {
        let mut wait = Duration::from_millis(300);
        let mut tries = 1;
        loop {
            let result = self.ask_with_login(ask).await;
            let again = match &result {
                Ok(response) => match response.status() {
                    StatusCode::TOO_MANY_REQUESTS => {
                        // A wait that is longer than is polite to hang for is told instead.
                        let asked = retry_after(response.headers());
                        asked
                            .is_none_or(|asked| asked <= LONGEST_WAIT)
                            .then(|| asked.unwrap_or(wait))
                    }
                    status if status.is_server_error() => Some(wait),
                    _ => None,
                },
                Err(Error::Unreachable { cause: Cause::Other, .. }) => Some(wait),
                Err(_) => None,
            };
            match again {
                Some(pause) if tries < TRIES => tokio::time::sleep(pause).await,
                _ => return self.judge(result?, ask).await,
            }
            tries += 1;
            wait *= 2;
        }
    }

    async fn ask_with_login(&self, ask: Ask<'_>) -> Result<Response, Error> {
        let response = self.send(ask).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let headers = response.headers().get_all(WWW_AUTHENTICATE);
        let wanted = headers.iter().find_map(|value| challenge::parse(value.to_str().ok()?));
        match wanted {
            Some(Challenge::Bearer { realm, service, scope }) => {
                let token = self.token(&realm, service.as_deref(), scope.as_deref()).await?;
                self.keep(format!("Bearer {token}"));
            }
            Some(Challenge::Basic) => match &self.login {
                Some(Login::Password { user, password }) => self.keep(basic(user, password)),
                _ => return Ok(response),
            },
            None => return Ok(response),
        }
        self.send(ask).await
    }

    fn keep(&self, header: String) {
        if let Ok(mut tokens) = self.tokens.lock() {
            tokens.insert(self.reference.repository().to_owned(), header);
        }
    }

    fn authorization(&self) -> Option<String> {
        self.tokens.lock().ok()?.get(self.reference.repository()).cloned()
    }

    fn scheme(&self) -> &'static str {
        self.scheme.lock().map_or("https", |scheme| *scheme)
    }

    /// One request and its redirects.
    async fn send(&self, ask: Ask<'_>) -> Result<Response, Error> {
        let url = |scheme: &str| {
            let (host, repository) = (self.host(), self.reference.repository());
            format!("{scheme}://{host}/v2/{repository}/{}", ask.path)
        };
        let parse = |text: String| {
            Url::parse(&text).map_err(|error| Error::Unreachable {
                registry: self.registry(),
                why: error.to_string(),
                cause: Cause::Other,
            })
        };
        let first = parse(url(self.scheme()))?;
        let result = self.send_to(ask, &first).await;
        match result {
            // Who is on this machine, or was named by a flag, may speak plainly.
            Err(error)
                if self.may_be_plain
                    && first.scheme() == "https"
                    && !matches!(self.cause(&error), Cause::Authority { .. }) =>
            {
                let plain = parse(url("http"))?;
                match self.send_to(ask, &plain).await {
                    Ok(response) => {
                        if let Ok(mut scheme) = self.scheme.lock() {
                            *scheme = "http";
                        }
                        self.follow(ask, plain, response).await
                    }
                    Err(second) if second.is_connect() => Err(self.unreachable(&second)),
                    Err(_) => Err(self.unreachable(&error)),
                }
            }
            Err(error) => Err(self.unreachable(&error)),
            Ok(response) => self.follow(ask, first, response).await,
        }
    }

    async fn send_to(&self, ask: Ask<'_>, url: &Url) -> reqwest::Result<Response> {
        let mut request = self.client.request(ask.method.clone(), url.clone());
        if !ask.accept.is_empty() {
            request = request.header(ACCEPT, ask.accept);
        }
        if ask.from > 0 {
            request = request.header(RANGE, format!("bytes={}-", ask.from));
        }
        if self.is_ours(url)
            && let Some(header) = self.authorization()
        {
            request = request.header(AUTHORIZATION, header);
        }
        request.send().await
    }

    /// Whether a URL is the registry itself: only there the login goes (CVE-2018-1000007).
    fn is_ours(&self, url: &Url) -> bool {
        let own = format!("{}://{}/", self.scheme(), self.host());
        let plain = format!("http://{}/", self.host());
        let same = |text: &str| Url::parse(text).is_ok_and(|own| own.origin() == url.origin());
        same(&own) || (self.may_be_plain && same(&plain))
    }

    async fn follow(
        &self,
        ask: Ask<'_>,
        mut url: Url,
        mut response: Response,
    ) -> Result<Response, Error> {
        for _ in 0..MOST_REDIRECTS {
            let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let Some(location) = location.filter(|_| is_redirect) else { return Ok(response) };
            let refuse =
                |why| Error::Redirect { registry: self.registry(), to: escape(location), why };
            let next = url.join(location).map_err(|_| refuse("that is no URL"))?;
            if !matches!(next.scheme(), "http" | "https") {
                return Err(refuse("only http and https are followed"));
            }
            if url.scheme() == "https" && next.scheme() == "http" && !self.may_be_plain {
                return Err(refuse("that would give up TLS"));
            }
            url = next;
            response = self.send_to(ask, &url).await.map_err(|error| self.unreachable(&error))?;
        }
        Err(Error::Redirect {
            registry: self.registry(),
            to: url.to_string(),
            why: "too many redirects",
        })
    }

    /// A token from the realm that the registry named.
    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
    ) -> Result<String, Error> {
        let refuse = |why| Error::Redirect { registry: self.registry(), to: escape(realm), why };
        let url = Url::parse(realm).map_err(|_| refuse("that is no URL"))?;
        check_realm(&url, self.scheme(), self.host()).map_err(refuse)?;
        let default = format!("repository:{}:pull", self.reference.repository());
        let scope = scope.unwrap_or(&default);
        let knows_us = may_see_login(&url, self.host());
        let request = match self.login.as_ref().filter(|_| knows_us) {
            Some(Login::Identity(token)) => {
                let form = [
                    ("grant_type", "refresh_token"),
                    ("service", service.unwrap_or_default()),
                    ("client_id", "coracle"),
                    ("scope", scope),
                    ("refresh_token", token),
                ];
                self.client.post(url).form(&form)
            }
            login => {
                let mut query = vec![("scope", scope)];
                query.extend(service.map(|service| ("service", service)));
                let request = self.client.get(url).query(&query);
                match login {
                    Some(Login::Password { user, password }) => {
                        request.header(AUTHORIZATION, basic(user, password))
                    }
                    _ => request,
                }
            }
        };
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let body = body(response, ERROR_LIMIT * 4).await;
        if !status.is_success() {
            return Err(Error::Unauthorized {
                image: self.image(),
                registry: self.registry(),
                status: status.as_u16(),
                said: said(&body),
                login: self.login.is_some(),
            });
        }
        let answer: Option<Answer> = serde_json::from_slice(&body).ok();
        let token = answer.and_then(|answer| answer.token.or(answer.access_token));
        token.filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic())).ok_or_else(|| {
            Error::Document { what: "the token".into(), why: "it cannot be read".into() }
        })
    }

    /// An answer that can be used, or what is wrong with it.
    async fn judge(&self, response: Response, ask: Ask<'_>) -> Result<Response, Error> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let wait_seconds = retry_after(response.headers()).map(|wait| wait.as_secs());
        let body = body(response, ERROR_LIMIT).await;
        let (image, registry, said) = (self.image(), self.registry(), said(&body));
        let (code, login) = (status.as_u16(), self.login.is_some());
        let unknown_name = String::from_utf8_lossy(&body).contains("NAME_UNKNOWN");
        Err(match code {
            401 if login => Error::Unauthorized { image, registry, status: code, said, login },
            401 | 403 => Error::Denied { image, registry, status: code, said, login },
            404 if unknown_name => Error::Denied { image, registry, status: code, said, login },
            404 => Error::NotFound { image, registry, said },
            429 => Error::TooMany { registry, said, wait_seconds },
            status => Error::Status { registry, what: escape(ask.path), status, said },
        })
    }

    /// What reqwest's chain of errors means.
    pub(super) fn unreachable(&self, error: &reqwest::Error) -> Error {
        let why = chain(error).pop().unwrap_or_default();
        Error::Unreachable {
            registry: self.registry(),
            why: escape(&why),
            cause: self.cause(error),
        }
    }

    fn cause(&self, error: &reqwest::Error) -> Cause {
        let chain = chain(error).join("\n");
        let says = |words: &[&str]| words.iter().any(|word| chain.contains(word));
        let proxy = self.proxy.as_ref().filter(|_| says(&["proxy", "tunnel"]));
        // rustls's words for what is wrong with a certificate, and with an answer that is no TLS.
        if says(&["invalid peer certificate"]) {
            Cause::Authority { directory: self.certificates.clone() }
        } else if says(&["InvalidContentType", "corrupt message"]) {
            Cause::PlainHttp
        } else if let Some(proxy) = proxy {
            Cause::Proxy(proxy.clone())
        } else if says(&["dns error", "no record", "failed to lookup"]) {
            Cause::Name
        } else {
            Cause::Other
        }
    }
}

/// An error and what lies below it.
fn chain(error: &dyn std::error::Error) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(error) = source {
        texts.push(error.to_string());
        source = error.source();
    }
    texts
}

/// What the place for tokens answers.
#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

/// Where tokens may be asked for (CVE-2026-48978 and its kin).
fn check_realm(realm: &Url, scheme: &str, host: &str) -> Result<(), &'static str> {
    if !realm.username().is_empty() || realm.password().is_some() {
        return Err("a place for tokens has no user in it");
    }
    match realm.scheme() {
        "https" => {}
        "http" if scheme == "http" => {}
        "http" => return Err("tokens are not asked for without TLS"),
        _ => return Err("only http and https are asked for tokens"),
    }
    let bare = host.rsplit_once(':').map_or(host, |(bare, _)| bare);
    let ours = bare == "localhost" || bare.starts_with("127.") || bare.starts_with("[::1");
    let inner = match realm.host() {
        Some(url::Host::Ipv4(address)) => {
            address.is_loopback() || address.is_link_local() || address.is_unspecified()
        }
        Some(url::Host::Ipv6(address)) => {
            address.is_loopback()
                || address.is_unspecified()
                || (address.segments()[0] & 0xffc0) == 0xfe80
        }
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => return Err("that has no host"),
    };
    if inner && !ours {
        Err("a registry elsewhere has no business on this machine")
    } else {
        Ok(())
    }
}

/// Whether the realm may see the login: it is the registry's own host, of the same domain, or the
/// hub's known one.
fn may_see_login(realm: &Url, host: &str) -> bool {
    let bare = host.rsplit_once(':').map_or(host, |(bare, _)| bare);
    let realm = realm.host_str().unwrap_or_default();
    let domain = |name: &str| {
        let labels: Vec<&str> = name.rsplit('.').take(2).collect();
        (labels.len() == 2 && name.parse::<std::net::IpAddr>().is_err()).then(|| labels.join("."))
    };
    let local = |name: &str| name == "localhost" || name.starts_with("127.");
    realm == bare
        || (local(realm) && local(bare))
        || (domain(realm).is_some() && domain(realm) == domain(bare))
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {text}")
}

/// Seconds, or a date that is still to come (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let seconds = date.as_second() - jiff::Timestamp::now().as_second();
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// A body, as far as `limit`.
async fn body(mut response: Response, limit: usize) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Ok(Some(chunk))) = tokio::time::timeout(STALL, response.chunk()).await {
        body.extend_from_slice(&chunk[..chunk.len().min(limit - body.len())]);
        if body.len() >= limit {
            break;
        }
    }
    body
}

/// The registry's own words, if it has some, safe to print.
fn said(body: &[u8]) -> String {
    match serde_json::from_slice::<OciEnvelope>(body) {
        Ok(envelope) => {
            let texts: Vec<String> =
                envelope.errors.iter().map(|error| escape(&error.message)).collect();
            let texts = texts.join("; ");
            if texts.is_empty() { texts } else { format!(": {texts}") }
        }
        Err(_) => String::new(),
    }
}

/// `text` without anything that a terminal could act on.
pub(super) fn escape(text: &str) -> String {
    text.chars()
        .take(300)
        .flat_map(|letter| {
            let plain = !letter.is_control();
            let escaped = letter.escape_default();
            plain
                .then_some(letter)
                .into_iter()
                .chain((!plain).then_some(escaped).into_iter().flatten())
        })
        .collect()
}

/// A proxy's URL without its password, whatever else may be wrong with it.
pub fn masked(proxy: &str) -> String {
    let (scheme, rest) = match proxy.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), proxy),
    };
    match rest.rsplit_once('@') {
        Some((login, host)) => match login.split_once(':') {
            Some((user, _)) => format!("{scheme}{user}:***@{host}"),
            None => proxy.to_owned(),
        },
        None => proxy.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn realm(text: &str) -> Result<(), &'static str> {
        check_realm(&Url::parse(text).expect(text), "https", "registry.example")
    }

    #[test]
    fn passwords_of_proxies_are_masked() {
        for (proxy, want) in [
            ("http://proxy:3128", "http://proxy:3128"),
            ("http://me:secret@proxy:3128/", "http://me:***@proxy:3128/"),
            ("me:secret@proxy:3128", "me:***@proxy:3128"),
            ("http://me:p@ss/w:rd@proxy", "http://me:***@proxy"),
            ("http://me@proxy", "http://me@proxy"),
        ] {
            assert_eq!(masked(proxy), want);
        }
    }

    #[test]
    fn a_realm_is_no_way_into_this_machine() {
        assert!(realm("https://auth.example/token").is_ok());
        for bad in [
            "http://auth.example/token",
            "https://user@auth.example/",
            "https://127.0.0.1/token",
            "https://169.254.169.254/latest",
            "https://localhost/token",
            "https://[::1]/token",
            "ftp://auth.example/",
        ] {
            assert!(realm(bad).is_err(), "{bad}");
        }
        let own = Url::parse("http://127.0.0.1:5001/token").expect("a url");
        assert!(check_realm(&own, "http", "127.0.0.1:5000").is_ok());
    }

    #[test]
    fn a_login_is_for_the_registrys_own_domain() {
        let may = |realm: &str, host: &str| may_see_login(&Url::parse(realm).expect(realm), host);
        assert!(may("https://auth.docker.io/token", "registry-1.docker.io"));
        assert!(may("https://r.example/token", "r.example:5000"));
        assert!(!may("https://evil.test/token", "r.example"));
        assert!(!may("https://10.0.0.2/token", "10.0.0.1:5000"));
    }

    #[test]
    fn what_a_registry_says_cannot_steer_the_terminal() {
        let body = br#"{"errors":[{"code":"DENIED","message":"no\u001b[2J","detail":null}]}"#;
        assert_eq!(said(body), ": no\\u{1b}[2J");
    }
}
