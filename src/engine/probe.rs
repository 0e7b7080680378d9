//! What this host allows, found out by trying it in a child that is thrown away.
//!
//! ```text
//! attempt: fork ─► unshare ─► one id mapped ─► mounts cut off ─► the thing itself
//!             ▲                                                      │
//!             └──────────────── pipe: step, errno ◄──────────────────┘
//! ```
//!
//! For a process of one thread: the children go on with a copy of that thread alone.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::sched::CloneFlags;
use rustix::fs::{CWD, RenameFlags, XattrFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags};
use rustix::pipe::PipeFlags;

use crate::sys::scratch::Scratch;
use crate::{layer, runtime, sys, union, userns};

/// How far an attempt came, and what stopped it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot {step}: {}", io::Error::from(*errno))]
pub struct ProbeFailure {
    /// What was tried.
    pub step: Step,
    /// What the kernel said.
    pub errno: Errno,
}

/// The steps of all attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// Making directories, a pipe, a child.
    Prepare,
    /// unshare(2)
    Namespaces,
    /// Writing the id maps.
    Map,
    /// Cutting the mounts off from the host's: the first use of the new capabilities.
    Propagation,
    /// Opening the device.
    Open,
    /// Mounting the file system.
    Mount,
    /// Writing to a new file, and to one from below.
    Write,
    /// Removing a file from below.
    Whiteout,
    /// Removing a directory from below and making it anew.
    Opaque,
    /// Renaming a directory from below.
    Rename,
    /// Reading a file whose data is in another layer than its attributes.
    Describe,
    /// Bringing the loopback device up.
    Loopback,
    /// Loading a filter of system calls.
    Filter,
}

impl Step {
    const ALL: [Self; 13] = [
        Self::Prepare,
        Self::Namespaces,
        Self::Map,
        Self::Propagation,
        Self::Open,
        Self::Mount,
        Self::Write,
        Self::Whiteout,
        Self::Opaque,
        Self::Rename,
        Self::Describe,
        Self::Loopback,
        Self::Filter,
    ];
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prepare => "prepare the attempt",
            Self::Namespaces => "make the namespaces",
            Self::Map => "map an id",
            Self::Propagation => "change mounts in a user namespace",
            Self::Open => "open the device",
            Self::Mount => "mount it",
            Self::Write => "write in it",
            Self::Whiteout => "remove a file in it",
            Self::Opaque => "replace a directory in it",
            Self::Rename => "rename a file in it",
            Self::Describe => "read a file with its data elsewhere in it",
            Self::Loopback => "bring the loopback device up",
            Self::Filter => "load a filter",
        })
    }
}

impl ProbeFailure {
    /// Whether it says something about kernel and file system that holds until they are others: not
    /// about this moment, a switch for user namespaces, a module or a device that may come.
    pub fn lasts(&self) -> bool {
        let passing = [
            Errno::NOSPC,
            Errno::DQUOT,
            Errno::NOMEM,
            Errno::MFILE,
            Errno::NOENT,
            Errno::NODEV,
            Errno::NXIO,
            Errno::ACCESS,
        ];
        let switched = [Step::Prepare, Step::Namespaces, Step::Map, Step::Propagation];
        !switched.contains(&self.step) && !passing.contains(&self.errno)
    }
}

/// Names the step in which a call failed.
trait At<T> {
    fn at(self, step: Step) -> Result<T, ProbeFailure>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, step: Step) -> Result<T, ProbeFailure> {
        self.map_err(|errno| ProbeFailure { step, errno })
    }
}

impl<T> At<T> for io::Result<T> {
    fn at(self, step: Step) -> Result<T, ProbeFailure> {
        self.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO)).at(step)
    }
}

/// A user namespace with one id in which mounts may be changed.
pub fn user_namespace() -> Result<(), ProbeFailure> {
    attempt(|| enter(CloneFlags::empty()))
}

/// An overlay whose layers lie below `dir`, mounted the way a container's root is, and used.
pub fn overlay(dir: &Path) -> Result<(), ProbeFailure> {
    let layers = Directories::new(dir).at(Step::Prepare)?;
    attempt(|| {
        enter(CloneFlags::empty())?;
        let path = |name: &str| layers.0.path().join(name);
        let (lower, upper, work) = (path("lower"), path("upper"), path("work"));
        let point = path("root");
        runtime::mount_overlay(&lower, None, &upper, &work, &point).at(Step::Mount)?;
        use_overlay(&point)
    })
}

