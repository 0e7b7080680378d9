//! Named networks on disk: who shares a link with whom.
//!
//! ```text
//! networks/              flock'ed by who makes a network: no two have one range
//! networks/NAME/         flock'ed by who joins, changes or removes it
//!     network.json       the network; there is none without it
//!     ID                 a container's socket: its server listens there as long as it lives
//!     ID.json            that container's addresses and names
//! ```
//!
//! Nobody keeps a network up: it is what the servers of its containers tell each other. Who joins
//! connects to each socket under the lock, so that any two of a network meet; a socket at which
//! nobody listens any more is swept by who finds it.

mod pools;
mod record;

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SocketFlags;

use super::plan::{device, metric};
use super::{
    Addresses, Error, LinkOptions, LinkPlan, Mac, Membership, Settings, Six, Subnet, control,
};
use crate::sys::scratch::is_at;

pub use record::{Draft, Network, Pool, Range, Wanted};

/// The networks of one store.
#[derive(Debug)]
pub struct Networks {
    root: PathBuf,
}

/// A network that nobody joins or changes while this lives.
#[derive(Debug)]
pub struct Taken {
    /// The network.
    pub network: Network,
    path: PathBuf,
    _lock: OwnedFd,
}

const RECORD: &str = "network.json";
/// How long the server of a container that has ended may take to end too.
pub const PATIENCE: Duration = Duration::from_secs(5);

impl Networks {
    /// The networks below a store's root. Touches nothing.
    pub fn new(root: &Path) -> Self {
        Self { root: root.join("networks") }
    }

    /// All networks, sorted by name.
    pub fn list(&self) -> Result<Vec<Network>, Error> {
        let entries = match std::fs::read_dir(&self.root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(io("list", &self.root))?,
        };
        let mut networks = Vec::new();
        for entry in entries {
            let entry = entry.map_err(io("list", &self.root))?;
            networks.extend(read(&entry.path())?);
        }
        networks.sort_unstable_by(|one: &Network, other| one.name.cmp(&other.name));
        Ok(networks)
    }

    /// The network of this name, or of an ID that begins so.
    pub fn find(&self, query: &str) -> Result<Network, Error> {
        let missing = || Error::NoSuchNetwork { query: query.to_owned() };
        if !record::is_name(query) {
            return Err(missing());
        }
        if let Some(network) = read(&self.root.join(query))? {
            return Ok(network);
        }
        let mut found = self.list()?;
        found.retain(|network| network.id.starts_with(query));
        match (found.pop(), found.pop()) {
            (Some(network), None) => Ok(network),
            (None, _) => Err(missing()),
            (Some(_), Some(_)) => Err(Error::AmbiguousNetwork { query: query.to_owned() }),
        }
    }

    /// Makes a network; `in_use` are ranges that one without a range of its own keeps off.
    pub fn create(
        &self,
        draft: &Draft,
        created: String,
        in_use: &[Subnet],
    ) -> Result<Network, Error> {
        make_directory(&self.root)?;
        let _all = lock(&self.root)?;
        let others = self.list()?;
        if others.iter().any(|network| network.name == draft.name) {
            return Err(Error::NetworkExists { name: draft.name.clone() });
        }
        let ranges: Vec<Subnet> = others
            .iter()
            .flat_map(|network| network.pools.iter().map(|pool| pool.subnet))
            .collect();
        let mut random = [0; 37];
        let read = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
        read.map_err(|errno| io("read random bytes for", &self.root)(errno.into()))?;
        let pools = pools::decide(draft, &ranges, in_use, &random[32..])?;
        let id = random[..32].iter().fold(String::new(), |mut text, byte| {
            let _ = std::fmt::Write::write_fmt(&mut text, format_args!("{byte:02x}"));
            text
        });
        let network = Network::new(draft, id, created, pools);
        loop {
            let path = self.root.join(&draft.name);
            make_directory(&path)?;
            let directory = lock(&path)?;
            if is_at(&directory, &path) {
                replace(&path, RECORD, &network)?;
                return Ok(network);
            }
        }
    }

