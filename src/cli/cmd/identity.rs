//! The flags that say what a container finds in /etc: names, users, hosts, the time zone.

use std::net::IpAddr;
use std::path::PathBuf;

use super::super::Error;
use super::super::parse::{self, Invalid};
use crate::engine::bundle::{self, HostAddress};

/// Names, users, hosts, the time zone.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Identity {
    /// Name the host in the container
    #[arg(short = 'h', long, value_name = "NAME")]
    pub(super) hostname: Option<String>,
    /// Name its NIS domain
    #[arg(long, value_name = "NAME")]
    domainname: Option<String>,
    /// Leave the image's /etc/hostname as it is
    #[arg(long)]
    no_hostname: bool,
    /// Leave the image's /etc/hosts as it is
    #[arg(long)]
    no_hosts: bool,
    /// Begin /etc/hosts with this file's text, the image's, or none
    #[arg(long, value_name = "FILE|image|none")]
    hosts_file: Option<String>,
    /// Add a line to /etc/passwd for a user that has none there [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = super::boolean)]
    passwd: Option<bool>,
    /// That line, with $USERNAME, $UID, $GID, $NAME and $HOME filled in
    #[arg(long, value_name = "LINE")]
    passwd_entry: Option<String>,
    /// The line of /etc/group for a group that has none, with $GROUPNAME, $GID and $USERLIST filled in
    #[arg(long, value_name = "LINE")]
    group_entry: Option<String>,
    /// Add an account of the host to /etc/passwd
    #[arg(long, value_name = "NAME")]
    hostuser: Vec<String>,
    /// Set the time zone: Europe/Vienna, or local for the host's
    #[arg(long, alias = "timezone", value_name = "ZONE")]
    tz: Option<String>,
    /// Show the files of /etc below this directory of the container too
    #[arg(long, value_name = "DIRECTORY")]
    chrootdirs: Vec<PathBuf>,
    /// Add a host to /etc/hosts: HOST:ADDRESS, or HOST:host-gateway
    #[arg(long, value_name = "HOST:ADDRESS", value_parser = add_host)]
    add_host: Vec<AddedHosts>,
    /// Ask this name server
    #[arg(long, value_name = "ADDRESS")]
    dns: Vec<IpAddr>,
    /// Complete host names with this domain
    #[arg(long, value_name = "DOMAIN")]
    dns_search: Vec<String>,
    /// Set an option of the resolver (`resolv.conf(5)`)
    #[arg(long, alias = "dns-opt", value_name = "OPTION")]
    pub(super) dns_option: Vec<String>,
}

/// What one `--add-host` adds.
type AddedHosts = std::sync::Arc<[(String, HostAddress)]>;

impl Identity {
    /// Fills in the request.
    pub(super) fn apply(&self, request: &mut bundle::Request) -> Result<(), Error> {
        request.add_hosts = self.add_host.iter().flat_map(|all| all.iter().cloned()).collect();
        request.dns.clone_from(&self.dns);
        request.dns_search.clone_from(&self.dns_search);
        request.dns_options.clone_from(&self.dns_option);
        if self.no_hosts && (!request.add_hosts.is_empty() || self.hosts_file.is_some()) {
            return Err(Error::usage(
                "--no-hosts leaves /etc/hosts to the image: it goes with neither --add-host nor \
                 --hosts-file",
            ));
        }
        request.hostname.clone_from(&self.hostname);
        request.domainname.clone_from(&self.domainname);
        request.no_hostname = self.no_hostname;
        request.no_hosts = self.no_hosts;
        request.hosts_file.clone_from(&self.hosts_file);
        request.no_passwd = self.passwd == Some(false);
        request.passwd_entry.clone_from(&self.passwd_entry);
        request.group_entry.clone_from(&self.group_entry);
        request.host_users.clone_from(&self.hostuser);
        request.timezone.clone_from(&self.tz);
        request.chroot_directories.clone_from(&self.chrootdirs);
        Ok(())
    }
}

fn add_host(text: &str) -> Result<AddedHosts, Invalid> {
    parse::add_host(text).map(Into::into)
}
