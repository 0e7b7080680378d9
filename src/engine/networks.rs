//! Named networks: made, listed, removed, joined and left.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::events::{Event, Kind};
use super::of_host::host_files;
use super::prune::{Fits, Pruned};
use super::run::write_files;
use super::{Engine, Error};
use crate::bundle::{EtcFiles, Request, Sharing};
use crate::container::{Directory, Record, Summary};
use crate::network::{
    self, Draft, LinkOptions, LinkPlan, Network, PRIVATE, Settings, Subnet, Wanted,
};
use crate::runtime;

/// Stands for no network in a list of them.
const NONE: &str = "none";
/// Devices that a container may have.
const MOST_DEVICES: usize = 64;

impl Engine {
    /// All named networks, sorted by name.
    pub fn networks(&self) -> Result<Vec<Network>, Error> {
        Ok(self.networks.list()?)
    }

    /// The network of this name, or of an ID that begins so.
    pub fn named_network(&self, query: &str) -> Result<Network, Error> {
        Ok(self.networks.find(query)?)
    }

    /// Makes a network.
    pub fn create_network(&self, draft: &Draft) -> Result<Network, Error> {
        let network = self.networks.create(draft, super::run::now(), &routes())?;
        self.emit(&[told("create", &network)]);
        Ok(network)
    }

    /// The containers that are in a network, running or not.
    pub fn network_users(&self, name: &str) -> Result<Vec<Summary>, Error> {
        let records = self.summaries(&|_| true)?.into_iter().map(|(record, _)| record);
        Ok(records
            .filter(|record| record.config.networks.iter().any(|it| it.name == name))
            .collect())
    }

    /// The names of the networks that containers are in, running or not.
    pub fn networks_in_use(&self) -> Result<Vec<String>, Error> {
        let records = self.summaries(&|_| true)?.into_iter();
        Ok(records.flat_map(|(record, _)| record.config.networks).map(|it| it.name).collect())
    }

    /// The containers that run in a network, with their ends of it.
    pub fn network_members(&self, name: &str) -> Result<Vec<(Summary, LinkPlan)>, Error> {
        let records = self.summaries(&|status| status.is_up())?.into_iter();
        Ok(records
            .filter_map(|(record, _)| {
                let link = record.links.iter().find(|link| link.network == name)?.clone();
                Some((record, link))
            })
            .collect())
    }

