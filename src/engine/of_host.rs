//! What a container takes from the host: its name, its resolver, its devices.

use std::path::{Path, PathBuf};

use crate::bundle::HostFiles;

/// The host's name and files, as a container may show them.
pub(super) fn host_files() -> HostFiles {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    HostFiles {
        hosts: read("/etc/hosts"),
        resolv_conf: read("/etc/resolv.conf"),
        hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
    }
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
