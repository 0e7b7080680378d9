//! Layers on top of each other, seen as overlayfs would show them, without a mount.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RawDir, Stat, chmodat, fchmod, fgetxattr, fstat, openat,
    statat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::xattr;

/// One directory of a stack: the same place in several layers, the topmost first.
#[derive(Debug, Default)]
pub struct Directory {
    places: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    directory: OwnedFd,
    /// Which of the stack's layers it is in, counted from the lowest.
    layer: usize,
    /// Whiteouts here may be files with an attribute.
    by_xattr: bool,
    /// The mode to give back: without search permission not even its owner may look inside.
    closed: Option<Mode>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(mode) = self.closed {
            let _ = fchmod(&self.directory, mode);
        }
    }
}

/// What a name in a directory of a stack is.
#[derive(Debug)]
pub enum Found {
    /// A directory, merged.
    Directory(Directory),
    /// Anything else.
    Other(Other),
}

/// Something in a stack that is no directory.
#[derive(Debug)]
pub struct Other {
    /// Which of the directory's places holds it.
    pub place: usize,
    /// What it is.
    pub stat: Stat,
}

impl Directory {
    /// The root of a stack of `layers`, the lowest first.
    pub fn root<P: AsRef<Path>>(layers: &[P]) -> io::Result<Self> {
        let mut root = Self::default();
        for (number, layer) in layers.iter().enumerate().rev() {
            if root.push(open_root(layer.as_ref())?, number)? {
                break; // opaque
            }
        }
        Ok(root)
    }

    /// Which layer a place is in, counted from the lowest.
    pub fn layer(&self, place: usize) -> usize {
        self.places[place].layer
    }

    /// Which layer the topmost directory is in.
    pub fn top_layer(&self) -> Option<usize> {
        self.places.first().map(|place| place.layer)
    }

    /// Whether nothing but the topmost directory counts.
    pub fn is_single(&self) -> bool {
        self.places.len() < 2
    }

    /// What the places below `place` have in its stead, if that is no directory.
    pub fn find_below(&self, place: usize, name: &CStr) -> io::Result<Option<Other>> {
        for (index, place) in self.places.iter().enumerate().skip(place + 1) {
            match statat(&place.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno.into()),
                Ok(stat) if place.is_whiteout(name, &stat) => return Ok(None),
                Ok(stat) => {
                    let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
                    return Ok((!directory).then_some(Other { place: index, stat }));
                }
            }
        }
        Ok(None)
    }

    /// The names in the topmost directory alone, those that it hides too.
    pub fn names_in_top(&self) -> io::Result<Vec<CString>> {
        let Some(place) = self.places.first() else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        place.read(|name, _| names.push(name.to_owned()))?;
        Ok(names)
    }

    /// The topmost directory itself, and what it is; `None` in an empty stack.
    pub fn top(&self) -> io::Result<Option<(BorrowedFd<'_>, Stat)>> {
        let Some(place) = self.places.first() else { return Ok(None) };
        let mut stat = fstat(&place.directory)?;
        if let Some(mode) = place.closed {
            stat.st_mode = stat.st_mode & !0o7777 | mode.as_raw_mode();
        }
        Ok(Some((place.directory.as_fd(), stat)))
    }

    /// The directory of one place.
    pub fn place(&self, index: usize) -> BorrowedFd<'_> {
        self.places[index].directory.as_fd()
    }

    /// What `name` is here; `None` where no layer has it, or one hides it.
    pub fn find(&self, name: &CStr) -> io::Result<Option<Found>> {
        let mut merged = Self::default();
        for (index, place) in self.places.iter().enumerate() {
            let stat = match statat(&place.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno.into()),
            };
            if place.is_whiteout(name, &stat) {
                break;
            }
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                if merged.places.is_empty() {
                    return Ok(Some(Found::Other(Other { place: index, stat })));
                }
                break; // a directory above hides it
            }
            if merged.push(open(&place.directory, name, OFlags::DIRECTORY)?, place.layer)? {
                break;
            }
        }
        Ok((!merged.places.is_empty()).then_some(Found::Directory(merged)))
    }

    /// The names here, each once.
    pub fn names(&self) -> io::Result<Vec<CString>> {
        let mut seen = HashSet::new();
        let mut names = Vec::new();
        for place in &self.places {
            place.read(|name, kind| {
                if seen.contains(name) {
                    return;
                }
                seen.insert(name.to_owned());
                let hidden = match kind {
                    FileType::CharacterDevice | FileType::Unknown => true,
                    FileType::RegularFile => place.by_xattr,
                    _ => false,
                } && place.hides(name);
                if !hidden {
                    names.push(name.to_owned());
                }
            })?;
        }
        Ok(names)
    }

    /// Adds the next lower place; `true` when nothing below it counts.
    fn push(&mut self, directory: OwnedFd, layer: usize) -> io::Result<bool> {
        let mut place = Place::open(directory, layer)?;
        let mut value = [0; 1];
        let mark = mark(fgetxattr(&place.directory, xattr::OPAQUE, &mut value[..]), value)?;
        place.by_xattr = mark == b'x';
        self.places.push(place);
        Ok(mark == b'y')
    }
}

