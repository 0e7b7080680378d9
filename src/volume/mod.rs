//! Volumes on disk: directories that outlive their containers.
//!
//! ```text
//! volumes/NAME/        0700; flock'ed on itself: shared by who is about to use it, until that is
//!     volume.json      written down in a container's record; exclusively by who removes it
//!     _data/           what containers see
//!     lock             held by who fills it from an image
//!     filling/         a copy of the image's files, under way
//!     fill/            the whole copy, on its way into _data entry by entry
//! tmp/ID               a volume in the making, or on its way out
//! ```
//!
//! A volume is made under a name that nobody looks for and is there by a rename, so that of two that
//! make one, one wins and the other uses it. `_data` itself is never replaced: a running container may
//! have it mounted. So a copy is brought in entry by entry, and whoever uses the volume next finishes
//! that if its maker was killed.

mod error;
mod fill;
mod name;
mod record;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::sys::scratch::is_at;
use error::Tried;

pub use error::Error;
pub use fill::Filling;
pub use name::{InvalidName, Name};
pub use record::{InvalidOptions, Options, Volume};

/// The volumes of one store.
#[derive(Debug)]
pub struct Volumes {
    volumes: PathBuf,
    tmp: PathBuf,
}

/// A volume that nobody removes while this lives.
#[derive(Debug)]
pub struct Held {
    /// The volume.
    pub volume: Volume,
    _directory: OwnedFd,
}

/// A volume that nobody uses or comes to use while this lives.
#[derive(Debug)]
pub struct Taken {
    /// The volume.
    pub volume: Volume,
    directory: OwnedFd,
}

/// What is left of a removed volume, for who removed it to delete.
#[derive(Debug)]
pub struct Remains {
    /// Where it lies now.
    pub path: PathBuf,
    _lock: OwnedFd,
}

impl Volumes {
    /// The volumes below a store's root. Touches nothing.
    pub fn new(root: &Path) -> Self {
        Self { volumes: root.join("volumes"), tmp: root.join("tmp") }
    }

    /// Where the files of a volume of this name lie, or would lie.
    pub fn data_of(&self, name: &str) -> PathBuf {
        self.volumes.join(name).join("_data")
    }

