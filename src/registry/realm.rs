//! Where a registry may send a client, where tokens may be asked for, and who may see the login.

use std::net::IpAddr;

use reqwest::Url;

use super::route::is_loopback;

/// Where tokens may be asked for (CVE-2026-48978 and its kin).
pub(super) fn check(realm: &Url, scheme: &str, host: &str) -> Result<(), &'static str> {
    if !realm.username().is_empty() || realm.password().is_some() {
        return Err("a place for tokens has no user in it");
    }
    match realm.scheme() {
        "https" => {}
        "http" if scheme == "http" => {}
        "http" => return Err("tokens are not asked for without TLS"),
        _ => return Err("only http and https are asked for tokens"),
    }
    check_place(realm, host)
}

/// Whether a registry may send to a place: never to this machine from elsewhere, nor to addresses
/// that belong to one link, where clouds keep what a machine may know of itself.
pub(super) fn check_place(url: &Url, host: &str) -> Result<(), &'static str> {
    let address: IpAddr = match url.host() {
        Some(url::Host::Ipv4(address)) => address.into(),
        // An IPv4 address in other clothes is that address.
        Some(url::Host::Ipv6(address)) => IpAddr::V6(address).to_canonical(),
        Some(url::Host::Domain(name)) => match is_loopback(name) && !is_loopback(host) {
            true => return Err("a registry elsewhere has no business on this machine"),
            false => return Ok(()),
        },
        None => return Err("that has no host"),
    };
    let (local, link) = match address {
        IpAddr::V4(address) => {
            (address.is_loopback() || address.is_unspecified(), address.is_link_local())
        }
        IpAddr::V6(address) => {
            (address.is_loopback() || address.is_unspecified(), address.is_unicast_link_local())
        }
    };
    if local && !is_loopback(host) {
        return Err("a registry elsewhere has no business on this machine");
    }
    if link && super::registries::bare_host(host).parse() != Ok(address) {
        return Err("that is an address of one link, which no registry is to send to");
    }
    Ok(())
}

/// Whether the realm may see the login: it is the registry's own host, of the same domain, or the
/// hub's known one.
pub(super) fn may_see_login(realm: &Url, host: &str) -> bool {
    let bare = super::registries::bare_host(host);
    let realm = super::registries::bare_host(realm.host_str().unwrap_or_default());
    realm == bare
        || (is_loopback(realm) && is_loopback(bare))
        || (domain(realm).is_some() && domain(realm) == domain(bare))
}

/// What is registered of a name: its last two labels, three below a country's own order (`co.uk`,
/// `com.au`). A short name there is taken for such an order: one label too many is asked for, never
/// one too few.
fn domain(name: &str) -> Option<String> {
    if name.parse::<IpAddr>().is_ok() {
        return None;
    }
    let labels: Vec<&str> = name.rsplit('.').collect();
    let ordered = labels.len() >= 2 && labels[0].len() == 2 && labels[1].len() <= 3;
    let count = if ordered { 3 } else { 2 };
    (labels.len() >= count).then(|| labels[..count].join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn realm(text: &str) -> Result<(), &'static str> {
        check(&Url::parse(text).expect(text), "https", "registry.example")
    }

    #[test]
    fn a_realm_is_no_way_into_this_machine() {
        assert!(realm("https://auth.example/token").is_ok());
        for bad in [
            "http://auth.example/token",
            "https://user@auth.example/",
            "https://127.0.0.1/token",
            "https://169.254.169.254/latest",
            "https://localhost/token",
            "https://a.localhost/token",
            "https://[::1]/token",
            "https://[::ffff:127.0.0.1]/token",
            "https://[::ffff:169.254.169.254]/token",
            "https://[fe80::1]/token",
            "https://0.0.0.0/token",
            "https://2130706433/token",
            "ftp://auth.example/",
        ] {
            assert!(realm(bad).is_err(), "{bad}");
        }
        let own = Url::parse("http://127.0.0.1:5001/token").expect("a url");
        assert!(check(&own, "http", "127.0.0.1:5000").is_ok());
        // A name that begins like an address of this machine is none.
        assert!(check(&own, "http", "127.0.0.1.evil.test:5000").is_err());
        // Not even from this machine.
        let metadata = Url::parse("http://169.254.169.254/latest").expect("a url");
        assert!(check(&metadata, "http", "127.0.0.1:5000").is_err());
    }

    #[test]
    fn a_login_is_for_the_registrys_own_domain() {
        let may = |realm: &str, host: &str| may_see_login(&Url::parse(realm).expect(realm), host);
        assert!(may("https://auth.docker.io/token", "registry-1.docker.io"));
        assert!(may("https://r.example/token", "r.example:5000"));
        assert!(may("https://gitlab.com/jwt/auth", "registry.gitlab.com"));
        assert!(may("http://127.0.0.1:5001/token", "localhost:5000"));
        assert!(may("http://[::1]:5001/token", "[::1]:5000"));
        for (realm, host) in [
            ("https://evil.test/token", "r.example"),
            ("https://10.0.0.2/token", "10.0.0.1:5000"),
            ("https://127.0.0.1.evil.test/token", "localhost:5000"),
            ("https://evil.co.uk/token", "good.co.uk"),
            ("https://evil.com.au/token", "registry.good.com.au"),
        ] {
            assert!(!may(realm, host), "{realm} {host}");
        }
        assert!(may("https://auth.good.co.uk/token", "registry.good.co.uk"));
    }
}
