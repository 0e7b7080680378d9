//! Text to `Reference`: the grammar of distribution's `reference` package, docker's defaults.
//!
//! ```text
//! [REGISTRY[:PORT]/]PATH[/PATH…][:TAG][@DIGEST]      debian → docker.io/library/debian:latest
//! ```

mod source;

use std::fmt;
use std::str::FromStr;

use crate::diagnose::{Diagnose, Hint};
use crate::oci::Digest;

pub use source::Source;

/// The registry that a name without one means.
pub const DEFAULT_REGISTRY: &str = "docker.io";

/// A name in a registry, complete: `docker.io/library/debian:12`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A text that is no reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Upper case in the repository.
    #[error("invalid reference format: repository name {0:?} must be lowercase")]
    Uppercase(String),
    /// Longer than a registry takes.
    #[error("invalid reference format: {0:?} is longer than 255 characters")]
    TooLong(String),
    /// Against the grammar.
    #[error("invalid reference format: {text:?}: {why}")]
    Invalid {
        /// The text.
        text: String,
        /// Which rule.
        why: &'static str,
    },
}

impl Diagnose for Error {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Uppercase(text) => {
                // A tag keeps its case.
                let last = text.rfind('/').unwrap_or(0);
                let end = text[last..].find([':', '@']).map_or(text.len(), |at| last + at);
                let lower = text[..end].to_lowercase() + &text[end..];
                lower.parse::<Reference>().is_ok().then(|| Hint::new(format!("try {lower}")))
            }
            Self::TooLong(_) | Self::Invalid { .. } => None,
        }
    }
}

impl Reference {
    /// Host and port of the registry: `docker.io`, `localhost:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path in the registry: `library/debian`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `latest` where neither tag nor digest was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, which goes before the tag.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Registry and path: `docker.io/library/debian`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// What a registry is asked for: the digest if there is one, else the tag.
    pub fn tag_or_digest(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }

    /// As docker shows it: `debian:12`.
    pub fn familiar(&self) -> String {
        familiar(&self.to_string())
    }

    /// Whether the registry is this machine, so that plain HTTP may be spoken (docker's rule).
    pub fn is_loopback(&self) -> bool {
        let host = match self.registry.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => &self.registry,
        };
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || host.ends_with(".localhost")
            || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// A full name as docker shows it: without `docker.io/` and `library/`.
pub fn familiar(full: &str) -> String {
    match full.strip_prefix("docker.io/") {
        Some(rest) => rest.strip_prefix("library/").unwrap_or(rest).to_owned(),
        None => full.to_owned(),
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = |why| Error::Invalid { text: text.chars().take(300).collect(), why };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest =
                    digest.parse().map_err(|_| invalid("what stands behind @ is no digest"))?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        // A colon behind the last slash begins a tag; one before it a port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(invalid("a tag is up to 128 of A-Z a-z 0-9 _ . -"));
        }
        let (registry, path) = split_registry(name);
        if !is_registry(registry) {
            return Err(invalid("the registry is no host name"));
        }
        if path.is_empty() {
            return Err(invalid("the name is empty"));
        }
        if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(Error::Uppercase(text.to_owned()));
        }
        if !path.split('/').all(is_component) {
            return Err(invalid("a name is made of a-z 0-9, with . _ __ or - between them"));
        }
        let is_bare = digest.is_none()
            && registry == DEFAULT_REGISTRY
            && path.len() == 64
            && path.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_bare {
            return Err(invalid("64 hexadecimal digits are an ID and not a name"));
        }
        let official = registry == DEFAULT_REGISTRY && !path.contains('/');
        let repository = if official { format!("library/{path}") } else { path.to_owned() };
        if repository.len() > 255 {
            return Err(Error::TooLong(text.chars().take(300).collect()));
        }
        let tag = tag.map(str::to_owned);
        let tag = if digest.is_none() { tag.or(Some("latest".to_owned())) } else { tag };
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }
}

/// Whether a name says nothing of its registry.
pub fn is_short(text: &str) -> bool {
    let name = text.split('@').next().unwrap_or(text);
    let first = name.split_once('/').map_or("", |(first, _)| first);
    split_registry(name).0 == DEFAULT_REGISTRY && !matches!(first, "docker.io" | "index.docker.io")
}

