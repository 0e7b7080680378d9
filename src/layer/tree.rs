//! Writes changes beneath one directory descriptor.
//!
//! Directories of a name are resolved in the tree as if it were the root (`RESOLVE_IN_ROOT`): a
//! link may lead anywhere inside. The last part is never followed: what is there is replaced.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::BufRead;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, fstat, ftruncate, linkat, mkdirat, mknodat,
    openat, openat2, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use crate::owners::Owners;
use crate::sys;

use super::Limits;
use super::archive::Body;
use super::directories::Directories;
use super::entry::{Entry, Kind};
use super::error::{At, Error};
use super::hide::Was;
use super::name::Name;
use super::record::Records;
use super::write::{write_plain, write_run};

/// The deepest directory a layer may have: each level costs a descriptor when modes are set.
const DEEPEST: u32 = 256;
/// Bytes of a file that the disk begins with at once; smaller ones go together, as many as there are.
const LARGE: u64 = 64 << 10;

/// The tree of one layer, being written.
#[derive(Debug)]
pub struct Tree {
    /// The layer's directory: the tree is `fs` in it.
    pub(super) path: PathBuf,
    pub(super) root: OwnedFd,
    pub(super) owners: Owners,
    pub(super) directories: Directories,
    pub(super) records: Records,
    /// Hard links to files that this layer does not hold (yet): name and target.
    pub(super) links: Vec<(Name, Name)>,
    /// Bytes in files.
    pub(super) bytes: u64,
    pub(super) last: Option<Parent>,
    /// mknod of a whiteout was refused: an attribute says it.
    pub(super) by_xattr: bool,
    /// Whether a directory that is opaque could not be marked so.
    pub(super) unmarked: bool,
    most_directories: u64,
}

/// A directory that something is put into.
#[derive(Debug)]
pub(super) struct Parent {
    pub(super) name: Name,
    pub(super) directory: OwnedFd,
    pub(super) inode: u64,
}

impl Tree {
    /// Makes the empty tree `fs` in the directory `path`.
    pub fn create(path: &Path, owners: Owners, limits: &Limits) -> Result<Self, Error> {
        let root = Name::default();
        let place = openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
            .at("open the directory of", &root)?;
        mkdirat(&place, c"fs", Mode::RWXU).at("make the tree of", &root)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fs = openat(&place, c"fs", flags, Mode::empty()).at("open", &root)?;
        let inode = fstat(&fs).at("look at", &root)?.st_ino;
        Ok(Self {
            path: path.to_owned(),
            root: fs,
            owners,
            directories: Directories::new(inode),
            records: Records::default(),
            links: Vec::new(),
            bytes: 0,
            last: None,
            by_xattr: false,
            unmarked: false,
            most_directories: limits.directories,
        })
    }

    /// Puts an entry in its place, whatever was there.
    pub(super) fn put<R: BufRead>(
        &mut self,
        entry: &Entry,
        body: &mut Body<'_, R>,
    ) -> Result<(), Error> {
        let Some((parent, last)) = entry.name.split() else { return self.put_root(entry) };
        let last = c_string(last);
        let parent = self.parent(&parent)?;
        if self.put_in(&parent, &last, entry, body)? {
            self.last = Some(parent);
        }
        Ok(())
    }

    /// The directory `name`, with what is missing of it made.
    pub(super) fn parent(&mut self, name: &Name) -> Result<Parent, Error> {
        if let Some(last) = self.last.take().filter(|last| last.name == *name) {
            return Ok(last);
        }
        if let Some(found) = self.find(name)? {
            return Ok(found);
        }
        let mut at = Name::default();
        let mut parent = Parent {
            name: Name::default(),
            directory: open_directory(&self.root, c".").at("open", name)?,
            inode: self.directories.root(),
        };
        for part in name.parts() {
            at = at.join(part);
            parent = match self.find(&at)? {
                Some(found) => found,
                None => self.make_implied(&parent, part, &at)?,
            };
        }
        Ok(parent)
    }

    /// The directory `name` if this layer has it.
    pub(super) fn find(&self, name: &Name) -> Result<Option<Parent>, Error> {
        let path = if name.is_root() { &b"."[..] } else { name.as_bytes() };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // The kernel gives up with EAGAIN on `..` in a link while something is renamed anywhere.
        let opened = loop {
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            match openat2(&self.root, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                opened => break opened,
            }
        };
        match opened {
            Ok(directory) => {
                let inode = fstat(&directory).at("look at", name)?.st_ino;
                Ok(Some(Parent { name: name.clone(), directory, inode }))
            }
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(errno).at("open the directory", name),
        }
    }

