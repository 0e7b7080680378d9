//! What this host lets the caller map: its own ids, ranges, helpers.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Extent;

/// What `choose` chooses by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The caller's user id.
    pub uid: u32,
    /// The caller's group id.
    pub gid: u32,
    /// The caller's name in passwd(5), or its id.
    pub user: String,
    /// The user ids of the caller's own namespace.
    pub own_uids: Vec<Extent>,
    /// The group ids of the caller's own namespace.
    pub own_gids: Vec<Extent>,
    /// Whether it has `CAP_SETUID` and `CAP_SETGID` there.
    pub capable: bool,
    /// Its ranges in subuid(5).
    pub subuids: Vec<SubordinateRange>,
    /// Its ranges in subgid(5).
    pub subgids: Vec<SubordinateRange>,
    /// The two helpers, or why they cannot help.
    pub helpers: Result<Helpers, HelpersMissing>,
}

/// Consecutive ids that the administrator gave a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubordinateRange {
    /// The first id.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// Where the helpers are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Helpers {
    /// newuidmap(1)
    pub newuidmap: PathBuf,
    /// newgidmap(1)
    pub newgidmap: PathBuf,
}

/// Why no range can be mapped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelpersMissing {
    /// Not on PATH.
    #[error("{0} is not installed")]
    NotFound(&'static str),
    /// There, without the privilege it works by.
    #[error("{} is neither set-user-ID nor has file capabilities", .0.display())]
    Powerless(PathBuf),
    /// There, on a file system that takes the privilege away.
    #[error("{} lies on a file system mounted nosuid", .0.display())]
    Nosuid(PathBuf),
    /// The caller gave up such privileges.
    #[error("no_new_privs keeps newuidmap from its privilege")]
    NoNewPrivileges,
    /// Helpers, and nothing to map.
    #[error("{file} has no range for this user")]
    NoRange {
        /// The file.
        file: &'static str,
    },
    /// The caller's ids are mapped already: the helpers' files speak of others.
    #[error("this is a user namespace already, without more ids to hand on")]
    Nested,
}

impl Facts {
    /// Whether the caller may write any map of its ids, and has more than one.
    pub(super) fn may_map_directly(&self) -> bool {
        let many = |extents: &[Extent]| extents.iter().any(|extent| extent.count > 1);
        self.capable && many(&self.own_uids) && many(&self.own_gids)
    }
}

/// Reads the facts below `root` (`/` but in tests), helpers from `path` (the PATH variable).
///
/// Reads as little as the answer takes: without helpers no range matters.
pub fn gather(root: &Path, path: &OsStr) -> Facts {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    let text = |name: &str| std::fs::read_to_string(root.join(name)).unwrap_or_default();
    let own_uids = extents(&text("proc/self/uid_map"));
    let own_gids = extents(&text("proc/self/gid_map"));
    let mut facts = Facts {
        uid,
        gid,
        user: uid.to_string(),
        own_uids,
        own_gids,
        capable: uid == 0 && is_capable(),
        subuids: Vec::new(),
        subgids: Vec::new(),
        helpers: Err(HelpersMissing::Nested),
    };
    if facts.may_map_directly() || facts.own_uids.iter().all(|extent| extent.count == 1) {
        return facts;
    }
    facts.helpers = helpers(path);
    if facts.helpers.is_ok() {
        facts.user = name_of(&text("etc/passwd"), uid);
        facts.subuids = ranges(&text("etc/subuid"), &facts.user, uid);
        // subgid(5) is keyed by the user too, not by the group.
        facts.subgids = ranges(&text("etc/subgid"), &facts.user, uid);
    }
    facts
}

/// The caller's name in passwd(5), or its id.
pub fn caller() -> String {
    let uid = rustix::process::getuid().as_raw();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    name_of(&passwd, uid)
}

fn is_capable() -> bool {
    use rustix::thread::CapabilitySet;
    let wanted = CapabilitySet::SETUID | CapabilitySet::SETGID;
    rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(wanted))
}

