//! What a container takes from the host: its name, its resolver, its devices.

use std::path::{Component, Path, PathBuf};

use super::Error;
use crate::bundle::{Accounts, HostAccount, HostFiles, Request, SecurityModules};
use crate::userns::Facts;

/// The host's name and files, as a container may show them.
pub(super) fn host_files() -> HostFiles {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    HostFiles {
        hosts: read("/etc/hosts"),
        resolv_conf: read("/etc/resolv.conf"),
        hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        first_hosts: None,
        localtime: None,
    }
}

/// What /etc/hosts is to begin with; `read` reads a file of the image.
pub(super) fn first_hosts(
    request: &Request,
    read: &dyn Fn(&str) -> Result<Vec<u8>, Error>,
) -> Result<Option<String>, Error> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    match request.hosts_file.as_deref() {
        None => Ok(None),
        Some("none") => Ok(Some(String::new())),
        Some("image") => read("/etc/hosts").map(text).map(Some),
        Some(path) => match std::fs::read(path) {
            Ok(bytes) => Ok(Some(text(bytes))),
            Err(source) => Err(Error::Io { action: "read", path: path.into(), source }),
        },
    }
}

/// The file of a time zone (tzfile(5)), from the host.
pub(super) fn time_zone(request: &Request) -> Result<Option<Vec<u8>>, Error> {
    let Some(name) = &request.timezone else { return Ok(None) };
    let path = match name.as_str() {
        "local" => PathBuf::from("/etc/localtime"),
        name => Path::new("/usr/share/zoneinfo").join(name),
    };
    let refused = |why: String| Error::NoTimeZone { name: name.clone(), why };
    let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if !plain {
        return Err(refused("it is no name of a time zone, such as Europe/Vienna".to_owned()));
    }
    match std::fs::read(&path) {
        Ok(bytes) if bytes.starts_with(b"TZif") => Ok(Some(bytes)),
        Ok(_) => Err(refused(format!("{} is no time zone", path.display()))),
        // Without the file a host's clock shows UTC (tzset(3)).
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let database = Path::new("/usr/share/zoneinfo").is_dir();
            Err(refused(match database || name == "local" {
                true => format!("the host has no {}", path.display()),
                false => "the host has no database of time zones (/usr/share/zoneinfo)".to_owned(),
            }))
        }
        Err(error) => Err(refused(format!("{}: {error}", path.display()))),
    }
}

/// The accounts that `--hostuser` names.
pub(super) fn host_accounts(request: &Request) -> Result<Accounts, Error> {
    let mut accounts = Accounts::default();
    if request.host_users.is_empty() {
        return Ok(accounts);
    }
    let (passwd, group) = (read_users("/etc/passwd")?, read_users("/etc/group")?);
    for name in &request.host_users {
        let found = HostAccount::find(&passwd, &group, name);
        accounts.host.push(found.ok_or_else(|| Error::NoHostUser { name: name.clone() })?);
    }
    Ok(accounts)
}

/// The caller's own account, as these ids, at home in the container's root.
pub(super) fn caller_account((uid, gid): (u32, u32), facts: &Facts) -> Option<HostAccount> {
    let read = |path: &str| std::fs::read(path).unwrap_or_default();
    let (passwd, group) = (read("/etc/passwd"), read("/etc/group"));
    let account = HostAccount::find(&passwd, &group, &facts.uid.to_string())?;
    Some(HostAccount { uid, gid, home: "/".into(), shell: "/bin/sh".into(), ..account })
}

fn read_users(path: &str) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Io { action: "read", path: path.into(), source })
}

/// AppArmor and SELinux, as far as they are active.
pub(super) fn security_modules() -> SecurityModules {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let apparmor = read("/sys/module/apparmor/parameters/enabled");
    let selinux = Path::new("/sys/fs/selinux/enforce").exists();
    SecurityModules {
        apparmor: apparmor.is_some_and(|text| text.starts_with('Y')),
        selinux: selinux.then(|| {
            let policy = setting(&read("/etc/selinux/config").unwrap_or_default(), "SELINUXTYPE");
            let file = format!(
                "/etc/selinux/{}/contexts/lxc_contexts",
                policy.as_deref().unwrap_or("targeted")
            );
            let contexts = read(&file).unwrap_or_default();
            // Without a policy for containers the caller's own context is the one to change.
            let own = || read("/proc/self/attr/current").unwrap_or_default();
            let context = setting(&contexts, "process").unwrap_or_else(own);
            context.trim_end_matches(['\0', '\n']).to_owned()
        }),
    }
}

/// The value of `name = "value"`.
fn setting(text: &str, name: &str) -> Option<String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let mut found = pairs.filter(|(key, _)| key.trim() == name);
    found.next().map(|(_, value)| value.trim().trim_matches('"').to_owned())
}

/// The device nodes below a directory of /dev that the caller may open for reading and writing.
pub fn devices_below(directory: &Path) -> Vec<PathBuf> {
    use std::os::unix::fs::FileTypeExt;
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let (path, Ok(kind)) = (entry.path(), entry.file_type()) else { continue };
            // These the container has as its own.
            let own = ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/console", "/dev/ptmx"];
            if own.iter().any(|name| path == Path::new(name)) {
                continue;
            }
            if kind.is_dir() {
                waiting.push(path);
            } else if (kind.is_char_device() || kind.is_block_device()) && may_open(&path) {
                found.push(path);
            }
        }
    }
    found.sort_unstable();
    found
}

fn may_open(path: &Path) -> bool {
    let access = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK;
    rustix::fs::access(path, access).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_with_and_without_quotes() {
        let text = "# SELINUXTYPE= can be\nSELINUXTYPE=targeted\nprocess = \"u:r:t:s0\"\n";
        assert_eq!(setting(text, "SELINUXTYPE").as_deref(), Some("targeted"));
        assert_eq!(setting(text, "process").as_deref(), Some("u:r:t:s0"));
        assert_eq!(setting(text, "file"), None);
    }
}
