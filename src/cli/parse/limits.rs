//! `--ulimit` and the values of resource limits.

use std::path::PathBuf;

use super::{Invalid, size};
use crate::engine::bundle::{Resource, Ulimit};

/// `NAME=SOFT[:HARD]`; -1 and `unlimited` are without limit. `None` for podman's `host`: what is not set
/// here is the caller's anyway.
pub fn ulimit(text: &str) -> Result<Option<Ulimit>, Invalid> {
    if text == "host" {
        return Ok(None);
    }
    let invalid =
        |why: &str| Invalid::new(format!("{why}: want NAME=SOFT[:HARD], such as nofile=1024:4096"));
    let (name, limits) = text.split_once('=').ok_or_else(|| invalid("no ="))?;
    let resource = Resource::from_docker_name(name)
        .ok_or_else(|| invalid(&format!("no resource is called {name:?}")))?;
    let limit = |text: &str| match text {
        "-1" | "unlimited" => Ok(u64::MAX),
        _ => text.parse().map_err(|_| invalid(&format!("{text:?} is no limit"))),
    };
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let (soft, hard) = (limit(soft)?, limit(hard)?);
    if soft > hard {
        return Err(invalid("the soft limit is above the hard one"));
    }
    Ok(Some(Ulimit { resource, soft, hard }))
}

/// A number of bytes, or -1 for no limit.
pub fn size_or_none(text: &str) -> Result<i64, Invalid> {
    if text == "-1" {
        return Ok(-1);
    }
    i64::try_from(size(text)?).map_err(|_| Invalid::new(format!("invalid size {text:?}: too big")))
}

/// A decimal number in billionths: `1.5` is 1500000000.
pub fn billionths(text: &str) -> Result<u64, Invalid> {
    let invalid = || Invalid::new(format!("{text:?} is no number of CPUs: want one such as 1.5"));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    if text.is_empty() || text == "." || !digits(whole) || !digits(fraction) {
        return Err(invalid());
    }
    if fraction.len() > 9 {
        return Err(Invalid::new(format!("{text:?} is too precise: nine decimals at most")));
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
    let fraction: u64 = format!("{fraction:0<9}").parse().map_err(|_| invalid())?;
    whole.checked_mul(1_000_000_000).and_then(|n| n.checked_add(fraction)).ok_or_else(invalid)
}

/// `/dev/sda:10m`
pub fn device_size(text: &str) -> Result<(PathBuf, u64), Invalid> {
    let (path, value) = device(text)?;
    Ok((path, size(value)?))
}

/// `/dev/sda:1000`
pub fn device_rate(text: &str) -> Result<(PathBuf, u64), Invalid> {
    let (path, value) = device(text)?;
    let rate = value.parse();
    Ok((path, rate.map_err(|_| Invalid::new(format!("{value:?} is no number of operations")))?))
}

/// `/dev/sda:500`
pub fn device_weight(text: &str) -> Result<(PathBuf, u16), Invalid> {
    let (path, value) = device(text)?;
    let weight = value.parse();
    Ok((path, weight.map_err(|_| Invalid::new(format!("{value:?} is no weight")))?))
}

fn device(text: &str) -> Result<(PathBuf, &str), Invalid> {
    let (path, value) = text.rsplit_once(':').unwrap_or((text, ""));
    if !path.starts_with("/dev/") || value.is_empty() {
        return Err(Invalid::new(format!("bad format {text:?}: want /dev/DEVICE:VALUE")));
    }
    Ok((path.into(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_limits() {
        assert_eq!(size_or_none("-1"), Ok(-1));
        assert_eq!(size_or_none("2k"), Ok(2048));
        assert_eq!(billionths("1.5"), Ok(1_500_000_000));
        assert_eq!((billionths(".5"), billionths("2")), (Ok(500_000_000), Ok(2_000_000_000)));
        for text in ["", ".", "a", "-1", "1.2.3", "0.1234567891", "99999999999999"] {
            assert!(billionths(text).is_err(), "{text}");
        }
        assert_eq!(device_size("/dev/sda:1m"), Ok(("/dev/sda".into(), 1 << 20)));
        assert_eq!(device_rate("/dev/sda:7"), Ok(("/dev/sda".into(), 7)));
        assert_eq!(device_weight("/dev/sda:10"), Ok(("/dev/sda".into(), 10)));
        for text in ["/dev/sda", "sda:1", "/dev/sda:", "/dev/sda:x"] {
            assert!(device_rate(text).is_err() && device_weight(text).is_err(), "{text}");
        }
    }

    #[test]
    fn one_number_is_both() {
        let set = |text| ulimit(text).expect("valid").expect("a limit");
        let limit = set("nofile=64");
        assert_eq!((limit.resource, limit.soft, limit.hard), (Resource::Nofile, 64, 64));
        let limit = set("core=0:-1");
        assert_eq!((limit.soft, limit.hard), (0, u64::MAX));
        assert_eq!(ulimit("host"), Ok(None));
        for text in ["nofile", "host=1", "nofile=", "files=1", "nofile=2:1", "nofile=1:2:3"] {
            assert!(ulimit(text).is_err(), "{text}");
        }
    }
}
