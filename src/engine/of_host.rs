//! What a container takes from the host: its name, its resolver, its devices.

use std::path::{Path, PathBuf};

use crate::bundle::{HostFiles, SecurityModules};

/// The host's name and files, as a container may show them.
pub(super) fn host_files() -> HostFiles {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    HostFiles {
        hosts: read("/etc/hosts"),
        resolv_conf: read("/etc/resolv.conf"),
        hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
    }
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

/// The device nodes that the caller may open for reading and writing.
pub(super) fn host_devices() -> Vec<PathBuf> {
    use std::os::unix::fs::FileTypeExt;
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::from("/dev")];
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
    found.sort();
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
