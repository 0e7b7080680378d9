//! Which ids a container has: values, and the choice between them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Serialize;

use super::{Error, Facts, HelpersMissing};

/// `count` consecutive ids (user_namespaces(7), "User and group ID mappings").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Extent {
    /// The first id in the namespace.
    pub inside: u32,
    /// The first id in the parent namespace.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

impl Extent {
    fn contains(self, id: u32) -> bool {
        id.checked_sub(self.inside).is_some_and(|offset| offset < self.count)
    }
}

/// How the maps of a container come about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// One id: the child writes its own maps, setgroups(2) denied.
    Single,
    /// A subordinate range, written by two helpers found at these paths.
    Range {
        /// newuidmap(1)
        newuidmap: PathBuf,
        /// newgidmap(1)
        newgidmap: PathBuf,
    },
    /// All the ids of a caller that may hand them on (`CAP_SETUID`, `CAP_SETGID`).
    Direct,
}

/// The ids of a user namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IdMaps {
    /// User ids.
    pub uids: Vec<Extent>,
    /// Group ids.
    pub gids: Vec<Extent>,
    /// How they are written.
    pub mode: Mode,
    /// Whether the ids that are not mapped are emulated: then the one that is is root's, and a
    /// supervisor answers for all others.
    pub emulated: bool,
    /// Why this mode and no other.
    pub reason: String,
}

impl IdMaps {
    /// Whether the namespace has this user id.
    pub fn maps_uid(&self, id: u32) -> bool {
        self.uids.iter().any(|extent| extent.contains(id))
    }

    /// Whether the namespace has this group id.
    pub fn maps_gid(&self, id: u32) -> bool {
        self.gids.iter().any(|extent| extent.contains(id))
    }

    /// Whether setgroups(2) is allowed: an unprivileged writer of gid_map must deny it first.
    pub fn may_set_groups(&self) -> bool {
        self.mode != Mode::Single
    }

    /// The host's id of the first id beyond the caller's own, which tells one range from another.
    pub fn range_start(&self) -> Option<u32> {
        match self.mode {
            Mode::Single => None,
            Mode::Direct => Some(0),
            Mode::Range { .. } => {
                self.uids.iter().find(|extent| extent.contains(1)).map(|extent| extent.outside)
            }
        }
    }

    /// One id: `uid` and `gid` inside are the caller's outside.
    fn single((uid, gid): (u32, u32), facts: &Facts, reason: &str) -> Self {
        Self {
            uids: vec![Extent { inside: uid, outside: facts.uid, count: 1 }],
            gids: vec![Extent { inside: gid, outside: facts.gid, count: 1 }],
            mode: Mode::Single,
            emulated: false,
            reason: reason.to_owned(),
        }
    }

    /// One id, root's; the others are emulated.
    fn emulated(facts: &Facts, reason: &str) -> Self {
        Self { emulated: true, ..Self::single((0, 0), facts, reason) }
    }
}

/// What `--userns` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Request {
    /// A range where it can be had, else one id.
    #[default]
    Auto,
    /// One id, the others emulated.
    Single,
    /// One id and no other: it is the user's that the program runs as.
    NoMap,
    /// A range, or an error that says what is missing.
    Range,
    /// One id, which is the caller's own inside too, or the given one (podman's `keep-id`).
    HostId {
        /// The user id inside.
        uid: Option<u32>,
        /// The group id inside.
        gid: Option<u32>,
    },
}

/// A text that `--userns` does not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid user namespace {0:?}: want auto, single, nomap, range or host-id[:uid=N,gid=N]")]
pub struct InvalidRequest(pub String);

impl FromStr for Request {
    type Err = InvalidRequest;

