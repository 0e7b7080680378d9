//! What `cp` does in a container: paths of its root found, trees sent and received.
//!
//! It runs in a child in the container's namespaces, where `/` is the container's root. Whatever the
//! container's processes move or swap meanwhile, a path leads to another place in there at the worst.

use std::collections::VecDeque;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, BufReader, BufWriter};
use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstatvfs, openat2, readlinkat, statat,
};
use rustix::io::Errno;

use super::target::{Goes, Refusal, Target, What, plan};
use crate::layer::{self, Extraction, Limits, Name, Scope, is_pseudo, write_tree};
use crate::owners::Owners;

/// Links on the way to a file, as the kernel counts them.
const MOST_LINKS: usize = 40;

/// Why a part of `cp` was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("Could not find the file {path} in container {container}")]
    Missing { path: String, container: String },
    #[error(
        "cannot copy {path}: what is there are no files but the kernel's words; read them in the container"
    )]
    Pseudo { path: String },
    #[error("container rootfs is marked read-only")]
    RootReadOnly,
    #[error("mounted volume is marked read-only")]
    MountReadOnly,
    #[error("cannot look at {path}: {errno}")]
    Look { path: String, errno: Errno },
    #[error("{}", words(.0))]
    Layer(#[from] layer::Error),
}

impl Failed {
    /// Whether who was written to has gone.
    pub(super) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Layer(layer::Error::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// docker's words for what is refused, without the archive's.
fn words(error: &layer::Error) -> String {
    match error {
        layer::Error::Refused { name, why } if why.starts_with("cannot overwrite") => {
            format!("{why}: {name}")
        }
        error => error.to_string(),
    }
}

/// A place in the container.
struct Located {
    parent: OwnedFd,
    last: CString,
    /// The parent's path, without links in its last part.
    path: Name,
    /// What is there.
    stat: Option<Stat>,
}

impl Located {
    fn is_directory(&self) -> bool {
        self.stat.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    }
}

/// One `cp`, as the child in the container knows it.
#[derive(Debug)]
pub(super) struct Inside<'a> {
    pub(super) container: &'a str,
    /// As the user typed it.
    pub(super) path: &'a str,
    pub(super) owners: Owners,
}

impl Inside<'_> {
    /// Says what is at the path, then sends it as an archive.
    pub(super) fn send(
        &self,
        follow: bool,
        say: impl FnOnce(&What),
        to: File,
    ) -> Result<(), Failed> {
        let what = What::of(self.path.as_bytes());
        let located = self.locate(follow || what.asserts_directory)?;
        let Some(located) = located.filter(|located| located.stat.is_some()) else {
            return Err(self.missing());
        };
        if what.asserts_directory && !located.is_directory() {
            return Err(Refusal::NotADirectory { path: self.path.to_owned() }.into());
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let own = rustix::fs::openat(&located.parent, &located.last, flags, Mode::empty());
        if is_pseudo(&own.map_err(|errno| self.look(errno))?) {
            return Err(Failed::Pseudo { path: self.path.to_owned() });
        }
        let what = What { is_directory: located.is_directory(), ..what };
        say(&what);
        let to = BufWriter::with_capacity(256 << 10, to);
        write_tree(&located.parent, &located.last, &what.name(), self.owners, to)?;
        Ok(())
    }

    /// Extracts an archive of `what` where the path says; of anything, in a directory that is there,
    /// where that is not known. Gives the bytes in its files.
    pub(super) fn receive(
        &self,
        what: Option<&What>,
        keep_owners: bool,
        from: File,
    ) -> Result<u64, Failed> {
        let mut from = BufReader::with_capacity(256 << 10, from);
        let received = self.receive_from(what, keep_owners, &mut from);
        if received.is_err() {
            // Who sends is to read why, and not to die of a closed pipe.
            let _ = io::copy(&mut from, &mut io::sink());
        }
        received
    }

    fn receive_from(
        &self,
        what: Option<&What>,
        keep_owners: bool,
        from: &mut BufReader<File>,
    ) -> Result<u64, Failed> {
        let located = self.locate(true)?.ok_or_else(|| self.no_directory())?;
        let target = Target {
            exists: located.stat.is_some(),
            is_directory: located.is_directory(),
            asserts_directory: What::of(self.path.as_bytes()).asserts_directory,
            path: self.path.to_owned(),
        };
        if located.stat.is_some_and(|stat| is_device(&stat)) {
            return Err(Refusal::Device.into());
        }
        let goes = match what {
            Some(what) => plan(what, &target)?,
            None if target.is_directory => Goes::Into,
            None => {
                return Err(Refusal::MustBeDirectory {
                    target: format!("{}:{}", self.container, self.path),
                }
                .into());
            }
        };
        let own = located.last.to_bytes();
        let (path, rename) = match goes {
            Goes::Into if own == b"." => (located.path.clone(), Default::default()),
            Goes::Into => (located.path.join(own), Default::default()),
            Goes::As => {
                let from = what.map(What::name).unwrap_or_default();
                (located.path.clone(), (from, Name::default().join(own)))
            }
        };
        let root = root().map_err(|errno| self.look(errno))?;
        let place = open(&root, &path, OFlags::DIRECTORY).map_err(|errno| self.look(errno))?;
        self.check_writable(&root, &place)?;
        let extraction = Extraction {
            scope: Scope::InRoot { root, path },
            rename,
            owners: Some(self.owners),
            keep_owners,
            limits: unlimited(),
        };
        match extraction.extract(&mut *from) {
            // A file that something is mounted on.
            Err(layer::Error::Io { source, .. })
                if source.kind() == io::ErrorKind::ReadOnlyFilesystem =>
            {
                Err(Failed::MountReadOnly)
            }
            done => {
                let bytes = done?;
                let _ = io::copy(from, &mut io::sink()); // what stands behind the end mark
                Ok(bytes)
            }
        }
    }

    fn check_writable(&self, root: &OwnedFd, place: &OwnedFd) -> Result<(), Failed> {
        let flags = fstatvfs(place).map_err(|errno| self.look(errno))?.f_flag;
        if !flags.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
            return Ok(());
        }
        let mount = |of: &OwnedFd| {
            let wanted = rustix::fs::StatxFlags::MNT_ID;
            rustix::fs::statx(of, c"", AtFlags::EMPTY_PATH, wanted).map(|it| it.stx_mnt_id)
        };
        match (mount(root), mount(place)) {
            (Ok(root), Ok(place)) if root != place => Err(Failed::MountReadOnly),
            _ => Err(Failed::RootReadOnly),
        }
    }

