//! Labels of AppArmor and SELinux for the program, in force from exec on (proc_pid_attr(5)).

use std::ffi::{CStr, CString, NulError};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags};
use rustix::io::Errno;

use crate::bundle::Labels;

/// A label and the files below /proc that take it, the first that is there.
#[derive(Debug)]
pub(super) struct Label {
    files: &'static [&'static CStr],
    value: CString,
}

/// The labels as the kernel reads them.
pub(super) fn plan(labels: &Labels) -> Result<Vec<Label>, NulError> {
    let mut planned = Vec::new();
    if let Some(profile) = &labels.apparmor {
        // Its own file since Linux 5.8; before, and where it is the only module, the common one.
        let files = &[c"self/attr/apparmor/exec", c"self/attr/exec"];
        planned.push(Label { files, value: CString::new(format!("exec {profile}"))? });
    }
    if let Some(context) = &labels.selinux {
        planned.push(Label { files: &[c"self/attr/exec"], value: CString::new(context.as_str())? });
    }
    Ok(planned)
}

/// Sets the label that this process takes on at exec.
pub(super) fn set(label: &Label) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let proc = rustix::fs::open(c"/proc", flags, Mode::empty())?;
    let mut found = Err(Errno::NOENT);
    for file in label.files {
        found = open(proc.as_fd(), file);
        if found.as_ref().err() != Some(&Errno::NOENT) {
            break;
        }
    }
    rustix::io::write(found?, label.value.to_bytes()).map(drop)
}

/// Opens a file of procfs for writing. Whoever put another file system in its place, or mounted
/// something over the file, would see the label go nowhere (CVE-2019-16884, CVE-2019-19921).
fn open(proc: BorrowedFd<'_>, file: &CStr) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    is_procfs(proc)?;
    let opened = rustix::fs::openat2(proc, file, flags, Mode::empty(), resolve)?;
    is_procfs(opened.as_fd())?;
    Ok(opened)
}

fn is_procfs(file: BorrowedFd<'_>) -> Result<(), Errno> {
    if rustix::fs::fstatfs(file)?.f_type == PROC_SUPER_MAGIC { Ok(()) } else { Err(Errno::XDEV) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_procfs_is_written() {
        let proc = rustix::fs::open(c"/proc", OFlags::PATH, Mode::empty()).expect("/proc");
        assert!(open(proc.as_fd(), c"self/attr/exec").is_ok());
        assert!(open(proc.as_fd(), c"self/attr/no-such-module/exec").is_err());
        assert!(open(proc.as_fd(), c"self/cwd/x").is_err(), "a magic link was followed");
        let fake = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(fake.path().join("self/attr")).expect("directories");
        std::fs::write(fake.path().join("self/attr/exec"), "").expect("a file");
        let fake = std::fs::File::open(fake.path()).expect("the directory");
        assert_eq!(open(fake.as_fd(), c"self/attr/exec").err(), Some(Errno::XDEV));
    }
}
