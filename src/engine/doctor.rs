//! What works on this host, what stands in for what does not, and what would mend it.
//!
//! ```text
//! probe.rs (tries) ─┐
//! cgroup.rs, files ─┼─► Check: found, instead, remedy
//! registry (asks)  ─┘   last: it starts an async runtime, and children come before that
//! ```

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::probe::{self, Step};
use super::{Engine, host};
use crate::cgroup;
use crate::diagnose::Diagnose;
use crate::network;
use crate::registry::{self, Authorities};
use crate::snapshot::Driver;
use crate::supervisor;
use crate::userns::{self, HelpersMissing, IdMaps, Mode};

/// How long a registry may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Less free space than this is worth a word.
const LITTLE_SPACE: u64 = 1 << 30;

const IDS: &str = "id maps";
const OVERLAY: &str = "overlay";
const FUSE: &str = "fuse";
const PROCFS: &str = "procfs";
const NETWORK: &str = "network";

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It works.
    Ok,
    /// It does not; something else takes its place.
    Fallback,
    /// It does not, and without it no container runs.
    Unavailable,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// How it came out.
    pub status: Status,
    /// What was found.
    pub found: String,
    /// What is done in its place.
    pub instead: Option<String>,
    /// What would mend it; only where the cause was checked.
    pub remedy: Option<String>,
}

/// What the caller knows and this module does not look up: environment and flags.
#[derive(Clone, Debug, Default)]
pub struct Outside {
    /// The registry to reach: `HOST[:PORT]`. None to ask no network.
    pub registry: Option<String>,
    /// How registries are spoken to.
    pub options: registry::Options,
}

impl Check {
    fn new(name: &'static str, status: Status, found: impl Into<String>) -> Self {
        Self { name, status, found: found.into(), instead: None, remedy: None }
    }

    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, Status::Ok, found)
    }

    fn fallback(name: &'static str, found: impl Into<String>, instead: impl Into<String>) -> Self {
        let check = Self::new(name, Status::Fallback, found);
        Self { instead: Some(instead.into()), ..check }
    }

    fn unavailable(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, Status::Unavailable, found)
    }

    fn remedy(self, remedy: Option<String>) -> Self {
        Self { remedy, ..self }
    }
}

impl Engine {
    /// Looks at everything a container needs. Call it while the process has one thread.
    pub fn doctor(&self, outside: &Outside) -> Vec<Check> {
        let namespace = user_namespace();
        let lacking = namespace.status == Status::Unavailable;
        // Where there is none, what is tried in one would fail for that alone.
        let within = |name, check: &dyn Fn() -> Check| {
            if lacking { Check::unavailable(name, "needs a user namespace") } else { check() }
        };
        vec![
            namespace,
            within(IDS, &|| self.check_ids()),
            within(OVERLAY, &|| self.check_overlay()),
            within(FUSE, &|| self.check_fuse()),
            within(PROCFS, &procfs),
            control_groups(&cgroup::detect(Path::new("/"))),
            within(NETWORK, &network),
            seccomp(),
            self.check_disk(),
            certificates(&outside.options),
            proxy(&outside.options),
            registry(outside),
        ]
    }

    fn check_ids(&self) -> Check {
        let facts = userns::gather(Path::new("/"), &self.options.path);
        let ids = match userns::choose(&self.options.userns, (0, 0), &facts) {
            Ok(ids) => ids,
            Err(error) => {
                let remedy = error.hint().map(|hint| hint.to_string());
                return Check::unavailable(IDS, error.to_string()).remedy(remedy);
            }
        };
        if ids.mode != Mode::Single {
            return match probe::ids(&ids) {
                Ok(()) => Check::ok(IDS, describe(&ids)),
                Err(why) => Check::unavailable(IDS, format!("{}: {why}", describe(&ids)))
                    .remedy(Some("use --userns single, which needs no helper".into())),
            };
        }
        if self.options.userns != userns::Request::Auto {
            return Check::ok(IDS, describe(&ids));
        }
        let instead = if supervisor::is_available() {
            "the others are emulated, which costs a few microseconds a call"
        } else {
            "an image's files all belong to that id, and no program can become another"
        };
        let missing = userns::choose(&userns::Request::Range, (0, 0), &facts).err();
        Check::fallback(IDS, describe(&ids), instead).remedy(missing.as_ref().and_then(granting))
    }