    fn from_str(text: &str) -> Result<Self, InvalidRequest> {
        let invalid = || InvalidRequest(text.to_owned());
        let (name, options) = text.split_once(':').unwrap_or((text, ""));
        match (name, options) {
            // What podman's default and docker's `host` mean to who is not root.
            ("" | "auto" | "host" | "private", "") => Ok(Self::Auto),
            ("single", "") => Ok(Self::Single),
            ("nomap", "") => Ok(Self::NoMap),
            ("range", "") => Ok(Self::Range),
            ("host-id" | "keep-id", options) => {
                let (mut uid, mut gid) = (None, None);
                for option in options.split(',').filter(|option| !option.is_empty()) {
                    let (key, value) = option.split_once('=').ok_or_else(invalid)?;
                    let id = value.parse::<u32>().ok().filter(|id| *id != u32::MAX);
                    match key {
                        "uid" => uid = Some(id.ok_or_else(invalid)?),
                        "gid" => gid = Some(id.ok_or_else(invalid)?),
                        _ => return Err(invalid()),
                    }
                }
                Ok(Self::HostId { uid, gid })
            }
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for Request {
    /// As `--userns` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Single => f.write_str("single"),
            Self::NoMap => f.write_str("nomap"),
            Self::Range => f.write_str("range"),
            Self::HostId { uid, gid } => {
                f.write_str("host-id")?;
                let ids = [("uid", uid), ("gid", gid)];
                let given = ids.iter().filter_map(|(name, id)| Some((name, (**id)?)));
                given.enumerate().try_for_each(|(at, (name, id))| {
                    write!(f, "{}{name}={id}", if at == 0 { ':' } else { ',' })
                })
            }
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Single => "single",
            Self::Range { .. } => "range",
            Self::Direct => "direct",
        })
    }
}

/// The maps for a request. `user` is whom the program runs as, and whom `NoMap` maps.
pub fn choose(request: Request, user: (u32, u32), facts: &Facts) -> Result<IdMaps, Error> {
    match request {
        Request::Single => Ok(IdMaps::emulated(facts, "asked for")),
        Request::NoMap => Ok(IdMaps::single(user, facts, "asked for")),
        Request::HostId { uid, gid } => {
            let ids = (uid.unwrap_or(facts.uid), gid.unwrap_or(facts.gid));
            Ok(IdMaps::single(ids, facts, "asked for"))
        }
        Request::Auto | Request::Range if facts.may_map_directly() => Ok(direct(facts)),
        Request::Auto => match range(facts) {
            Ok(maps) => Ok(maps),
            Err(missing) => Ok(IdMaps::emulated(facts, &missing.to_string())),
        },
        Request::Range => {
            range(facts).map_err(|missing| Error::NoRange { user: facts.user.clone(), missing })
        }
    }
}

/// Every id the caller has, under its own number.
/// Maps as they are given: `--uidmap`, `--gidmap`, a bundle's mappings. How they are written follows
/// from what they hold.
pub fn given(uids: Vec<Extent>, gids: Vec<Extent>, facts: &Facts) -> Result<IdMaps, Error> {
    let own = |extents: &[Extent], id: u32| matches!(extents, [one] if one.count == 1 && one.outside == id);
    let reason = "given".to_owned();
    if facts.may_map_directly() {
        return Ok(IdMaps { uids, gids, mode: Mode::Direct, emulated: false, reason });
    }
    if own(&uids, facts.uid) && own(&gids, facts.gid) {
        return Ok(IdMaps { uids, gids, mode: Mode::Single, emulated: false, reason });
    }
    match &facts.helpers {
        Ok(helpers) => Ok(IdMaps {
            uids,
            gids,
            mode: Mode::Range {
                newuidmap: helpers.newuidmap.clone(),
                newgidmap: helpers.newgidmap.clone(),
            },
            emulated: false,
            reason,
        }),
        Err(missing) => Err(Error::NoRange { user: facts.user.clone(), missing: missing.clone() }),
    }
}

fn direct(facts: &Facts) -> IdMaps {
    let same = |extents: &[Extent]| {
        extents
            .iter()
            .map(|extent| Extent { outside: extent.inside, ..*extent })
            .collect::<Vec<_>>()
    };
    IdMaps {
        uids: same(&facts.own_uids),
        gids: same(&facts.own_gids),
        mode: Mode::Direct,
        emulated: false,
        reason: "root may hand on the ids it has".to_owned(),
    }
}

