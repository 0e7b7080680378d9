//! Lines that are added to a container's /etc/passwd and /etc/group, so that whom it runs as has a
//! name there (podman's `--passwd`).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::user::{HostAccount, has_group, has_user};
use super::{Error, Request, User};

/// Text that is added to the end of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Added {
    /// The file, in the container.
    pub path: PathBuf,
    /// Whole lines.
    pub text: String,
}

/// The accounts that a container has beside its image's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// `--hostuser`, and who has its own id in there (`--userns host-id`).
    pub host: Vec<HostAccount>,
}

impl Accounts {
    /// The image's passwd(5) with the host's accounts behind it, to look a user up in.
    pub(super) fn extend(&self, passwd: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(passwd);
        let new = self.host.iter().filter(|account| !has_user(&text, &account.name, account.uid));
        let mut all = ended(passwd.to_vec());
        new.for_each(|account| all.extend(account.line().bytes()));
        all
    }

    /// What is added, for a program that runs as `user`.
    pub(super) fn added(
        &self,
        request: &Request,
        user: &User,
        (passwd, group): (&[u8], &[u8]),
    ) -> Result<Vec<Added>, Error> {
        let (passwd, group) = (String::from_utf8_lossy(passwd), String::from_utf8_lossy(group));
        let new = self.host.iter().filter(|account| !has_user(&passwd, &account.name, account.uid));
        let mut users: String = new.map(HostAccount::line).collect();
        let (mut groups, id) = (String::new(), user.uid.to_string());
        let named = has_user(&passwd, &id, user.uid)
            || self.host.iter().any(|account| account.uid == user.uid);
        let wanted = !request.no_passwd && !named;
        if wanted && (user.uid != 0 || request.passwd_entry.is_some()) {
            let home = user.home.display().to_string();
            let name = "container user";
            let words = [
                ("$USERNAME", &*id),
                ("$UID", &id),
                ("$GID", &user.gid.to_string()),
                ("$NAME", name),
                ("$HOME", &home),
            ];
            let form = request.passwd_entry.as_deref();
            let form = form.unwrap_or("$USERNAME:*:$UID:$GID:$NAME:$HOME:/bin/sh");
            users += &line("--passwd-entry", form, &words, 7)?;
        }
        let wanted = !request.no_passwd && !has_group(&group, user.gid);
        if wanted && (user.gid != 0 || request.group_entry.is_some()) {
            let gid = user.gid.to_string();
            let host = self.host.iter().find(|account| account.gid == user.gid);
            let name = host.and_then(|account| account.group.as_deref()).unwrap_or(&gid);
            let words = [("$GROUPNAME", name), ("$GID", &*gid), ("$USERLIST", "")];
            let form = request.group_entry.as_deref().unwrap_or("$GROUPNAME:x:$GID:$USERLIST");
            groups += &line("--group-entry", form, &words, 4)?;
        }
        let file = |path: &str, text: String| Added { path: PathBuf::from(path), text };
        let both = [file("/etc/passwd", users), file("/etc/group", groups)];
        Ok(both.into_iter().filter(|added| !added.text.is_empty()).collect())
    }
}

/// A line with its words filled in, where it is one of so many fields.
fn line(
    flag: &'static str,
    form: &str,
    words: &[(&str, &str)],
    fields: usize,
) -> Result<String, Error> {
    // The longest first: `$USERNAME` begins as `$USER…`.
    let mut words = words.to_vec();
    words.sort_by_key(|(word, _)| std::cmp::Reverse(word.len()));
    let text = words.iter().fold(form.to_owned(), |text, (word, value)| text.replace(word, value));
    let is_line = text.split(':').count() == fields && !text.contains(['\n', '\0']);
    match is_line {
        true => Ok(text + "\n"),
        false => Err(Error::InvalidEntry { flag, text: form.to_owned(), fields }),
    }
}

/// Ends with a newline where it holds anything.
fn ended(mut text: Vec<u8>) -> Vec<u8> {
    if text.last().is_some_and(|last| *last != b'\n') {
        text.push(b'\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/var/www:/bin/sh";
    const GROUP: &[u8] = b"root:x:0:\nweb:x:33:\n";

    fn user(uid: u32, gid: u32) -> User {
        User { uid, gid, groups: Vec::new(), home: "/".into() }
    }

    fn added(request: &Request, accounts: &Accounts, user: &User) -> Vec<(String, String)> {
        let all = accounts.added(request, user, (PASSWD, GROUP)).expect("lines");
        all.into_iter().map(|it| (it.path.display().to_string(), it.text)).collect()
    }

    #[test]
    fn who_has_no_name_gets_one() {
        let none = Accounts::default();
        let usual = Request::default();
        let lines = added(&usual, &none, &user(1234, 55));
        assert_eq!(
            lines,
            [
                ("/etc/passwd".into(), "1234:*:1234:55:container user:/:/bin/sh\n".into()),
                ("/etc/group".into(), "55:x:55:\n".into()),
            ]
        );
        assert!(added(&usual, &none, &user(33, 33)).is_empty());
        let without = Request { no_passwd: true, ..Request::default() };
        assert!(added(&without, &none, &user(1234, 55)).is_empty());
        let entry = "$USERNAME:x:$UID:$GID:me:/home/$USERNAME:/bin/zsh";
        let own = Request { passwd_entry: Some(entry.into()), ..Request::default() };
        assert_eq!(added(&own, &none, &user(7, 0))[0].1, "7:x:7:0:me:/home/7:/bin/zsh\n");
        let bad = Request { passwd_entry: Some("a:b\nroot::0:0:::".into()), ..Request::default() };
        assert!(none.added(&bad, &user(7, 0), (PASSWD, GROUP)).is_err());
    }

    #[test]
    fn the_hosts_accounts_are_found_by_name() {
        let host = HostAccount::find(
            b"ada:x:1000:1000:Ada:/home/ada:/bin/bash\n",
            b"ada:x:1000:\n",
            "ada",
        );
        let accounts = Accounts { host: vec![host.expect("an account")] };
        let passwd = accounts.extend(PASSWD);
        let text = String::from_utf8(passwd).expect("text");
        assert!(text.ends_with(":/bin/sh\nada:*:1000:1000:Ada:/home/ada:/bin/bash\n"), "{text}");
        let lines = added(&Request::default(), &accounts, &user(1000, 1000));
        assert_eq!(lines[1].1, "ada:x:1000:\n");
        assert_eq!(lines.len(), 2);
    }
}
