//! Whose namespaces, which devices, which kernel parameters.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use super::{Invalid, boolean};
use crate::engine::bundle::{self, DeviceRequest, ImageVolumes, Sharing, Systemd};
use crate::engine::{network, userns};

/// What `--userns` asks for: ids of one's own, or another container's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserNamespace {
    /// One of its own with these ids.
    Own(userns::Request),
    /// Another container's.
    Container(String),
}

/// `--userns`
pub fn user_namespace(text: &str) -> Result<UserNamespace, Invalid> {
    match text.strip_prefix("container:") {
        Some("") => Err(Invalid::new("container: takes the name of a container")),
        Some(name) => Ok(UserNamespace::Container(name.to_owned())),
        None => text.parse().map(UserNamespace::Own).map_err(|error: userns::InvalidRequest| {
            Invalid::new(format!("{error}, or container:NAME"))
        }),
    }
}

/// A network, and what it is to be like where it is a private one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Whose.
    pub sharing: Sharing,
    /// What it is to be like.
    pub settings: network::Settings,
    /// Which one, where it is a named one.
    pub named: Option<network::Wanted>,
}

/// `--network`
pub fn network(text: &str) -> Result<Network, Invalid> {
    let (name, options) = match text.split_once(':') {
        Some((name, options)) if network::PRIVATE_NAMES.contains(&name) => (name, options),
        _ => (text, ""),
    };
    if network::PRIVATE_NAMES.contains(&name) {
        let mut settings = settings(text, options)?;
        settings.fast = name == network::FAST;
        return Ok(Network { sharing: Sharing::Private, settings, named: None });
    }
    let wanted = "private, fast, host, none, container:NAME, ns:PATH or a network's name";
    let invalid = || Invalid::new(format!("there is no network {text:?}: want {wanted}"));
    match sharing(text, &["none"]) {
        Some(Sharing::Private) => Err(invalid()),
        Some(sharing) => Ok(Network { sharing, ..Network::default() }),
        None => {
            let named = Some(self::named(text)?);
            Ok(Network { sharing: Sharing::Private, named, ..Network::default() })
        }
    }
}

/// `NAME`, `NAME:ip=ADDRESS,alias=NAME` (podman's form) and `name=NAME,ip=ADDRESS` (docker's).
fn named(text: &str) -> Result<network::Wanted, Invalid> {
    let mut wanted = network::Wanted::default();
    let options = match text.split_once([':', '=', ',']) {
        None => {
            text.clone_into(&mut wanted.name);
            ""
        }
        Some((name, options)) if text[name.len()..].starts_with(':') => {
            name.clone_into(&mut wanted.name);
            options
        }
        Some(_) => text,
    };
    let invalid = |why: String| Invalid::new(format!("{text:?}: {why}"));
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let address = || invalid(format!("{value:?} is no address"));
        match name {
            "name" => value.clone_into(&mut wanted.name),
            "alias" => wanted.aliases.push(network_alias(value)?),
            // A network of both families takes one of each.
            "ip" => match value.parse().map_err(|_| address())? {
                IpAddr::V4(ip) => wanted.ip = Some(ip),
                IpAddr::V6(ip) => wanted.ip6 = Some(ip),
            },
            "ip6" => wanted.ip6 = Some(value.parse().map_err(|_| address())?),
            "mac" | "mac-address" => {
                let mac = value.parse();
                wanted.mac =
                    Some(mac.map_err(|error: network::InvalidMac| invalid(error.to_string()))?);
            }
            _ => {
                return Err(invalid(format!(
                    "a network has no option {name:?} for a container: want ip=ADDRESS, \
                     ip6=ADDRESS, mac=MAC or alias=NAME"
                )));
            }
        }
    }
    match wanted.name.as_str() {
        "" => Err(invalid("it has no network's name".to_owned())),
        "host" | "none" | "container" | "ns" => {
            Err(invalid(format!("{:?} is no network with a name", wanted.name)))
        }
        _ => Ok(wanted),
    }
}

/// `--network-alias`
pub fn network_alias(text: &str) -> Result<String, Invalid> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match (1..=253).contains(&text.len()) && text.bytes().all(fits) {
        true => Ok(text.to_owned()),
        false => Err(Invalid::new(format!("{text:?} is no name of a host"))),
    }
}

