//! What an answer, or none, means for who asked.

use std::time::Duration;

use reqwest::{Method, Response};

use super::Error;
use super::answer::{body, escape, retry_after, said};
use super::error::Cause;
use super::transport::{Ask, Place, Purpose, Silence, Transport};

/// What is kept of an error's body.
const ERROR_LIMIT: usize = 16 << 10;

impl Transport {
    /// An answer that can be used, or what is wrong with it.
    pub(super) async fn judge(&self, response: Response, ask: &Ask<'_>) -> Result<Response, Error> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let wait_seconds = retry_after(response.headers()).map(|wait| wait.as_secs());
        let body = body(response, ERROR_LIMIT).await;
        let (image, registry, said) = (self.image.clone(), self.registry(), said(&body));
        let (status, login) = (status.as_u16(), self.login.is_some());
        let unknown_name = String::from_utf8_lossy(&body).contains("NAME_UNKNOWN");
        let is_manifest = matches!(ask.place, Place::Repository(path) if path.starts_with("manifests/"))
            && [Method::GET, Method::HEAD].contains(ask.method);
        Err(match (self.purpose, status) {
            (_, 429) => Error::TooMany { registry, said, wait_seconds },
            (Purpose::Push, 401 | 403) => {
                Error::PushDenied { image, registry, status, said, login }
            }
            (Purpose::Look, 401 | 403) => Error::LookDenied { registry, status, said, login },
            (Purpose::Pull, 401) if login => {
                Error::Unauthorized { image, registry, status, said, login }
            }
            (Purpose::Pull, 401 | 403) => Error::Denied { image, registry, status, said, login },
            (Purpose::Pull, 404) if unknown_name => {
                Error::Denied { image, registry, status, said, login }
            }
            (Purpose::Pull, 404) if is_manifest => {
                // The usual words are in the message already.
                let said = said.replace(": manifest unknown", "");
                Error::NotFound { image, registry, said }
            }
            _ => Error::Status { registry, what: ask.what(), status, said },
        })
    }

    /// Why there is no answer.
    pub(super) fn silent(&self, silence: Silence) -> Error {
        match silence {
            Silence::Broken(error) => self.unreachable(&error),
            Silence::Stalled(time) => self.stalled(time),
        }
    }

    pub(super) fn stalled(&self, time: Duration) -> Error {
        Error::Unreachable {
            registry: self.registry(),
            why: format!("it took the question and gave no answer for {} seconds", time.as_secs()),
            cause: Cause::Stall,
        }
    }

    /// Hardly anything comes.
    pub(super) fn crawling(&self) -> Error {
        let why = "its answer crawls: less than 64 KiB in a minute".to_owned();
        Error::Unreachable { registry: self.registry(), why, cause: Cause::Stall }
    }

    /// What reqwest's chain of errors means.
    pub(super) fn unreachable(&self, error: &reqwest::Error) -> Error {
        let why = chain(error).pop().unwrap_or_default();
        Error::Unreachable {
            registry: self.registry(),
            why: escape(&in_words(why)),
            cause: self.cause(error),
        }
    }

    /// The same of one who speaks TLS, as its answer to plain words says, and hung up on it. That it misses a
    /// certificate comes after this side's part of TLS 1.3, and mostly too late to be read.
    pub(super) fn hung_up(&self, error: &reqwest::Error) -> Error {
        match self.unreachable(error) {
            Error::Unreachable { registry, cause: Cause::Other, .. } => Error::Unreachable {
                registry,
                why: "it hung up without an answer".to_owned(),
                cause: Cause::OwnCertificate { directory: self.certificates.clone() },
            },
            other => other,
        }
    }

    pub(super) fn cause(&self, error: &reqwest::Error) -> Cause {
        let chain = chain(error).join("\n");
        let says = |words: &[&str]| words.iter().any(|word| chain.contains(word));
        let proxy = self.proxy.as_ref().filter(|_| says(&["proxy", "tunnel"]));
        // rustls's words for what is wrong with a certificate, and with an answer that is no TLS.
        if says(&["invalid peer certificate"]) {
            Cause::Authority { directory: self.certificates.clone() }
        } else if says(&["fatal alert: CertificateRequired", "fatal alert: BadCertificate"]) {
            Cause::OwnCertificate { directory: self.certificates.clone() }
        } else if says(&["received fatal alert"]) {
            Cause::Alert
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

/// The resolver shows its question as a program keeps it; for a person the name is enough.
fn in_words(why: String) -> String {
    let name = why.split_once("Query { name: Name(\"").and_then(|(_, rest)| rest.split_once("\")"));
    match name {
        Some((name, _)) => format!("{} does not resolve", name.trim_end_matches('.')),
        None => why,
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

#[cfg(test)]
mod tests {
    use super::in_words;

    #[test]
    fn a_name_that_does_not_resolve_is_said_alone() {
        let told = r#"no records found for Query { name: Name("registry.example."), query_type: AAAA, query_class: IN }"#;
        assert_eq!(in_words(told.to_owned()), "registry.example does not resolve");
        assert_eq!(in_words("Connection refused".to_owned()), "Connection refused");
    }
}