    /// Waits until nobody joins a network, and keeps others from it.
    pub fn take(&self, name: &str) -> Result<Taken, Error> {
        let missing = || Error::NoSuchNetwork { query: name.to_owned() };
        let path = self.root.join(name);
        loop {
            let directory = match lock(&path) {
                Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                    return Err(missing());
                }
                other => other?,
            };
            if is_at(&directory, &path) {
                let network = read(&path)?.ok_or_else(missing)?;
                return Ok(Taken { network, path, _lock: directory });
            }
        }
    }

    /// Joins a network as the container `id`, whose device number `place` this is to be. `runs` is
    /// whether a container does: the server of one that has ended is waited for, if it has what is
    /// wanted.
    pub fn join(
        &self,
        wanted: &Wanted,
        id: &str,
        names: &[String],
        place: usize,
        runs: impl Fn(&str) -> bool,
    ) -> Result<LinkOptions, Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.try_join(wanted, id, names, place) {
                Err(Error::AddressInUse { .. } | Error::NetworkFull { .. })
                    if Instant::now() < deadline
                        && !self.take(&wanted.name)?.alive()?.iter().all(|id| runs(id)) =>
                {
                    std::thread::sleep(Duration::from_millis(10));
                }
                other => return other,
            }
        }
    }

    fn try_join(
        &self,
        wanted: &Wanted,
        id: &str,
        names: &[String],
        place: usize,
    ) -> Result<LinkOptions, Error> {
        let taken = self.take(&wanted.name)?;
        let (plans, peers): (Vec<_>, Vec<_>) = taken
            .members()?
            .into_iter()
            .filter(|(member, ..)| member != id)
            .map(|it| (it.1, it.2))
            .unzip();
        let plan = taken.network.plan(wanted, &plans, names, place)?;
        let path = taken.path.join(id);
        let listener = control::listen_at(&taken.path, id)
            .map_err(|errno| io("listen at", &path)(errno.into()))?;
        replace(&taken.path, &format!("{id}.json"), &plan)?;
        let peers = peers.into_iter().flatten().collect();
        Ok(LinkOptions { plan, membership: Some(Membership { listener, peers }) })
    }

    /// Has a container be called otherwise.
    pub fn rename(&self, name: &str, id: &str, names: &[String]) -> Result<(), Error> {
        let taken = self.take(name)?;
        let file = format!("{id}.json");
        if let Some(mut plan) = read_json::<LinkPlan>(&taken.path.join(&file))? {
            plan.names = names.to_vec();
            replace(&taken.path, &file, &plan)?;
        }
        Ok(())
    }

    /// Forgets a container that has left.
    pub fn leave(&self, name: &str, id: &str) -> Result<(), Error> {
        self.take(name)?.forget(id)
    }
}

impl Taken {
    /// Removes the network, in which nobody is.
    pub fn remove(self) -> Result<(), Error> {
        let record = self.path.join(RECORD);
        // From here on it is none; what else there is only takes room.
        std::fs::remove_file(&record).map_err(io("remove", &record))?;
        std::fs::remove_dir_all(&self.path).map_err(io("remove", &self.path))
    }

    /// The IDs of the containers whose servers live, written down already or about to be.
    pub fn alive(&self) -> Result<Vec<String>, Error> {
        Ok(self.members()?.into_iter().map(|(id, ..)| id).collect())
    }

    /// Whose servers live: their IDs, their links, and connections, where they take one.
    fn members(&self) -> Result<Vec<(String, LinkPlan, Option<OwnedFd>)>, Error> {
        let entries = std::fs::read_dir(&self.path).map_err(io("list", &self.path))?;
        let mut members = Vec::new();
        for entry in entries {
            let name = entry.map_err(io("list", &self.path))?.file_name();
            let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".json")) else {
                continue;
            };
            if id.len() != 64 {
                continue; // the network's own
            }
            match control::connect_to(&self.path, id, SocketFlags::NONBLOCK) {
                Err(Errno::CONNREFUSED | Errno::NOENT) => self.forget(id)?,
                // It has so much to do that it cannot be asked now: it is there all the same.
                connected => {
                    let plan = read_json(&self.path.join(&name))?;
                    members.extend(plan.map(|plan| (id.to_owned(), plan, connected.ok())));
                }
            }
        }
        Ok(members)
    }

    fn forget(&self, id: &str) -> Result<(), Error> {
        for name in [format!("{id}.json"), id.to_owned()] {
            let path = self.path.join(name);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                other => other.map_err(io("remove", &path))?,
            }
        }
        Ok(())
    }
}

