//! How the host's mounts pass on what is mounted below them.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::{Error, Warn};
use crate::bundle::{BindRequest, Request};
use crate::mount::Propagation;
use crate::userns::IdMaps;

/// Refuses what the host's mounts do not pass on, as docker does (moby, `daemon/oci_linux.go`), and
/// tells what no user namespace passes on.
pub(super) fn check_propagation(binds: &[BindRequest], warn: &Warn) -> Result<(), Error> {
    let passes =
        |bind: &&BindRequest| matches!(bind.propagation, Propagation::Slave | Propagation::Shared);
    let mut asked = binds.iter().filter(passes).peekable();
    if asked.peek().is_none() {
        return Ok(());
    }
    let text = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    for bind in asked {
        let source = bind.source.canonicalize().unwrap_or_else(|_| bind.source.clone());
        let Some((point, shared, slave)) = mount_of(&text, &source) else { continue };
        let wants_shared = bind.propagation == Propagation::Shared;
        if !(shared || (slave && !wants_shared)) {
            let path = bind.source.clone();
            return Err(Error::NotPropagated { path, point, wants_shared });
        }
        if wants_shared {
            warn.tell(&format!(
                "{}: the host's mounts reach the container, and not the other way round: mounts of \
                 a user namespace stay in it",
                bind.target.display()
            ));
        }
    }
    Ok(())
}

/// Tells who gave the program its own number (`-u $(id -u)`) that it is another's in the container, so
/// that the program may not write to the caller's directories.
pub(super) fn tell_of_strangers(request: &Request, uid: u32, ids: &IdMaps, warn: &Warn) {
    use std::os::unix::fs::MetadataExt;
    let caller = rustix::process::geteuid().as_raw();
    let is_callers = ids.uids.iter().any(|extent| extent.outside_of(uid) == Some(caller));
    if uid != caller || request.user.is_none() || is_callers || ids.emulated {
        return;
    }
    let given = |bind: &&BindRequest| {
        let files = std::fs::metadata(&bind.source);
        !bind.read_only
            && !bind.chown
            && !bind.id_mapped
            && files.is_ok_and(|it| it.is_dir() && it.uid() == caller && it.mode() & 0o002 == 0)
    };
    if let Some(bind) = request.binds.iter().find(given) {
        warn.tell(&format!(
            "{} is root's in the container, as your files are, and {uid} is somebody else there who may \
             not write to it: with --userns host-id {uid} is you",
            bind.target.display()
        ));
    }
}

/// Tells who wants processes hidden from each other that nothing will be, where all are one user's.
pub(super) fn tell_of_open_proc(request: &Request, ids: &IdMaps, warn: &Warn) {
    let hides = |option: &&String| option.starts_with("hidepid=");
    if let (Some(option), true) = (request.security.proc_options.iter().find(hides), ids.emulated) {
        warn.tell(&format!(
            "proc-opts={option} hides nothing here: ids are emulated, and to the kernel all processes of the \
             container are one user's"
        ));
    }
}

/// Whether something is mounted at `path`, in the namespace of this process.
pub(super) fn is_mount_point(path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else { return false };
    let text = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    mount_of(&text, &path).is_some_and(|(point, ..)| point == path)
}

/// The mount point above `path`, and whether its mount is shared, or another's slave.
fn mount_of(mountinfo: &[u8], path: &Path) -> Option<(PathBuf, bool, bool)> {
    let lines = mountinfo.split(|byte| *byte == b'\n');
    let mounts = lines.filter_map(|line| {
        // proc_pid_mountinfo(5): six fields, optional ones, a dash.
        let mut fields = line.split(|byte| *byte == b' ');
        let point = unescaped(fields.nth(4)?);
        fields.next()?;
        let optional: Vec<&[u8]> = fields.take_while(|field| *field != b"-").collect();
        let has = |tag: &[u8]| optional.iter().any(|field| field.starts_with(tag));
        Some((point, has(b"shared:"), has(b"master:")))
    });
    // Of two at one place the later covers the earlier.
    mounts
        .filter(|(point, ..)| path.starts_with(point))
        .enumerate()
        .max_by_key(|(index, (point, ..))| (point.components().count(), *index))
        .map(|(_, mount)| mount)
}

/// A path as the kernel escapes it: `\040` for a blank and its kin.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let code = tail.get(..3).and_then(|digits| {
            let digits = OsStr::from_bytes(digits).to_str()?;
            u8::from_str_radix(digits, 8).ok()
        });
        let (byte, left) = match code.filter(|_| *first == b'\\') {
            Some(byte) => (byte, &tail[3..]),
            None => (*first, tail),
        };
        bytes.push(byte);
        rest = left;
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_above_a_path_is_the_nearest_and_the_last() {
        let text = b"20 1 0:1 / / rw shared:1 - ext4 /dev/a rw\n\
            21 20 0:2 / /srv rw - ext4 /dev/b rw\n\
            22 20 0:3 / /srv rw master:3 - ext4 /dev/c rw\n\
            23 20 0:4 / /a\\040b rw shared:5 master:2 - ext4 /dev/d rw\n";
        let of = |path: &str| mount_of(text, Path::new(path));
        assert_eq!(of("/home/x"), Some(("/".into(), true, false)));
        assert_eq!(of("/srv/x"), Some(("/srv".into(), false, true)));
        assert_eq!(of("/a b"), Some(("/a b".into(), true, true)));
        assert_eq!(of("/srvx"), Some(("/".into(), true, false)));
    }
}
