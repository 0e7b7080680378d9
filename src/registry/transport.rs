//! Requests to one registry: TLS or not, redirects, tries, patience.
//!
//! oci-client gives the vocabulary (manifests, indexes, the error envelope); the requests are
//! reqwest's, because oci-client knows no retries, identity tokens, credential helpers, own TLS
//! configuration or rules for redirects.
//!
//! ```text
//! ask ─ again after a wait, where that may help
//!   with a login, once the registry wants one (tokens.rs)
//!     one request, its redirects ─ an answer that can be used, or what is wrong with it (verdict.rs)
//! ```

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderName, LOCATION};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};

use super::answer::{escape, masked, retry_after};
use super::error::Cause;
use super::route::Endpoint;
use super::{Error, Login, Options, realm, tls};

/// Tries after the first one, for what may pass: a busy registry, a broken connection.
const RETRIES: u32 = 3;
/// The wait before the second try; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(300);
/// The longest wait that a registry may ask for.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A read that brings nothing for so long is a stall.
pub(super) const STALL: Duration = Duration::from_secs(30);
/// Stalls that a registry may spend on what was sent to it: it may copy and hash a large blob.
const DIGESTING: u32 = 4;
/// How often what moves is looked at.
const LOOK: Duration = Duration::from_millis(100);
const CONNECT: Duration = Duration::from_secs(15);
const MOST_REDIRECTS: usize = 10;

/// What a registry is asked for; its words for a refusal differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Pull,
    Push,
    /// Its lists, or whether a login is right.
    Look,
}

/// One registry, as one user.
pub(super) struct Transport {
    pub(super) client: reqwest::Client,
    pub(super) endpoint: Endpoint,
    /// The image as the user knows it, for messages.
    pub(super) image: String,
    pub(super) purpose: Purpose,
    pub(super) login: Option<Login>,
    /// What tokens are asked for (distribution's token scope documentation).
    pub(super) scopes: Vec<String>,
    /// `https`, or `http` once that is known to be spoken.
    scheme: Mutex<&'static str>,
    may_be_plain: bool,
    /// What the registry was last content with.
    pub(super) authorization: Mutex<Option<String>>,
    pub(super) proxy: Option<String>,
    pub(super) certificates: PathBuf,
    retries: u32,
    delay: Option<Duration>,
}

/// What is asked for, and how.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) method: &'a Method,
    pub(super) place: Place<'a>,
    pub(super) headers: &'a [(HeaderName, String)],
    pub(super) payload: Payload<'a>,
    /// Whether it may be asked again after it failed.
    pub(super) again: bool,
}