    /// Removes a network that no container is in.
    pub fn remove_network(&self, query: &str) -> Result<(), Error> {
        self.sweep_containers(); // those that are to be gone are in none
        let name = self.networks.find(query)?.name;
        let in_use = |containers| network::Error::NetworkInUse { name: name.clone(), containers };
        let deadline = Instant::now() + network::PATIENCE;
        loop {
            let taken = self.networks.take(&name)?;
            let users = self.network_users(&name)?;
            if !users.is_empty() {
                return Err(in_use(users.into_iter().map(|record| record.name).collect()).into());
            }
            // One that starts just now is in it before that is written down, and one that has gone
            // may be still.
            let alive = taken.alive()?;
            if alive.is_empty() {
                let event = told("destroy", &taken.network);
                taken.remove()?;
                self.emit(&[event]);
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(in_use(alive).into());
            }
            drop(taken);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether the container of this ID runs.
    fn runs(&self, id: &str) -> bool {
        self.containers.find(id).is_ok_and(|record| record.status().is_up())
    }

    /// Removes networks that no container is in.
    pub fn prune_networks(&self, fits: Fits<'_>) -> Result<Pruned, Error> {
        let mut pruned = Pruned::default();
        for network in self.networks()? {
            if !fits(&network.created, &network.labels) {
                continue;
            }
            match self.remove_network(&network.name) {
                Ok(()) => pruned.lines.push(network.name),
                // In use, or another command was faster.
                Err(Error::Network(
                    network::Error::NetworkInUse { .. } | network::Error::NoSuchNetwork { .. },
                )) => {}
                Err(error) => pruned.failures.push(error),
            }
        }
        self.emit(&[Event::of_prune(Kind::Network, 0)]);
        Ok(pruned)
    }

    /// What a container in these networks is said to be in. All of them must be there.
    pub(super) fn first_network(&self, networks: &[Wanted]) -> Result<String, Error> {
        let mut first = None;
        for wanted in networks.iter().filter(|wanted| !is_builtin(&wanted.name)) {
            let network = self.networks.find(&wanted.name)?;
            network.check(wanted)?;
            first.get_or_insert(network.name);
        }
        Ok(first.unwrap_or_else(|| PRIVATE.to_owned()))
    }

    /// Puts names in place of IDs.
    pub(super) fn name_networks(&self, networks: &mut [Wanted]) -> Result<(), Error> {
        for wanted in networks.iter_mut().filter(|wanted| !is_builtin(&wanted.name)) {
            wanted.name = self.networks.find(&wanted.name)?.name;
        }
        Ok(())
    }

    /// Joins a container's networks: the one that it has alone, or those with names.
    pub(super) fn join_networks(
        &self,
        settings: &Settings,
        networks: &[Wanted],
        directory: &Directory,
        request: &Request,
    ) -> Result<Vec<LinkOptions>, Error> {
        let alone = || LinkOptions { plan: LinkPlan::private(settings, 0), membership: None };
        if networks.is_empty() {
            return Ok(vec![alone()]);
        }
        let mut links = Vec::new();
        for wanted in networks.iter().filter(|wanted| wanted.name != NONE) {
            if wanted.name == PRIVATE {
                let plan = LinkPlan::private(settings, links.len());
                links.push(LinkOptions { plan, membership: None });
                continue;
            }
            let hostname = request.hostname.as_deref();
            let names = names(&directory.id, directory.name.as_str(), hostname, wanted);
            let runs = |id: &str| self.runs(id);
            links.push(self.networks.join(wanted, &directory.id, &names, links.len(), runs)?);
        }
        Ok(links)
    }

    /// Has a container be in another network: at once where it runs, and at each start.
    pub fn connect_network(&self, wanted: &Wanted, container: &str) -> Result<(), Error> {
        let network = self.networks.find(&wanted.name)?;
        let wanted = Wanted { name: network.name.clone(), ..wanted.clone() };
        network.check(&wanted)?;
        let record = self.container_named(container)?;
        let mut networks = networks_of(&record)?;
        if networks.iter().any(|it| it.name == network.name) {
            return Err(Error::AlreadyConnected { container: record.name, network: network.name });
        }
        networks.retain(|it| it.name != NONE);
        networks.push(wanted.clone());
        let link = match record.status().is_up() {
            true => Some(self.connect_running(&record, &wanted)?),
            false => None,
        };
        self.write_networks(&record, &networks, |links| links.extend(link))?;
        self.emit(&[told("connect", &network).with("container", &record.id)]);
        Ok(())
    }

    fn connect_running(&self, record: &Record, wanted: &Wanted) -> Result<LinkPlan, Error> {
        let held = self.hold(&record.id)?;
        let names = names(&record.id, &record.name, Some(&record.config.hostname), wanted);
        let free = |place: &usize| {
            let device = format!("eth{place}");
            !record.links.iter().any(|link| link.device == device)
        };
        let place = (0..MOST_DEVICES).find(free).unwrap_or(MOST_DEVICES);
        let link = self.networks.join(wanted, &record.id, &names, place, |id| self.runs(id))?;
        let directory = self.containers.directory(record);
        let joined =
            runtime::make_device(held.pid, &link.plan).map_err(Error::from).and_then(|tap| {
                network::join(&directory, &link, &tap)
                    .map_err(|errno| no_server(&record.name, errno))
            });
        if let Err(error) = joined {
            let _ = self.networks.leave(&wanted.name, &record.id);
            return Err(error);
        }
        Ok(link.plan)
    }

    /// Has a container be in a network no more.
    pub fn disconnect_network(&self, query: &str, container: &str) -> Result<(), Error> {
        let name = match self.networks.find(query) {
            Ok(network) => network.name,
            Err(_) if query == PRIVATE => query.to_owned(),
            Err(error) => return Err(error.into()),
        };
        let record = self.container_named(container)?;
        let mut networks = networks_of(&record)?;
        if !networks.iter().any(|it| it.name == name) {
            return Err(Error::NotConnected { container: record.name, network: name });
        }
        networks.retain(|it| it.name != name);
        if networks.is_empty() {
            networks.push(Wanted::named(NONE));
        }
        if record.status().is_up() {
            match network::leave(&self.containers.directory(&record), &name) {
                // Whose server is gone has no network to leave.
                Ok(()) | Err(Errno::CONNREFUSED | Errno::NOENT | Errno::CONNRESET) => {}
                Err(errno) => return Err(no_server(&record.name, errno)),
            }
        }
        if name != PRIVATE {
            self.networks.leave(&name, &record.id)?;
        }
        self.write_networks(&record, &networks, |links| links.retain(|it| it.network != name))?;
        if let Ok(network) = self.networks.find(&name) {
            self.emit(&[told("disconnect", &network).with("container", &record.id)]);
        }
        Ok(())
    }

    /// Has the others in its networks know a container that runs by the name that it has now.
    pub(super) fn tell_name(&self, record: &Record) -> Result<(), Error> {
        let directory = self.containers.directory(record);
        let mut told = Vec::new();
        for wanted in record.config.networks.iter().filter(|it| !is_builtin(&it.name)) {
            let names = names(&record.id, &record.name, Some(&record.config.hostname), wanted);
            match network::rename(&directory, &wanted.name, &names) {
                // Whose server is gone is called by nobody; an old one calls it so at its next start.
                Ok(()) | Err(Errno::CONNREFUSED | Errno::NOENT | Errno::CONNRESET) => {}
                Err(errno) => return Err(no_server(&record.name, errno)),
            }
            self.networks.rename(&wanted.name, &record.id, &names)?;
            told.push((&wanted.name, names));
        }
        if !told.is_empty() {
            self.containers.edit(record, |record| {
                for link in &mut record.links {
                    if let Some((_, names)) = told.iter().find(|(it, _)| **it == link.network) {
                        link.names.clone_from(names);
                    }
                }
            })?;
        }
        Ok(())
    }

    /// That a container has come to its named networks (`connect`), or left them, as docker tells of each
    /// start and end.
    pub(super) fn told_of_networks(&self, action: &str, record: &Record) -> Vec<Event> {
        let named = record.config.networks.iter().filter(|it| !is_builtin(&it.name));
        let found = named.filter_map(|it| self.networks.find(&it.name).ok());
        found.map(|network| told(action, &network).with("container", &record.id)).collect()
    }

    /// Writes down which networks a container is in, and tells it of its names and addresses.
    fn write_networks(
        &self,
        record: &Record,
        networks: &[Wanted],
        change: impl FnOnce(&mut Vec<LinkPlan>),
    ) -> Result<(), Error> {
        self.containers.change_creation(record, |request| request.networks = networks.to_vec())?;
        let record = self.containers.edit(record, |record| {
            record.config.networks = networks.to_vec();
            change(&mut record.links);
        })?;
        if record.status().is_up() {
            self.tell_addresses(&record)?;
        }
        Ok(())
    }

    fn tell_addresses(&self, record: &Record) -> Result<(), Error> {
        let request = match self.containers.creation(record) {
            Ok(creation) => creation.container,
            Err(_) => Request { network: Some(Sharing::Private), ..Request::default() },
        };
        let host = host_files();
        let mut etc = EtcFiles::new(&request, &record.config.hostname, &host)?;
        etc.settle(&request, &record.links, &host)?;
        write_files(&self.containers.directory(record), &etc)
    }
}

/// The names that others in a network know a container by.
fn names(id: &str, name: &str, hostname: Option<&str>, wanted: &Wanted) -> Vec<String> {
    let short = id.get(..12).unwrap_or(id);
    let mut names = vec![name.to_owned()];
    let others = wanted.aliases.iter().map(String::as_str).chain([short]).chain(hostname);
    for other in others.filter(|other| !other.is_empty()) {
        if !names.iter().any(|known| known == other) {
            names.push(other.to_owned());
        }
    }
    names
}

/// The networks that a container is in, as they would be written down.
fn networks_of(record: &Record) -> Result<Vec<Wanted>, Error> {
    match (&record.config.private, &record.config.networks[..]) {
        (None, _) => Err(Error::NoNetworks {
            container: record.name.clone(),
            mode: record.config.network.clone(),
        }),
        (Some(_), []) => Ok(vec![Wanted::named(PRIVATE)]),
        (Some(_), networks) => Ok(networks.to_vec()),
    }
}

fn is_builtin(name: &str) -> bool {
    name == PRIVATE || name == NONE
}

fn told(action: &str, network: &Network) -> Event {
    Event::new(Kind::Network, action, &network.id)
        .with("name", &network.name)
        .with("type", "bridge")
}

fn no_server(container: &str, errno: Errno) -> Error {
    Error::NoNetworkServer { container: container.to_owned(), errno }
}

/// What the host reaches by its own devices (proc_net(5)): networks of coracle's keep off that.
fn routes() -> Vec<Subnet> {
    let read = |path: &str| std::fs::read_to_string(Path::new("/proc/net").join(path));
    let text = read("route").unwrap_or_default();
    text.lines().skip(1).filter_map(route).collect()
}

/// A line of /proc/net/route. The one that leads everywhere else is none.
fn route(line: &str) -> Option<Subnet> {
    let mut fields = line.split_whitespace().skip(1);
    // Both in the order of bytes that the kernel has them in memory.
    let mut number = |skipped| u32::from_str_radix(fields.nth(skipped)?, 16).ok();
    let (target, mask) = (number(0)?, number(5)?);
    let prefix = u8::try_from(mask.count_ones()).ok().filter(|prefix| *prefix > 0)?;
    Subnet::around(std::net::Ipv4Addr::from(target.to_ne_bytes()).into(), prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_read_as_the_kernel_writes_them() {
        let line = "eth0\t0000590A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0";
        let expected = if cfg!(target_endian = "little") { Some("10.89.0.0/16") } else { None };
        if let Some(expected) = expected {
            assert_eq!(route(line).map(|it| it.to_string()).as_deref(), Some(expected));
        }
        assert_eq!(route("eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0"), None);
    }

    #[test]
    fn a_container_has_each_name_once() {
        let wanted = Wanted { aliases: vec!["db".into(), "one".into()], ..Wanted::named("web") };
        let id = "0123456789abcdef".repeat(4);
        let known = names(&id, "one", Some("0123456789ab"), &wanted);
        assert_eq!(known, ["one", "db", "0123456789ab"]);
    }
}