impl Network {
    /// The link of a container that joins those who are there.
    fn plan(
        &self,
        wanted: &Wanted,
        others: &[LinkPlan],
        names: &[String],
        place: usize,
    ) -> Result<LinkPlan, Error> {
        let taken: Vec<IpAddr> = others
            .iter()
            .flat_map(|plan| {
                let six = plan.addresses.six.as_ref().map(|six| IpAddr::V6(six.guest));
                std::iter::once(IpAddr::V4(plan.addresses.guest)).chain(six)
            })
            .collect();
        self.check(wanted)?;
        let (mut four, mut six) = (None, None);
        for pool in &self.pools {
            let asked = match pool.subnet.is_ipv6() {
                true => wanted.ip6.map(IpAddr::V6),
                false => wanted.ip.map(IpAddr::V4),
            };
            let address = pool.address(asked, &taken, &self.name)?;
            match (address, pool.gateway) {
                (IpAddr::V4(guest), IpAddr::V4(gateway)) => {
                    four = Some((guest, gateway, pool.subnet.prefix));
                }
                (IpAddr::V6(guest), IpAddr::V6(gateway)) => {
                    six = Some(Six { guest, gateway, prefix: pool.subnet.prefix });
                }
                _ => {}
            }
        }
        let full = || Error::NetworkFull { name: self.name.clone() };
        let (guest, gateway, prefix) = four.ok_or_else(full)?;
        let [a, b, c, d] = guest.octets();
        Ok(LinkPlan {
            network: self.name.clone(),
            device: device(place),
            addresses: Addresses { guest, gateway, prefix, six, shared: true },
            mac: wanted.mac.unwrap_or(Mac([0x02, 0x42, a, b, c, d])),
            mtu: self.mtu.unwrap_or(Settings::MTU),
            host_loopback: false,
            fast: false,
            internal: self.internal,
            metric: metric(place),
            names: if self.dns { names.to_vec() } else { Vec::new() },
        })
    }

    /// Whether a container can be in it with what is asked for.
    pub fn check(&self, wanted: &Wanted) -> Result<(), Error> {
        let asked = [wanted.ip.map(IpAddr::V4), wanted.ip6.map(IpAddr::V6)];
        for address in asked.into_iter().flatten() {
            let fits = |pool: &Pool| pool.subnet.is_a_station_s(address) && pool.gateway != address;
            if !self.pools.iter().any(fits) {
                let subnets = self.pools.iter().map(|pool| pool.subnet.to_string());
                let subnets = subnets.collect::<Vec<_>>().join(", ");
                return Err(Error::NotInNetwork { address, name: self.name.clone(), subnets });
            }
        }
        Ok(())
    }

    /// The range of a family.
    pub fn pool(&self, six: bool) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.subnet.is_ipv6() == six)
    }
}

impl Wanted {
    /// One without wishes.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Whether addresses were asked for.
    pub fn is_addressed(&self) -> bool {
        let unspecified = (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED);
        (self.ip.unwrap_or(unspecified.0), self.ip6.unwrap_or(unspecified.1)) != unspecified
            || self.mac.is_some()
    }
}

fn io(action: &'static str, path: &Path) -> impl Fn(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path: path.clone(), source }
}

fn read(directory: &Path) -> Result<Option<Network>, Error> {
    read_json(&directory.join(RECORD))
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    let bytes = match std::fs::read(path) {
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return Ok(None),
        other => other.map_err(io("read", path))?,
    };
    let value = serde_json::from_slice(&bytes);
    value.map(Some).map_err(|source| Error::Damaged { path: path.to_owned(), source })
}

/// Puts a file in place of another, whole or not at all. Who writes it holds the directory.
fn replace(directory: &Path, name: &str, value: &impl serde::Serialize) -> Result<(), Error> {
    let (new, path) = (directory.join(".new"), directory.join(name));
    let text = serde_json::to_vec(value)
        .map_err(|source| Error::Damaged { path: path.clone(), source })?;
    let write = || {
        let mut file = File::create(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&new, &path)
    };
    write().map_err(io("write", &path))
}

fn make_directory(path: &Path) -> Result<(), Error> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(io("make", path)(errno.into())),
    }
}

