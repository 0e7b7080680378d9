//! The texts of /etc/hosts, /etc/hostname and /etc/resolv.conf.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use super::{Error, HostAddress, Request, Sharing};

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
        for (name, address) in &request.add_hosts {
            let address = match address {
                HostAddress::Ip(address) => *address,
                HostAddress::Gateway if shares_hosts => IpAddr::V4(Ipv4Addr::LOCALHOST),
                HostAddress::Gateway => return Err(Error::NoGateway { host: name.clone() }),
            };
            let _ = writeln!(hosts, "{address}\t{name}");
        }
        Ok(Self {
            hosts,
            hostname: format!("{hostname}\n"),
            resolv_conf: resolv_conf(request, &host.resolv_conf),
            localtime: host.localtime.clone(),
        })
    }
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
    fn the_gateway_of_no_network_is_refused() {
        let request = Request {
            network: Some(Sharing::None),
            add_hosts: vec![("db".into(), HostAddress::Gateway)],
            ..Request::default()
        };
        assert!(EtcFiles::new(&request, "box", &HostFiles::default()).is_err());
    }
}
