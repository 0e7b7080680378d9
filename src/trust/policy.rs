//! containers-policy.json(5), read as containers/image reads it: what is unknown or said twice is an
//! error, the closest scope speaks alone, and all of its requirements must be met.
//!
//! Signatures are looked for in the registry wherever one is wanted: `use-sigstore-attachments` of
//! containers-registries.d(5), without which podman does not look, is not asked for.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};

use super::{Demand, Error, Identity, Key, Origin};
use crate::reference::Reference;

/// A policy file.
#[derive(Clone, Debug)]
pub struct Policy {
    path: PathBuf,
    file: File,
}

/// A place in a policy: its default, a transport, or a scope of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    transport: Option<String>,
    name: String,
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.transport, self.name.as_str()) {
            (None, _) => f.write_str("default"),
            (Some(transport), "") => write!(f, "{transport}:"),
            (Some(transport), name) => write!(f, "{transport}:{name}"),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    default: Requirements,
    #[serde(default)]
    transports: Unique<Unique<Requirements>>,
}

/// All of them must be met, and there is one at least.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Vec<Requirement>")]
struct Requirements(Vec<Requirement>);

impl TryFrom<Vec<Requirement>> for Requirements {
    type Error = &'static str;

    fn try_from(all: Vec<Requirement>) -> Result<Self, &'static str> {
        if all.is_empty() {
            return Err("a list of requirements is empty");
        }
        match all.iter().find_map(Requirement::fault) {
            Some(fault) => Err(fault),
            None => Ok(Self(all)),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", deny_unknown_fields)]
enum Requirement {
    InsecureAcceptAnything {},
    Reject {},
    SigstoreSigned(Box<SigstoreSigned>),
    SignedBy(IgnoredAny),
    /// An earlier name for a layer that someone signed; containers/image never met it either.
    SignedBaseLayer(IgnoredAny),
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct SigstoreSigned {
    key_path: Option<PathBuf>,
    key_paths: Option<Vec<PathBuf>>,
    key_data: Option<String>,
    key_datas: Option<Vec<String>>,
    fulcio: Option<IgnoredAny>,
    pki: Option<IgnoredAny>,
    rekor_public_key_path: Option<IgnoredAny>,
    rekor_public_key_paths: Option<IgnoredAny>,
    rekor_public_key_data: Option<IgnoredAny>,
    rekor_public_key_datas: Option<IgnoredAny>,
    signed_identity: SignedIdentity,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", deny_unknown_fields)]
enum SignedIdentity {
    MatchExact {},
    #[default]
    #[serde(skip)]
    Absent,
    MatchRepoDigestOrExact {},
    MatchRepository {},
    #[serde(rename_all = "camelCase")]
    ExactReference {
        docker_reference: String,
    },
    #[serde(rename_all = "camelCase")]
    ExactRepository {
        docker_repository: String,
    },
    #[serde(rename_all = "camelCase")]
    RemapIdentity {
        prefix: String,
        signed_prefix: String,
    },
}

impl Policy {
    /// Reads the first of these files that is there. One that cannot be read or understood is an
    /// error: it may be the one that forbids.
    pub fn read(paths: &[PathBuf]) -> Result<Option<Self>, Error> {
        for path in paths {
            match Self::read_from(path) {
                Err(Error::Read { source, .. })
                    if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                policy => return policy.map(Some),
            }
        }
        Ok(None)
    }

    /// Reads this file.
    pub fn read_from(path: &Path) -> Result<Self, Error> {
        let read = |source| Error::Read { path: path.to_owned(), source };
        Self::parse(path, &std::fs::read(path).map_err(read)?)
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let invalid = |why: String| Error::Policy { path: path.to_owned(), why };
        let file = serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// What an image from there must show.
    pub(super) fn demands(&self, origin: Origin<'_>) -> Result<Vec<Demand>, Error> {
        let (scope, Requirements(requirements)) = self.find(origin);
        let (image, path) = (origin.to_string(), self.path.clone());
        let mut demands = Vec::new();
        for requirement in requirements {
            let what = match requirement {
                Requirement::InsecureAcceptAnything {} => continue,
                Requirement::Reject {} => {
                    return Err(Error::Rejected { image, path, scope: scope.to_string() });
                }
                Requirement::SigstoreSigned(wanted) => {
                    if let Some(what) = wanted.beyond() {
                        what
                    } else {
                        demands.push(Demand {
                            keys: self.keys(wanted, &scope)?,
                            identity: wanted.signed_identity.rule(),
                            by: format!("the policy {} ({scope})", self.path.display()),
                            again: false,
                        });
                        continue;
                    }
                }
                Requirement::SignedBy(_) => "signedBy (a GPG signature)",
                Requirement::SignedBaseLayer(_) => "signedBaseLayer",
            };
            return Err(Error::Unverifiable { image, path, scope: scope.to_string(), what });
        }
        Ok(demands)
    }

    /// The closest scope that speaks of an origin.
    fn find(&self, origin: Origin<'_>) -> (Scope, &Requirements) {
        let (transport, names) = match origin {
            Origin::Registry(reference) => ("docker", scopes(reference)),
            // What is in one of docker's archives, or in a bare one, has no name that could be a scope.
            Origin::File { transport: transport @ ("docker-archive" | "tarball"), .. } => {
                (transport, Vec::new())
            }
            Origin::File { transport, path } => (transport, path.map(above).unwrap_or_default()),
        };
        let scopes = self.file.transports.0.get(transport);
        let found = scopes.and_then(|scopes| {
            let names = names.into_iter().chain([String::new()]);
            names.into_iter().find_map(|name| Some((scopes.0.get(&name)?, name)))
        });
        match found {
            Some((requirements, name)) => {
                (Scope { transport: Some(transport.to_owned()), name }, requirements)
            }
            None => (Scope { transport: None, name: String::new() }, &self.file.default),
        }
    }

    fn keys(&self, wanted: &SigstoreSigned, scope: &Scope) -> Result<Vec<Key>, Error> {
        let mut keys = Vec::new();
        for path in wanted.key_path.iter().chain(wanted.key_paths.iter().flatten()) {
            keys.push(Key::read(path)?);
        }
        for data in wanted.key_data.iter().chain(wanted.key_datas.iter().flatten()) {
            let name = format!("of {scope} in {}", self.path.display());
            let pem = STANDARD.decode(data.trim());
            let pem = pem.map_err(|_| Error::Key {
                name: name.clone(),
                why: "it is not base64, of which keyData is made".to_owned(),
            })?;
            keys.push(Key::parse(&name, &pem)?);
        }
        Ok(keys)
    }
}

impl Requirement {
    fn fault(&self) -> Option<&'static str> {
        let Self::SigstoreSigned(wanted) = self else { return None };
        let sources = [
            wanted.key_path.is_some(),
            wanted.key_paths.is_some(),
            wanted.key_data.is_some(),
            wanted.key_datas.is_some(),
            wanted.fulcio.is_some(),
            wanted.pki.is_some(),
        ];
        let empty = wanted.key_paths.as_ref().is_some_and(Vec::is_empty)
            || wanted.key_datas.as_ref().is_some_and(Vec::is_empty);
        if sources.iter().filter(|is| **is).count() != 1 {
            return Some(
                "sigstoreSigned takes exactly one of keyPath, keyPaths, keyData, keyDatas, fulcio and pki",
            );
        }
        if empty {
            return Some("a list of keys is empty");
        }
        wanted.signed_identity.fault()
    }
}

impl SigstoreSigned {
    /// What it wants that is not verified here.
    fn beyond(&self) -> Option<&'static str> {
        let rekor = [
            &self.rekor_public_key_path,
            &self.rekor_public_key_paths,
            &self.rekor_public_key_data,
            &self.rekor_public_key_datas,
        ];
        if self.fulcio.is_some() {
            Some("a certificate (fulcio)")
        } else if self.pki.is_some() {
            Some("a certificate (pki)")
        } else if rekor.iter().any(|key| key.is_some()) {
            Some("an entry in a transparency log (rekorPublicKey)")
        } else {
            None
        }
    }
}

impl SignedIdentity {
    fn fault(&self) -> Option<&'static str> {
        let is_name = |text: &str| text.parse::<Reference>().is_ok();
        let bad = match self {
            Self::ExactReference { docker_reference: name }
            | Self::ExactRepository { docker_repository: name } => !is_name(name),
            Self::RemapIdentity { prefix, signed_prefix } => {
                let is_prefix = |text: &str| is_name(&format!("{text}/x"));
                !is_prefix(prefix) || !is_prefix(signed_prefix)
            }
            _ => false,
        };
        bad.then_some("signedIdentity holds what is no name of an image")
    }

    fn rule(&self) -> Identity {
        match self {
            Self::MatchExact {} => Identity::Exact,
            Self::Absent | Self::MatchRepoDigestOrExact {} => Identity::RepositoryDigestOrExact,
            Self::MatchRepository {} => Identity::Repository,
            Self::ExactReference { docker_reference } => {
                Identity::ExactReference(docker_reference.clone())
            }
            Self::ExactRepository { docker_repository } => {
                Identity::ExactRepository(docker_repository.clone())
            }
            Self::RemapIdentity { prefix, signed_prefix } => {
                Identity::Remapped { prefix: prefix.clone(), signed_prefix: signed_prefix.clone() }
            }
        }
    }
}

/// The scopes that speak of a name, the closest first: the reference, its repository, what is above
/// it, the host, the host's domains.
fn scopes(reference: &Reference) -> Vec<String> {
    let name = reference.name();
    let exact = match reference.digest() {
        Some(digest) => format!("{name}@{digest}"),
        None => format!("{name}:{}", reference.tag_or_digest()),
    };
    let mut scopes = vec![exact];
    let mut rest = name.as_str();
    loop {
        scopes.push(rest.to_owned());
        match rest.rsplit_once('/') {
            Some((above, _)) => rest = above,
            None => break,
        }
    }
    // A wildcard has no port.
    let mut host = rest.split(':').next().unwrap_or(rest);
    while let Some((_, domain)) = host.split_once('.') {
        scopes.push(format!("*.{domain}"));
        host = domain;
    }
    scopes
}

/// A file and the directories above it; not the root, which is the transport's default.
fn above(path: &Path) -> Vec<String> {
    let full = std::fs::canonicalize(path);
    let full = full.or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned());
    let parts = full.ancestors().filter(|part| part.parent().is_some());
    parts.map(|part| part.to_string_lossy().into_owned()).collect()
}

/// A map in which no key stands twice: of two rules for one place none is to be believed.
#[derive(Clone, Debug)]
struct Unique<V>(BTreeMap<String, V>);

impl<V> Default for Unique<V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Unique<V> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Entries<V>(std::marker::PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
            type Value = Unique<V>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique<V>, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some(key) = map.next_key::<String>()? {
                    if entries.contains_key(&key) {
                        return Err(A::Error::custom(format_args!("{key:?} stands there twice")));
                    }
                    entries.insert(key, map.next_value()?);
                }
                Ok(Unique(entries))
            }
        }
        from.deserialize_map(Entries(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Result<Policy, Error> {
        Policy::parse(Path::new("policy.json"), text.as_bytes())
    }

    const ACCEPT: &str = r#"[{"type":"insecureAcceptAnything"}]"#;
    const REJECT: &str = r#"[{"type":"reject"}]"#;

    #[test]
    fn the_closest_scope_speaks() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let text = format!(
            r#"{{"default":{REJECT},"transports":{{"docker":{{"":{ACCEPT},"r.example":{REJECT},
            "r.example/team":{ACCEPT},"r.example/team/app:1":{REJECT},"*.wild.example":{REJECT},
            "h.example:5000":{REJECT},"r.example/team/app@{digest}":{REJECT}}},
            "oci":{{"/tmp":{ACCEPT}}}}}}}"#
        );
        let policy = policy(&text).expect("valid");
        let of = |name: &str| {
            let name: Reference = name.parse().expect(name);
            policy.demands(Origin::Registry(&name)).err().map(|error| error.to_string())
        };
        for (name, scope) in [
            ("s.example/app", None),
            ("r.example/other", Some("docker:r.example")),
            ("r.example/team/other", None),
            ("r.example/teams/other", Some("docker:r.example")),
            ("r.example/team/app:1", Some("docker:r.example/team/app:1")),
            ("r.example/team/app:2", None),
            (&format!("r.example/team/app:1@{digest}"), Some("@sha256:aa")),
            ("a.b.wild.example/x", Some("docker:*.wild.example")),
            ("a.wild.example:5000/x", Some("docker:*.wild.example")),
            ("wild.example/x", None),
            ("h.example:5000/x", Some("docker:h.example:5000")),
            ("h.example/x", None),
        ] {
            let got = of(name);
            match scope {
                Some(scope) => {
                    assert!(got.as_ref().is_some_and(|it| it.contains(scope)), "{name}: {got:?}");
                }
                None => assert_eq!(got, None, "{name}"),
            }
        }
        let file = |transport, path: &str| {
            policy.demands(Origin::File { transport, path: Some(Path::new(path)) }).is_ok()
        };
        assert!(file("oci", "/tmp/some/where") && !file("oci", "/var/x"));
        assert!(!file("docker-archive", "/tmp/x"));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_place() {
        let signed =
            |inner: &str| format!(r#"{{"default":[{{"type":"sigstoreSigned",{inner}}}]}}"#);
        for text in [
            "{}".to_owned(),
            r#"{"default":[]}"#.to_owned(),
            r#"{"default":[{"type":"trustMe"}]}"#.to_owned(),
            r#"{"default":[{"type":"reject","but":"not really"}]}"#.to_owned(),
            format!(r#"{{"default":{REJECT},"default":{ACCEPT}}}"#),
            format!(
                r#"{{"default":{REJECT},"transports":{{"docker":{{"a":{REJECT},"a":{ACCEPT}}}}}}}"#
            ),
            format!(r#"{{"default":{REJECT},"extra":1}}"#),
            signed(r#""keyPath":"a","keyData":"b""#),
            signed(r#""keyPaths":[]"#),
            signed(r#""key":"a""#),
            signed(r#""keyPath":"a","signedIdentity":{"type":"any"}"#),
            signed(
                r#""keyPath":"a","signedIdentity":{"type":"exactReference","dockerReference":"A B"}"#,
            ),
            signed(r#""keyPath":"a","signedIdentity":{"type":"remapIdentity","prefix":"a"}"#),
        ] {
            let error = policy(&text).expect_err(&text).to_string();
            assert!(error.contains("line 1"), "{text}: {error}");
        }
    }

    #[test]
    fn what_cannot_be_verified_is_named() {
        let name: Reference = "r.example/app".parse().expect("a name");
        for (requirement, what) in [
            (r#""type":"signedBy","keyType":"GPGKeys","keyPath":"/x""#, "GPG"),
            (r#""type":"sigstoreSigned","fulcio":{"caPath":"/x"}"#, "fulcio"),
            (r#""type":"sigstoreSigned","keyPath":"/x","rekorPublicKeyPath":"/y""#, "log"),
        ] {
            let all = policy(&format!(r#"{{"default":[{{{requirement}}}]}}"#)).expect(requirement);
            let error = all.demands(Origin::Registry(&name)).expect_err(requirement).to_string();
            assert!(error.contains(what) && error.contains("default"), "{error}");
        }
        // The key is asked for when it is needed, and its absence is no consent.
        let all = policy(r#"{"default":[{"type":"sigstoreSigned","keyPath":"/no/such/key"}]}"#);
        let error = all.expect("valid").demands(Origin::Registry(&name)).expect_err("no key");
        assert!(error.to_string().contains("/no/such/key"), "{error}");
    }
}