/// `host-loopback,mtu=N,mac=MAC,ip=ADDRESS,ip6=ADDRESS`
fn settings(text: &str, options: &str) -> Result<network::Settings, Invalid> {
    let mut settings = network::Settings::default();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let invalid = |why: String| Invalid::new(format!("{text:?}: {why}"));
        match name {
            // The second is slirp4netns's word for it, as podman has it.
            "host-loopback" | "allow_host_loopback" => {
                settings.host_loopback = match value {
                    "" | "true" => true,
                    "false" => false,
                    _ => return Err(invalid(format!("{name} is true or false"))),
                }
            }
            "mtu" => settings.mtu = Some(mtu(value).map_err(invalid)?),
            "mac" => {
                let mac =
                    value.parse().map_err(|error: network::InvalidMac| invalid(error.to_string()));
                settings.mac = Some(mac?);
            }
            "ip" => settings.ip = Some(private_ip(value)?),
            "ip6" => settings.ip6 = Some(private_ip6(value)?),
            _ => {
                return Err(invalid(format!(
                    "a private network has no option {name:?}: want host-loopback, mtu=BYTES, mac=MAC, \
                     ip=ADDRESS or ip6=ADDRESS"
                )));
            }
        }
    }
    Ok(settings)
}

/// The longest packet in bytes.
pub fn mtu(text: &str) -> Result<u16, String> {
    use network::Settings;
    let fits = |mtu: &u16| (Settings::SHORTEST_MTU..=Settings::MTU).contains(mtu);
    text.parse()
        .ok()
        .filter(fits)
        .ok_or_else(|| format!("mtu is from {} to {} bytes", Settings::SHORTEST_MTU, Settings::MTU))
}

/// An address of a container's in a private network.
pub fn private_ip(text: &str) -> Result<Ipv4Addr, Invalid> {
    on_link(text, "10.0.2.6 to 10.0.2.254")
}

/// The same of IPv6.
pub fn private_ip6(text: &str) -> Result<Ipv6Addr, Invalid> {
    on_link(text, "fd00::6 and above of fd00::/64")
}

fn on_link<T: std::str::FromStr + Copy + Into<IpAddr>>(
    text: &str,
    wanted: &str,
) -> Result<T, Invalid> {
    let address: Option<T> = text.parse().ok();
    let free = |address: &T| network::Addresses::is_free((*address).into());
    address.filter(free).ok_or_else(|| {
        Invalid::new(format!(
            "{text:?} is no address of a private network's containers: want {wanted}"
        ))
    })
}

/// `--publish`
pub fn publish(text: &str) -> Result<std::sync::Arc<[network::PortRequest]>, network::InvalidPort> {
    network::PortRequest::parse(text).map(Into::into)
}

/// `--expose`
pub fn expose(text: &str) -> Result<std::sync::Arc<[network::Expose]>, network::InvalidPort> {
    network::Expose::parse(text).map(Into::into)
}

/// `--pid`, `--uts`, `--cgroupns`
pub fn namespace(text: &str) -> Result<Sharing, Invalid> {
    sharing(text, &[]).ok_or_else(|| {
        Invalid::new(format!("{text:?} is none of private, host, container:NAME and ns:PATH"))
    })
}

/// `--ipc`
pub fn ipc(text: &str) -> Result<Sharing, Invalid> {
    // Every ipc namespace here can be joined, so that docker's `shareable` is `private`.
    let text = if text == "shareable" { "private" } else { text };
    sharing(text, &["none"]).ok_or_else(|| {
        Invalid::new(format!(
            "{text:?} is none of private, shareable, host, none, container:NAME and ns:PATH"
        ))
    })
}

fn sharing(text: &str, more: &[&str]) -> Option<Sharing> {
    match text.split_once(':') {
        Some(("container", name)) if !name.is_empty() => Some(Sharing::Container(name.to_owned())),
        Some(("ns", path)) if path.starts_with('/') => Some(Sharing::Path(PathBuf::from(path))),
        Some(_) => None,
        None => match text {
            "" | "private" => Some(Sharing::Private),
            "host" => Some(Sharing::Host),
            "none" if more.contains(&"none") => Some(Sharing::None),
            _ => None,
        },
    }
}