    /// Makes a directory that no entry named (yet), in the place of a whiteout too.
    fn make_implied(&mut self, parent: &Parent, part: &[u8], at: &Name) -> Result<Parent, Error> {
        let last = c_string(part);
        let opaque = match self.look(parent, &last).at("look at", at)? {
            Was::Nothing => false,
            Was::Whiteout => {
                unlinkat(&parent.directory, &last, AtFlags::empty()).at("replace", at)?;
                true
            }
            Was::Directory | Was::Other => {
                return Err(Error::Refused {
                    name: at.clone(),
                    why: "entries lie below it, and it leads to no directory",
                });
            }
        };
        let (directory, inode) = self.make_directory(parent, &last, at, opaque)?;
        Ok(Parent { name: at.clone(), directory, inode })
    }

    fn make_directory(
        &mut self,
        parent: &Parent,
        last: &CString,
        name: &Name,
        opaque: bool,
    ) -> Result<(OwnedFd, u64), Error> {
        if self.directories.len() >= self.most_directories {
            return Err(Error::TooMany { what: "directories", limit: self.most_directories });
        }
        if self.directories.depth(parent.inode) >= DEEPEST {
            let why = "it lies deeper than 256 directories";
            return Err(Error::Refused { name: name.clone(), why });
        }
        mkdirat(&parent.directory, last, Mode::RWXU).at("make the directory", name)?;
        let directory = open_directory(&parent.directory, last).at("open", name)?;
        if opaque {
            self.mark_opaque(&directory, name)?;
        }
        let inode = fstat(&directory).at("look at", name)?.st_ino;
        self.directories.insert(inode, parent.inode, last.to_bytes(), opaque);
        Ok((directory, inode))
    }

    /// `true` while `parent` is surely still what its name leads to.
    fn put_in<R: BufRead>(
        &mut self,
        parent: &Parent,
        last: &CString,
        entry: &Entry,
        body: &mut Body<'_, R>,
    ) -> Result<bool, Error> {
        let name = &entry.name;
        match &entry.kind {
            Kind::Directory => self.put_directory(parent, last, entry),
            Kind::HardLink(target) => self.put_link(parent, last, name, target),
            Kind::File { size, extents } => {
                let (file, steady) = self.make_file(parent, last, name)?;
                let written = match extents {
                    None => write_plain(&file, body, name)?,
                    Some(extents) => {
                        ftruncate(&file, *size).at("make", name)?;
                        for extent in extents {
                            write_run(&file, body, extent.offset, extent.length, name)?;
                        }
                        extents.iter().map(|extent| extent.length).sum()
                    }
                };
                self.bytes += written;
                self.dress(&file, parent, last, entry)?;
                if written >= LARGE {
                    sys::begin_writing(&file, 0);
                }
                Ok(steady)
            }
            // A usable node would give the container the host's device.
            Kind::Device { .. } => {
                let (file, steady) = self.make_file(parent, last, name)?;
                self.dress(&file, parent, last, entry)?;
                Ok(steady)
            }
            Kind::Symlink(text) => {
                let text = c_string(text);
                let make = |parent: &Parent| symlinkat(&text, &parent.directory, last);
                let ((), steady) = self.make(parent, last, name, make)?;
                self.dress_link(parent, last, entry)?;
                Ok(steady)
            }
            Kind::Fifo => {
                let make = |parent: &Parent| {
                    mknodat(&parent.directory, last, FileType::Fifo, Mode::RWXU, 0)
                };
                let ((), steady) = self.make(parent, last, name, make)?;
                self.dress_link(parent, last, entry)?;
                Ok(steady)
            }
        }
    }

    fn put_root(&mut self, entry: &Entry) -> Result<(), Error> {
        let root = open_directory(&self.root, c".").at("open", &entry.name)?;
        self.dress_directory(&root, self.directories.root(), entry)
    }

    fn put_directory(
        &mut self,
        parent: &Parent,
        last: &CString,
        entry: &Entry,
    ) -> Result<bool, Error> {
        let name = &entry.name;
        let was = self.look(parent, last).at("look at", name)?;
        let (directory, inode, steady) = match was {
            Was::Directory => {
                let directory = open_directory(&parent.directory, last).at("open", name)?;
                let inode = fstat(&directory).at("look at", name)?.st_ino;
                (directory, inode, true)
            }
            Was::Nothing => {
                let (directory, inode) = self.make_directory(parent, last, name, false)?;
                (directory, inode, true)
            }
            Was::Whiteout | Was::Other => {
                let steady = self.clear(parent, last, name)?;
                let opaque = matches!(was, Was::Whiteout);
                let (directory, inode) = self.make_directory(parent, last, name, opaque)?;
                (directory, inode, steady)
            }
        };
        self.dress_directory(&directory, inode, entry)?;
        Ok(steady)
    }

