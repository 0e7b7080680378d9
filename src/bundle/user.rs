//! Who the process is: `--user` and `USER`, looked up in the image's passwd and group files.
//!
//! No NSS and no host file is asked: the container's own `/etc/passwd` and `/etc/group` decide.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Error;

/// The user a process runs as, in the container's ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary group ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<u32>,
    /// Home directory, `/` where passwd(5) has no line for the user.
    pub home: PathBuf,
}

impl Default for User {
    /// root
    fn default() -> Self {
        Self { uid: 0, gid: 0, groups: Vec::new(), home: PathBuf::from("/root") }
    }
}

/// A line of passwd(5), as far as it is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// A line of group(5).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// An account of the host (passwd(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAccount {
    /// Its name.
    pub name: String,
    /// Its id, in the container.
    pub uid: u32,
    /// Its group's id, in the container.
    pub gid: u32,
    /// Its full name and more.
    pub gecos: String,
    /// Its home directory, in the container.
    pub home: String,
    /// Its shell.
    pub shell: String,
    /// Its group's name.
    pub group: Option<String>,
}

impl HostAccount {
    /// The account of this name or id in the host's files.
    pub fn find(passwd: &[u8], group: &[u8], wanted: &str) -> Option<Self> {
        let (passwd, group) = (String::from_utf8_lossy(passwd), String::from_utf8_lossy(group));
        let number = parse_id(wanted);
        let mut found = None;
        for line in passwd.lines() {
            let fields: Vec<&str> = line.trim().split(':').collect();
            let [name, _, uid, gid, gecos, home, shell] = fields[..] else { continue };
            let (Some(uid), Some(gid)) = (parse_id(uid), parse_id(gid)) else { continue };
            let account = || Self {
                name: name.to_owned(),
                uid,
                gid,
                gecos: gecos.to_owned(),
                home: home.to_owned(),
                shell: shell.to_owned(),
                group: groups(&group).find(|it| it.gid == gid).map(|it| it.name.to_owned()),
            };
            if name == wanted {
                return Some(account());
            }
            if Some(uid) == number && found.is_none() {
                found = Some(account());
            }
        }
        found
    }

    /// Its line of passwd(5).
    pub(super) fn line(&self) -> String {
        let Self { name, uid, gid, gecos, home, shell, .. } = self;
        format!("{name}:*:{uid}:{gid}:{gecos}:{home}:{shell}\n")
    }
}

/// Whether a text of passwd(5) has this name or id.
pub(super) fn has_user(passwd: &str, name: &str, uid: u32) -> bool {
    accounts(passwd).any(|account| account.name == name || account.uid == uid)
}

/// Whether a text of group(5) has this id.
pub(super) fn has_group(group: &str, gid: u32) -> bool {
    groups(group).any(|group| group.gid == gid)
}

/// The highest id that docker and podman take; -1 and 2^32 wrap to root (CVE-2024-40635).
const MAX_ID: u32 = i32::MAX as u32;

impl User {
    /// Resolves `NAME|UID[:GROUP|GID]`; an empty text is root.
    ///
    /// `passwd` and `group` are the texts of the image's files, empty where it has none. As docker
    /// does it: a name must be in the file, a number need not; supplementary groups are those that
    /// list the user, and none where a group is given.
    pub fn resolve(text: &str, passwd: &[u8], group: &[u8]) -> Result<Self, Error> {
        let (user_text, group_text) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
            None => (text, None),
        };
        let (passwd, group) = (String::from_utf8_lossy(passwd), String::from_utf8_lossy(group));
        let wanted = if user_text.is_empty() { "0" } else { user_text };
        // A number is an id first, then a name: `useradd 1000` must not become another's id.
        let number = parse_id(wanted);
        let account = accounts(&passwd)
            .find(|account| account.name == wanted)
            .or_else(|| accounts(&passwd).find(|account| Some(account.uid) == number));
        let (uid, gid, home, name) = match (account, number) {
            (Some(account), _) => (account.uid, account.gid, account.home, account.name),
            (None, Some(uid)) => (uid, 0, "/", ""),
            (None, None) => {
                let known = accounts(&passwd).map(|account| account.name.to_owned()).collect();
                return Err(Error::UnknownUser { user: wanted.to_owned(), known });
            }
        };
        let home = PathBuf::from(if home.is_empty() { "/" } else { home });
        match group_text {
            Some(wanted) => {
                Ok(Self { uid, gid: group_id(wanted, &group)?, groups: Vec::new(), home })
            }
            None => Ok(Self { uid, gid, groups: memberships(name, gid, &group), home }),
        }
    }
}

/// The id of a group that `--group-add` names.
pub(super) fn added_group(wanted: &str, group: &[u8]) -> Result<u32, Error> {
    group_id(wanted, &String::from_utf8_lossy(group))
}

fn parse_id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id| digits && *id <= MAX_ID)
}

fn group_id(wanted: &str, text: &str) -> Result<u32, Error> {
    groups(text)
        .find(|group| group.name == wanted)
        .map(|group| group.gid)
        .or_else(|| parse_id(wanted))
        .ok_or_else(|| Error::UnknownGroup { group: wanted.to_owned() })
}

/// The groups that list `name`, besides the primary one.
fn memberships(name: &str, primary: u32, text: &str) -> Vec<u32> {
    if name.is_empty() {
        return Vec::new();
    }
    let mut ids: Vec<u32> = groups(text)
        .filter(|group| group.members.split(',').any(|member| member == name))
        .map(|group| group.gid)
        .filter(|gid| *gid != primary)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn accounts(text: &str) -> impl Iterator<Item = Account<'_>> {
    text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.trim().split(':').collect();
        match fields[..] {
            [name, _, uid, gid, _, home, ..] if !name.is_empty() => {
                Some(Account { name, uid: parse_id(uid)?, gid: parse_id(gid)?, home })
            }
            _ => None,
        }
    })
}

fn groups(text: &str) -> impl Iterator<Item = Group<'_>> {
    text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.trim().split(':').collect();
        match fields[..] {
            [name, _, gid, members] if !name.is_empty() => {
                Some(Group { name, gid: parse_id(gid)?, members })
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/var/www:/bin/sh\n\
        1001:x:77:77::/odd:/bin/sh\nbroken line\n";
    const GROUP: &[u8] = b"root:x:0:\nadm:x:4:web,root\nweb:x:33:\naudio:x:29:web\n";

    fn resolve(text: &str) -> Result<(u32, u32, Vec<u32>, String), Error> {
        User::resolve(text, PASSWD, GROUP)
            .map(|user| (user.uid, user.gid, user.groups, user.home.display().to_string()))
    }

    #[test]
    fn names_and_numbers_resolve_as_docker_resolves_them() {
        let cases = [
            ("", (0, 0, vec![4], "/root")),
            ("web", (33, 33, vec![4, 29], "/var/www")),
            ("33", (33, 33, vec![4, 29], "/var/www")),
            ("web:adm", (33, 4, vec![], "/var/www")),
            ("web:", (33, 33, vec![4, 29], "/var/www")),
            ("1234", (1234, 0, vec![], "/")),
            ("1234:5678", (1234, 5678, vec![], "/")),
            ("1001", (77, 77, vec![], "/odd")),
        ];
        for (text, (uid, gid, groups, home)) in cases {
            let user = resolve(text).expect(text);
            assert_eq!(user, (uid, gid, groups, home.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_wraps_to_root_is_refused() {
        for text in ["4294967296", "-1", "4294967295", "+1", " 1", "nobody", "web:nogroup"] {
            assert!(resolve(text).is_err(), "{text}");
        }
    }
}