fn lock(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let directory = rustix::fs::open(path, flags, Mode::empty())
        .map_err(|errno| io("open", path)(errno.into()))?;
    loop {
        match rustix::fs::flock(&directory, FlockOperation::LockExclusive) {
            Ok(()) => return Ok(directory),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(io("lock", path)(errno.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks() -> (tempfile::TempDir, Networks) {
        let root = tempfile::tempdir().expect("a directory");
        let networks = Networks::new(root.path());
        (root, networks)
    }

    fn make(networks: &Networks, name: &str) -> Result<Network, Error> {
        let draft = Draft { name: name.to_owned(), ..Draft::default() };
        networks.create(&draft, "2026-11-28T00:00:00Z".into(), &[])
    }

    fn id(letter: char) -> String {
        letter.to_string().repeat(64)
    }

    #[test]
    fn networks_have_ranges_of_their_own() {
        let (_root, networks) = networks();
        assert_eq!(networks.list().expect("none"), []);
        let one = make(&networks, "one").expect("made");
        let two = make(&networks, "two").expect("made");
        assert!(!one.pools[0].subnet.overlaps(&two.pools[0].subnet));
        assert!(matches!(make(&networks, "one"), Err(Error::NetworkExists { .. })));
        assert_eq!(networks.find(&two.id[..20]).expect("found"), two);
        for query in ["three", "..", "", "one/"] {
            assert!(matches!(networks.find(query), Err(Error::NoSuchNetwork { .. })), "{query}");
        }
        networks.take("one").expect("taken").remove().expect("removed");
        assert_eq!(networks.list().expect("one"), [two]);
        // Its range is free again.
        assert_eq!(make(&networks, "one").expect("made").pools, one.pools);
    }

    #[test]
    fn members_meet_and_the_dead_are_swept() {
        let (_root, networks) = networks();
        make(&networks, "web").expect("made");
        let wanted = Wanted::named("web");
        let join = |letter| networks.join(&wanted, &id(letter), &["n".into()], 0, |_| true);
        let first = join('a').expect("joined");
        let second = join('b').expect("joined");
        assert_eq!(first.plan.addresses.guest, Ipv4Addr::new(10, 89, 0, 2));
        assert_eq!(second.plan.addresses.guest, Ipv4Addr::new(10, 89, 0, 3));
        assert_eq!(second.membership.as_ref().map(|it| it.peers.len()), Some(1));
        let taken = Wanted { ip: Some(first.plan.addresses.guest), ..wanted.clone() };
        let error = networks.join(&taken, &id('c'), &[], 0, |_| true).expect_err("taken");
        assert!(matches!(error, Error::AddressInUse { .. }), "{error}");
        drop(first);
        let third = networks.join(&taken, &id('c'), &[], 1, |_| true).expect("free again");
        assert_eq!(third.membership.as_ref().map(|it| it.peers.len()), Some(1));
        assert_eq!((third.plan.device.as_str(), third.plan.metric), ("eth1", 100));
        assert!(!networks.root.join("web").join(id('a')).exists(), "swept");
        let elsewhere = Wanted { ip: Some(Ipv4Addr::new(10, 88, 0, 2)), ..wanted.clone() };
        let error = networks.join(&elsewhere, &id('d'), &[], 0, |_| true).expect_err("outside");
        assert!(matches!(error, Error::NotInNetwork { .. }), "{error}");
    }

    #[test]
    fn a_network_has_an_end() {
        let (_root, networks) = networks();
        let draft = Draft {
            name: "small".to_owned(),
            subnets: vec!["10.89.7.0/30".parse().expect("a range")],
            ..Draft::default()
        };
        networks.create(&draft, String::new(), &[]).expect("made");
        let wanted = Wanted::named("small");
        let _one = networks.join(&wanted, &id('a'), &[], 0, |_| true).expect("joined");
        let error = networks.join(&wanted, &id('b'), &[], 0, |_| true).expect_err("full");
        assert!(matches!(error, Error::NetworkFull { .. }), "{error}");
    }

    #[test]
    fn makers_and_removers_at_once_lose_nothing() {
        let (_root, networks) = networks();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        match make(&networks, "web") {
                            Ok(_) | Err(Error::NetworkExists { .. }) => {}
                            Err(error) => panic!("{error}"),
                        }
                        match networks.join(&Wanted::named("web"), &id('a'), &[], 0, |_| true) {
                            Ok(_) | Err(Error::NoSuchNetwork { .. }) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                });
            }
            scope.spawn(|| {
                for _ in 0..20 {
                    match networks.take("web").and_then(Taken::remove) {
                        Ok(()) | Err(Error::NoSuchNetwork { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        });
    }
}
