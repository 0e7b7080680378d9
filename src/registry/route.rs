//! Whom to ask for an image: its registry, and mirrors before it. No I/O.

use super::Error;
use super::registries::{Registries, Serves, Table, matched};
use crate::reference::Reference;

/// A repository at a registry, as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host and port: `docker.io`, `localhost:5000`; the key of logins and certificates.
    pub registry: String,
    /// The path there; empty for the registry as a whole.
    pub repository: String,
    /// Any certificate will do, and plain HTTP where nobody speaks TLS.
    pub insecure: bool,
    /// Nothing but plain HTTP.
    pub plain: bool,
}

impl Endpoint {
    /// Where a reference itself leads to.
    pub fn of(reference: &Reference) -> Self {
        Self {
            registry: reference.registry().to_owned(),
            repository: reference.repository().to_owned(),
            insecure: false,
            plain: false,
        }
    }

    /// A registry as a whole.
    pub fn registry(registry: &str) -> Self {
        let registry = registry.to_owned();
        Self { registry, repository: String::new(), insecure: false, plain: false }
    }

    /// Whether the registry is this machine, so that plain HTTP may be spoken (docker's rule).
    pub(super) fn is_loopback(&self) -> bool {
        is_loopback(&self.registry)
    }

    /// The registry's host; the hub has another for its API than in names.
    pub(super) fn host(&self) -> &str {
        match self.registry.as_str() {
            "docker.io" => "registry-1.docker.io",
            other => other,
        }
    }

    /// Registry and path: what logins may stand under.
    pub(super) fn name(&self) -> String {
        if self.repository.is_empty() {
            return self.registry.clone();
        }
        format!("{}/{}", self.registry, self.repository)
    }
}