/// The caller's own id as 0, the subordinate ranges behind it.
fn range(facts: &Facts) -> Result<IdMaps, HelpersMissing> {
    let helpers = facts.helpers.as_ref().map_err(Clone::clone)?;
    let extents = |own: u32, ranges: &[super::SubordinateRange]| {
        let mut extents = vec![Extent { inside: 0, outside: own, count: 1 }];
        let mut inside: u32 = 1;
        for range in ranges {
            let count = range.count.min(u32::MAX - inside);
            extents.push(Extent { inside, outside: range.first, count });
            inside += count;
        }
        extents
    };
    if facts.subuids.is_empty() || facts.subgids.is_empty() {
        let file = if facts.subuids.is_empty() { "/etc/subuid" } else { "/etc/subgid" };
        return Err(HelpersMissing::NoRange { file });
    }
    Ok(IdMaps {
        uids: extents(facts.uid, &facts.subuids),
        gids: extents(facts.gid, &facts.subgids),
        mode: Mode::Range {
            newuidmap: helpers.newuidmap.clone(),
            newgidmap: helpers.newgidmap.clone(),
        },
        emulated: false,
        reason: "newuidmap and a subordinate range are there".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Helpers, SubordinateRange};
    use super::*;

    fn facts() -> Facts {
        Facts {
            uid: 1000,
            gid: 1000,
            user: "ada".into(),
            own_uids: vec![Extent { inside: 0, outside: 0, count: u32::MAX }],
            own_gids: vec![Extent { inside: 0, outside: 0, count: u32::MAX }],
            capable: false,
            subuids: vec![SubordinateRange { first: 100_000, count: 65536 }],
            subgids: vec![SubordinateRange { first: 100_000, count: 65536 }],
            helpers: Ok(Helpers { newuidmap: "/n/u".into(), newgidmap: "/n/g".into() }),
        }
    }

    #[test]
    fn a_range_stands_behind_the_callers_own_id() {
        let maps = choose(Request::Auto, (0, 0), &facts()).expect("maps");
        assert_eq!(maps.uids[1], Extent { inside: 1, outside: 100_000, count: 65536 });
        assert!(maps.maps_uid(65536) && !maps.maps_uid(65537) && maps.may_set_groups());
        assert_eq!(maps.range_start(), Some(100_000));
    }

    #[test]
    fn without_helpers_one_id_is_no_error_unless_a_range_was_asked_for() {
        let facts = Facts { helpers: Err(HelpersMissing::NotFound("newuidmap")), ..facts() };
        let maps = choose(Request::Auto, (33, 33), &facts).expect("maps");
        assert_eq!(maps.uids, [Extent { inside: 0, outside: 1000, count: 1 }]);
        assert!(!maps.may_set_groups() && maps.emulated);
        let maps = choose(Request::NoMap, (33, 33), &facts).expect("maps");
        assert_eq!(maps.uids, [Extent { inside: 33, outside: 1000, count: 1 }]);
        assert!(!maps.may_set_groups() && !maps.emulated);
        assert!(matches!(choose(Request::Range, (0, 0), &facts), Err(Error::NoRange { .. })));
    }

    #[test]
    fn given_maps_go_by_what_they_hold() {
        let own = vec![Extent { inside: 0, outside: 1000, count: 1 }];
        let more = vec![Extent { inside: 0, outside: 100_000, count: 9 }];
        let mode = |uids: &Vec<Extent>, facts: &Facts| {
            given(uids.clone(), own.clone(), facts).map(|maps| maps.mode)
        };
        assert!(matches!(mode(&own, &facts()), Ok(Mode::Single)));
        assert!(matches!(mode(&more, &facts()), Ok(Mode::Range { .. })));
        let none = Facts { helpers: Err(HelpersMissing::NotFound("newuidmap")), ..facts() };
        assert!(matches!(mode(&more, &none), Err(Error::NoRange { .. })));
    }

    #[test]
    fn root_hands_on_what_it_has() {
        let nested = vec![Extent { inside: 0, outside: 100_000, count: 65536 }];
        let facts = Facts { uid: 0, gid: 0, capable: true, own_uids: nested, ..facts() };
        let maps = choose(Request::Auto, (0, 0), &facts).expect("maps");
        assert_eq!(maps.uids, [Extent { inside: 0, outside: 0, count: 65536 }]);
        assert_eq!(maps.mode, Mode::Direct);
    }

    #[test]
    fn requests_are_read() {
        let read = |text: &str| text.parse::<Request>();
        assert_eq!(read("keep-id"), Ok(Request::HostId { uid: None, gid: None }));
        assert_eq!(read("host-id:uid=5,gid=6"), Ok(Request::HostId { uid: Some(5), gid: Some(6) }));
        for bad in ["nomap:uid=1", "keep-id:uid=-1", "keep-id:uid=4294967295", "range:1", "x"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
