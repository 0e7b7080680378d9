//! `--security-opt`.

use std::path::PathBuf;

use super::{Invalid, boolean};

/// One `--security-opt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecurityOption {
    /// `no-new-privileges[=BOOL]`
    NoNewPrivileges(bool),
    /// `seccomp=unconfined`
    SeccompUnconfined,
    /// `seccomp=FILE`: a profile that is still to be read.
    SeccompFile(PathBuf),
    /// `mask=PATH[:PATH]`
    Mask(Vec<PathBuf>),
    /// `unmask=PATH[:PATH]`
    Unmask(Vec<PathBuf>),
    /// `unmask=ALL`, `systempaths=unconfined`
    UnmaskAll,
    /// What is so anyway: `apparmor=unconfined`, `label=disable`.
    AsItIs,
}

/// `KEY=VALUE`; docker's older `KEY:VALUE` too.
pub fn security_option(text: &str) -> Result<SecurityOption, Invalid> {
    let at = text.find(['=', ':']);
    let (key, value) = at.map_or((text, None), |at| (&text[..at], Some(&text[at + 1..])));
    match (key, value) {
        ("no-new-privileges", None) => Ok(SecurityOption::NoNewPrivileges(true)),
        ("no-new-privileges", Some(value)) => boolean(value).map(SecurityOption::NoNewPrivileges),
        ("seccomp", Some("unconfined")) => Ok(SecurityOption::SeccompUnconfined),
        ("seccomp", Some(file)) if !file.is_empty() => {
            Ok(SecurityOption::SeccompFile(PathBuf::from(file)))
        }
        ("apparmor", Some("unconfined")) | ("label", Some("disable")) => Ok(SecurityOption::AsItIs),
        ("apparmor", Some(_)) => Err(Invalid::new(
            "a profile of AppArmor can be loaded by root only: want apparmor=unconfined",
        )),
        ("label", Some(_)) => {
            Err(Invalid::new("labels of SELinux are not set: want label=disable"))
        }
        ("systempaths", Some("unconfined")) | ("unmask", Some("ALL" | "all")) => {
            Ok(SecurityOption::UnmaskAll)
        }
        ("mask", Some(list)) => paths(list).map(SecurityOption::Mask),
        ("unmask", Some(list)) => paths(list).map(SecurityOption::Unmask),
        _ => Err(Invalid::new(format!(
            "invalid --security-opt {text:?}: want no-new-privileges, seccomp=FILE or unconfined, \
             mask=PATH, unmask=PATH or ALL, systempaths=unconfined, apparmor=unconfined or \
             label=disable"
        ))),
    }
}

fn paths(list: &str) -> Result<Vec<PathBuf>, Invalid> {
    let path = |text: &str| {
        let path = text.starts_with('/').then(|| PathBuf::from(text));
        path.ok_or_else(|| {
            Invalid::new(format!("{text:?} is not an absolute path in the container"))
        })
    };
    list.split(':').map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_separators() {
        use SecurityOption as Opt;
        for (text, option) in [
            ("no-new-privileges", Opt::NoNewPrivileges(true)),
            ("no-new-privileges:false", Opt::NoNewPrivileges(false)),
            ("seccomp=unconfined", Opt::SeccompUnconfined),
            ("seccomp=/p.json", Opt::SeccompFile("/p.json".into())),
            ("mask=/a:/b", Opt::Mask(vec!["/a".into(), "/b".into()])),
            ("unmask=ALL", Opt::UnmaskAll),
            ("systempaths=unconfined", Opt::UnmaskAll),
            ("label=disable", Opt::AsItIs),
        ] {
            assert_eq!(security_option(text), Ok(option));
        }
        for text in ["", "seccomp", "apparmor=docker-default", "label=type:x", "mask=a", "x=y"] {
            assert!(security_option(text).is_err(), "{text}");
        }
    }
}