/// The id that this process's user namespace has outside for its id 1: where its range begins.
pub fn own_range_start() -> Option<u32> {
    let text = std::fs::read_to_string("/proc/self/uid_map").ok()?;
    let own = extents(&text).into_iter().find(|extent| extent.inside == 1)?;
    Some(own.outside)
}

/// The lines of `/proc/PID/uid_map`.
pub(super) fn extents(text: &str) -> Vec<Extent> {
    let extent = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse);
        match (numbers.next()?, numbers.next()?, numbers.next()?) {
            (Ok(inside), Ok(outside), Ok(count)) => Some(Extent { inside, outside, count }),
            _ => None,
        }
    };
    text.lines().filter_map(extent).collect()
}

/// A user's name in the text of passwd(5), or its id.
pub fn name_of(passwd: &str, uid: u32) -> String {
    let is_its = |line: &&str| line.split(':').nth(2).and_then(|it| it.parse().ok()) == Some(uid);
    let name = passwd.lines().find(is_its).and_then(|line| line.split(':').next());
    name.map_or_else(|| uid.to_string(), str::to_owned)
}

/// The lines of subuid(5) that are for the user, by name or by number.
fn ranges(text: &str, user: &str, uid: u32) -> Vec<SubordinateRange> {
    let range = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let (first, count): (u32, u32) =
            (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let ours = owner == user || owner.parse() == Ok(uid);
        let sound = count > 0 && first > 0 && first.checked_add(count).is_some();
        (ours && sound).then_some(SubordinateRange { first, count })
    };
    text.lines().filter_map(range).collect()
}

fn helpers(path: &OsStr) -> Result<Helpers, HelpersMissing> {
    let find = |name: &'static str| {
        std::env::split_paths(path)
            .filter(|directory| directory.is_absolute())
            .map(|directory| directory.join(name))
            .find(|file| file.is_file())
            .ok_or(HelpersMissing::NotFound(name))
    };
    let found = Helpers { newuidmap: find("newuidmap")?, newgidmap: find("newgidmap")? };
    if rustix::thread::no_new_privs().unwrap_or(false) {
        return Err(HelpersMissing::NoNewPrivileges);
    }
    for helper in [&found.newuidmap, &found.newgidmap] {
        check_power(helper)?;
    }
    Ok(found)
}

/// Whether a helper has the privilege it works by (newuidmap(1)).
fn check_power(helper: &Path) -> Result<(), HelpersMissing> {
    const SETUID: u32 = 0o4000;
    let set_user = std::fs::metadata(helper)
        .is_ok_and(|metadata| metadata.uid() == 0 && metadata.mode() & SETUID != 0);
    let mut nothing: [u8; 0] = [];
    let capability = rustix::fs::getxattr(helper, c"security.capability", &mut nothing)
        .is_ok_and(|size| size > 0);
    if !set_user && !capability {
        return Err(HelpersMissing::Powerless(helper.to_owned()));
    }
    let nosuid = rustix::fs::statvfs(helper)
        .is_ok_and(|fs| fs.f_flag.contains(rustix::fs::StatVfsMountFlags::NOSUID));
    if nosuid { Err(HelpersMissing::Nosuid(helper.to_owned())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let text = "root:1:2\nada:100000:65536\n1000:300000:10\nbad:x:1\nada:5\nada:0:9\n";
        let first = |user, uid| ranges(text, user, uid).iter().map(|r| r.first).collect::<Vec<_>>();
        assert_eq!(first("ada", 1000), [100_000, 300_000]);
        assert_eq!(first("bob", 1001), [0u32; 0]);
    }

    #[test]
    fn without_the_program_its_name_is_told() {
        let missing = helpers(OsStr::new("/nonexistent:relative"));
        assert_eq!(missing, Err(HelpersMissing::NotFound("newuidmap")));
    }

    #[test]
    fn maps_are_read() {
        let text = "         0       1000          1\n         1     100000      65536\n";
        assert_eq!(extents(text)[1], Extent { inside: 1, outside: 100_000, count: 65536 });
    }
}
