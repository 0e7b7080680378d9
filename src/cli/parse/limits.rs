//! `--ulimit`.

use super::Invalid;
use crate::engine::bundle::{Resource, Ulimit};

/// `NAME=SOFT[:HARD]`; -1 and `unlimited` are without limit.
pub fn ulimit(text: &str) -> Result<Ulimit, Invalid> {
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
    Ok(Ulimit { resource, soft, hard })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_is_both() {
        let limit = ulimit("nofile=64").expect("valid");
        assert_eq!((limit.resource, limit.soft, limit.hard), (Resource::Nofile, 64, 64));
        let limit = ulimit("core=0:-1").expect("valid");
        assert_eq!((limit.soft, limit.hard), (0, u64::MAX));
        for text in ["nofile", "nofile=", "files=1", "nofile=2:1", "nofile=1:2:3"] {
            assert!(ulimit(text).is_err(), "{text}");
        }
    }
}