/// Where it is asked for.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    /// Behind `/v2/REPOSITORY/`.
    Repository(&'a str),
    /// Behind the host.
    Host(&'a str),
    /// Where the registry said.
    Url(&'a Url),
}

/// What is sent along.
#[derive(Clone, Copy)]
pub(super) enum Payload<'a> {
    None,
    Bytes(&'a [u8]),
    /// A stream, made anew for each try; `moved` counts its bytes, `told` learns of them.
    Stream {
        body: &'a (dyn Fn() -> reqwest::Body + Sync),
        moved: &'a AtomicU64,
        told: &'a (dyn Fn(u64) + Sync),
    },
}

impl<'a> Ask<'a> {
    /// A plain question.
    pub(super) fn new(method: &'a Method, place: Place<'a>) -> Self {
        Self { method, place, headers: &[], payload: Payload::None, again: true }
    }

    pub(super) fn headers(self, headers: &'a [(HeaderName, String)]) -> Self {
        Self { headers, ..self }
    }

    /// What the question is about, for messages.
    pub(super) fn what(&self) -> String {
        match self.place {
            Place::Repository(path) | Place::Host(path) => escape(path),
            Place::Url(url) => escape(url.path()),
        }
    }
}

/// An Accept header for an ask.
pub(super) fn accepting(kinds: &str) -> [(HeaderName, String); 1] {
    [(ACCEPT, kinds.to_owned())]
}

impl Transport {
    pub(super) fn new(
        options: &Options,
        endpoint: &Endpoint,
        (purpose, image): (Purpose, String),
        scopes: Vec<String>,
        login: Option<Login>,
    ) -> Result<Self, Error> {
        let registry = &endpoint.registry;
        let failed = |error: &dyn std::fmt::Display| Error::Tls {
            registry: registry.clone(),
            why: error.to_string(),
        };
        // A flag goes before what is configured.
        let insecure = !options.tls_verify.unwrap_or(!endpoint.insecure);
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::configure(options, registry, insecure)?)
            .hickory_dns(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(CONNECT)
            .tcp_keepalive(STALL)
            .http2_adaptive_window(true)
            .user_agent(concat!("coracle/", env!("CARGO_PKG_VERSION")));
        let none = reqwest::NoProxy::from_string(&unproxied(options.no_proxy.as_deref()));
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
            endpoint: endpoint.clone(),
            image,
            purpose,
            login,
            scopes,
            scheme: Mutex::new(if endpoint.plain { "http" } else { "https" }),
            may_be_plain: insecure || endpoint.plain || endpoint.is_loopback(),
            authorization: Mutex::default(),
            proxy: options.https_proxy.as_deref().map(masked),
            certificates: certificates.join(registry),
            retries: options.retries.unwrap_or(RETRIES),
            delay: options.retry_delay,
        })
    }

    pub(super) fn registry(&self) -> String {
        self.endpoint.registry.clone()
    }

    /// Asks, with a token where one is wanted, again where that may help.
    pub(super) async fn ask(&self, ask: Ask<'_>) -> Result<Response, Error> {
        let mut wait = FIRST_WAIT;
        let mut left = if ask.again { self.retries } else { 0 };
        loop {
            let result = self.ask_with_login(ask).await;
            let again = match &result {
                Ok(response) => self.wait_for(response, wait),
                // Nobody is to wait for a dead registry longer than this twice.
                Err(Error::Unreachable { cause: Cause::Stall, .. }) => {
                    left = left.min(1);
                    Some(self.pause(wait))
                }
                Err(
                    Error::Unreachable { cause: Cause::Other, .. }
                    | Error::Status { status: 500.., .. },
                ) => Some(self.pause(wait)),
                Err(_) => None,
            };
            match again {
                Some(pause) if left > 0 => tokio::time::sleep(pause).await,
                _ => return self.judge(result?, &ask).await,
            }
            left -= 1;
            wait *= 2;
        }
    }

    /// How long to wait before an answer is asked for once more; `None` if it will not change.
    fn wait_for(&self, response: &Response, wait: Duration) -> Option<Duration> {
        let status = response.status();
        let busy = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
        // Some things a registry does not do today will not be done in a second either.
        if !busy || status == StatusCode::NOT_IMPLEMENTED {
            return None;
        }
        match retry_after(response.headers()) {
            // A wait that is longer than is polite to hang for is told instead.
            Some(asked) => (asked <= LONGEST_WAIT).then_some(asked),
            None => Some(self.pause(wait)),
        }
    }

    /// Half of it at least, so that all clients of a registry do not come back at once.
    fn pause(&self, wait: Duration) -> Duration {
        self.delay.unwrap_or_else(|| wait.mul_f64(0.5 + random() / 2.0))
    }

    async fn ask_with_login(&self, ask: Ask<'_>) -> Result<Response, Error> {
        let sent = self.authorization();
        let response = self.send(ask).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        // Another thread may have got a new token meanwhile; else the one that was sent expired.
        if self.authorization() == sent && !self.authorize(&response).await? {
            return Ok(response);
        }
        self.send(ask).await
    }

    pub(super) fn authorization(&self) -> Option<String> {
        self.authorization.lock().ok()?.clone()
    }

    pub(super) fn scheme(&self) -> &'static str {
        self.scheme.lock().map_or("https", |scheme| *scheme)
    }

    /// Where a place is.
    pub(super) fn place(&self, place: Place) -> Result<Url, Error> {
        self.url(place, self.scheme())
    }

    fn url(&self, place: Place, scheme: &str) -> Result<Url, Error> {
        let text = match place {
            Place::Url(url) => return Ok(url.clone()),
            Place::Host(path) => format!("{scheme}://{}/{path}", self.endpoint.host()),
            Place::Repository(path) => {
                let Endpoint { repository, .. } = &self.endpoint;
                format!("{scheme}://{}/v2/{repository}/{path}", self.endpoint.host())
            }
        };
        Url::parse(&text).map_err(|error| Error::Unreachable {
            registry: self.registry(),
            why: error.to_string(),
            cause: Cause::Other,
        })
    }

    /// One request and its redirects.
    async fn send(&self, ask: Ask<'_>) -> Result<Response, Error> {
        let first = self.url(ask.place, self.scheme())?;
        match self.send_to(ask, &first).await {
            // Who is on this machine, or was named by a flag, may speak plainly.
            Err(Silence::Broken(error))
                if self.may_be_plain
                    && first.scheme() == "https"
                    && !matches!(ask.place, Place::Url(_))
                    && !self.cause(&error).is_of_tls() =>
            {
                let plain = self.url(ask.place, "http")?;
                match self.send_to(ask, &plain).await {
                    // So answers who speaks TLS alone, and hung up on it for another reason.
                    Ok(response)
                        if response.status() == StatusCode::BAD_REQUEST
                            && self.cause(&error) != Cause::PlainHttp =>
                    {
                        Err(self.hung_up(&error))
                    }
                    Ok(response) => {
                        if let Ok(mut scheme) = self.scheme.lock() {
                            *scheme = "http";
                        }
                        self.follow(ask, plain, response).await
                    }
                    Err(Silence::Broken(second)) if !second.is_connect() => {
                        Err(self.unreachable(&error))
                    }
                    Err(second) => Err(self.silent(second)),
                }
            }
            Err(error) => Err(self.silent(error)),
            Ok(response) => self.follow(ask, first, response).await,
        }
    }

    async fn send_to(&self, ask: Ask<'_>, url: &Url) -> Result<Response, Silence> {
        let mut request = self.client.request(ask.method.clone(), url.clone());
        for (name, value) in ask.headers {
            request = request.header(name, value);
        }
        if self.is_ours(url)
            && let Some(header) = self.authorization()
        {
            request = request.header(AUTHORIZATION, header);
        }
        match ask.payload {
            Payload::None => patiently(request, STALL, || None).await,
            Payload::Bytes(bytes) => {
                patiently(request.body(bytes.to_vec()), STALL * DIGESTING, || None).await
            }
            Payload::Stream { body, moved, told } => {
                let now = || {
                    let moved = moved.load(Ordering::Relaxed);
                    told(moved);
                    Some(moved)
                };
                patiently(request.body(body()), STALL * DIGESTING, now).await
            }
        }
    }

    /// Whether a URL is the registry itself: only there the login goes (CVE-2018-1000007).
    pub(super) fn is_ours(&self, url: &Url) -> bool {
        let own = format!("{}://{}/", self.scheme(), self.endpoint.host());
        let plain = format!("http://{}/", self.endpoint.host());
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
            url = self.next(&url, location)?;
            response = self.send_to(ask, &url).await.map_err(|error| self.silent(error))?;
        }
        Err(Error::Redirect {
            registry: self.registry(),
            to: escape(url.as_str()),
            why: "too many redirects",
        })
    }

    /// Where an answer sends to, if that is a place to go.
    pub(super) fn next(&self, url: &Url, location: &str) -> Result<Url, Error> {
        let refuse = |why| Error::Redirect { registry: self.registry(), to: escape(location), why };
        let next = url.join(location).map_err(|_| refuse("that is no URL"))?;
        if !matches!(next.scheme(), "http" | "https") {
            return Err(refuse("only http and https are followed"));
        }
        if url.scheme() == "https" && next.scheme() == "http" && !self.may_be_plain {
            return Err(refuse("that would give up TLS"));
        }
        realm::check_place(&next, self.endpoint.host()).map_err(refuse)?;
        Ok(next)
    }
}

