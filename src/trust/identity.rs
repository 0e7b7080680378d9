//! Which name a signature must speak of: `signedIdentity` of containers-policy.json(5). No I/O.

use crate::reference::Reference;

/// The rule that the name in a signature is held against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The repository asked for, where the signature names one: `--verify`.
    RepositoryIfSaid,
    /// The very reference that was asked for.
    Exact,
    /// The same, but by digest the repository suffices; the default of a policy.
    RepositoryDigestOrExact,
    /// The repository that was asked for.
    Repository,
    /// This reference.
    ExactReference(String),
    /// This repository.
    ExactRepository(String),
    /// The default, after a prefix of the name asked for has been replaced.
    Remapped {
        /// The prefix that is replaced.
        prefix: String,
        /// What takes its place.
        signed_prefix: String,
    },
}

impl Identity {
    /// Whether a signature for `signed` is one for `asked`; `None` for one that names nothing.
    pub fn accepts(&self, asked: &Reference, signed: Option<&str>) -> bool {
        let Some(signed) = signed else { return *self == Self::RepositoryIfSaid };
        let Some(signed) = Named::parse(signed) else { return false };
        let asked = Named::of(asked);
        match self {
            Self::RepositoryIfSaid | Self::Repository => signed.repository == asked.repository,
            Self::Exact => signed.is_exactly(&asked),
            Self::RepositoryDigestOrExact => signed.serves(&asked),
            Self::ExactReference(text) => {
                Named::parse(text).is_some_and(|wanted| signed.is_exactly(&wanted))
            }
            Self::ExactRepository(text) => {
                Named::parse(text).is_some_and(|wanted| signed.repository == wanted.repository)
            }
            Self::Remapped { prefix, signed_prefix } => {
                asked.remapped(prefix, signed_prefix).is_some_and(|asked| signed.serves(&asked))
            }
        }
    }
}

/// A name in full form, taken apart.
struct Named {
    repository: String,
    /// `:TAG`, `@DIGEST`, or nothing: no tag is thought up.
    rest: String,
}

impl Named {
    fn parse(text: &str) -> Option<Self> {
        let reference: Reference = text.parse().ok()?;
        let last = text.rsplit('/').next().unwrap_or(text);
        let bare = !last.contains([':', '@']);
        let named = Self::of(&reference);
        Some(if bare { Self { rest: String::new(), ..named } } else { named })
    }

    /// With both a tag and a digest, the digest is what counts.
    fn of(reference: &Reference) -> Self {
        let rest = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => format!("@{digest}"),
            (None, Some(tag)) => format!(":{tag}"),
            (None, None) => String::new(),
        };
        Self { repository: reference.name(), rest }
    }

    fn is_exactly(&self, other: &Self) -> bool {
        !self.rest.is_empty() && self.repository == other.repository && self.rest == other.rest
    }

    /// Who asks by a digest gets what it names: the repository is left to compare.
    fn serves(&self, asked: &Self) -> bool {
        let by_digest = asked.rest.starts_with('@') && !self.rest.is_empty();
        self.is_exactly(asked) || (by_digest && self.repository == asked.repository)
    }

    /// Under another name, if the prefix is a whole part of this one; else as it is.
    fn remapped(self, prefix: &str, signed_prefix: &str) -> Option<Self> {
        match self.repository.strip_prefix(prefix) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                Self::parse(&format!("{signed_prefix}{rest}{}", self.rest))
            }
            _ => Some(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Identity::{Exact, Repository, RepositoryDigestOrExact, RepositoryIfSaid};
    use super::*;

    fn accepts(identity: &Identity, asked: &str, signed: &str) -> bool {
        identity.accepts(&asked.parse().expect(asked), Some(signed))
    }

    #[test]
    fn tags_count_where_they_are_exact() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let by_digest = format!("r.example/app@{digest}");
        for (identity, asked, signed, want) in [
            (Exact, "r.example/app:1", "r.example/app:1", true),
            (Exact, "r.example/app:1", "r.example/app:2", false),
            (Exact, "r.example/app:1", "r.example/app", false),
            (Exact, &by_digest, "r.example/app:1", false),
            (RepositoryDigestOrExact, "r.example/app:1", "r.example/app:1", true),
            (RepositoryDigestOrExact, "r.example/app:1", "r.example/app:2", false),
            // cosign names no tag, which podman's default does not take either.
            (RepositoryDigestOrExact, "r.example/app:latest", "r.example/app", false),
            (RepositoryDigestOrExact, &by_digest, "r.example/app:1", true),
            (RepositoryDigestOrExact, &by_digest, "r.example/other:1", false),
            (RepositoryDigestOrExact, &by_digest, "r.example/app", false),
            (Repository, "r.example/app:1", "r.example/app", true),
            (Repository, "r.example/app:1", "r.example/app:9", true),
            (Repository, "r.example/app:1", "s.example/app:1", false),
            (Repository, "debian", "index.docker.io/library/debian", true),
            (RepositoryIfSaid, "r.example/app:1", "r.example/app", true),
            (RepositoryIfSaid, "r.example/app:1", "r.example/apps", false),
            (Repository, "r.example/app:1", "../app", false),
        ] {
            assert_eq!(accepts(&identity, asked, signed), want, "{identity:?} {asked} {signed}");
        }
    }

    #[test]
    fn names_may_be_given_or_remapped() {
        let exact = Identity::ExactReference("v.example/app:1".into());
        assert!(accepts(&exact, "r.example/copy:9", "v.example/app:1"));
        assert!(!accepts(&exact, "r.example/copy:9", "v.example/app:2"));
        let repository = Identity::ExactRepository("v.example/app".into());
        assert!(accepts(&repository, "r.example/copy:9", "v.example/app:2"));
        assert!(!accepts(&repository, "r.example/copy:9", "v.example/app/x:2"));
        let remapped = Identity::Remapped {
            prefix: "m.example/copy".into(),
            signed_prefix: "v.example".into(),
        };
        assert!(accepts(&remapped, "m.example/copy/app:1", "v.example/app:1"));
        assert!(!accepts(&remapped, "m.example/copy/app:1", "m.example/copy/app:1"));
        assert!(!accepts(&remapped, "m.example/copycat/app:1", "v.example/app:1"));
        assert!(accepts(&remapped, "other.example/app:1", "other.example/app:1"));
    }

    #[test]
    fn who_names_nothing_serves_a_flag_alone() {
        let asked = "r.example/app:1".parse().expect("a reference");
        assert!(Identity::RepositoryIfSaid.accepts(&asked, None));
        assert!(!Identity::Repository.accepts(&asked, None));
    }
}
