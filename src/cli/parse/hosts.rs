//! `--add-host`.

use super::Invalid;
use crate::engine::bundle::HostAddress;

/// `HOST:ADDRESS` or `HOST=ADDRESS`; the address may be `host-gateway`, and brackets around IPv6
/// are allowed. podman's `HOST1;HOST2:ADDRESS` gives one entry a name.
pub fn add_host(text: &str) -> Result<Vec<(String, HostAddress)>, Invalid> {
    let invalid = |why: &str| Invalid::new(format!("{text:?} {why}: want HOST:ADDRESS"));
    let at = text.find(['=', ':']).ok_or_else(|| invalid("has no address"))?;
    let (names, address) = (&text[..at], &text[at + 1..]);
    let address = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    let address = match address {
        "host-gateway" => HostAddress::Gateway,
        _ => HostAddress::Ip(address.parse().map_err(|_| invalid("has no valid IP address"))?),
    };
    let valid = |name: &str| !name.is_empty() && !name.contains(char::is_whitespace);
    if !names.split(';').all(valid) {
        return Err(invalid("has no valid host name"));
    }
    Ok(names.split(';').map(|name| (name.to_owned(), address)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_separators_and_ipv6() {
        let ip = |text: &str| HostAddress::Ip(text.parse().expect("an address"));
        assert_eq!(add_host("db:10.0.0.1"), Ok(vec![("db".into(), ip("10.0.0.1"))]));
        assert_eq!(add_host("db=::1"), Ok(vec![("db".into(), ip("::1"))]));
        assert_eq!(add_host("db:[::1]"), Ok(vec![("db".into(), ip("::1"))]));
        assert_eq!(add_host("h:host-gateway"), Ok(vec![("h".into(), HostAddress::Gateway)]));
        assert_eq!(add_host("a;b:1.2.3.4").map(|all| all.len()), Ok(2));
        for text in ["", "db", "db:", ":1.2.3.4", "a b:1.2.3.4", "db:1.2.3"] {
            assert!(add_host(text).is_err(), "{text}");
        }
    }
}
