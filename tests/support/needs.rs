//! What a test needs of the machine. A need that is not met skips the test aloud; where
//! `CORACLE_TEST_NO_SKIP` is set, as in CI, it fails it.

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

#[derive(Debug, Clone, Copy)]
pub enum Need {
    /// The registries that `tests/run` starts.
    Registry,
    /// An image of the fixtures' registry: name and tag.
    Image(&'static str, &'static str),
    /// A file below the fixtures' directory.
    Fixture(&'static str),
    /// A program, by absolute path: the suite's own PATH is bare on purpose.
    Program(&'static str),
    UserNamespaces,
    /// The host's root: a pass of its own in `tests/run`.
    Root,
    /// A directory on a file system of this kind: `tests/run` mounts them where it is root.
    FileSystem(&'static str),
    /// Servers outside, at the end of a cable: `tests/run` makes them where it is root.
    Outside,
    /// A control group of the caller's own that has this controller: `tests/run` makes them.
    Controller(&'static str),
}

impl Need {
    /// What is missing, or nothing.
    pub fn missing(self) -> Option<String> {
        let met = match self {
            Self::Registry => env::var_os("CORACLE_TEST_PLAIN").is_some(),
            Self::Image(name, tag) => {
                let stored = format!(
                    "registry/docker/registry/v2/repositories/{name}/_manifests/tags/{tag}"
                );
                let layout = super::fixtures().join("oci").join(name).join("index.json");
                let listed = || {
                    fs::read_to_string(layout)
                        .is_ok_and(|text| text.contains(&format!("\"{tag}\"")))
                };
                match Self::Registry.missing() {
                    None => super::fixtures().join(stored).exists(),
                    Some(_) => listed(),
                }
            }
            Self::Fixture(path) => super::fixtures().join(path).exists(),
            Self::Program(path) => Path::new(path).exists(),
            Self::Outside => env::var_os("CORACLE_TEST_OUTSIDE").is_some_and(|it| !it.is_empty()),
            Self::FileSystem(kind) => super::file_system(kind).is_some(),
            Self::UserNamespaces => in_namespace("true"),
            Self::Root => nix::unistd::Uid::effective().is_root(),
            Self::Controller(name) => {
                let host = coracle::engine::cgroup::detect(Path::new("/"));
                let unified = host.version == coracle::engine::cgroup::Version::V2;
                match name {
                    // Every group of version 2 has it.
                    "freezer" if unified => host.is_delegated(),
                    "cpuacct" if unified => Self::Controller("cpu").missing().is_none(),
                    _ => host.controllers().iter().any(|has| has == name),
                }
            }
        };
        (!met).then(|| format!("{self:?}"))
    }
}

/// Whether a script succeeds as root of new user and mount namespaces.
fn in_namespace(script: &str) -> bool {
    let status = Command::new("/usr/bin/unshare")
        .args(["-Urm", "/bin/sh", "-ec", script])
        .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
        .output();
    status.is_ok_and(|output| output.status.success())
}

/// Say that `test` does not run, past libtest's capture, so that it is seen where it passes.
pub fn skip(test: &str, why: &str) {
    assert!(
        env::var("CORACLE_TEST_NO_SKIP").as_deref().unwrap_or("").is_empty(),
        "would skip for want of {why}"
    );
    let _ = writeln!(std::io::stderr(), "skipped {test}: no {why}");
}

/// `requires!(Need, …)`: go on only where every need is met.
#[macro_export]
macro_rules! requires {
    ($($need:expr),+ $(,)?) => {{
        #[allow(unused_imports)]
        use $crate::support::needs::Need::*;
        for need in [$($need),+] {
            if let Some(missing) = need.missing() {
                let test = std::thread::current().name().unwrap_or("a test").to_owned();
                return $crate::support::needs::skip(&test, &missing);
            }
        }
    }};
}

/// What busybox needs that speaks with the world outside by a network of its own, and `more`.
#[macro_export]
macro_rules! needs_outside {
    ($($more:expr),*) => {
        $crate::requires!(
            UserNamespaces,
            Image("busybox", "latest"),
            Program("/dev/net/tun"),
            $($more,)*
            Outside
        );
    };
}

/// Whether the ids of containers are the kernel's, and nobody emulates them.
pub fn has_real_ids() -> bool {
    matches!(&*pass(), "range" | "root")
}

/// Which of the passes of `tests/run` this is; `own` for anyone's plain `cargo test`.
pub fn pass() -> String {
    env::var("CORACLE_TEST_PASS").unwrap_or_else(|_| "own".into())
}
