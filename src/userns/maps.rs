//! Which ids a container has: values, and the choice between them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Serialize;

use super::lines::{self, Line};
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

/// The ids that there are in the namespace, as `0-999,1001`.
pub fn inside(extents: &[Extent]) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    let mut sorted = extents.to_vec();
    sorted.sort_unstable_by_key(|extent| extent.inside);
    for Extent { inside, count, .. } in sorted {
        let last = inside.saturating_add(count.saturating_sub(1));
        match runs.last_mut() {
            Some(run) if run.1.checked_add(1) == Some(inside) => run.1 = last,
            _ => runs.push((inside, last)),
        }
    }
    let text = |(first, last): &(u32, u32)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    runs.iter().map(text).collect::<Vec<_>>().join(",")
}

impl Extent {
    fn contains(self, id: u32) -> bool {
        self.outside_of(id).is_some()
    }

    /// The id in the parent namespace of one in the namespace.
    pub fn outside_of(self, id: u32) -> Option<u32> {
        let offset = id.checked_sub(self.inside).filter(|offset| *offset < self.count)?;
        self.outside.checked_add(offset)
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
    /// Whether it is the map that containers have where none is asked for, and layers are unpacked
    /// with.
    pub usual: bool,
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

    /// The same of a namespace that was made by who may less than the caller (`denies_groups`).
    #[must_use]
    pub fn joined(self, denies_groups: bool) -> Self {
        let mode = if denies_groups { Mode::Single } else { self.mode };
        Self { mode, ..self }
    }

    /// Whether a process can have more groups than its own: real ones, or emulated ones.
    pub fn may_have_groups(&self) -> bool {
        self.emulated || self.may_set_groups()
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

    /// Whether files that were unpacked for the usual map have other owners in this one.
    pub fn is_shifted(&self) -> bool {
        !self.usual && self.mode != Mode::Single
    }

    /// Which user and group id the caller is inside; root's where it is none.
    pub fn own(&self, facts: &Facts) -> (u32, u32) {
        let of = |map: &[Extent], own: u32| own_place(map, own).unwrap_or(0);
        (of(&self.uids, facts.uid), of(&self.gids, facts.gid))
    }

    /// The id that `other` has for this one's user id `id`.
    pub fn user_in(&self, other: &Self, id: u32) -> Option<u32> {
        translated(&self.uids, &other.uids, id)
    }

    /// The id that `other` has for this one's group id `id`.
    pub fn group_in(&self, other: &Self, id: u32) -> Option<u32> {
        translated(&self.gids, &other.gids, id)
    }

    /// One id: `uid` and `gid` inside are the caller's outside.
    fn single((uid, gid): (u32, u32), facts: &Facts, reason: &str) -> Self {
        Self {
            uids: vec![Extent { inside: uid, outside: facts.uid, count: 1 }],
            gids: vec![Extent { inside: gid, outside: facts.gid, count: 1 }],
            mode: Mode::Single,
            usual: true,
            emulated: false,
            reason: reason.to_owned(),
        }
    }

    /// One id, root's; the others are emulated.
    fn emulated(facts: &Facts, reason: &str) -> Self {
        Self { emulated: true, ..Self::single((0, 0), facts, reason) }
    }
}

fn translated(from: &[Extent], to: &[Extent], id: u32) -> Option<u32> {
    let extent = from.iter().find(|extent| extent.contains(id))?;
    let outside = extent.outside + (id - extent.inside);
    to.iter().find_map(|extent| {
        let offset = outside.checked_sub(extent.outside)?;
        (offset < extent.count).then(|| extent.inside + offset)
    })
}

/// What `--userns` asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// The caller's own id is its own inside too, or the given one (podman's `keep-id`); the others
    /// are those of a range, where it can be had.
    HostId {
        /// The user id inside.
        uid: Option<u32>,
        /// The group id inside.
        gid: Option<u32>,
        /// How many ids there are together; all where nothing is said.
        size: Option<u32>,
    },
    /// `--uidmap`, `--gidmap`: these ids and no others.
    Lines(Vec<Line>),
}

/// A text that `--userns` does not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid user namespace {0:?}: want auto, single, nomap, range or \
     host-id[:uid=N,gid=N,size=N]"
)]
pub struct InvalidRequest(pub String);

