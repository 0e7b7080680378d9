//! Files on disk as entries: the layers' trees and what is recorded in them and beside them.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, OFlags, Stat, fstat, readlinkat};

use crate::owners::{self, Line, OVERRIDE, Owners, Record};

use super::dress::{get, names};
use super::encode::extents;
use super::entry::{Attributes, Entry, Kind, Time};
use super::name::Name;
use super::stack::{Directory, Found, Other, open};
use super::xattr;

/// Trees on top of each other, seen as one, and whose their files are.
#[derive(Debug)]
pub struct Source {
    pub(super) root: Directory,
    /// `owners` of each tree, the lowest first, by name.
    lines: Vec<BTreeMap<Vec<u8>, Line>>,
    owners: Owners,
    /// Whose files without record are that the uppermost tree alone has.
    newcomers: (u32, u32),
    translation: Option<Translation>,
}

/// Which user and group id an owner's ids are to who sees the files: another one than this process.
pub struct Translation(pub Box<dyn Fn(u32, u32) -> (u32, u32) + Send + Sync>);

impl fmt::Debug for Translation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Translation")
    }
}

/// What is at a place, and its bytes where it is a file.
pub(super) struct Thing {
    pub(super) entry: Entry,
    pub(super) data: Option<File>,
}

impl Source {
    /// The trees, the lowest first. Beside each may lie its `owners`.
    pub fn open(trees: &[PathBuf], owners: Owners) -> io::Result<Self> {
        let lines = trees.iter().map(|tree| read_lines(tree)).collect::<io::Result<_>>()?;
        let (root, newcomers, translation) = (Directory::root(trees)?, (0, 0), None);
        Ok(Self { root, lines, owners, newcomers, translation })
    }

    /// No trees: files are described that are open already.
    pub(super) fn of_live(owners: Owners) -> Self {
        let (lines, newcomers) = (vec![BTreeMap::new()], (0, 0));
        Self { root: Directory::default(), lines, owners, newcomers, translation: None }
    }

    /// Says whose files are that a container of one id, not root's, has made.
    #[must_use]
    pub fn with_newcomers(mut self, uid: u32, gid: u32) -> Self {
        self.newcomers = (uid, gid);
        self
    }

    /// Says whose files are to who sees them.
    #[must_use]
    pub fn with_translation(mut self, translation: Option<Translation>) -> Self {
        self.translation = translation;
        self
    }

    /// The number of the uppermost tree.
    pub(super) fn top(&self) -> usize {
        self.lines.len().saturating_sub(1)
    }

    /// The root itself.
    pub(super) fn describe_root(&self) -> io::Result<Option<Thing>> {
        self.directory(&self.root, Name::default())
    }

    /// What was found at `name` of `parent`; `None` for what no layer holds: sockets.
    pub(super) fn describe(
        &self,
        parent: &Directory,
        last: &CStr,
        found: &Found,
        name: Name,
    ) -> io::Result<Option<Thing>> {
        match found {
            Found::Directory(directory) => self.directory(directory, name),
            Found::Other(other) => self.other(parent, last, other, name),
        }
    }

    fn directory(&self, directory: &Directory, name: Name) -> io::Result<Option<Thing>> {
        let Some((top, stat)) = directory.top()? else { return Ok(None) };
        let line = directory.top_layer().and_then(|layer| self.line(layer, &name));
        let record = Self::record(&top, line)?;
        // A tree that merges with others is not the uppermost's own.
        let is_new = directory.is_single() && directory.top_layer() == Some(self.top());
        let attributes = self.attributes(&stat, record, xattrs(&top, line)?, is_new);
        let entry = Entry { name, kind: Kind::Directory, attributes };
        Ok(Some(Thing { entry, data: None }))
    }