/// The first component is a registry if it could not be a path: it has a dot, a colon or upper
/// case, or is `localhost`.
fn split_registry(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            let registry = if first == "index.docker.io" { DEFAULT_REGISTRY } else { first };
            (registry, rest)
        }
        _ => (DEFAULT_REGISTRY, name),
    }
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_name = host.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    });
    let is_v6 = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
    (is_name || is_v6) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// Whether this could be the tag of an image.
pub fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

/// Whether this could be the path of an image in a registry.
pub fn is_path(text: &str) -> bool {
    text.len() <= 255 && text.split('/').all(is_component)
}

/// Lower case and digits, separated by `.`, `_`, `__` or any number of `-`.
fn is_component(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends = bytes.first().copied().is_some_and(word) && bytes.last().copied().is_some_and(word);
    let separators = text.split(|letter: char| letter.is_ascii_alphanumeric());
    ends && bytes.iter().all(|byte| word(*byte) || b"._-".contains(byte))
        && separators.into_iter().all(|separator| {
            matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(text: &str) -> String {
        text.parse::<Reference>().expect(text).to_string()
    }

    #[test]
    fn names_are_completed_as_docker_completes_them() {
        let hex = "a".repeat(64);
        let cases = [
            ("debian", "docker.io/library/debian:latest".to_owned()),
            ("debian:12", "docker.io/library/debian:12".to_owned()),
            ("team/app", "docker.io/team/app:latest".to_owned()),
            ("docker.io/debian", "docker.io/library/debian:latest".to_owned()),
            ("index.docker.io/debian", "docker.io/library/debian:latest".to_owned()),
            ("localhost/app", "localhost/app:latest".to_owned()),
            ("localhost:5000/app:1", "localhost:5000/app:1".to_owned()),
            ("[::1]:5000/app", "[::1]:5000/app:latest".to_owned()),
            ("ghcr.io/a/b/c:v1.2", "ghcr.io/a/b/c:v1.2".to_owned()),
            ("Host/app", "Host/app:latest".to_owned()),
            (&format!("app@sha256:{hex}"), format!("docker.io/library/app@sha256:{hex}")),
            (&format!("app:1@sha256:{hex}"), format!("docker.io/library/app:1@sha256:{hex}")),
            ("a__b/c---d/e.f", "docker.io/a__b/c---d/e.f:latest".to_owned()),
        ];
        for (text, expected) in cases {
            assert_eq!(full(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_against_the_grammar_is_refused() {
        let long = format!("a/{}", "b".repeat(255));
        let id = "a".repeat(64);
        for text in [
            "",
            "/",
            "a//b",
            "-a",
            "a-",
            "a:",
            "a:b:c",
            "a@sha256:12",
            "a b",
            "a/../b",
            "a._b",
            "a___b",
            ":tag",
            "host:99999/app",
            "a:-tag",
            "a/B",
            "App",
            "exa_mple.com/a",
            &long,
            &id,
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
        assert!(matches!("App".parse::<Reference>(), Err(Error::Uppercase(_))));
        let hint =
            |text: &str| text.parse::<Reference>().expect_err(text).hint().map(|it| it.to_string());
        assert_eq!(hint("Team/App:V2"), Some("try team/app:V2".to_owned()));
        assert_eq!(hint("My App"), None, "lower case is no name either");
    }

    #[test]
    fn a_short_name_has_no_registry() {
        assert!(is_short("debian") && is_short("debian:12") && is_short("team/app:1"));
        for text in ["docker.io/debian", "index.docker.io/debian", "localhost/a", "r.example/a:1"] {
            assert!(!is_short(text), "{text}");
        }
    }

    #[test]
    fn this_machine_is_known_by_its_names() {
        let is = |text: &str| text.parse::<Reference>().expect(text).is_loopback();
        assert!(is("localhost/a") && is("127.0.0.1:5000/a") && is("[::1]:5000/a"));
        assert!(!is("debian") && !is("localhost.example.com/a") && !is("10.0.0.1:5000/a"));
    }

    #[test]
    fn familiar_names_are_short() {
        let familiar = |text: &str| text.parse::<Reference>().expect(text).familiar();
        assert_eq!(familiar("debian:12"), "debian:12");
        assert_eq!(familiar("team/app"), "team/app:latest");
        assert_eq!(familiar("localhost:5000/app"), "localhost:5000/app:latest");
    }
}
