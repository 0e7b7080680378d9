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
    /// `seccomp=builtin`, docker's word for what is used anyway.
    SeccompDefault,
    /// `seccomp=FILE`: a profile that is still to be read.
    SeccompFile(PathBuf),
    /// `mask=PATH[:PATH]`
    Mask(Vec<PathBuf>),
    /// `unmask=PATH[:PATH]`
    Unmask(Vec<PathBuf>),
    /// `unmask=ALL`, `systempaths=unconfined`
    UnmaskAll,
    /// `proc-opts=OPTION[,OPTION]`
    ProcOptions(Vec<String>),
    /// `apparmor=PROFILE`; `None` for unconfined.
    AppArmor(Option<String>),
    /// `label=…`
    Label(Label),
}

/// One `label=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Label {
    /// `disable`: none of SELinux's.
    Disable,
    /// `user:USER`
    User(String),
    /// `role:ROLE`
    Role(String),
    /// `type:TYPE`
    Kind(String),
    /// `level:LEVEL`
    Level(String),
    /// `filetype:TYPE`
    FileKind(String),
    /// `nested`
    Nested,
}

/// `KEY=VALUE`; docker's older `KEY:VALUE` too.
pub fn security_option(text: &str) -> Result<SecurityOption, Invalid> {
    let at = text.find(['=', ':']);
    let (key, value) = at.map_or((text, None), |at| (&text[..at], Some(&text[at + 1..])));
    match (key, value) {
        ("no-new-privileges", None) => Ok(SecurityOption::NoNewPrivileges(true)),
        ("no-new-privileges", Some(value)) => boolean(value).map(SecurityOption::NoNewPrivileges),
        ("seccomp", Some("unconfined")) => Ok(SecurityOption::SeccompUnconfined),
        ("seccomp", Some("builtin")) => Ok(SecurityOption::SeccompDefault),
        ("seccomp", Some(file)) if !file.is_empty() => {
            Ok(SecurityOption::SeccompFile(PathBuf::from(file)))
        }
        ("apparmor", Some("unconfined")) => Ok(SecurityOption::AppArmor(None)),
        // The name goes to the kernel in one line of words.
        ("apparmor", Some(name)) if !name.is_empty() && !name.contains(char::is_whitespace) => {
            Ok(SecurityOption::AppArmor(Some(name.to_owned())))
        }
        ("label", Some(value)) => label(value).map(SecurityOption::Label),
        ("systempaths", Some("unconfined")) | ("unmask", Some("ALL" | "all")) => {
            Ok(SecurityOption::UnmaskAll)
        }
        ("mask", Some(list)) => paths(list).map(SecurityOption::Mask),
        ("unmask", Some(list)) => paths(list).map(SecurityOption::Unmask),
        ("proc-opts", Some(list)) => proc_options(list).map(SecurityOption::ProcOptions),
        _ => Err(Invalid::new(format!(
            "invalid --security-opt {text:?}: want no-new-privileges, seccomp=FILE, unconfined or \
             builtin, mask=PATH, unmask=PATH or ALL, systempaths=unconfined, proc-opts=OPTION, \
             apparmor=PROFILE or unconfined, label=disable or what else SELinux knows"
        ))),
    }
}

fn label(text: &str) -> Result<Label, Invalid> {
    let word = |value: &str| !value.is_empty() && !value.contains(char::is_whitespace);
    match text.split_once(':') {
        None if text == "disable" => Ok(Label::Disable),
        None if text == "nested" => Ok(Label::Nested),
        Some(("user", value)) if word(value) => Ok(Label::User(value.to_owned())),
        Some(("role", value)) if word(value) => Ok(Label::Role(value.to_owned())),
        Some(("type", value)) if word(value) => Ok(Label::Kind(value.to_owned())),
        Some(("level", value)) if word(value) => Ok(Label::Level(value.to_owned())),
        Some(("filetype", value)) if word(value) => Ok(Label::FileKind(value.to_owned())),
        _ => Err(Invalid::new(format!(
            "invalid label {text:?}: want disable, user:USER, role:ROLE, type:TYPE, level:LEVEL, \
             filetype:TYPE or nested"
        ))),
    }
}

/// procfs's own options (proc(5), "Mount options").
fn proc_options(list: &str) -> Result<Vec<String>, Invalid> {
    const HIDEPID: [&str; 8] = ["0", "1", "2", "4", "off", "noaccess", "invisible", "ptraceable"];
    let option = |text: &str| {
        let is_known = match text.split_once('=') {
            Some(("hidepid", value)) => HIDEPID.contains(&value),
            Some(("gid", value)) => value.parse::<u32>().is_ok(),
            Some(("subset", value)) => value == "pid",
            _ => false,
        };
        is_known.then(|| text.to_owned()).ok_or_else(|| {
            let all = HIDEPID.join("|");
            Invalid::new(format!(
                "{text:?} is no option of /proc: want hidepid={all}, gid=GROUP or subset=pid"
            ))
        })
    };
    list.split(',').map(option).collect()
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
            ("seccomp=builtin", Opt::SeccompDefault),
            ("seccomp=/p.json", Opt::SeccompFile("/p.json".into())),
            ("mask=/a:/b", Opt::Mask(vec!["/a".into(), "/b".into()])),
            ("unmask=ALL", Opt::UnmaskAll),
            ("systempaths=unconfined", Opt::UnmaskAll),
            (
                "proc-opts=hidepid=2,gid=5",
                Opt::ProcOptions(vec!["hidepid=2".into(), "gid=5".into()]),
            ),
            ("proc-opts=subset=pid", Opt::ProcOptions(vec!["subset=pid".into()])),
            ("apparmor=unconfined", Opt::AppArmor(None)),
            ("apparmor:containers-default", Opt::AppArmor(Some("containers-default".into()))),
            ("label=disable", Opt::Label(Label::Disable)),
            ("label:type:spc_t", Opt::Label(Label::Kind("spc_t".into()))),
            ("label=level:s0:c1,c2", Opt::Label(Label::Level("s0:c1,c2".into()))),
            ("label=nested", Opt::Label(Label::Nested)),
        ] {
            assert_eq!(security_option(text), Ok(option));
        }
        for text in [
            "",
            "seccomp",
            "apparmor=",
            "apparmor=a b",
            "label",
            "label=type:",
            "label=x:y",
            "mask=a",
            "proc-opts=",
            "proc-opts=rw",
            "proc-opts=hidepid=3",
            "x=y",
        ] {
            assert!(security_option(text).is_err(), "{text}");
        }
    }
}
