//! Requests to one registry: TLS or not, tokens, redirects, patience.
//!
//! oci-client gives the vocabulary (manifests, indexes, the error envelope); the requests are
//! reqwest's, because oci-client knows no retries, identity tokens, credential helpers, own TLS
//! configuration or rules for redirects.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, LOCATION, RANGE, WWW_AUTHENTICATE};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;

use super::answer::{body, escape, masked, retry_after, said};
use super::challenge::{self, Challenge};
use super::error::Cause;
use super::{Error, Login, Options, realm, tls};
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
        place: &str,
        service: Option<&str>,
        scope: Option<&str>,
    ) -> Result<String, Error> {
        let refuse = |why| Error::Redirect { registry: self.registry(), to: escape(place), why };
        let url = Url::parse(place).map_err(|_| refuse("that is no URL"))?;
        realm::check(&url, self.scheme(), self.host()).map_err(refuse)?;
        let default = format!("repository:{}:pull", self.reference.repository());
        let scope = scope.unwrap_or(&default);
        let knows_us = realm::may_see_login(&url, self.host());
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

fn basic(user: &str, password: &str) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {text}")
}
