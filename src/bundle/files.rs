//! The texts of /etc/hosts, /etc/hostname and /etc/resolv.conf.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use super::{Error, HostAddress, Request, Sharing};
use crate::network::{self, Addresses, LinkPlan};

/// Files that are made for each container and bound into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcFiles {
    /// /etc/hosts
    pub hosts: String,
    /// /etc/hostname
    pub hostname: String,
    /// /etc/resolv.conf
    pub resolv_conf: String,
    /// /etc/localtime, where a time zone was asked for (tzfile(5)).
    pub localtime: Option<Vec<u8>>,
}

/// The host's own texts, empty where they cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFiles {
    /// The host's /etc/hosts.
    pub hosts: String,
    /// The host's /etc/resolv.conf.
    pub resolv_conf: String,
    /// The host's name.
    pub hostname: String,
    /// What /etc/hosts begins with in place of the usual text (`--hosts-file`).
    pub first_hosts: Option<String>,
    /// The time zone that was asked for (tzfile(5)).
    pub localtime: Option<Vec<u8>>,
}

const LOOPBACK: &str = "127.0.0.1\tlocalhost\n\
    ::1\tlocalhost ip6-localhost ip6-loopback\n\
    fe00::\tip6-localnet\n\
    ff00::\tip6-mcastprefix\n\
    ff02::1\tip6-allnodes\n\
    ff02::2\tip6-allrouters\n";

impl EtcFiles {
    /// The files of a container named `hostname`.
    pub fn new(request: &Request, hostname: &str, host: &HostFiles) -> Result<Self, Error> {
        let shares_hosts = matches!(request.network, None | Some(Sharing::Host));
        let own = format!("127.0.0.1\t{hostname}\n");
        let mut hosts = match &host.first_hosts {
            Some(first) if shares_hosts => first.clone(),
            Some(first) => format!("{first}\n{own}"),
            None if !shares_hosts => format!("{LOOPBACK}{own}"),
            None if host.hosts.is_empty() => LOOPBACK.to_owned(),
            None => host.hosts.clone(),
        };
        if !hosts.ends_with('\n') {
            hosts.push('\n');
        }
        let private = request.network == Some(Sharing::Private);
        // Which addresses it has in named networks is known when it joins those.
        let links = match private && request.networks.is_empty() {
            true => vec![LinkPlan::private(&request.private, 0)],
            false => Vec::new(),
        };
        let gateway = links.first().map(|link| link.addresses.gateway);
        if private {
            hosts = private_hosts(&links, hostname, &host.hosts);
        }
        add_hosts(&mut hosts, request, |name| match request.network {
            None | Some(Sharing::Host) => Ok(Some(Ipv4Addr::LOCALHOST)),
            Some(Sharing::Private) => Ok(gateway),
            Some(_) => Err(Error::NoGateway { host: name.to_owned() }),
        })?;
        Ok(Self {
            hosts,
            hostname: format!("{hostname}\n"),
            resolv_conf: private_resolv_conf(request, &links, host),
            localtime: host.localtime.clone(),
        })
    }

    /// Says which addresses the container has on its links, whatever was said before.
    pub fn settle(
        &mut self,
        request: &Request,
        links: &[LinkPlan],
        host: &HostFiles,
    ) -> Result<(), Error> {
        self.hosts = private_hosts(links, self.hostname.trim_end(), &host.hosts);
        let gateway = way_out(links).map(|link| link.addresses.gateway);
        add_hosts(&mut self.hosts, request, |name| match gateway {
            Some(gateway) => Ok(Some(gateway)),
            None => Err(Error::NoGateway { host: name.to_owned() }),
        })?;
        self.resolv_conf = private_resolv_conf(request, links, host);
        Ok(())
    }
}

/// Adds the names that the user gave; `gateway` says where one leads that is the host's, or that it
/// is not known yet.
fn add_hosts(
    hosts: &mut String,
    request: &Request,
    gateway: impl Fn(&str) -> Result<Option<Ipv4Addr>, Error>,
) -> Result<(), Error> {
    for (name, address) in &request.add_hosts {
        let address = match address {
            HostAddress::Ip(address) => Some(*address),
            HostAddress::Gateway => gateway(name)?.map(IpAddr::V4),
        };
        if let Some(address) = address {
            let _ = writeln!(hosts, "{address}\t{name}");
        }
    }
    Ok(())
}

