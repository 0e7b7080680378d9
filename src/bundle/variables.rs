//! The variables of a container's program.

use std::ffi::{OsStr, OsString};

use super::{Request, User, defaults};
use crate::oci::ImageConfig;

/// `NAME=value` each: defaults, then the host's that were asked for, the image's, and the user's; the
/// last of a name wins and stands where the first stood.
pub(super) fn of(
    request: &Request,
    config: &ImageConfig,
    hostname: &str,
    user: &User,
) -> Vec<OsString> {
    let mut all = Variables::default();
    all.set("PATH", defaults::PATH);
    all.set("HOSTNAME", hostname);
    if request.tty {
        all.set("TERM", "xterm");
    }
    for (name, value) in &request.host_env {
        all.set(name, value);
    }
    for line in &config.env {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        all.set(name, value);
    }
    for (name, value) in &request.env_merge {
        let value = all.fill_in(value);
        all.set(name, value);
    }
    let is_unset = |name: &OsStr| {
        request.unset_all_env || request.unset_env.iter().any(|unset| OsStr::new(unset) == name)
    };
    all.0.retain(|(name, _)| !is_unset(name));
    for (name, value) in &request.env {
        all.set(name, value);
    }
    if all.get("HOME").is_none() && !is_unset("HOME".as_ref()) {
        all.set("HOME", &user.home);
    }
    let join = |(mut name, value): (OsString, OsString)| {
        name.push("=");
        name.push(value);
        name
    };
    all.0.into_iter().map(join).collect()
}

#[derive(Default)]
struct Variables(Vec<(OsString, OsString)>);

impl Variables {
    fn get(&self, wanted: &str) -> Option<&OsStr> {
        self.0.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_os_str())
    }

    fn set(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) {
        let (name, value) = (name.as_ref(), value.as_ref());
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }

    /// `$NAME` and `${NAME}` become what they stand for, nothing where there is no such variable.
    fn fill_in(&self, text: &str) -> OsString {
        let mut filled = OsString::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('$') {
            filled.push(before);
            let braced = behind.strip_prefix('{').and_then(|it| it.split_once('}'));
            let (name, behind) = braced.unwrap_or_else(|| {
                let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                behind.split_at(behind.find(|c| !is_name(c)).unwrap_or(behind.len()))
            });
            match name {
                "" => filled.push("$"),
                name => filled.push(self.get(name).unwrap_or_default()),
            }
            rest = behind;
        }
        filled.push(rest);
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(request: &Request) -> Vec<OsString> {
        let env = vec!["PATH=/opt/bin".into(), "LANG=C".into()];
        let config = ImageConfig { env, ..ImageConfig::default() };
        of(request, &config, "box", &User::default())
    }

    fn pairs(all: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        all.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[test]
    fn the_last_who_speaks_of_a_variable_wins() {
        let request = Request {
            host_env: pairs(&[("LANG", "de"), ("EDITOR", "vi")]),
            env: pairs(&[("EDITOR", "ed")]),
            ..Request::default()
        };
        let all = ["PATH=/opt/bin", "HOSTNAME=box", "LANG=C", "EDITOR=ed", "HOME=/root"];
        assert_eq!(env(&request), all);
    }

    #[test]
    fn what_is_there_can_be_built_on_and_taken_out() {
        let merged = [("PATH", "${PATH}:$HOSTNAME/bin"), ("X", "a$NOPE-$")];
        let request = Request {
            env_merge: merged.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            unset_env: vec!["LANG".to_owned(), "HOME".to_owned()],
            ..Request::default()
        };
        assert_eq!(env(&request), ["PATH=/opt/bin:box/bin", "HOSTNAME=box", "X=a-$"]);
        let none = Request { unset_all_env: true, env: pairs(&[("A", "b")]), ..Request::default() };
        assert_eq!(env(&none), ["A=b"]);
    }
}