    /// Where the path leads; `None` where not even its directory is there.
    fn locate(&self, follow: bool) -> Result<Option<Located>, Failed> {
        let root = root().map_err(|errno| self.look(errno))?;
        let mut left: VecDeque<Vec<u8>> = parts(self.path.as_bytes());
        let mut links = 0;
        loop {
            let last = left.pop_back();
            let up = last.as_deref() == Some(b"..");
            if up {
                left.extend(last.clone());
            }
            let path = left.iter().fold(Vec::new(), |path, part| [&path[..], part, b"/"].concat());
            let path = if path.is_empty() { b".".to_vec() } else { path };
            let parent = match open_bytes(&root, &path, OFlags::DIRECTORY) {
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
                parent => parent.map_err(|errno| self.look(errno))?,
            };
            let name = match last {
                Some(last) if !up => last,
                _ => b".".to_vec(),
            };
            let Ok(name) = CString::new(name) else { return Ok(None) };
            let stat = match statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => Some(stat),
                Err(Errno::NOENT) => None,
                Err(errno) => return Err(self.look(errno)),
            };
            let is_link =
                stat.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
            if !(is_link && follow) {
                let path = place_of(&left).ok_or_else(|| self.look(Errno::INVAL));
                // `..` in the middle: the kernel has found it, and goes the same way again.
                let path =
                    path.or_else(|_| canonical(&parent).ok_or_else(|| self.look(Errno::INVAL)))?;
                return Ok(Some(Located { parent, last: name, path, stat }));
            }
            links += 1;
            if links > MOST_LINKS {
                return Err(self.look(Errno::LOOP));
            }
            let text = readlinkat(&parent, &name, Vec::new()).map_err(|errno| self.look(errno))?;
            if text.as_bytes().starts_with(b"/") {
                left.clear();
            }
            left.extend(parts(text.as_bytes()));
        }
    }

    fn missing(&self) -> Failed {
        Failed::Missing { path: self.path.to_owned(), container: self.container.to_owned() }
    }

    /// Where something was to be put: its directory is what is not there.
    fn no_directory(&self) -> Failed {
        let path = self.path.trim_end_matches('/');
        let above = path.rsplit_once('/').map_or("/", |(above, _)| above);
        let path = if above.is_empty() { "/" } else { above };
        Failed::Missing { path: path.to_owned(), container: self.container.to_owned() }
    }

    fn look(&self, errno: Errno) -> Failed {
        Failed::Look { path: self.path.to_owned(), errno }
    }
}

/// Bytes and entries as many as there are: who asks for a copy has looked at what it is of.
pub(super) fn unlimited() -> Limits {
    Limits { bytes: u64::MAX >> 1, entries: u64::MAX, directories: u64::MAX }
}

fn root() -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, c"/", flags, Mode::empty())
}

fn open(root: &OwnedFd, path: &Name, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = if path.is_root() { &b"."[..] } else { path.as_bytes() };
    open_bytes(root, path, flags)
}

fn open_bytes(root: &OwnedFd, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = flags | OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    loop {
        match openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened,
        }
    }
}

fn parts(path: &[u8]) -> VecDeque<Vec<u8>> {
    let parts = path.split(|&byte| byte == b'/');
    parts.filter(|part| !matches!(*part, b"" | b".")).map(<[u8]>::to_vec).collect()
}

fn place_of(parts: &VecDeque<Vec<u8>>) -> Option<Name> {
    let plain = parts.iter().all(|part| part != b"..");
    plain.then(|| parts.iter().fold(Name::default(), |name, part| name.join(part)))
}

/// The path of an open directory, as the kernel tells it.
fn canonical(directory: &OwnedFd) -> Option<Name> {
    let mut names = Vec::new();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = rustix::fs::openat(directory, c".", flags, Mode::empty()).ok()?;
    // Without /proc: each directory is looked for in the one above.
    loop {
        let own = rustix::fs::fstat(&at).ok()?;
        let above = rustix::fs::openat(&at, c"..", flags, Mode::empty()).ok()?;
        let stat = rustix::fs::fstat(&above).ok()?;
        if (stat.st_dev, stat.st_ino) == (own.st_dev, own.st_ino) {
            break;
        }
        let entries = rustix::fs::Dir::read_from(&above).ok()?;
        let name = entries.flatten().find(|entry| {
            let found = statat(&above, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW);
            let is_it = |stat: Stat| (stat.st_dev, stat.st_ino) == (own.st_dev, own.st_ino);
            !matches!(entry.file_name().to_bytes(), b"." | b"..") && found.is_ok_and(is_it)
        })?;
        names.push(name.file_name().to_bytes().to_vec());
        at = above;
    }
    Some(names.iter().rev().fold(Name::default(), |name, part| name.join(part)))
}

fn is_device(stat: &Stat) -> bool {
    let kind = FileType::from_raw_mode(stat.st_mode);
    matches!(kind, FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo)
}