    fn check_overlay(&self) -> Check {
        let root = self.store.root();
        let failure = match probe::overlay(&root.join("tmp")) {
            Ok(()) => {
                let found = "mounts in a user namespace, on the store";
                // A kernel without it lacks nothing but speed.
                let many = probe::metadata(&root.join("tmp")).map_or_else(
                    |why| format!("each layer is looked through (as one layer: {why})"),
                    |()| "many layers as one".to_owned(),
                );
                return Check::ok(OVERLAY, format!("{found}; {many}"));
            }
            Err(failure) => failure,
        };
        let lies_on = host::file_system(root).unwrap_or_default();
        let kernel = host::kernel();
        let remedy = if failure.errno == rustix::io::Errno::NODEV {
            Some("an administrator can load it: modprobe overlay".to_owned())
        } else if host::older_than(&kernel, (5, 11)) {
            Some(format!("Linux 5.11 or newer lets users mount it; this is {kernel}"))
        } else if host::holds_no_upper(&lies_on) {
            Some(format!("keep the store elsewhere with --root: it lies on {lies_on}"))
        } else if lies_on == "tmpfs" && host::older_than(&kernel, (6, 6)) {
            Some("keep the store on a disk with --root: tmpfs can hold it from Linux 6.6 on".into())
        } else {
            None
        };
        let found = format!("{failure}; the store lies on {lies_on}");
        if self.options.driver == Some(Driver::Overlay) {
            return Check::unavailable(OVERLAY, format!("asked for, but {found}")).remedy(remedy);
        }
        let instead = match probe::fuse(&root.join("tmp")) {
            Ok(()) => "a container's root is served through FUSE (--storage-driver fuse)",
            Err(_) => "a container's root is a copy of its layers (--storage-driver copy)",
        };
        Check::fallback(OVERLAY, found, instead).remedy(remedy)
    }

    fn check_fuse(&self) -> Check {
        let failure = match probe::fuse(&self.store.root().join("tmp")) {
            Ok(()) => return Check::ok(FUSE, "/dev/fuse opens, and mounts in a user namespace"),
            Err(failure) => failure,
        };
        let found = format!("/dev/fuse: {failure}");
        let missing = failure.step == Step::Open && failure.errno == rustix::io::Errno::NOENT;
        let remedy = missing.then(|| "an administrator can load it: modprobe fuse".to_owned());
        if self.options.driver == Some(Driver::Fuse) {
            return Check::unavailable(FUSE, format!("asked for, but {found}")).remedy(remedy);
        }
        let instead = "roots are made by overlay or copy, which do without";
        Check::fallback(FUSE, found, instead).remedy(remedy)
    }

    fn check_disk(&self) -> Check {
        const NAME: &str = "disk";
        let root = self.store.root();
        let space = match rustix::fs::statvfs(root) {
            Ok(space) => space,
            Err(errno) => {
                let error = std::io::Error::from(errno);
                return Check::unavailable(NAME, format!("{}: {error}", root.display()));
            }
        };
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        let lies_on = host::file_system(root).unwrap_or_default();
        let found = format!("{} free, {lies_on}, {}", gigabytes(free), root.display());
        let mend = "free some space there, or keep the store elsewhere with --root";
        // File systems without a fixed number of files say 0 of 0.
        if free == 0 || (space.f_files > 0 && space.f_favail == 0) {
            Check::unavailable(NAME, format!("full: {found}")).remedy(Some(mend.into()))
        } else if free < LITTLE_SPACE {
            Check::fallback(NAME, found, "only small images have room").remedy(Some(mend.into()))
        } else {
            Check::ok(NAME, found)
        }
    }
}

fn user_namespace() -> Check {
    const NAME: &str = "user namespace";
    let Err(failure) = probe::user_namespace() else {
        return Check::ok(NAME, "can be made, and mounts can be changed in it");
    };
    if failure.step == Step::Prepare {
        return Check::unavailable(NAME, failure.to_string());
    }
    let refusal = userns::explain_refusal(failure.errno);
    let remedy = refusal.hint().map(|hint| hint.to_string());
    Check::unavailable(NAME, refusal.to_string()).remedy(remedy)
}

fn describe(ids: &IdMaps) -> String {
    let count = |extents: &[userns::Extent]| -> u64 {
        extents.iter().map(|extent| u64::from(extent.count)).sum()
    };
    match ids.mode {
        Mode::Single => format!("one id: {}", ids.reason),
        _ => format!(
            "{} ({} user ids, {} group ids): {}",
            ids.mode,
            count(&ids.uids),
            count(&ids.gids),
            ids.reason
        ),
    }
}

/// What would bring a range; what only avoids one is no remedy.
fn granting(error: &userns::Error) -> Option<String> {
    match error {
        userns::Error::NoRange {
            missing:
                HelpersMissing::NotFound(_)
                | HelpersMissing::Powerless(_)
                | HelpersMissing::NoRange { .. },
            ..
        } => error.hint().map(|hint| hint.to_string()),
        _ => None,
    }
}

