//! What a `run` will most likely need, told before its arguments are parsed.
//!
//! Parsing takes a third of a millisecond, and new namespaces take one: so the container's first process is
//! begun by what the words look like, and makes what is below its root. Where the guess was wrong it ends, and
//! another one is made. So where there is a doubt nothing is begun: another's namespaces, a container that
//! this process will not stay with.

use std::ffi::OsString;
use std::path::Path;

use super::environment::Environment;
use super::split;
use crate::engine::bundle::{Interior, Namespace, Namespaces, NsKind, Request, Sharing, interior};
use crate::engine::runtime::Ahead;
use crate::engine::userns::{self, Facts};

/// The container of a `run`, begun.
#[derive(Debug)]
pub(super) struct Guess {
    ahead: Ahead,
    interior: Interior,
}

/// What there is of it, and what was found out for that.
#[derive(Debug)]
pub struct Begun {
    /// Its first process.
    pub ahead: Ahead,
    /// What the host says of ids.
    pub facts: Facts,
}

impl Guess {
    /// Begins the container of a `run`.
    pub(super) fn of(arguments: &[OsString]) -> Option<Self> {
        let Ok((_, entry, rest)) = split(arguments) else { return None };
        let rest = match (entry.name, rest.split_first()) {
            ("run", _) => rest,
            ("container", Some((word, rest))) if word == "run" => rest,
            _ => return None,
        };
        let (request, namespaces) = request(rest)?;
        let interior = interior(&request, &namespaces);
        let ahead = Ahead::begin(&namespaces, interior.mounts.clone())?;
        Some(Self { ahead, interior })
    }

    /// Lets it make what is below its root, where it has the usual ids and can have them at once.
    pub(super) fn furnish(self, environment: &Environment) -> Begun {
        let Self { mut ahead, interior } = self;
        let path = environment.get("PATH").unwrap_or_default();
        let facts = userns::gather(Path::new("/"), &path);
        let ids = userns::choose(&userns::Request::default(), (0, 0), &facts);
        if let Some(ids) = ids.ok().filter(|ids| ids.emulated) {
            // Whoever asks for it again is told why it cannot be.
            let _ = ahead.furnish(interior, &ids);
        }
        Begun { ahead, facts }
    }
}

/// What tells what is below the root of a container that `run` begins at once, and its namespaces; `None`
/// where they are not clear.
fn request(arguments: &[OsString]) -> Option<(Request, Namespaces)> {
    let mut request = Request { network: Some(Sharing::Private), ..Request::default() };
    let mut namespaces = Namespaces::default();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let word = word.to_str()?;
        let (name, value) = word.split_once('=').map_or((word, None), |(a, b)| (a, Some(b)));
        match name {
            "--net" | "--network" => {
                let value = match value {
                    Some(value) => value,
                    None => words.next()?.to_str()?,
                };
                let (sharing, namespace) = match value {
                    "host" => (Sharing::Host, Namespace::Host),
                    "none" => (Sharing::None, Namespace::New),
                    "private" | "bridge" | "fast" => (Sharing::Private, Namespace::New),
                    _ => return None,
                };
                request.network = Some(sharing);
                namespaces[NsKind::Network] = namespace;
            }
            "--privileged" => request.privileged = true,
            "--rm" | "--read-only" | "--name" | "--volume" | "--env" | "--user" | "--workdir"
            | "--hostname" | "--entrypoint" | "--publish" | "--mount" | "--tmpfs" | "--tty"
            | "--interactive" | "--memory" | "--cpus" | "--label" => {}
            other if other.starts_with("--") => return None,
            // -d, alone or among others, and help.
            short if short.starts_with('-') && short.contains(['d', 'h']) => return None,
            _ => {}
        }
    }
    Some((request, namespaces))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(line: &str) -> Option<bool> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        request(&words).map(|(_, namespaces)| namespaces[NsKind::Network] == Namespace::New)
    }

    #[test]
    fn what_is_plain_is_begun_and_nothing_else() {
        assert_eq!(network("--rm -it debian:12 bash"), Some(true));
        assert_eq!(network("--rm --network host -v /a:/b busybox true"), Some(false));
        assert_eq!(network("--net=none busybox true"), Some(true));
        for unclear in [
            "-d nginx",
            "-itd nginx",
            "--detach nginx",
            "--init nginx",
            "--network container:web nginx",
            "--network mine nginx",
            "--network",
            "--pid host nginx",
            "--userns=range nginx",
            "--help",
            "-h",
        ] {
            assert_eq!(network(unclear), None, "{unclear}");
        }
    }
}