    fn put_link(
        &mut self,
        parent: &Parent,
        last: &CString,
        name: &Name,
        target: &Name,
    ) -> Result<bool, Error> {
        if let Some((target_parent, target_last)) = self.link_target(name, target)? {
            let stat = statat(&parent.directory, last, AtFlags::SYMLINK_NOFOLLOW);
            let same = target_parent.inode == parent.inode && target_last == *last;
            if same && stat.is_ok() {
                return Ok(true); // a link to itself is there already
            }
            let make = |parent: &Parent| {
                linkat(
                    &target_parent.directory,
                    &target_last,
                    &parent.directory,
                    last,
                    AtFlags::empty(),
                )
            };
            let ((), steady) = self.make(parent, last, name, make)?;
            if !self.records.is_empty() {
                let first = self.directories.name(target_parent.inode);
                let second = self.directories.name(parent.inode);
                self.records
                    .link(&second.join(last.to_bytes()), &first.join(target_last.to_bytes()));
            }
            return Ok(steady);
        }
        // Perhaps a layer below holds it, or a later entry brings it.
        let steady = match self.look(parent, last).at("look at", name)? {
            Was::Nothing | Was::Whiteout => true,
            Was::Directory | Was::Other => self.clear(parent, last, name)?,
        };
        self.links.push((name.clone(), target.clone()));
        Ok(steady)
    }

    /// Where the target of a hard link lies in this layer. Links themselves are not followed.
    pub(super) fn link_target(
        &self,
        name: &Name,
        target: &Name,
    ) -> Result<Option<(Parent, CString)>, Error> {
        let refused = || Error::Refused { name: name.clone(), why: "a hard link to a directory" };
        let (parent, last) = target.split().ok_or_else(refused)?;
        let Some(parent) = self.find(&parent)? else { return Ok(None) };
        let last = c_string(last);
        match self.look(&parent, &last).at("look at", target)? {
            Was::Nothing | Was::Whiteout => Ok(None),
            Was::Directory => Err(refused()),
            Was::Other => Ok(Some((parent, last))),
        }
    }

    fn make_file(
        &mut self,
        parent: &Parent,
        last: &CString,
        name: &Name,
    ) -> Result<(File, bool), Error> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let make =
            |parent: &Parent| openat(&parent.directory, last, flags, Mode::RUSR | Mode::WUSR);
        let (file, steady) = self.make(parent, last, name, make)?;
        Ok((file.into(), steady))
    }

    /// Makes something that must not exist; what exists is removed first.
    /// `false` if what was removed may have been part of the way to `parent`.
    pub(super) fn make<T>(
        &mut self,
        parent: &Parent,
        last: &CString,
        name: &Name,
        make: impl Fn(&Parent) -> rustix::io::Result<T>,
    ) -> Result<(T, bool), Error> {
        match make(parent) {
            Err(Errno::EXIST) => {
                let steady = self.clear(parent, last, name)?;
                Ok((make(parent).at("make", name)?, steady))
            }
            result => Ok((result.at("make", name)?, true)),
        }
    }

    fn clear(&mut self, parent: &Parent, last: &CString, name: &Name) -> Result<bool, Error> {
        let stat = statat(&parent.directory, last, AtFlags::SYMLINK_NOFOLLOW);
        let kind = FileType::from_raw_mode(stat.at("look at", name)?.st_mode);
        let place = OsStr::from_bytes(last.to_bytes());
        sys::remove_tree_at(&parent.directory, place).at("replace", name)?;
        if !self.records.is_empty() {
            let canonical = self.directories.name(parent.inode).join(last.to_bytes());
            self.records.forget(&canonical);
        }
        Ok(!matches!(kind, FileType::Directory | FileType::Symlink))
    }
}

pub(super) fn c_string(bytes: &[u8]) -> CString {
    // Names are parsed: none holds a zero byte.
    CString::new(bytes).unwrap_or_default()
}

pub(super) fn open_directory(at: impl AsFd, name: &std::ffi::CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, name, flags, Mode::empty())
}