fn procfs() -> Check {
    let Err(failure) = probe::procfs() else {
        return Check::ok(PROCFS, "a new /proc can be mounted");
    };
    let remedy = "start the outer container with --security-opt systempaths=unconfined (docker) \
                  or --security-opt unmask=ALL (podman)";
    let covered = host::proc_is_covered();
    let instead = "containers see the /proc of this process, with all the processes in it";
    let why = if covered { "; parts of /proc are covered here" } else { "" };
    Check::fallback(PROCFS, format!("{failure}{why}"), instead)
        .remedy((failure.step == Step::Mount && covered).then(|| remedy.into()))
}

fn control_groups(host: &cgroup::Host) -> Check {
    const NAME: &str = "cgroup";
    const INSTEAD: &str = "containers stay in the group of this process; --cpuset-cpus and, with \
                           one id, --pids-limit are kept, other limits are refused";
    let version = host.version;
    let check = |found: String| Check::fallback(NAME, found, INSTEAD);
    let controllers = host.controllers().join(", ");
    match version {
        cgroup::Version::None => check("not mounted".into()),
        _ if !controllers.is_empty() => {
            Check::ok(NAME, format!("{version}, delegated: {controllers}"))
        }
        cgroup::Version::V2 if host.bus.is_some() => {
            Check::ok(NAME, "v2, in a scope that the user's systemd makes for a container")
        }
        cgroup::Version::V2 if host.is_delegated() => {
            let others = host.own().map_or(0, |own| own.others);
            check(match others {
                0 => "v2, delegated without controllers".into(),
                _ => format!("v2, delegated, but shared with {others} other processes"),
            })
        }
        cgroup::Version::V2 => {
            let remedy = "run in a scope of one's own: systemd-run --user --scope -p Delegate=yes \
                          coracle ...";
            check("v2, not delegated".into()).remedy(host.systemd.then(|| remedy.into()))
        }
        cgroup::Version::V1 | cgroup::Version::Hybrid => {
            check(format!("{version}, and no group of this process is writable"))
        }
    }
}

fn network() -> Check {
    if let Err(failure) = probe::netns() {
        let instead = "only --network host works, which shares the network of this process";
        return Check::fallback(NETWORK, failure.to_string(), instead);
    }
    match network::usable() {
        Ok(()) if network::may_ping() => {
            Check::ok(NETWORK, "private and named networks; ping leads outside")
        }
        Ok(()) => Check::ok(
            NETWORK,
            "private and named networks; ping does not lead outside, as net.ipv4.ping_group_range \
             leaves out the groups of this user",
        )
        .remedy(Some("sysctl net.ipv4.ping_group_range=\"0 2147483647\"".into())),
        Err(error) => {
            let instead = "containers share the host's network, or have none";
            Check::fallback(NETWORK, error.to_string(), instead)
                .remedy(error.hint().map(|hint| hint.to_string()))
        }
    }
}

fn seccomp() -> Check {
    const NAME: &str = "seccomp";
    match probe::seccomp() {
        Ok(()) => Check::ok(NAME, "filters of system calls load"),
        Err(failure) => Check::unavailable(NAME, failure.to_string())
            .remedy(Some("run without a filter: --security-opt seccomp=unconfined".into())),
    }
}

fn certificates(options: &registry::Options) -> Check {
    const NAME: &str = "certificates";
    match registry::authorities(options) {
        Authorities::Named(0) => Check::fallback(
            NAME,
            "SSL_CERT_FILE and SSL_CERT_DIR name no certificate",
            "only registries with a directory of their own in certs.d are believed",
        )
        .remedy(Some("name a file of certificates, or unset the variables".into())),
        Authorities::Named(count) => Check::ok(NAME, format!("{count} named by the environment")),
        Authorities::Host(count) => Check::ok(NAME, format!("{count} of the host")),
        Authorities::Carried(count) => Check::fallback(
            NAME,
            "the host has none",
            format!("the {count} that coracle carries are believed (Mozilla's)"),
        ),
    }
}

fn proxy(options: &registry::Options) -> Check {
    let proxies = [("https", &options.https_proxy), ("http", &options.http_proxy)];
    let mut words: Vec<String> = proxies
        .into_iter()
        .filter_map(|(name, proxy)| {
            Some(format!("{name} by {}", registry::masked(proxy.as_deref()?)))
        })
        .collect();
    if words.is_empty() {
        return Check::ok("proxy", "none");
    }
    words.extend(options.no_proxy.as_ref().map(|none| format!("none for {none}")));
    Check::ok("proxy", words.join(", "))
}

