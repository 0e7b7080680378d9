//! What a `run` will most likely need, told before its arguments are parsed.
//!
//! Parsing takes a third of a millisecond, and new namespaces take one: so the container's first process is
//! begun by what the words look like, and makes what is below its root. Where the guess was wrong it ends, and
//! another one is made. So where there is a doubt nothing is begun: another's namespaces, a container that
//! this process will not stay with.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::thread::UnshareFlags;

use super::environment::Environment;
use super::split;
use crate::engine::bundle::{
    Interior, LIKELY, Namespace, Namespaces, NsKind, Request, Sharing, interior,
};
use crate::engine::runtime::Ahead;
use crate::engine::userns::{self, Facts};
use crate::sys::early;

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
    /// Begins the container of a `run`, or takes over what was begun of it.
    pub(super) fn of(arguments: &[OsString]) -> Option<Self> {
        let guess = Self::begin(arguments);
        if guess.is_none() {
            early::leave();
        }
        guess
    }

    fn begin(arguments: &[OsString]) -> Option<Self> {
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
    let Glance { network, privileged } = glance(arguments.iter().map(|word| word.as_bytes()))?;
    let mut namespaces = Namespaces::default();
    let (sharing, namespace) = match network {
        Network::Private => (Sharing::Private, Namespace::New),
        Network::Host => (Sharing::Host, Namespace::Host),
        Network::None => (Sharing::None, Namespace::New),
    };
    namespaces[NsKind::Network] = namespace;
    Some((Request { network: Some(sharing), privileged, ..Request::default() }, namespaces))
}

/// What the words behind a `run` tell by their looks.
#[derive(Clone, Copy, Debug)]
struct Glance {
    network: Network,
    privileged: bool,
}

#[derive(Clone, Copy, Debug)]
enum Network {
    Private,
    Host,
    None,
}

/// Flags that change nothing of what is begun.
const HARMLESS: [&[u8]; 17] = [
    b"--rm",
    b"--read-only",
    b"--name",
    b"--volume",
    b"--env",
    b"--user",
    b"--workdir",
    b"--hostname",
    b"--entrypoint",
    b"--publish",
    b"--mount",
    b"--tmpfs",
    b"--tty",
    b"--interactive",
    b"--memory",
    b"--cpus",
    b"--label",
];

/// Looks at them. Called before the C library has begun too (`sys::early`): it must call nothing of it.
fn glance<'a>(mut words: impl Iterator<Item = &'a [u8]>) -> Option<Glance> {
    let mut glance = Glance { network: Network::Private, privileged: false };
    while let Some(word) = words.next() {
        let (name, value) = halves(word);
        if is_any(name, &[b"--net", b"--network"]) {
            let value = match value {
                Some(value) => value,
                None => words.next()?,
            };
            glance.network = if is_any(value, &[b"host"]) {
                Network::Host
            } else if is_any(value, &[b"none"]) {
                Network::None
            } else if is_any(value, &[b"private", b"bridge", b"fast"]) {
                Network::Private
            } else {
                return None;
            };
        } else if is_any(name, &[b"--privileged"]) {
            glance.privileged = true;
        } else if !is_any(name, &HARMLESS) && is_doubtful(name) {
            return None;
        }
    }
    Some(glance)
}

/// Whether a word is a flag of which nothing is known, or has `-d`, alone or among others, or `-h`.
fn is_doubtful(word: &[u8]) -> bool {
    let asks = |letter: &u8| matches!(*letter, b'd' | b'h');
    early::begins_with(word, b"--") || early::begins_with(word, b"-") && word.iter().any(asks)
}

/// A word before and behind its `=`.
fn halves(word: &[u8]) -> (&[u8], Option<&[u8]>) {
    match word.iter().position(|letter| *letter == b'=') {
        Some(place) => (&word[..place], Some(&word[place + 1..])),
        None => (word, None),
    }
}

fn is_any(word: &[u8], all: &[&[u8]]) -> bool {
    all.iter().any(|one| early::is_same(word, one))
}

/// What a container with a network of its own begins with.
static ALONE: early::Beginning =
    early::Beginning { new: BESIDE_HOST.new.union(UnshareFlags::NEWNET), likely: &LIKELY };

/// What one with the host's network begins with: the view of the devices is the caller's.
static BESIDE_HOST: early::Beginning = early::Beginning {
    new: UnshareFlags::NEWUSER
        .union(UnshareFlags::NEWNS)
        .union(UnshareFlags::NEWPID)
        .union(UnshareFlags::NEWIPC)
        .union(UnshareFlags::NEWUTS),
    likely: LIKELY.split_at(LIKELY.len() - 1).0,
};

/// What a command's container begins with, if that can be told at a glance. Called before the C library has begun
/// (`sys::early`).
pub fn beginning(mut words: early::Words) -> Option<&'static early::Beginning> {
    const RUNTIME: &[u8] = b"coracle-runtime";
    let program = words.next()?;
    if program.len() >= RUNTIME.len()
        && early::is_same(&program[program.len() - RUNTIME.len()..], RUNTIME)
    {
        return None;
    }
    let mut word = words.next()?;
    while early::begins_with(word, b"-") {
        let (name, value) = halves(word);
        if !is_any(name, &[b"--root", b"--storage-driver"]) {
            return None;
        }
        if value.is_none() {
            words.next()?;
        }
        word = words.next()?;
    }
    if is_any(word, &[b"container"]) {
        word = words.next()?;
    }
    if !is_any(word, &[b"run"]) {
        return None;
    }
    match glance(words)?.network {
        Network::Host => Some(&BESIDE_HOST),
        Network::None | Network::Private => Some(&ALONE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(line: &str) -> Option<bool> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        request(&words).map(|(_, namespaces)| namespaces[NsKind::Network] == Namespace::New)
    }

    /// What is begun before the program, beside what the program begins.
    fn early(line: &str) -> Option<UnshareFlags> {
        let words: Vec<&str> = line.split(' ').collect();
        beginning(early::Words::of(&words)).map(|beginning| beginning.new)
    }

    #[test]
    fn what_is_begun_before_the_program_is_what_it_would_begin() {
        for line in [
            "--rm -it debian:12 bash",
            "--rm --network host -v /a:/b busybox true",
            "--net=none busybox true",
            "--privileged --name web --label=x nginx",
        ] {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let (_, namespaces) = request(&words).expect("it is plain");
            let wanted = Ahead::namespaces(&namespaces);
            assert!(wanted.is_some());
            for before in
                ["coracle run", "/usr/bin/coracle --root /x run", "c --root=/x container run"]
            {
                assert_eq!(early(&format!("{before} {line}")), wanted, "{before} {line}");
            }
        }
        for line in [
            "coracle",
            "coracle run -d nginx",
            "coracle run --network container:web nginx",
            "coracle exec web true",
            "coracle container exec web true",
            "coracle --verbose run nginx",
            "coracle --root",
            "/usr/bin/coracle-runtime run nginx",
        ] {
            assert_eq!(early(line), None, "{line}");
        }
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