/// Before the lines of a map, in the text of a request.
const LINES: &str = "map=";

/// The ids that the store's layers are unpacked with for a request. A map of the user's own in a
/// range has the range's files given to other ids, container by container.
pub fn choose_for_store(request: &Request, facts: &Facts) -> Result<IdMaps, Error> {
    let ids = choose(request, (0, 0), facts)?;
    if ids.is_shifted() { choose(&Request::Auto, (0, 0), facts) } else { Ok(ids) }
}

impl FromStr for Request {
    type Err = InvalidRequest;

    fn from_str(text: &str) -> Result<Self, InvalidRequest> {
        let invalid = || InvalidRequest(text.to_owned());
        if let Some(lines) = text.strip_prefix(LINES) {
            let lines: Result<_, _> = lines.split(',').map(str::parse).collect();
            return lines.map(Self::Lines).map_err(|_| invalid());
        }
        let (name, options) = text.split_once(':').unwrap_or((text, ""));
        match (name, options) {
            // What podman's default and docker's `host` mean to who is not root.
            ("" | "auto" | "host" | "private", "") => Ok(Self::Auto),
            ("single", "") => Ok(Self::Single),
            ("nomap", "") => Ok(Self::NoMap),
            ("range", "") => Ok(Self::Range),
            ("host-id" | "keep-id", options) => {
                let (mut uid, mut gid, mut size) = (None, None, None);
                for option in options.split(',').filter(|option| !option.is_empty()) {
                    let (key, value) = option.split_once('=').ok_or_else(invalid)?;
                    let id = value.parse::<u32>().ok().filter(|id| *id != u32::MAX);
                    let id = Some(id.ok_or_else(invalid)?);
                    match key {
                        "uid" => uid = id,
                        "gid" => gid = id,
                        "size" if id != Some(0) => size = id,
                        _ => return Err(invalid()),
                    }
                }
                Ok(Self::HostId { uid, gid, size })
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
            Self::HostId { uid, gid, size } => {
                f.write_str("host-id")?;
                let ids = [("uid", uid), ("gid", gid), ("size", size)];
                let given = ids.iter().filter_map(|(name, id)| Some((name, (**id)?)));
                given.enumerate().try_for_each(|(at, (name, id))| {
                    write!(f, "{}{name}={id}", if at == 0 { ':' } else { ',' })
                })
            }
            Self::Lines(lines) => {
                f.write_str(LINES)?;
                lines.iter().enumerate().try_for_each(|(at, line)| {
                    write!(f, "{}{line}", if at == 0 { "" } else { "," })
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
pub fn choose(request: &Request, user: (u32, u32), facts: &Facts) -> Result<IdMaps, Error> {
    match request {
        Request::Single => Ok(IdMaps::emulated(facts, "asked for")),
        Request::NoMap => Ok(IdMaps::single(user, facts, "asked for")),
        Request::HostId { uid, gid, size } => {
            let ids = (uid.unwrap_or(facts.uid), gid.unwrap_or(facts.gid));
            match all_ids(facts) {
                Ok(all) => kept(&all, ids, *size, facts),
                // Without more ids it is the only one.
                Err(_) => Ok(IdMaps::single(ids, facts, "asked for")),
            }
        }
        Request::Lines(lines) => by_lines(lines, facts),
        Request::Auto | Request::Range if facts.may_map_directly() => Ok(direct(facts)),
        Request::Auto => match range(facts) {
            Ok(maps) => Ok(maps.with_user(user)),
            Err(missing) => Ok(IdMaps::emulated(facts, &missing.to_string())),
        },
        Request::Range => match range(facts) {
            Ok(maps) => Ok(maps.with_user(user)),
            Err(missing) => Err(Error::NoRange { user: facts.user.clone(), missing }),
        },
    }
}

impl IdMaps {
    /// The same with a user's ids among them, where they lie beyond: each in place of the last one of
    /// the range, which images have no use for.
    fn with_user(mut self, (uid, gid): (u32, u32)) -> Self {
        for (map, id) in [(&mut self.uids, uid), (&mut self.gids, gid)] {
            let known = map.iter().any(|extent| extent.contains(id));
            let Some(last) = map.last_mut().filter(|last| !known && last.count > 1) else {
                continue;
            };
            last.count -= 1;
            let outside = last.outside + last.count;
            map.push(Extent { inside: id, outside, count: 1 });
        }
        self
    }
}

/// All ids that the caller may map: itself first.
fn all_ids(facts: &Facts) -> Result<IdMaps, HelpersMissing> {
    if facts.may_map_directly() { Ok(direct(facts)) } else { range(facts) }
}

/// The caller as `(uid, gid)`, the others around it, as podman's `keep-id` has it.
fn kept(
    all: &IdMaps,
    (uid, gid): (u32, u32),
    size: Option<u32>,
    facts: &Facts,
) -> Result<IdMaps, Error> {
    let map = |what, usual: &[Extent], own: u32, id: u32| -> Result<Vec<Extent>, Error> {
        let own = own_place(usual, own).unwrap_or(0);
        let count = usual.iter().fold(0, |sum: u32, it| sum.saturating_add(it.count));
        let count = size.unwrap_or(count).min(count);
        // Before it the first others, behind it the rest; where it stands is no other.
        let others = count.saturating_sub(1);
        let before = others.min(id);
        let mut lines = vec![(id, own, 1)];
        let first = u32::from(own == 0);
        lines.push((0, first, before));
        lines.push((id.saturating_add(1), first + before, others - before));
        let lines: Vec<Line> = lines
            .into_iter()
            .filter(|(_, _, count)| *count > 0)
            .map(|(inside, outside, count)| Line {
                of_host: false,
                ..Line::of_extent(&Extent { inside, outside, count })
            })
            .collect();
        lines::resolve(what, &lines, usual)
    };
    let uids = map("user ids", &all.uids, facts.uid, uid)?;
    let gids = map("group ids", &all.gids, facts.gid, gid)?;
    Ok(IdMaps { reason: "asked for".to_owned(), ..given(uids, gids, facts)? })
}

/// Which id of a map the caller's own is.
fn own_place(usual: &[Extent], own: u32) -> Option<u32> {
    usual.iter().find_map(|extent| {
        let offset = own.checked_sub(extent.outside)?;
        (offset < extent.count).then(|| extent.inside + offset)
    })
}

/// The maps that lines come to. One kind alone is for the other too, as podman has it.
fn by_lines(lines: &[Line], facts: &Facts) -> Result<IdMaps, Error> {
    let (all, missing) = match all_ids(facts) {
        Ok(all) => (all, None),
        Err(missing) => (IdMaps::single((0, 0), facts, ""), Some(missing)),
    };
    let of = |wanted: fn(&Line) -> bool| lines.iter().copied().filter(wanted).collect::<Vec<_>>();
    let (users, groups) = (of(|line| line.users), of(|line| line.groups));
    let (users, groups) = match (users.is_empty(), groups.is_empty()) {
        (true, _) => (groups.clone(), groups),
        (_, true) => (users.clone(), users),
        _ => (users, groups),
    };
    let unmappable = |error| match (&missing, error) {
        (Some(missing), Error::Unmappable { what, line, .. }) => {
            Error::OneIdOnly { what, line, user: facts.user.clone(), missing: missing.clone() }
        }
        (_, error) => error,
    };
    let uids = lines::resolve("user ids", &users, &all.uids).map_err(unmappable)?;
    let gids = lines::resolve("group ids", &groups, &all.gids).map_err(unmappable)?;
    let has = |map: &[Extent], own: u32| own_place(map, own).is_some();
    if !has(&uids, facts.uid) || !has(&gids, facts.gid) {
        return Err(Error::WithoutOwn);
    }
    let maps = given(uids, gids, facts)?;
    // A container that joins another names the other's map.
    let last = |map: &[Extent]| map.iter().map(|extent| extent.inside).max().unwrap_or(0);
    let with_user = all.clone().with_user((last(&maps.uids), last(&maps.gids)));
    let same = |usual: &IdMaps| {
        let sorted = |map: &[Extent]| {
            let mut map = map.to_vec();
            map.sort_unstable_by_key(|extent| extent.inside);
            lines::joined(map)
        };
        sorted(&usual.uids) == sorted(&maps.uids) && sorted(&usual.gids) == sorted(&maps.gids)
    };
    Ok(IdMaps { usual: same(&all) || same(&with_user), ..maps })
}

/// Maps as they are given: `--uidmap`, `--gidmap`, a bundle's mappings. How they are written follows
/// from what they hold.
pub fn given(uids: Vec<Extent>, gids: Vec<Extent>, facts: &Facts) -> Result<IdMaps, Error> {
    let own = |extents: &[Extent], id: u32| matches!(extents, [one] if one.count == 1 && one.outside == id);
    let reason = "given".to_owned();
    if facts.may_map_directly() {
        return Ok(IdMaps {
            uids,
            gids,
            mode: Mode::Direct,
            usual: false,
            emulated: false,
            reason,
        });
    }
    if own(&uids, facts.uid) && own(&gids, facts.gid) {
        return Ok(IdMaps {
            uids,
            gids,
            mode: Mode::Single,
            usual: false,
            emulated: false,
            reason,
        });
    }
    match &facts.helpers {
        Ok(helpers) => Ok(IdMaps {
            uids,
            gids,
            mode: Mode::Range {
                newuidmap: helpers.newuidmap.clone(),
                newgidmap: helpers.newgidmap.clone(),
            },
            usual: false,
            emulated: false,
            reason,
        }),
        Err(missing) => Err(Error::NoRange { user: facts.user.clone(), missing: missing.clone() }),
    }
}

/// Every id the caller has, under its own number.
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
        usual: true,
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
        usual: true,
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
        let maps = choose(&Request::Auto, (0, 0), &facts()).expect("maps");
        assert_eq!(maps.uids[1], Extent { inside: 1, outside: 100_000, count: 65536 });
        assert!(maps.maps_uid(65536) && !maps.maps_uid(65537) && maps.may_set_groups());
        assert_eq!(maps.range_start(), Some(100_000));
    }

    #[test]
    fn without_helpers_one_id_is_no_error_unless_a_range_was_asked_for() {
        let facts = Facts { helpers: Err(HelpersMissing::NotFound("newuidmap")), ..facts() };
        let maps = choose(&Request::Auto, (33, 33), &facts).expect("maps");
        assert_eq!(maps.uids, [Extent { inside: 0, outside: 1000, count: 1 }]);
        assert!(!maps.may_set_groups() && maps.emulated);
        let maps = choose(&Request::NoMap, (33, 33), &facts).expect("maps");
        assert_eq!(maps.uids, [Extent { inside: 33, outside: 1000, count: 1 }]);
        assert!(!maps.may_set_groups() && !maps.emulated);
        assert!(matches!(choose(&Request::Range, (0, 0), &facts), Err(Error::NoRange { .. })));
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
        let maps = choose(&Request::Auto, (0, 0), &facts).expect("maps");
        assert_eq!(maps.uids, [Extent { inside: 0, outside: 0, count: 65536 }]);
        assert_eq!(maps.mode, Mode::Direct);
    }

    #[test]
    fn ids_are_told_as_a_list() {
        let extent = |inside, count| Extent { inside, outside: inside, count };
        let one = [extent(2000, 1), extent(0, 1000), extent(1000, 1), extent(1001, 9)];
        assert_eq!(inside(&one), "0-1009,2000");
        assert_eq!(inside(&[extent(u32::MAX, 1)]), "4294967295");
    }

    fn triples(extents: &[Extent]) -> Vec<(u32, u32, u32)> {
        extents.iter().map(|it| (it.inside, it.outside, it.count)).collect()
    }

    #[test]
    fn the_callers_id_is_kept_among_the_others() {
        let keep = |size| Request::HostId { uid: None, gid: Some(7), size };
        let maps = choose(&keep(None), (0, 0), &facts()).expect("maps");
        assert_eq!(
            triples(&maps.uids),
            [(0, 100_000, 1000), (1000, 1000, 1), (1001, 101_000, 64536)]
        );
        assert_eq!(triples(&maps.gids), [(0, 100_000, 7), (7, 1000, 1), (8, 100_007, 65529)]);
        let usual = choose(&Request::Auto, (0, 0), &facts()).expect("maps");
        assert!(maps.is_shifted() && !usual.is_shifted());
        assert_eq!((maps.user_in(&usual, 0), maps.user_in(&usual, 1000)), (Some(1), Some(0)));
        let one = choose(&keep(Some(1)), (0, 0), &facts()).expect("maps");
        assert!(one.mode == Mode::Single && !one.is_shifted());
        let stored = choose_for_store(&keep(None), &facts()).expect("maps");
        assert_eq!(stored, usual);
        let few = choose(&keep(Some(3)), (0, 0), &facts()).expect("maps");
        assert_eq!(triples(&few.uids), [(0, 100_000, 2), (1000, 1000, 1)]);
        let alone = Facts { helpers: Err(HelpersMissing::NotFound("newuidmap")), ..facts() };
        let maps = choose(&keep(None), (0, 0), &alone).expect("maps");
        assert_eq!(triples(&maps.uids), [(1000, 1000, 1)]);
    }

    #[test]
    fn a_user_beyond_the_range_takes_its_last_place() {
        let maps = choose(&Request::Auto, (1_000_660_000, 5), &facts()).expect("maps");
        assert_eq!(
            triples(&maps.uids),
            [(0, 1000, 1), (1, 100_000, 65535), (1_000_660_000, 165_535, 1)]
        );
        assert_eq!(triples(&maps.gids), [(0, 1000, 1), (1, 100_000, 65536)]);
        assert!(!maps.is_shifted());
    }

    #[test]
    fn lines_take_what_the_caller_has() {
        let lines = |text: &str| text.parse::<Request>().expect("lines");
        let maps = choose(&lines("map=0:0:9"), (0, 0), &facts()).expect("maps");
        assert_eq!(triples(&maps.uids), [(0, 1000, 1), (1, 100_000, 8)]);
        assert!(triples(&maps.gids) == triples(&maps.uids) && maps.is_shifted());
        let all = choose(&lines("map=0:0:65537"), (0, 0), &facts()).expect("maps");
        assert!(!all.is_shifted());
        let foreign = choose(&lines("map=0:1:9"), (0, 0), &facts());
        assert!(matches!(foreign, Err(Error::WithoutOwn)), "{foreign:?}");
        let alone = Facts { helpers: Err(HelpersMissing::NotFound("newuidmap")), ..facts() };
        let maps = choose(&lines("map=5:0:1"), (0, 0), &alone).expect("maps");
        assert_eq!((triples(&maps.uids), maps.mode), (vec![(5, 1000, 1)], Mode::Single));
        let two = choose(&lines("map=0:0:2"), (0, 0), &alone);
        assert!(matches!(two, Err(Error::OneIdOnly { .. })), "{two:?}");
    }

    #[test]
    fn requests_are_read() {
        let read = |text: &str| text.parse::<Request>();
        assert_eq!(read("keep-id"), Ok(Request::HostId { uid: None, gid: None, size: None }));
        let full = "host-id:uid=5,gid=6,size=70";
        let request = Request::HostId { uid: Some(5), gid: Some(6), size: Some(70) };
        assert_eq!(read(full), Ok(request.clone()));
        assert_eq!(request.to_string(), full);
        let lines = "map=+u5:@1000:1,0:1:4";
        assert_eq!(read(lines).expect("lines").to_string(), lines);
        for bad in [
            "nomap:uid=1",
            "keep-id:uid=-1",
            "keep-id:uid=4294967295",
            "keep-id:size=0",
            "range:1",
            "map=",
            "x",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