/// Whether a host, with or without a port, is this machine by its name.
pub(super) fn is_loopback(registry: &str) -> bool {
    let host = super::registries::bare_host(registry);
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whom to ask for an image, in order; the last is the registry itself.
pub(super) fn to_pull(
    registries: &Registries,
    reference: &Reference,
) -> Result<Vec<Endpoint>, Error> {
    let table = registries.table(&reference.to_string());
    let listed = registries.is_listed_insecure(reference.registry());
    let Some(table) = table else {
        let mut endpoints = docker_mirrors(registries, reference);
        endpoints.push(Endpoint { insecure: listed, ..Endpoint::of(reference) });
        return Ok(endpoints);
    };
    refuse_blocked(table, reference)?;
    // docker's file speaks where no table does.
    let mut endpoints =
        if table.mirror.is_empty() { docker_mirrors(registries, reference) } else { Vec::new() };
    let by_digest = reference.digest().is_some();
    for mirror in &table.mirror {
        let serves = match (table.mirror_by_digest_only, mirror.pull_from_mirror) {
            (true, _) | (false, Some(Serves::DigestOnly)) => by_digest,
            (false, Some(Serves::TagOnly)) => !by_digest,
            (false, None | Some(Serves::All)) => true,
        };
        if serves {
            endpoints.push(rewritten(table, reference, &mirror.location, mirror.insecure)?);
        }
    }
    let insecure = table.insecure || listed;
    endpoints.push(rewritten(table, reference, &table.location, insecure)?);
    Ok(endpoints)
}

/// Where an image is pushed to, or a registry asked: never a mirror.
pub(super) fn direct(registries: &Registries, reference: &Reference) -> Result<Endpoint, Error> {
    let listed = registries.is_listed_insecure(reference.registry());
    let table = registries.table(&reference.to_string());
    if let Some(table) = table {
        refuse_blocked(table, reference)?;
    }
    let insecure = listed || table.is_some_and(|table| table.insecure);
    Ok(Endpoint { insecure, ..Endpoint::of(reference) })
}

/// A registry as a whole, as configured.
pub(super) fn whole(registries: &Registries, registry: &str) -> Result<Endpoint, Error> {
    let listed = registries.is_listed_insecure(registry);
    let table = registries.table(registry);
    if table.is_some_and(|table| table.blocked) {
        return Err(Error::Blocked { image: registry.to_owned(), prefix: registry.to_owned() });
    }
    let insecure = listed || table.is_some_and(|table| table.insecure);
    Ok(Endpoint { insecure, ..Endpoint::registry(registry) })
}

fn refuse_blocked(table: &Table, reference: &Reference) -> Result<(), Error> {
    if table.blocked {
        let prefix = table.prefix().to_owned();
        return Err(Error::Blocked { image: reference.familiar(), prefix });
    }
    Ok(())
}

/// The name with a location in place of the table's prefix.
fn rewritten(
    table: &Table,
    reference: &Reference,
    location: &str,
    insecure: bool,
) -> Result<Endpoint, Error> {
    let name = reference.name();
    let full = match matched(table.prefix(), &name) {
        Some(end) if !location.is_empty() => {
            format!("{}{}", location.trim_end_matches('/'), &name[end..])
        }
        _ => name,
    };
    let odd = || Error::Document {
        what: format!("the location {location} of {}", table.prefix()),
        why: "it does not make a name of a registry and a repository".into(),
    };
    let (registry, repository) = full.split_once('/').ok_or_else(odd)?;
    // Through the grammar: a location is text like any other.
    let checked: Reference = format!("{registry}/{repository}").parse().map_err(|_| odd())?;
    if checked.registry() != registry {
        return Err(odd());
    }
    Ok(Endpoint { insecure, ..Endpoint::of(&checked) })
}

/// docker's mirrors serve the hub alone.
fn docker_mirrors(registries: &Registries, reference: &Reference) -> Vec<Endpoint> {
    if reference.registry() != "docker.io" {
        return Vec::new();
    }
    let endpoint = |mirror: &String| {
        let (plain, rest) = match mirror.split_once("://") {
            Some(("http", rest)) => (true, rest),
            Some((_, rest)) => (false, rest),
            None => (false, mirror.as_str()),
        };
        let registry = rest.trim_end_matches('/').to_owned();
        let insecure = registries.is_listed_insecure(&registry);
        Endpoint { registry, insecure, plain, ..Endpoint::of(reference) }
    };
    registries.hub_mirrors().iter().map(endpoint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registries(text: &str) -> Registries {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("registries.conf");
        std::fs::write(&path, text).expect("a file");
        let daemon = directory.path().join("daemon.json");
        std::fs::write(&daemon, r#"{"registry-mirrors":["https://hub.example/"]}"#)
            .expect("a file");
        let files = super::super::registries::Files {
            main: vec![path],
            directories: Vec::new(),
            daemon: vec![daemon],
        };
        Registries::read(&files).expect(text)
    }

    fn names(text: &str, reference: &str) -> Vec<String> {
        let endpoints = to_pull(&registries(text), &reference.parse().expect(reference));
        endpoints.expect(text).iter().map(Endpoint::name).collect()
    }

    #[test]
    fn mirrors_come_first_and_the_registry_last() {
        let text = "[[registry]]\nprefix='r.example/team'\nlocation='s.example/a'\n\
            [[registry.mirror]]\nlocation='m.example:5000/b'\n[[registry.mirror]]\n\
            location='d.example'\npull-from-mirror='digest-only'\n";
        let digest = format!("sha256:{}", "0".repeat(64));
        assert_eq!(
            names(text, "r.example/team/app:1"),
            ["m.example:5000/b/app", "s.example/a/app"]
        );
        assert_eq!(
            names(text, &format!("r.example/team/app@{digest}")),
            ["m.example:5000/b/app", "d.example/app", "s.example/a/app"]
        );
        assert_eq!(names(text, "r.example/other"), ["r.example/other"]);
    }

    #[test]
    fn a_wildcard_keeps_the_name_unless_it_has_a_location() {
        assert_eq!(
            names("[[registry]]\nprefix='*.r.example'\n", "a.r.example/app"),
            ["a.r.example/app"]
        );
        let moved = "[[registry]]\nprefix='*.r.example'\nlocation='s.example/x'\n";
        assert_eq!(names(moved, "a.r.example/app"), ["s.example/x/app"]);
    }

    #[test]
    fn the_hub_has_dockers_mirrors_and_others_have_none() {
        assert_eq!(names("", "debian"), ["hub.example/library/debian", "docker.io/library/debian"]);
        assert_eq!(names("", "r.example/debian"), ["r.example/debian"]);
        let own = "[[registry]]\nlocation='docker.io'\n[[registry.mirror]]\nlocation='m.example'\n";
        assert_eq!(names(own, "debian"), ["m.example/library/debian", "docker.io/library/debian"]);
    }

    #[test]
    fn what_is_blocked_is_not_asked() {
        let all = registries("[[registry]]\nprefix='*.bad.example'\nblocked=true\n");
        let reference = "x.bad.example/app".parse().expect("a reference");
        assert!(matches!(to_pull(&all, &reference), Err(Error::Blocked { .. })));
        assert!(matches!(direct(&all, &reference), Err(Error::Blocked { .. })));
        assert!(to_pull(&all, &"bad.example/app".parse().expect("it")).is_ok());
    }
}
