//! A volume is filled: the copy first, then entry by entry into its place.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use rustix::fs::{
    AtFlags, FlockOperation, Gid, Mode, OFlags, RawDir, RenameFlags, Timespec, Timestamps, Uid,
};
use rustix::io::Errno;

use super::Held;
use super::error::{Error, Tried};

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The right to fill a volume, held until dropped.
#[derive(Debug)]
pub struct Filling {
    /// An empty directory for the copy.
    pub draft: PathBuf,
    whole: PathBuf,
    data: PathBuf,
    _lock: OwnedFd,
}

impl Held {
    /// Whether nothing was ever put into it, or only a part of a copy that somebody began.
    pub fn is_to_fill(&self) -> bool {
        if self.volume.options.device.is_some() {
            return false; // the user's own files
        }
        let empty =
            || std::fs::read_dir(self.volume.data()).is_ok_and(|mut it| it.next().is_none());
        self.is_half_full() || empty()
    }

    /// Whether a copy is there that did not come to its place yet.
    pub fn is_half_full(&self) -> bool {
        self.volume.place().join("fill").exists()
    }

    /// The right to fill it; `None` where another did so meanwhile. Waits for others that do.
    ///
    /// Touches files of subordinate ids: for who is root over these.
    pub fn fill(&self) -> Result<Option<Filling>, Error> {
        let place = self.volume.place();
        let path = place.join("lock");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let lock =
            rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600)).tried("open", &path)?;
        while let Err(errno) = rustix::fs::flock(&lock, FlockOperation::LockExclusive) {
            if errno != Errno::INTR {
                return Err(errno).tried("lock", path);
            }
        }
        let filling = Filling {
            draft: place.join("filling"),
            whole: place.join("fill"),
            data: self.volume.data(),
            _lock: lock,
        };
        if self.is_half_full() {
            filling.move_in()?; // its maker was killed
            return Ok(None);
        }
        if !self.is_to_fill() {
            return Ok(None);
        }
        let draft = &filling.draft;
        crate::sys::remove_tree(draft).tried("remove", draft)?;
        std::fs::DirBuilder::new().mode(0o700).create(draft).tried("make", draft)?;
        Ok(Some(filling))
    }
}

impl Filling {
    /// Brings the finished copy to its place. What a container has put there meanwhile stays.
    pub fn finish(self) -> Result<(), Error> {
        let draft = rustix::fs::open(&self.draft, DIRECTORY, Mode::empty());
        // From here on it counts as whole, after a power failure too.
        draft.and_then(rustix::fs::syncfs).tried("write out", &self.draft)?;
        std::fs::rename(&self.draft, &self.whole).tried("move", &self.draft)?;
        self.move_in()
    }

    fn move_in(&self) -> Result<(), Error> {
        let open = |path: &PathBuf| rustix::fs::open(path, DIRECTORY, Mode::empty());
        let from = open(&self.whole).tried("open", &self.whole)?;
        let to = open(&self.data).tried("open", &self.data)?;
        move_entries(&from, &to).tried("fill", &self.data)?;
        resemble(&from, &to).tried("set the attributes of", &self.data)?;
        crate::sys::remove_tree(&self.whole).tried("remove", &self.whole)
    }
}

fn move_entries(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    let mut buffer = vec![MaybeUninit::uninit(); 16 << 10];
    // A second reader: entries that go while one is read may hide others from it.
    loop {
        let reader = rustix::fs::openat(from, c".", DIRECTORY, Mode::empty())?;
        let mut entries = RawDir::new(reader, &mut buffer);
        let mut moved = 0;
        while let Some(entry) = entries.next() {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                moved += usize::from(move_entry(from, to, entry.file_name())?);
            }
        }
        if moved == 0 {
            return Ok(());
        }
    }
}

fn move_entry(from: &OwnedFd, to: &OwnedFd, name: &CStr) -> Result<bool, Errno> {
    match rustix::fs::renameat_with(from, name, to, name, RenameFlags::NOREPLACE) {
        // The container's own counts.
        Err(Errno::EXIST) => Ok(false),
        // A file system without the flag: nobody is known to be there.
        Err(Errno::INVAL) => match rustix::fs::statat(to, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => rustix::fs::renameat(from, name, to, name).map(|()| true),
            _ => Ok(false),
        },
        other => other.map(|()| true),
    }
}

/// Owner, recorded owner, mode and time of the directory that was copied.
fn resemble(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    let (stat, now) = (rustix::fs::fstat(from)?, rustix::fs::fstat(to)?);
    if (stat.st_uid, stat.st_gid) != (now.st_uid, now.st_gid) {
        let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        rustix::fs::fchown(to, Some(uid), Some(gid))?;
    }
    let mut value = [0; crate::owners::LENGTH];
    match rustix::fs::fgetxattr(from, crate::owners::OVERRIDE, &mut value[..]) {
        Ok(length) => {
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::fsetxattr(to, crate::owners::OVERRIDE, &value[..length], flags)?;
        }
        Err(Errno::NODATA | Errno::NOTSUP) => {}
        Err(errno) => return Err(errno),
    }
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    let time = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec.cast_signed() };
    rustix::fs::futimens(to, &Timestamps { last_access: time, last_modification: time })
}