/// The same with a layer that has a file's attributes and not its data, which is in a data-only layer. A
/// user may mount that from Linux 6.16 on. What is copied up must be whole.
pub fn metadata(dir: &Path) -> Result<(), ProbeFailure> {
    let layers = Directories::new(dir).at(Step::Prepare)?;
    let path = |name: &str| layers.0.path().join(name);
    let (lower, data, upper) = (path("described"), path("lower"), path("upper"));
    let described = File::create_new(lower.join("file")).at(Step::Prepare)?;
    described.set_len(BELOW.len() as u64).at(Step::Prepare)?;
    let set = |name, value| rustix::fs::fsetxattr(&described, name, value, XattrFlags::empty());
    set(layer::METACOPY, b"").at(Step::Prepare)?;
    set(layer::REDIRECT, b"/directory/inner").at(Step::Prepare)?;
    attempt(|| {
        enter(CloneFlags::empty())?;
        let expect = |path: PathBuf, whole: &str| {
            let read = fs::read(path).at(Step::Describe)?;
            if read == whole.as_bytes() { Ok(()) } else { Err(Errno::IO).at(Step::Describe) }
        };
        let (work, point) = (path("work"), path("root"));
        runtime::mount_overlay(&lower, Some(&data), &upper, &work, &point).at(Step::Mount)?;
        expect(point.join("file"), BELOW)?;
        let mut file = File::options().append(true).open(point.join("file")).at(Step::Write)?;
        file.write_all(b", and more").at(Step::Write)?;
        expect(upper.join("file"), &format!("{BELOW}, and more"))?;
        let mark = rustix::fs::getxattr(upper.join("file"), layer::METACOPY, &mut [0; 1][..]);
        if mark == Err(Errno::NODATA) { Ok(()) } else { Err(Errno::IO).at(Step::Describe) }
    })
}

/// FUSE: its device, and a mount of it. Nobody answers there; the mount goes with the child. A union
/// below `dir` needs the user's attributes besides.
pub fn fuse(dir: &Path) -> Result<(), ProbeFailure> {
    let layers = Directories::new(dir).at(Step::Prepare)?;
    let flags = XattrFlags::empty();
    rustix::fs::setxattr(layers.0.path().join("upper"), "user.overlay.opaque", b"y", flags)
        .at(Step::Opaque)?;
    attempt(|| {
        enter(CloneFlags::empty())?;
        let device = union::open_device().at(Step::Open)?;
        union::mount(&device).at(Step::Mount).map(drop)
    })
}

/// A network namespace with loopback.
pub fn netns() -> Result<(), ProbeFailure> {
    attempt(|| {
        enter(CloneFlags::CLONE_NEWNET)?;
        sys::network::loopback_up().at(Step::Loopback)
    })
}

/// A new /proc in a new pid namespace. The kernel grants none where parts of the caller's are
/// hidden (`mount_too_revealing`), as in most outer containers.
pub fn procfs() -> Result<(), ProbeFailure> {
    attempt(|| {
        enter(CloneFlags::CLONE_NEWPID)?;
        // unshare(2) puts the next child into the new pid namespace, not the caller.
        attempt(|| {
            use rustix::mount::{fsconfig_create, fsmount, fsopen};
            let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC).at(Step::Mount)?;
            fsconfig_create(&context).at(Step::Mount)?;
            let flags = MountAttrFlags::MOUNT_ATTR_NOSUID
                | MountAttrFlags::MOUNT_ATTR_NODEV
                | MountAttrFlags::MOUNT_ATTR_NOEXEC;
            fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags).at(Step::Mount).map(drop)
        })
    })
}

/// A filter of system calls that lets everything through.
pub fn seccomp() -> Result<(), ProbeFailure> {
    use sys::seccomp::{ALLOW, Instruction, bpf::RETURN};
    attempt(|| {
        rustix::thread::set_no_new_privs(true).at(Step::Filter)?;
        let allow = Instruction { code: RETURN, jump_true: 0, jump_false: 0, operand: ALLOW };
        sys::seccomp::load(&[allow], 0).at(Step::Filter)
    })
}

/// Whether a user namespace with these ids comes about; else what the kernel or a helper said.
pub fn ids(ids: &userns::IdMaps) -> Result<(), String> {
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
        .map_err(|errno| io::Error::from(errno).to_string())?;
    let (mut reader, mut writer) = (File::from(reader), File::from(writer));
    let child = sys::fork::in_child(|| match userns::enter_in_place(ids) {
        Ok(()) => 0,
        Err(error) => {
            let _ = writer.write_all(error.to_string().as_bytes());
            1
        }
    });
    let child = child.map_err(|error| error.to_string())?;
    drop(writer);
    let mut message = String::new();
    let _ = reader.read_to_string(&mut message);
    match child.wait() {
        Ok(0) => Ok(()),
        _ => Err(message),
    }
}

/// Does `work` in a child and brings its failure back.
fn attempt(work: impl FnOnce() -> Result<(), ProbeFailure>) -> Result<(), ProbeFailure> {
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).at(Step::Prepare)?;
    let (mut reader, mut writer) = (File::from(reader), File::from(writer));
    let child = sys::fork::in_child(|| match work() {
        Ok(()) => 0,
        Err(failure) => {
            let _ = writer.write_all(&encode(failure));
            1
        }
    });
    let child = child.map_err(|error| error.errno).at(Step::Prepare)?;
    drop(writer);
    let mut told = [0; SIZE];
    let told = reader.read_exact(&mut told).map(|()| told);
    match (child.wait().at(Step::Prepare)?, told) {
        (0, _) => Ok(()),
        (_, Ok(told)) => Err(decode(told)),
        // A sandbox kills for a call that it does not like.
        (_, Err(_)) => Err(ProbeFailure { step: Step::Prepare, errno: Errno::INTR }),
    }
}