    /// All volumes, sorted by name.
    pub fn list(&self) -> Result<Vec<Volume>, Error> {
        let entries = match std::fs::read_dir(&self.volumes) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.tried("list", &self.volumes)?,
        };
        let mut volumes = Vec::new();
        for entry in entries {
            let name = entry.tried("list", &self.volumes)?.file_name();
            if let Some(name) = name.to_str().and_then(|name| name.parse().ok()) {
                // One that is removed meanwhile is none.
                volumes.extend(self.read(&name)?);
            }
        }
        volumes.sort_unstable_by(|one, other| one.name.as_str().cmp(other.name.as_str()));
        Ok(volumes)
    }

    /// The volume of this name.
    pub fn find(&self, name: &str) -> Result<Volume, Error> {
        let missing = || Error::NoSuchVolume { name: name.to_owned() };
        let name: Name = name.parse().map_err(|_| missing())?;
        self.read(&name)?.ok_or_else(missing)
    }

    /// Makes a volume, or finds the one that has its name; holds it. `true` where it is new.
    pub fn create(&self, wanted: &Volume) -> Result<(Held, bool), Error> {
        loop {
            if let Some(held) = self.hold(wanted.name.as_str())? {
                return Ok((held, false));
            }
            let made = self.publish(wanted)?;
            if let Some(held) = self.hold(wanted.name.as_str())? {
                return Ok((held, made));
            }
        }
    }

    /// Keeps a volume from removal; `None` where there is none of the name.
    pub fn hold(&self, name: &str) -> Result<Option<Held>, Error> {
        let found = self.lock(name, FlockOperation::LockShared)?;
        Ok(found.map(|(volume, directory)| Held { volume, _directory: directory }))
    }

    /// Waits until nobody is about to use a volume, and keeps others from it.
    pub fn take(&self, name: &str) -> Result<Taken, Error> {
        match self.lock(name, FlockOperation::LockExclusive)? {
            Some((volume, directory)) => Ok(Taken { volume, directory }),
            None => Err(Error::NoSuchVolume { name: name.to_owned() }),
        }
    }

    /// Takes a volume out of the list. What is left of it is for the caller to delete.
    pub fn detach(&self, taken: Taken) -> Result<Remains, Error> {
        let path = self.volumes.join(taken.volume.name.as_str());
        let gone = self.unused_name()?;
        std::fs::rename(&path, &gone).tried("move away", &path)?;
        Ok(Remains { path: gone, _lock: taken.directory })
    }

    /// A name of 64 hexadecimal digits, for a volume that nobody named.
    pub fn generate_name(&self) -> Result<Name, Error> {
        random_digits()
            .tried("read random bytes for", &self.volumes)?
            .parse()
            .map_err(|error: InvalidName| Error::NoSuchVolume { name: error.0 })
    }

    fn read(&self, name: &Name) -> Result<Option<Volume>, Error> {
        Volume::read(&self.volumes.join(name.as_str()))
    }

    /// Locks the directory that has the name, and has it still once it is locked.
    fn lock(&self, name: &str, how: FlockOperation) -> Result<Option<(Volume, OwnedFd)>, Error> {
        let Ok(name) = name.parse::<Name>() else { return Ok(None) };
        let path = self.volumes.join(name.as_str());
        loop {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let directory = match rustix::fs::open(&path, flags, Mode::empty()) {
                Err(Errno::NOENT) => return Ok(None),
                other => other.tried("open", &path)?,
            };
            match rustix::fs::flock(&directory, how) {
                Err(Errno::INTR) => continue,
                other => other.tried("lock", &path)?,
            }
            if is_at(&directory, &path) {
                return Ok(self.read(&name)?.map(|volume| (volume, directory)));
            }
            // It was removed while this waited; there may be another by now.
        }
    }

    /// Makes a volume where there is none; `false` where there is one.
    fn publish(&self, volume: &Volume) -> Result<bool, Error> {
        make_directory(&self.volumes)?;
        make_directory(&self.tmp)?;
        let (draft, _lock) = loop {
            let draft = self.unused_name()?;
            rustix::fs::mkdir(&draft, Mode::from_raw_mode(0o700)).tried("make", &draft)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            // A sweep that came between took it for rubbish.
            let lock = match rustix::fs::open(&draft, flags, Mode::empty()) {
                Err(Errno::NOENT) => continue,
                opened => opened.tried("open", &draft)?,
            };
            let locked = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive);
            if locked.is_ok() && is_at(&lock, &draft) {
                break (draft, lock);
            }
        };
        let written = volume.write(&draft).and_then(|()| {
            let path = self.volumes.join(volume.name.as_str());
            match std::fs::rename(&draft, &path) {
                // A directory with something in it is not replaced: another was faster.
                Err(_) if path.join("volume.json").exists() => Ok(false),
                other => other.tried("make", &path).map(|()| true),
            }
        });
        if matches!(written, Ok(true)) {
            let synced = std::fs::File::open(&self.volumes).and_then(|names| names.sync_all());
            synced.tried("write out", &self.volumes)?;
        } else {
            let _ = crate::sys::remove_tree(&draft);
        }
        written
    }

    /// A path in `tmp` of the form that a sweep of containers looks for.
    fn unused_name(&self) -> Result<PathBuf, Error> {
        let digits = random_digits().tried("read random bytes for", &self.tmp)?;
        Ok(self.tmp.join(digits))
    }
}

fn make_directory(path: &Path) -> Result<(), Error> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o700)) {
        Err(Errno::EXIST) => Ok(()),
        other => other.tried("make", path),
    }
}

fn random_digits() -> Result<String, Errno> {
    use std::fmt::Write;
    let mut bytes = [0; 32];
    // Up to 256 bytes come whole and at once (getrandom(2)).
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    if filled != bytes.len() {
        return Err(Errno::AGAIN);
    }
    Ok(bytes.iter().fold(String::with_capacity(64), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volumes() -> (tempfile::TempDir, Volumes) {
        let root = tempfile::tempdir().expect("a directory");
        let volumes = Volumes::new(root.path());
        (root, volumes)
    }

    fn named(name: &str) -> Volume {
        Volume::new(name.parse().expect("a name"), "2026-11-28T00:00:00Z".to_owned())
    }

    #[test]
    fn one_name_is_one_volume() {
        let (_root, volumes) = volumes();
        assert_eq!(volumes.list().expect("none"), []);
        let (first, made) = volumes.create(&named("data")).expect("a volume");
        assert!(made && first.volume.data().is_dir());
        let (_second, made) = volumes.create(&named("data")).expect("the same");
        assert!(!made);
        assert_eq!(volumes.find("data").expect("it").name.as_str(), "data");
        for missing in ["other", "../tmp", ""] {
            assert!(matches!(volumes.find(missing), Err(Error::NoSuchVolume { .. })), "{missing}");
        }
    }

    #[test]
    fn makers_and_removers_at_once_lose_nothing() {
        let (_root, volumes) = volumes();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let (held, _) = volumes.create(&named("data")).expect("a volume");
                        assert!(held.volume.data().is_dir(), "held and there");
                    }
                });
            }
            scope.spawn(|| {
                for _ in 0..100 {
                    if let Ok(taken) = volumes.take("data") {
                        let remains = volumes.detach(taken).expect("out of sight");
                        crate::sys::remove_tree(&remains.path).expect("removed");
                    }
                }
            });
        });
        let left = std::fs::read_dir(&volumes.tmp).expect("tmp").count();
        assert_eq!(left, 0);
    }
}