/// The container's own name, the host's names, and of the host's other names those that are not its
/// loopback's, which is another in the container.
fn private_hosts(links: &[LinkPlan], hostname: &str, host: &str) -> String {
    let mut hosts = LOOPBACK.to_owned();
    for LinkPlan { addresses, .. } in links {
        let _ = writeln!(hosts, "{}\t{hostname}", addresses.guest);
        if let Some(six) = addresses.six.as_ref().filter(|_| addresses.shared) {
            let _ = writeln!(hosts, "{}\t{hostname}", six.guest);
        }
    }
    if let Some(link) = way_out(links) {
        let gateway = link.addresses.gateway;
        let _ = writeln!(hosts, "{gateway}\thost.docker.internal host.containers.internal");
    }
    let others = host.lines().filter(|line| {
        let address = line.split_whitespace().next().and_then(|word| word.parse().ok());
        address.is_some_and(network::is_outside)
    });
    for line in others {
        let _ = writeln!(hosts, "{line}");
    }
    hosts
}

/// The link that leads out.
fn way_out(links: &[LinkPlan]) -> Option<&LinkPlan> {
    links.iter().find(|link| !link.internal)
}

/// Where the container asks for names: the gateway of a network that it shares, which knows those of
/// the others there, or else the addresses that stand for the host's resolvers.
fn private_resolv_conf(request: &Request, links: &[LinkPlan], host: &HostFiles) -> String {
    let shared = links.iter().find(|link| link.addresses.shared);
    let dns = match (shared, links.first()) {
        // It asks those that were given, if any were.
        (Some(link), _) => vec![IpAddr::V4(link.addresses.gateway)],
        (None, Some(_)) if request.dns.is_empty() => {
            // The number of a device is of no interest here.
            let count = network::read_resolvers(&host.resolv_conf, |_| Some(0)).count();
            Addresses::resolvers(count).map(IpAddr::V4).collect()
        }
        _ => return resolv_conf(request, &host.resolv_conf),
    };
    resolv_conf(&Request { dns, ..request.clone() }, &host.resolv_conf)
}

/// The host's resolv.conf(5), with the lines replaced that the user gave.
fn resolv_conf(request: &Request, host: &str) -> String {
    let replaced = |line: &str| match line.split_whitespace().next() {
        Some("nameserver") => !request.dns.is_empty(),
        Some("search" | "domain") => !request.dns_search.is_empty(),
        Some("options") => !request.dns_options.is_empty(),
        _ => false,
    };
    let mut text = String::new();
    for line in host.lines().filter(|line| !replaced(line)) {
        let _ = writeln!(text, "{line}");
    }
    for address in &request.dns {
        let _ = writeln!(text, "nameserver {address}");
    }
    // `--dns-search .` means none at all (docker run(1)).
    let search: Vec<_> =
        request.dns_search.iter().map(String::as_str).filter(|domain| *domain != ".").collect();
    if !search.is_empty() {
        let _ = writeln!(text, "search {}", search.join(" "));
    }
    if !request.dns_options.is_empty() {
        let _ = writeln!(text, "options {}", request.dns_options.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_lines_replace_the_hosts() {
        let request = Request {
            dns: vec![IpAddr::from([9, 9, 9, 9])],
            dns_search: vec![".".into()],
            ..Request::default()
        };
        let host = "# by hand\nnameserver 1.1.1.1\nsearch example.org\noptions ndots:2\n";
        assert_eq!(resolv_conf(&request, host), "# by hand\noptions ndots:2\nnameserver 9.9.9.9\n");
    }

    #[test]
    fn a_private_network_has_names_of_its_own() {
        let host = HostFiles {
            hosts: "127.0.0.1 localhost\n127.0.1.1 box\n192.168.1.9 nas # disks\n::1 x\n".into(),
            resolv_conf: "nameserver 127.0.0.53\nnameserver 192.168.1.1\nsearch lan\n".into(),
            ..HostFiles::default()
        };
        let mut request = Request {
            network: Some(Sharing::Private),
            add_hosts: vec![("up".into(), HostAddress::Gateway)],
            ..Request::default()
        };
        let files = EtcFiles::new(&request, "web", &host).expect("valid");
        let rest = files.hosts.strip_prefix(LOOPBACK).expect("localhost first");
        assert_eq!(
            rest,
            "10.0.2.100\tweb\n10.0.2.2\thost.docker.internal host.containers.internal\n\
             192.168.1.9 nas # disks\n10.0.2.2\tup\n"
        );
        assert_eq!(files.resolv_conf, "search lan\nnameserver 10.0.2.3\nnameserver 10.0.2.4\n");
        request.dns = vec![IpAddr::from([9, 9, 9, 9])];
        let files = EtcFiles::new(&request, "web", &host).expect("valid");
        assert_eq!(files.resolv_conf, "search lan\nnameserver 9.9.9.9\n");
    }

    #[test]
    fn the_gateway_of_no_network_is_refused() {
        let request = Request {
            network: Some(Sharing::None),
            add_hosts: vec![("db".into(), HostAddress::Gateway)],
            ..Request::default()
        };
        assert!(EtcFiles::new(&request, "box", &HostFiles::default()).is_err());
    }
}
