//! A container with systemd as its first process: what it wants to find (systemd's "Container
//! Interface", podman-run(1), `--systemd`).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::Systemd;
use crate::mount::{Attributes, Kind, Mount};

/// Temporary file systems, with what the image has there.
const TEMPORARY: [&str; 4] = ["/run", "/run/lock", "/tmp", "/var/log/journal"];

/// The programs that usually are systemd.
const NAMES: [&str; 5] =
    ["/sbin/init", "/usr/sbin/init", "/usr/local/sbin/init", "/lib/systemd/systemd", "systemd"];

/// Whether the container is set up for it.
pub(super) fn is_wanted(asked: Systemd, args: &[OsString]) -> bool {
    match asked {
        Systemd::Always => true,
        Systemd::Never => false,
        Systemd::Auto => args.first().is_some_and(|program| {
            let named = Path::new(program).file_name().is_some_and(|name| name == "systemd");
            named || NAMES.iter().any(|name| program == name)
        }),
    }
}

/// Tells it that it runs in a container, and in which.
pub(super) fn tell(env: &mut Vec<OsString>, id: &str) {
    let has = |env: &[OsString], name: &str| {
        env.iter().any(|line| line.as_encoded_bytes().starts_with(name.as_bytes()))
    };
    if !has(env, "container=") {
        env.push("container=coracle".into());
    }
    // 128 bits, as a UUID is written (RFC 9562).
    if let (Some(id), false) = (id.get(..32), has(env, "container_uuid=")) {
        let parts = [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]];
        env.push(format!("container_uuid={}", parts.join("-")).into());
    }
}

/// Adds its file systems, and lets it make groups of its own where it has the power to.
pub(super) fn add_mounts(mounts: &mut Vec<Mount>, size: Option<u64>) {
    let known: Vec<PathBuf> = mounts.iter().map(|mount| mount.target.clone()).collect();
    for target in TEMPORARY.map(PathBuf::from) {
        if known.contains(&target) {
            continue;
        }
        let mode = if target == Path::new("/tmp") { "mode=1777" } else { "mode=0755" };
        let mut options = vec![mode.to_owned()];
        options.extend(size.map(|size| format!("size={size}")));
        mounts.push(Mount {
            target,
            kind: Kind::FileSystem {
                name: "tmpfs".to_owned(),
                source: None,
                options,
                copy_up: true,
            },
            attributes: Attributes { no_suid: true, no_dev: true, ..Attributes::default() },
            recursive_attributes: None,
        });
    }
    for group in mounts.iter_mut().filter(|mount| matches!(mount.kind, Kind::Cgroup)) {
        group.attributes.read_only = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_known_by_its_usual_names() {
        let auto = |program: &str| is_wanted(Systemd::Auto, &[program.into()]);
        assert!(auto("/sbin/init") && auto("/usr/lib/systemd/systemd") && auto("systemd"));
        assert!(!auto("/bin/sh") && !auto("init"));
        assert!(is_wanted(Systemd::Always, &["sh".into()]));
        assert!(!is_wanted(Systemd::Never, &["/sbin/init".into()]));
    }

    #[test]
    fn it_is_told_a_uuid() {
        let mut env = vec![OsString::from("container=mine")];
        tell(&mut env, &"0123456789abcdef".repeat(4));
        assert_eq!(env[0], "container=mine");
        assert_eq!(env[1], "container_uuid=01234567-89ab-cdef-0123-456789abcdef");
    }
}