/// The proxy is what must answer where there is one.
fn registry(outside: &Outside) -> Check {
    const NAME: &str = "registry";
    const INSTEAD: &str = "images in the store and in archives (oci:, docker-archive:) run offline";
    let Some(registry) = &outside.registry else {
        return Check::fallback(NAME, "not asked", INSTEAD);
    };
    let proxy = outside.options.https_proxy.as_deref().filter(|_| !outside.exempt(registry));
    let target = match proxy {
        Some(proxy) => endpoint(proxy, 3128),
        None => endpoint(registry, 443),
    };
    let Some((host, port)) = target else {
        let text = proxy.map_or_else(|| registry.clone(), registry::masked);
        return Check::fallback(NAME, format!("{text:?} is no address"), INSTEAD);
    };
    let by = proxy.map_or_else(String::new, |proxy| format!(" by {}", registry::masked(proxy)));
    match registry::reach(&host, port, PATIENCE) {
        Ok(address) => Check::ok(NAME, format!("{registry}{by} answers ({address})")),
        Err(why) => Check::fallback(NAME, format!("{registry}{by}: {why}"), INSTEAD),
    }
}

impl Outside {
    /// Whether `NO_PROXY` has the registry: its name, a domain above it, or everything.
    fn exempt(&self, registry: &str) -> bool {
        let host = endpoint(registry, 443).map(|(host, _)| host).unwrap_or_default();
        let none = self.options.no_proxy.as_deref().unwrap_or_default();
        none.split(',').map(str::trim).filter(|item| !item.is_empty()).any(|item| {
            let domain = item.trim_start_matches("*.").trim_start_matches('.');
            item == "*" || host == domain || host.ends_with(&format!(".{domain}"))
        })
    }
}

/// Host and port of `[SCHEME://][LOGIN@]HOST[:PORT][/PATH]`.
fn endpoint(text: &str, port: u16) -> Option<(String, u16)> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next()?;
    let (host, port) = match authority.rsplit_once(':') {
        // The colons of an address in brackets are its own.
        Some((host, number)) if !number.ends_with(']') => (host, number.parse().ok()?),
        _ => (authority, port),
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

#[allow(clippy::cast_precision_loss)] // one decimal is shown
fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read() {
        let read = |text: &str| endpoint(text, 443).map(|(host, port)| format!("{host} {port}"));
        for (text, want) in [
            ("quay.io", "quay.io 443"),
            ("localhost:5000", "localhost 5000"),
            ("http://me:p@ss@proxy:3128/", "proxy 3128"),
            ("[::1]:5000", "[::1] 5000"),
            ("[::1]", "[::1] 443"),
        ] {
            assert_eq!(read(text).as_deref(), Some(want), "{text}");
        }
        assert_eq!(read("host:port"), None);
        assert_eq!(read(""), None);
    }

    #[test]
    fn a_proxy_is_told_without_its_password() {
        let options = registry::Options {
            https_proxy: Some("http://me:secret@proxy:3128".into()),
            no_proxy: Some("example.com".into()),
            ..Default::default()
        };
        let found = proxy(&options).found;
        assert_eq!(found, "https by http://me:***@proxy:3128, none for example.com");
        let outside = Outside { registry: None, options };
        assert!(outside.exempt("registry.example.com:5000") && !outside.exempt("quay.io"));
    }

    #[test]
    fn what_cannot_be_reached_stops_no_container() {
        let ask = |registry: Option<&str>| Outside {
            registry: registry.map(str::to_owned),
            ..Outside::default()
        };
        assert_eq!(registry(&ask(None)).status, Status::Fallback);
        assert_eq!(registry(&ask(Some("127.0.0.1:x"))).status, Status::Fallback);
    }

    #[test]
    fn groups_are_judged() {
        let host = |version, writable, controllers: &[&str]| {
            let available = controllers.iter().map(|it| (*it).to_owned()).collect();
            let node = cgroup::Node { writable, available, own: true, ..cgroup::Node::default() };
            let unified =
                cgroup::Hierarchy { controllers: vec![], mount: "/".into(), nodes: vec![node] };
            cgroup::Host {
                version,
                unified: Some(unified),
                separate: vec![],
                bus: None,
                bus_refusal: None,
                systemd: false,
            }
        };
        let good = control_groups(&host(cgroup::Version::V2, true, &["memory", "pids"]));
        assert_eq!((good.status, good.found.as_str()), (Status::Ok, "v2, delegated: memory, pids"));
        let bad = control_groups(&host(cgroup::Version::V2, false, &["memory"]));
        assert_eq!((bad.status, bad.found.as_str()), (Status::Fallback, "v2, not delegated"));
        for version in [cgroup::Version::V1, cgroup::Version::Hybrid, cgroup::Version::None] {
            assert_eq!(control_groups(&host(version, false, &[])).status, Status::Fallback);
        }
    }
}