/// `--device PATH[:PATH][:rwm]`
pub fn device(text: &str) -> Result<DeviceRequest, Invalid> {
    let parts: Vec<&str> = text.split(':').collect();
    let is_mode = |part: &str| !part.is_empty() && part.bytes().all(|byte| b"rwm".contains(&byte));
    let (source, target, mode) = match parts[..] {
        [source] => (source, source, "rwm"),
        [source, mode] if is_mode(mode) => (source, source, mode),
        [source, target] => (source, target, "rwm"),
        [source, target, mode] if is_mode(mode) => (source, target, mode),
        _ => return Err(Invalid::new(format!("{text:?}: want PATH[:PATH][:rwm]"))),
    };
    if !source.starts_with('/') {
        let cdi = source.contains('=');
        return Err(Invalid::new(match cdi {
            true => format!("{source}: names of the Container Device Interface are not read"),
            false => format!("the device {source:?} is not an absolute path"),
        }));
    }
    let absolute = Path::new(target).is_absolute();
    if !absolute {
        return Err(Invalid::new(format!("{target:?} is not an absolute path in the container")));
    }
    Ok(DeviceRequest { source: source.into(), target: target.into(), write: mode.contains('w') })
}

/// `--sysctl NAME=VALUE`; where a slash comes first in the name it is in dots' place, and they in slashes'.
pub fn sysctl(text: &str) -> Result<(String, String), Invalid> {
    let (name, value) =
        text.split_once('=').ok_or_else(|| Invalid::new(format!("{text:?}: want NAME=VALUE")))?;
    let part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-/".contains(&byte))
    };
    let sound = name.split('.').all(part) && !name.contains("//") && !name.starts_with('/');
    if !sound {
        return Err(Invalid::new(format!("{name:?} is no name of a kernel parameter")));
    }
    Ok((bundle::dotted(name), value.to_owned()))
}

/// `--umask`, octal.
pub fn umask(text: &str) -> Result<u32, Invalid> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| {
        Invalid::new(format!("{text:?} is no umask: want octal digits, such as 0022"))
    })
}

/// `--systemd`
pub fn systemd(text: &str) -> Result<Systemd, Invalid> {
    match text {
        "always" => Ok(Systemd::Always),
        text => boolean(text)
            .map(|on| if on { Systemd::Auto } else { Systemd::Never })
            .map_err(|_| Invalid::new(format!("{text:?} is none of true, false and always"))),
    }
}

/// `--image-volume`; podman's `anonymous` and docker's way are `bind`.
pub fn image_volumes(text: &str) -> Result<ImageVolumes, Invalid> {
    match text {
        "bind" | "anonymous" => Ok(ImageVolumes::Bind),
        "tmpfs" => Ok(ImageVolumes::Tmpfs),
        "ignore" => Ok(ImageVolumes::Ignore),
        _ => Err(Invalid::new(format!("{text:?} is none of bind, tmpfs and ignore"))),
    }
}

/// One of a container's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// stdin
    Stdin,
    /// stdout
    Stdout,
    /// stderr
    Stderr,
}

/// `--attach`
pub fn stream(text: &str) -> Result<Stream, Invalid> {
    match text.to_ascii_lowercase().as_str() {
        "stdin" => Ok(Stream::Stdin),
        "stdout" => Ok(Stream::Stdout),
        "stderr" => Ok(Stream::Stderr),
        _ => Err(Invalid::new(format!("{text:?} is none of stdin, stdout and stderr"))),
    }
}

/// `--personality`
pub fn personality(text: &str) -> Result<u32, Invalid> {
    bundle::personality(text).ok_or_else(|| {
        Invalid::new(format!(
            "{text:?} is no personality: want LINUX, LINUX32 or a flag of personality(2)"
        ))
    })
}

