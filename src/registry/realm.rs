//! Where tokens may be asked for, and who may see the login on the way.

use reqwest::Url;

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
    let bare = host.rsplit_once(':').map_or(host, |(bare, _)| bare);
    let ours = bare == "localhost" || bare.starts_with("127.") || bare.starts_with("[::1");
    let inner = match realm.host() {
        Some(url::Host::Ipv4(address)) => {
            address.is_loopback() || address.is_link_local() || address.is_unspecified()
        }
        Some(url::Host::Ipv6(address)) => {
            address.is_loopback()
                || address.is_unspecified()
                || (address.segments()[0] & 0xffc0) == 0xfe80
        }
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => return Err("that has no host"),
    };
    if inner && !ours {
        Err("a registry elsewhere has no business on this machine")
    } else {
        Ok(())
    }
}

/// Whether the realm may see the login: it is the registry's own host, of the same domain, or the
/// hub's known one.
pub(super) fn may_see_login(realm: &Url, host: &str) -> bool {
    let bare = host.rsplit_once(':').map_or(host, |(bare, _)| bare);
    let realm = realm.host_str().unwrap_or_default();
    let domain = |name: &str| {
        let labels: Vec<&str> = name.rsplit('.').take(2).collect();
        (labels.len() == 2 && name.parse::<std::net::IpAddr>().is_err()).then(|| labels.join("."))
    };
    let local = |name: &str| name == "localhost" || name.starts_with("127.");
    realm == bare
        || (local(realm) && local(bare))
        || (domain(realm).is_some() && domain(realm) == domain(bare))
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
            "https://[::1]/token",
            "ftp://auth.example/",
        ] {
            assert!(realm(bad).is_err(), "{bad}");
        }
        let own = Url::parse("http://127.0.0.1:5001/token").expect("a url");
        assert!(check(&own, "http", "127.0.0.1:5000").is_ok());
    }

    #[test]
    fn a_login_is_for_the_registrys_own_domain() {
        let may = |realm: &str, host: &str| may_see_login(&Url::parse(realm).expect(realm), host);
        assert!(may("https://auth.docker.io/token", "registry-1.docker.io"));
        assert!(may("https://r.example/token", "r.example:5000"));
        assert!(!may("https://evil.test/token", "r.example"));
        assert!(!may("https://10.0.0.2/token", "10.0.0.1:5000"));
    }
}