/// Why there is no answer.
pub(super) enum Silence {
    /// The connection did not come about, or broke.
    Broken(reqwest::Error),
    /// Nothing moves.
    Stalled(Duration),
}

/// Waits for an answer: `patience` long, and on while what `moved` counts still moves.
async fn patiently(
    request: RequestBuilder,
    patience: Duration,
    moved: impl Fn() -> Option<u64>,
) -> Result<Response, Silence> {
    let mut sending = Box::pin(request.send());
    let (mut last, mut since) = (0, Instant::now());
    loop {
        if let Ok(answer) = tokio::time::timeout(LOOK, &mut sending).await {
            return answer.map_err(Silence::Broken);
        }
        let now = moved().unwrap_or(0);
        if now > last {
            (last, since) = (now, Instant::now());
        } else if since.elapsed() >= patience {
            return Err(Silence::Stalled(patience));
        }
    }
}

/// Hosts that no proxy is asked for: those that the user named, and this machine, as Go's programs have
/// it. A proxy elsewhere would take it for itself.
fn unproxied(named: Option<&str>) -> String {
    let named = named.unwrap_or_default();
    format!("{named}{}localhost,127.0.0.0/8,::1", if named.is_empty() { "" } else { "," })
}

/// From 0 to 1, of no quality: it spreads waits.
fn random() -> f64 {
    let mut bytes = [0; 2];
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK);
    f64::from(u16::from_ne_bytes(bytes)) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transport(registry: &str, insecure: bool) -> Transport {
        let endpoint = Endpoint { insecure, ..Endpoint::registry(registry) };
        let purpose = (Purpose::Pull, "app".to_owned());
        Transport::new(&Options::default(), &endpoint, purpose, Vec::new(), None).expect("it")
    }

    fn url(text: &str) -> Url {
        Url::parse(text).expect(text)
    }

    #[test]
    fn the_login_stays_with_host_port_and_scheme() {
        let transport = transport("r.example:5000", false);
        assert!(transport.is_ours(&url("https://r.example:5000/v2/")));
        for other in [
            "http://r.example:5000/",
            "https://r.example/",
            "https://r.example:5001/",
            "https://r.example.evil.test:5000/",
            "https://s.example:5000/",
        ] {
            assert!(!transport.is_ours(&url(other)), "{other}");
        }
    }

    #[test]
    fn a_redirect_keeps_tls_and_leaves_this_machine_alone() {
        let from = url("https://r.example/v2/app/blobs/x");
        let strict = transport("r.example", false);
        assert!(strict.next(&from, "https://cdn.test/x").is_ok());
        assert!(strict.next(&from, "/v2/other").is_ok());
        for bad in [
            "http://cdn.test/x",
            "file:///etc/passwd",
            "https://127.0.0.1/x",
            "https://localhost/x",
            "https://[::ffff:169.254.169.254]/latest",
            "https://169.254.169.254/latest",
        ] {
            assert!(strict.next(&from, bad).is_err(), "{bad}");
        }
        // Who gave up TLS for a registry did not do so for this machine's sake.
        let loose = transport("r.example", true);
        assert!(loose.next(&from, "http://cdn.test/x").is_ok());
        assert!(loose.next(&from, "http://169.254.169.254/latest").is_err());
    }

    #[test]
    fn no_proxy_stands_before_this_machine() {
        assert_eq!(unproxied(None), "localhost,127.0.0.0/8,::1");
        assert_eq!(unproxied(Some("a.example")), "a.example,localhost,127.0.0.0/8,::1");
    }

    #[test]
    fn waits_differ_and_a_flag_sets_them() {
        let transport = transport("r.example", false);
        let wait = Duration::from_secs(1);
        let pauses: Vec<Duration> = (0..20).map(|_| transport.pause(wait)).collect();
        assert!(pauses.iter().all(|pause| *pause >= wait / 2 && *pause <= wait));
        assert!(pauses.iter().any(|pause| *pause != pauses[0]), "no jitter");
        let fixed = Transport { delay: Some(Duration::ZERO), ..transport };
        assert_eq!(fixed.pause(wait), Duration::ZERO);
    }
}