/// `--device-cgroup-rule`: none can be had, and none is needed.
pub fn device_cgroup_rule(_: &str) -> Result<std::convert::Infallible, Invalid> {
    Err(Invalid::new(
        "rules for devices take root: a user's container opens those nodes that the user may \
         open and that --device shows it",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_network_has_options() {
        let settings = |text: &str| network(text).map(|network| network.settings);
        let all = settings(
            "private:host-loopback,mtu=1500,mac=02:00:00:00:00:07,ip=10.0.2.7,ip6=fd00::7",
        );
        let all = all.expect("valid");
        assert!(all.host_loopback && all.mtu == Some(1500));
        assert_eq!((all.ip, all.ip6), (Some([10, 0, 2, 7].into()), "fd00::7".parse().ok()));
        let loopback = settings("slirp4netns:allow_host_loopback=true").expect("valid");
        assert!(loopback.host_loopback);
        for bad in [
            "private:mtu=100",
            "private:mtu=x",
            "private:ip=10.0.2.2",
            "private:ip=1.1.1.1",
            "pasta:--mtu,1500",
            "slirp4netns:cidr=10.9.0.0/24",
            "private:mac=x",
            "host:x",
            "container:",
            "",
        ] {
            assert!(network(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_network_with_a_name_has_options_of_both_tools() {
        let named = |text: &str| network(text).map(|network| network.named.expect("a name"));
        assert_eq!(named("web"), Ok(network::Wanted::named("web")));
        let podman = named("web:ip=10.89.0.7,ip=fd00::7,mac=02:00:00:00:00:07,alias=a,alias=b");
        let podman = podman.expect("valid");
        assert_eq!((podman.ip, podman.ip6), (Some([10, 89, 0, 7].into()), "fd00::7".parse().ok()));
        assert_eq!(
            (podman.name.as_str(), &podman.aliases[..]),
            ("web", &["a".into(), "b".into()][..])
        );
        let docker =
            "name=web,ip=10.89.0.7,ip6=fd00::7,mac-address=02:00:00:00:00:07,alias=a,alias=b";
        assert_eq!(named(docker), Ok(podman));
        for bad in
            ["web:ip=x", "web:colour=red", "web:alias=a b", "name=", ":ip=10.0.0.1", "name=host"]
        {
            assert!(network(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn namespaces_are_dockers_words() {
        assert_eq!(namespace("host"), Ok(Sharing::Host));
        assert_eq!(ipc("shareable"), Ok(Sharing::Private));
        assert_eq!(ipc("container:web"), Ok(Sharing::Container("web".into())));
        let sharing = |text: &str| network(text).map(|network| network.sharing);
        assert_eq!(sharing("ns:/run/x"), Ok(Sharing::Path("/run/x".into())));
        assert_eq!(sharing("none"), Ok(Sharing::None));
        for bad in ["container:", "none", "x", "ns:relative"] {
            assert!(namespace(bad).is_err(), "{bad}");
        }
        for private in network::PRIVATE_NAMES {
            assert_eq!(sharing(private), Ok(Sharing::Private));
        }
        assert_eq!(user_namespace("container:a"), Ok(UserNamespace::Container("a".into())));
        assert!(user_namespace("container:").is_err());
    }

    #[test]
    fn devices_have_a_place_and_a_mode() {
        let read = device("/dev/fuse:r").expect("valid");
        assert!(!read.write && read.target == Path::new("/dev/fuse"));
        let moved = device("/dev/fuse:/dev/x:rw").expect("valid");
        assert!(moved.write && moved.target == Path::new("/dev/x"));
        for bad in ["fuse", "/dev/fuse:x", "vendor.com/gpu=all", "/a:/b:q", "/a:/b:r:w"] {
            assert!(device(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn parameters_do_not_climb() {
        assert!(sysctl("net.ipv4.ip_forward=1").is_ok());
        let name = |text: &str| sysctl(text).expect("a sysctl").0;
        for text in ["net.ipv4.conf.eth0/1.forwarding=1", "net/ipv4/conf/eth0.1/forwarding=1"] {
            assert_eq!(name(text), "net.ipv4.conf.eth0/1.forwarding");
        }
        for bad in ["net..x=1", "../x=1", "net./../x=1", "net.x", "=1", "a.b c=1"] {
            assert!(sysctl(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_umask_is_octal() {
        assert_eq!(umask("0027"), Ok(0o27));
        assert!(umask("9").is_err() && umask("1777").is_err());
    }
}