const SIZE: usize = 5;

fn encode(failure: ProbeFailure) -> [u8; SIZE] {
    let [a, b, c, d] = failure.errno.raw_os_error().to_ne_bytes();
    [failure.step as u8, a, b, c, d]
}

fn decode([step, errno @ ..]: [u8; SIZE]) -> ProbeFailure {
    ProbeFailure {
        step: Step::ALL.get(usize::from(step)).copied().unwrap_or(Step::Prepare),
        errno: Errno::from_raw_os_error(i32::from_ne_bytes(errno)),
    }
}

/// Enters namespaces of its own: user, mount and `more`; one id is mapped, as root.
fn enter(more: CloneFlags) -> Result<(), ProbeFailure> {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    let namespaces = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS | more;
    nix::sched::unshare(namespaces)
        .map_err(|errno| Errno::from_raw_os_error(errno as i32))
        .at(Step::Namespaces)?;
    // gid_map takes a line only once setgroups(2) is denied (user_namespaces(7)).
    fs::write("/proc/self/setgroups", "deny").at(Step::Map)?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1\n")).at(Step::Map)?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1\n")).at(Step::Map)?;
    // Where AppArmor gives a user namespace without capabilities, this is what fails.
    let flags = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", flags).at(Step::Propagation)
}

/// What package managers do in a root.
fn use_overlay(root: &Path) -> Result<(), ProbeFailure> {
    let expect = |held: bool| if held { Ok(()) } else { Err(Errno::IO) };
    fs::write(root.join("new"), "new").at(Step::Write)?;
    fs::write(root.join("changed"), "changed").at(Step::Write)?;
    expect(fs::read(root.join("changed")).at(Step::Write)? == b"changed").at(Step::Write)?;
    fs::remove_file(root.join("removed")).at(Step::Whiteout)?;
    expect(!root.join("removed").exists()).at(Step::Whiteout)?;
    let directory = root.join("directory");
    fs::remove_file(directory.join("inner")).at(Step::Opaque)?;
    fs::remove_dir(&directory).at(Step::Opaque)?;
    fs::create_dir(&directory).at(Step::Opaque)?;
    expect(fs::read_dir(&directory).at(Step::Opaque)?.next().is_none()).at(Step::Opaque)?;
    let (from, to) = (root.join("renamed"), root.join("elsewhere"));
    rustix::fs::renameat_with(CWD, &from, CWD, &to, RenameFlags::NOREPLACE).at(Step::Rename)
}

/// What is in each file of a lower layer.
const BELOW: &str = "below";

/// The layers of an overlay to be tried, removed when dropped: the kernel leaves work/work of mode 000.
struct Directories(Scratch);

impl Directories {
    fn new(below: &Path) -> io::Result<Self> {
        let made = Self(Scratch::new(below)?);
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o755);
        for name in ["lower", "upper", "work", "root", "described", "lower/directory"] {
            builder.create(made.0.path().join(name))?;
        }
        for name in ["changed", "removed", "renamed", "directory/inner"] {
            fs::write(made.0.path().join("lower").join(name), BELOW)?;
        }
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_survive_the_pipe() {
        for (number, step) in Step::ALL.into_iter().enumerate() {
            assert_eq!(step as usize, number);
            let failure = ProbeFailure { step, errno: Errno::PERM };
            assert_eq!(decode(encode(failure)), failure);
        }
    }

    #[test]
    fn the_layers_of_an_attempt_do_not_stay() {
        let dir = tempfile::tempdir().expect("a directory");
        let layers = Directories::new(dir.path()).expect("layers");
        assert!(layers.0.path().join("lower/directory/inner").exists());
        fs::create_dir(layers.0.path().join("work/work")).expect("a directory");
        drop(layers);
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 0);
    }

    #[test]
    fn a_full_disk_says_nothing_about_overlayfs() {
        let failure = |step, errno| ProbeFailure { step, errno };
        assert!(failure(Step::Mount, Errno::PERM).lasts());
        assert!(!failure(Step::Mount, Errno::NOSPC).lasts());
        assert!(!failure(Step::Prepare, Errno::PERM).lasts());
    }

    #[test]
    fn what_an_administrator_may_allow_is_asked_again() {
        let failure = |step, errno| ProbeFailure { step, errno };
        assert!(!failure(Step::Namespaces, Errno::PERM).lasts(), "a switch of the kernel");
        assert!(!failure(Step::Mount, Errno::NODEV).lasts(), "a module");
        assert!(!failure(Step::Open, Errno::ACCESS).lasts(), "the mode of a device");
    }
}
