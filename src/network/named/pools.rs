//! Decides which addresses a network has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::record::{Draft, Pool, Range, is_name};
use crate::network::{Error, PRIVATE_NAMES, Subnet, subnet};

/// Names that mean something else than a network, beside those of the one that is always there.
const RESERVED: [&str; 4] = ["host", "none", "container", "ns"];

/// The ranges of a new network. `networks` are those of others, `in_use` what the host reaches by
/// other ways, `random` five bytes for IPv6 (RFC 4193).
pub(super) fn decide(
    draft: &Draft,
    networks: &[Subnet],
    in_use: &[Subnet],
    random: &[u8],
) -> Result<Vec<Pool>, Error> {
    let name = &draft.name;
    if RESERVED.iter().chain(&PRIVATE_NAMES).any(|reserved| reserved == name) {
        return Err(Error::ReservedNetwork { name: name.clone() });
    }
    if !is_name(name) {
        return Err(Error::NetworkName { name: name.chars().take(80).collect() });
    }
    let mut pools = Vec::new();
    for six in [false, true] {
        let mut asked = draft.subnets.iter().filter(|subnet| subnet.is_ipv6() == six);
        let subnet = match (asked.next(), asked.next()) {
            (Some(_), Some(second)) => return Err(Error::TwoSubnets { subnet: *second }),
            (Some(asked), None) => checked(*asked, networks)?,
            (None, _) if !six => free(networks, in_use)?,
            (None, _) if draft.ipv6 => own(random),
            (None, _) => continue,
        };
        let gateway = draft.gateways.iter().find(|gateway| gateway.is_ipv6() == six);
        let range = draft.ranges.iter().find(|range| range.first.is_ipv6() == six);
        pools.push(pool(subnet, gateway.copied(), range.cloned())?);
    }
    let has = |six: bool| pools.iter().any(|pool| pool.subnet.is_ipv6() == six);
    for address in draft.gateways.iter().chain(draft.ranges.iter().map(|range| &range.first)) {
        if !has(address.is_ipv6()) {
            return Err(Error::NoSubnetFor { address: *address });
        }
    }
    Ok(pools)
}

fn checked(asked: Subnet, networks: &[Subnet]) -> Result<Subnet, Error> {
    let most = if asked.is_ipv6() { 126 } else { 30 };
    let outside = super::super::is_outside(asked.first()) && super::super::is_outside(asked.last());
    if asked.prefix > most || asked.prefix == 0 || !outside {
        return Err(Error::UselessSubnet { subnet: asked });
    }
    match networks.iter().find(|other| other.overlaps(&asked)) {
        Some(other) => Err(Error::SubnetInUse { subnet: asked, other: *other }),
        None => Ok(asked),
    }
}

/// The first of podman's ranges that leads nowhere yet.
fn free(networks: &[Subnet], in_use: &[Subnet]) -> Result<Subnet, Error> {
    let candidates =
        (89..=255_u8).flat_map(|second| (0..=255_u8).map(move |third| (second, third)));
    let ranges = candidates.filter_map(|(second, third)| {
        Subnet::around(Ipv4Addr::new(10, second, third, 0).into(), 24)
    });
    let is_free = |range: &Subnet| !networks.iter().chain(in_use).any(|it| it.overlaps(range));
    ranges.into_iter().find(is_free).ok_or(Error::NoFreeSubnet)
}

/// A range of IPv6 that nobody else is likely to have.
fn own(random: &[u8]) -> Subnet {
    let mut bytes = [0; 16];
    bytes[0] = 0xfd;
    for (to, from) in bytes[1..6].iter_mut().zip(random) {
        *to = *from;
    }
    let address = IpAddr::from(Ipv6Addr::from(bytes));
    Subnet::around(address, 64).unwrap_or_else(|| unreachable!("64 is less than 128"))
}

fn pool(subnet: Subnet, gateway: Option<IpAddr>, range: Option<Range>) -> Result<Pool, Error> {
    let first = || subnet::next(subnet.first()).unwrap_or(subnet.first());
    let gateway = gateway.unwrap_or_else(first);
    if !subnet.is_a_station_s(gateway) {
        return Err(Error::NotInSubnet { what: format!("gateway {gateway}"), subnet });
    }
    if let Some(range) = &range
        && !(subnet.contains(range.first) && subnet.contains(range.last))
    {
        return Err(Error::NotInSubnet { what: format!("IP range {}", range.text), subnet });
    }
    Ok(Pool { subnet, gateway, range })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(subnets: &[&str], gateways: &[&str], ranges: &[&str]) -> Draft {
        Draft {
            name: "web".to_owned(),
            subnets: subnets.iter().map(|it| it.parse().expect("a range")).collect(),
            gateways: gateways.iter().map(|it| it.parse().expect("an address")).collect(),
            ranges: ranges.iter().map(|it| it.parse().expect("a range")).collect(),
            ..Draft::default()
        }
    }

    fn decided(draft: &Draft) -> Result<Vec<String>, Error> {
        let networks = ["10.89.0.0/24".parse().expect("a range")];
        let in_use = ["10.89.1.128/25".parse().expect("a range")];
        let pools = decide(draft, &networks, &in_use, &[1, 2, 3, 4, 5])?;
        Ok(pools.iter().map(|pool| format!("{} by {}", pool.subnet, pool.gateway)).collect())
    }

    #[test]
    fn who_asks_for_nothing_gets_what_is_free() {
        assert_eq!(decided(&draft(&[], &[], &[])).expect("decided"), ["10.89.2.0/24 by 10.89.2.1"]);
        let both = Draft { ipv6: true, ..draft(&[], &[], &[]) };
        assert_eq!(
            decided(&both).expect("decided"),
            ["10.89.2.0/24 by 10.89.2.1", "fd01:203:405::/64 by fd01:203:405::1"]
        );
    }

    #[test]
    fn what_is_asked_for_must_fit_together() {
        let asked = draft(&["172.20.0.0/16", "fd00:9::/64"], &["172.20.0.254"], &["172.20.5.0/24"]);
        assert_eq!(
            decided(&asked).expect("decided"),
            ["172.20.0.0/16 by 172.20.0.254", "fd00:9::/64 by fd00:9::1"]
        );
        for (subnets, gateways, ranges) in [
            (&["10.89.0.128/25"][..], &[][..], &[][..]),
            (&["10.5.0.0/24", "10.6.0.0/24"], &[], &[]),
            (&["10.5.0.0/31"], &[], &[]),
            (&["127.5.0.0/24"], &[], &[]),
            (&["10.5.0.0/24"], &["10.6.0.1"], &[]),
            (&["10.5.0.0/24"], &["10.5.0.255"], &[]),
            (&["10.5.0.0/24"], &[], &["10.5.1.0/28"]),
            (&["10.5.0.0/24"], &["fd00::1"], &[]),
        ] {
            let error = decided(&draft(subnets, gateways, ranges));
            assert!(error.is_err(), "{subnets:?} {gateways:?} {ranges:?}");
        }
        for name in ["host", "bridge", "", "a/b", "-x"] {
            let named = Draft { name: name.to_owned(), ..draft(&[], &[], &[]) };
            assert!(decided(&named).is_err(), "{name}");
        }
    }
}
