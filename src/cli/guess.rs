//! What a `run` will most likely need, told before its arguments are parsed.
//!
//! Parsing takes a third of a millisecond, and new namespaces take one: so the container's first process is
//! begun by what the words look like. Where the guess was wrong it ends, and another one is made. So where
//! there is a doubt nothing is begun: another's namespaces, a container that this process will not stay with.

use std::ffi::OsString;

use super::split;
use crate::engine::bundle::{Namespace, Namespaces, NsKind, Request, interior};
use crate::engine::runtime::Ahead;

/// Begins the container of a `run`.
pub(super) fn ahead(arguments: &[OsString]) -> Option<Ahead> {
    let Ok((_, entry, rest)) = split(arguments) else { return None };
    let rest = match (entry.name, rest.split_first()) {
        ("run", _) => rest,
        ("container", Some((word, rest))) if word == "run" => rest,
        _ => return None,
    };
    let namespaces = namespaces(rest)?;
    let request = Request::default();
    Ahead::begin(&namespaces, interior(&request, &namespaces).mounts)
}

/// The namespaces of a container that `run` begins at once; `None` where that is not clear.
fn namespaces(arguments: &[OsString]) -> Option<Namespaces> {
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
                namespaces[NsKind::Network] = match value {
                    "host" => Namespace::Host,
                    "none" | "private" | "bridge" | "fast" => Namespace::New,
                    _ => return None,
                };
            }
            "--rm" | "--read-only" | "--name" | "--volume" | "--env" | "--user" | "--workdir"
            | "--hostname" | "--entrypoint" | "--publish" | "--mount" | "--tmpfs" | "--tty"
            | "--interactive" | "--privileged" | "--memory" | "--cpus" | "--label" => {}
            other if other.starts_with("--") => return None,
            // -d, alone or among others, and help.
            short if short.starts_with('-') && short.contains(['d', 'h']) => return None,
            _ => {}
        }
    }
    Some(namespaces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(line: &str) -> Option<bool> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        namespaces(&words).map(|namespaces| namespaces[NsKind::Network] == Namespace::New)
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
