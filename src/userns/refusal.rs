//! Why the kernel makes no user namespace here, found out after it refused.

use std::fmt;
use std::path::Path;

use rustix::io::Errno;

use super::Error;

/// What stands against user namespaces on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `kernel.unprivileged_userns_clone=0` (Debian's and Arch's patch).
    Switch,
    /// `user.max_user_namespaces=0`
    Limit,
    /// Ubuntu's AppArmor restriction; the path is this program's.
    AppArmor {
        /// The program that a profile must name.
        program: String,
    },
    /// A filter of system calls around this process: an outer container's.
    Sandbox,
    /// A kernel without `CONFIG_USER_NS`.
    Kernel,
    /// None of these.
    Unknown(Errno),
}

/// Finds out why making or mapping a user namespace failed with `errno`.
pub fn explain_refusal(errno: Errno) -> Error {
    Error::Refused(find(Path::new("/"), errno))
}

fn find(root: &Path, errno: Errno) -> Refusal {
    let read = |name: &str| {
        std::fs::read_to_string(root.join(name)).ok().map(|text| text.trim().to_owned())
    };
    let is = |name: &str, value: &str| read(name).as_deref() == Some(value);
    if is("proc/sys/kernel/unprivileged_userns_clone", "0") {
        return Refusal::Switch;
    }
    if is("proc/sys/user/max_user_namespaces", "0") {
        return Refusal::Limit;
    }
    if is("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        let program = std::env::current_exe().unwrap_or_default();
        return Refusal::AppArmor { program: program.display().to_string() };
    }
    let filtered = read("proc/self/status")
        .is_some_and(|status| status.lines().any(|line| line == "Seccomp:\t2"));
    match errno {
        Errno::PERM | Errno::NOSYS | Errno::ACCESS if filtered => Refusal::Sandbox,
        Errno::INVAL => Refusal::Kernel,
        errno => Refusal::Unknown(errno),
    }
}

impl Refusal {
    /// What would lift it.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Switch => {
                Some("an administrator can allow them: sysctl kernel.unprivileged_userns_clone=1".into())
            }
            Self::Limit => {
                Some("an administrator can allow them: sysctl user.max_user_namespaces=15000".into())
            }
            Self::AppArmor { program } => Some(format!(
                "an administrator can allow this program: printf 'abi <abi/4.0>,\\ninclude <tunables/global>\\n\
                 profile coracle {program} flags=(unconfined) {{ userns, }}\\n' > /etc/apparmor.d/coracle \
                 && apparmor_parser -r /etc/apparmor.d/coracle"
            )),
            Self::Sandbox => Some(
                "start the outer container with --privileged, or with a seccomp profile that allows unshare, clone and mount"
                    .into(),
            ),
            Self::Kernel | Self::Unknown(_) => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch => f.write_str(
                "user namespaces are switched off for users (kernel.unprivileged_userns_clone=0)",
            ),
            Self::Limit => {
                f.write_str("no user namespace may be made (user.max_user_namespaces=0)")
            }
            Self::AppArmor { program } => write!(
                f,
                "AppArmor lets only named programs use user namespaces, and {program} is not one \
                 (kernel.apparmor_restrict_unprivileged_userns=1)"
            ),
            Self::Sandbox => f.write_str(
                "a filter of system calls around this process refuses user namespaces (an outer container's)",
            ),
            Self::Kernel => f.write_str("this kernel has no user namespaces (CONFIG_USER_NS)"),
            Self::Unknown(errno) => write!(f, "the kernel refused a user namespace: {errno}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(files: &[(&str, &str)]) -> (tempfile::TempDir, impl Fn(Errno) -> Refusal) {
        let root = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("parents");
            std::fs::write(path, text).expect("a file");
        }
        let path = root.path().to_owned();
        (root, move |errno| find(&path, errno))
    }

    #[test]
    fn the_cause_is_looked_up_and_not_guessed() {
        let (_kept, refusal) = with(&[("proc/sys/kernel/unprivileged_userns_clone", "0\n")]);
        assert_eq!(refusal(Errno::PERM), Refusal::Switch);
        let (_kept, refusal) = with(&[("proc/sys/user/max_user_namespaces", "0\n")]);
        assert_eq!(refusal(Errno::NOSPC), Refusal::Limit);
        let (_kept, refusal) = with(&[("proc/self/status", "Name:\tx\nSeccomp:\t2\n")]);
        assert_eq!(refusal(Errno::PERM), Refusal::Sandbox);
        let (_kept, refusal) = with(&[]);
        assert_eq!(refusal(Errno::INVAL), Refusal::Kernel);
        assert_eq!(refusal(Errno::PERM), Refusal::Unknown(Errno::PERM));
    }
}