    fn other(
        &self,
        parent: &Directory,
        last: &CStr,
        other: &Other,
        name: Name,
    ) -> io::Result<Option<Thing>> {
        let (place, stat) = (parent.place(other.place), &other.stat);
        let layer = parent.layer(other.place);
        let is_new = layer == self.top() && parent.find_below(other.place, last)?.is_none();
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let file = File::from(open(place, last, OFlags::empty())?);
                // What was opened counts, not what was there a moment ago.
                let stat = fstat(&file)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                    return Ok(None);
                }
                return self.file(file, &stat, name, layer, is_new).map(Some);
            }
            FileType::Symlink => Kind::Symlink(readlinkat(place, last, Vec::new())?.into_bytes()),
            FileType::Fifo => Kind::Fifo,
            node @ (FileType::CharacterDevice | FileType::BlockDevice) => Kind::Device {
                block: node == FileType::BlockDevice,
                major: libc::major(stat.st_rdev),
                minor: libc::minor(stat.st_rdev),
            },
            _ => return Ok(None),
        };
        let line = self.line_of(parent, last, other, &kind, &name)?;
        let fits = |record: &Record| record.kind == owners::Kind::of_mode(stat.st_mode);
        let record = line.and_then(Line::record).filter(fits);
        let xattrs = line.map(recorded_xattrs).unwrap_or_default();
        let attributes = self.attributes(stat, record, xattrs, is_new);
        Ok(Some(Thing { entry: Entry { name, kind, attributes }, data: None }))
    }

    pub(super) fn file(
        &self,
        file: File,
        stat: &Stat,
        name: Name,
        layer: usize,
        is_new: bool,
    ) -> io::Result<Thing> {
        let line = self.line(layer, &name);
        let record = Self::record(&file, line)?;
        let size = stat.st_size.cast_unsigned();
        let kind = match record.map(|record| record.kind) {
            Some(owners::Kind::Block(major, minor)) if size == 0 => {
                Kind::Device { block: true, major, minor }
            }
            Some(owners::Kind::Char(major, minor)) if size == 0 => {
                Kind::Device { block: false, major, minor }
            }
            _ => Kind::File { size, extents: extents(&file, size, stat.st_blocks.cast_unsigned()) },
        };
        let attributes = self.attributes(stat, record, xattrs(&file, line)?, is_new);
        let data = matches!(kind, Kind::File { .. }).then_some(file);
        Ok(Thing { entry: Entry { name, kind, attributes }, data })
    }

    pub(super) fn attributes(
        &self,
        stat: &Stat,
        record: Option<Record>,
        mut xattrs: Vec<(Vec<u8>, Vec<u8>)>,
        is_new: bool,
    ) -> Attributes {
        let (uid, gid) = match (self.owners, record) {
            (Owners::Range { .. }, _) => match &self.translation {
                Some(Translation(translate)) => translate(stat.st_uid, stat.st_gid),
                None => (stat.st_uid, stat.st_gid),
            },
            (Owners::Recorded, Some(record)) => (record.uid, record.gid),
            (Owners::Recorded, None) if is_new => self.newcomers,
            (Owners::Recorded, None) => (0, 0),
        };
        xattrs.sort_unstable();
        xattrs.dedup_by(|later, earlier| later.0 == earlier.0);
        let nanos = u32::try_from(stat.st_mtime_nsec).unwrap_or_default();
        let mtime = Time { seconds: stat.st_mtime, nanos };
        Attributes { uid, gid, mode: stat.st_mode & 0o7777, mtime, xattrs }
    }

    /// The record in a file itself, else beside it.
    pub(super) fn record(file: &impl AsFd, line: Option<&Line>) -> io::Result<Option<Record>> {
        let carried = match rustix::fs::fgetxattr(file, OVERRIDE, &mut [0_u8; 0][..]) {
            Ok(_) => Record::parse(&get(file, OVERRIDE.as_bytes())?),
            Err(_) => None,
        };
        Ok(carried.or_else(|| line.and_then(Line::record)))
    }

    fn line(&self, layer: usize, name: &Name) -> Option<&Line> {
        self.lines.get(layer)?.get(name.as_bytes())
    }

    /// The line of a link or a pipe. What was copied up from a layer below has its line there.
    fn line_of(
        &self,
        parent: &Directory,
        last: &CStr,
        other: &Other,
        kind: &Kind,
        name: &Name,
    ) -> io::Result<Option<&Line>> {
        let mut at = other.place;
        loop {
            if let Some(line) = self.line(parent.layer(at), name) {
                return Ok(Some(line));
            }
            let Some(below) = parent.find_below(at, last)? else { return Ok(None) };
            let same = match (FileType::from_raw_mode(below.stat.st_mode), kind) {
                (FileType::Symlink, Kind::Symlink(text)) => {
                    readlinkat(parent.place(below.place), last, Vec::new())?.as_bytes() == text
                }
                (FileType::Fifo, Kind::Fifo) => true,
                _ => false,
            };
            if !same {
                return Ok(None);
            }
            at = below.place;
        }
    }
}

/// The lines beside a tree, by name; of several the last one holds.
pub fn read_lines(tree: &Path) -> io::Result<BTreeMap<Vec<u8>, Line>> {
    let path = tree.parent().unwrap_or(tree).join("owners");
    match std::fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        text => Ok(Line::read(&text?).map(|line| (line.name(), line)).collect()),
    }
}

/// What a layer ships of a file's attributes, in it and beside it.
pub(super) fn xattrs(file: &impl AsFd, line: Option<&Line>) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut found = Vec::new();
    for key in names(file)? {
        let Some(name) = xattr::shipped(&key) else { continue };
        let value = match get(file, &key) {
            Err(rustix::io::Errno::NODATA) => continue, // taken away just now
            value => value?,
        };
        found.push((name.to_vec(), xattr::without_root_id(name, &value)));
    }
    found.extend(line.map(recorded_xattrs).unwrap_or_default());
    Ok(found)
}

fn recorded_xattrs(line: &Line) -> Vec<(Vec<u8>, Vec<u8>)> {
    let shipped = |(name, _): &(Vec<u8>, Vec<u8>)| xattr::fate(name) != xattr::Fate::Dropped;
    line.xattrs().filter(shipped).collect()
}