/// Whether the root of a layer hides all that lies below it.
pub fn is_opaque(layer: &Path) -> io::Result<bool> {
    Directory::default().push(open_root(layer)?, 0)
}

fn open_root(layer: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(layer.as_os_str().as_encoded_bytes())?;
    Ok(open(CWD, &path, OFlags::DIRECTORY)?)
}

/// What overlayfs's attribute says: `y`, `x` or nothing.
fn mark(length: rustix::io::Result<usize>, value: [u8; 1]) -> io::Result<u8> {
    match length {
        Ok(1) => Ok(value[0]),
        Ok(_) | Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE) => Ok(0),
        Err(errno) => Err(errno.into()),
    }
}

impl Place {
    fn open(directory: OwnedFd, layer: usize) -> rustix::io::Result<Self> {
        let bits = fstat(&directory)?.st_mode & 0o7777;
        let is_closed = bits & 0o500 != 0o500 && !geteuid().is_root();
        let closed = is_closed.then(|| Mode::from_raw_mode(bits));
        if let Some(mode) = closed {
            fchmod(&directory, mode | Mode::RUSR | Mode::XUSR)?;
        }
        Ok(Self { directory, layer, by_xattr: false, closed })
    }

    /// Calls `each` with every name and, where that is told, its kind.
    fn read(&self, mut each: impl FnMut(&CStr, FileType)) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let reader = openat(&self.directory, c".", flags, Mode::empty())?;
        let mut buffer = [MaybeUninit::uninit(); 8 << 10];
        let mut entries = RawDir::new(reader, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                each(entry.file_name(), entry.file_type());
            }
        }
        Ok(())
    }

    fn hides(&self, name: &CStr) -> bool {
        let stat = statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW);
        stat.is_ok_and(|stat| self.is_whiteout(name, &stat))
    }

    fn is_whiteout(&self, name: &CStr, stat: &Stat) -> bool {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::CharacterDevice => stat.st_rdev == 0,
            FileType::RegularFile if self.by_xattr && stat.st_size == 0 => {
                let file = openat(
                    &self.directory,
                    name,
                    OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                    Mode::empty(),
                );
                file.is_ok_and(|file| fgetxattr(&file, xattr::XWHITEOUT, &mut [0; 1][..]).is_ok())
            }
            _ => false,
        }
    }
}

/// Opens a file or directory for reading, without following a link.
///
/// Images hold files that even their owner may not read (mode 0000), which the root of a container
/// may; outside, the owner takes the right for a moment.
pub fn open(directory: impl AsFd, name: &CStr, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let directory = directory.as_fd();
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match openat(directory, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
                return Err(Errno::LOOP);
            }
            let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
            chmodat(directory, name, mode | Mode::RUSR | Mode::XUSR, AtFlags::empty())?;
            let opened = openat(directory, name, flags, Mode::empty());
            chmodat(directory, name, mode, AtFlags::empty())?;
            opened
        }
        opened => opened,
    }
}
