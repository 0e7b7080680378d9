//! What registries answer beside documents and blobs: waits, errors, words for people.

use std::time::Duration;

use oci_client::errors::OciEnvelope;
use reqwest::Response;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::transport::STALL;

/// Seconds, or a date that is still to come (RFC 9110, 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let seconds = date.as_second() - jiff::Timestamp::now().as_second();
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// A body, as far as `limit`, and as far as it comes in the time of a stall.
pub(super) async fn body(mut response: Response, limit: usize) -> Vec<u8> {
    let mut body = Vec::new();
    let reading = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk[..chunk.len().min(limit - body.len())]);
            if body.len() >= limit {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(STALL, reading).await;
    body
}

/// The registry's own words, if it has some, safe to print.
pub(super) fn said(body: &[u8]) -> String {
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

/// A line of text: what a terminal could act on is left out.
pub(super) fn without_controls(text: &str) -> String {
    let line = text.replace(['\n', '\r', '\t'], " ");
    line.chars().filter(|letter| !letter.is_control()).collect()
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
    fn what_a_registry_says_cannot_steer_the_terminal() {
        let body = br#"{"errors":[{"code":"DENIED","message":"no\u001b[2J","detail":null}]}"#;
        assert_eq!(said(body), ": no\\u{1b}[2J");
    }
}
