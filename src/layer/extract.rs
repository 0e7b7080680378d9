//! A tar stream onto a directory that is in use: `cp`.
//!
//! Unlike a layer's tree it holds others' files, and others may change it meanwhile. The directory of
//! each entry is found anew, as [`Scope`] says, and what is made in it is held by a descriptor.

use std::ffi::CString;
use std::fs::File;
use std::io::BufRead;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, chmodat, chownat, fchmod, fchown,
    ftruncate, futimens, linkat, mkdirat, mknodat, openat, openat2, statat, symlinkat, unlinkat,
    utimensat,
};
use rustix::io::Errno;

use crate::oci::Algorithm;
use crate::owners::{self, Owners};

use super::Limits;
use super::archive::Body;
use super::changes::Changes;
use super::dress::{carried, mode, owned, set, set_privileged, times};
use super::entry::{Attributes, Entry, Kind, Time};
use super::error::{At, Error};
use super::name::Name;
use super::record;
use super::tree::c_string;
use super::write::{write_plain, write_run};
use super::xattr::{self, Fate};

/// Where names lead.
#[derive(Debug)]
pub enum Scope {
    /// Below this directory, over no link.
    Beneath(OwnedFd),
    /// Below a path in a root that nothing leads out of; links on the way are followed in there.
    InRoot {
        /// The root.
        root: OwnedFd,
        /// The path.
        path: Name,
    },
}

/// How an archive is extracted.
#[derive(Debug)]
pub struct Extraction {
    /// Where to.
    pub scope: Scope,
    /// The front of the archive's names, and what stands in its place.
    pub rename: (Name, Name),
    /// How files carry their owners; `None` where all are the caller's, as on the host.
    pub owners: Option<Owners>,
    /// Whether the archive says whose the files are; they are root's, or the caller's, otherwise.
    pub keep_owners: bool,
    /// When the archive may be refused.
    pub limits: Limits,
}

impl Extraction {
    /// Extracts all of an archive; gives the bytes in its files.
    pub fn extract(&self, tar: impl BufRead) -> Result<u64, Error> {
        let mut changes = Changes::new(tar, Algorithm::Sha256, &self.limits);
        let mut directories: Vec<(Name, u32, Time)> = Vec::new();
        let mut bytes = 0;
        while let Some((mut entry, mut body)) = changes.plain()? {
            entry.name = self.renamed(&entry.name);
            if let Kind::HardLink(target) = &mut entry.kind {
                *target = self.renamed(target);
            }
            if entry.name.is_root() {
                continue; // the directory that all goes to stays as it is
            }
            if entry.kind == Kind::Directory {
                self.make_directory(&entry)?;
                let Attributes { mode, mtime, .. } = entry.attributes;
                directories.push((entry.name, mode, mtime));
            } else {
                bytes += self.put(&entry, &mut body)?;
            }
        }
        changes.finish()?;
        // Last: a mode may forbid writing, and each child moved its parent's time.
        for (name, bits, mtime) in directories.iter().rev() {
            let directory = self.open(name)?;
            fchmod(&directory, mode(self.bits(*bits))).at("set the mode of", name)?;
            futimens(&directory, &times(*mtime)).at("set the time of", name)?;
        }
        Ok(bytes)
    }

    fn renamed(&self, name: &Name) -> Name {
        let (from, to) = &self.rename;
        if name != from && !name.is_below(from) {
            return name.clone();
        }
        let rest = name.parts().skip(from.parts().count());
        rest.fold(to.clone(), |name, part| name.join(part))
    }

    /// On the host nobody else is to get at the caller's rights by what a container holds.
    fn bits(&self, bits: u32) -> u32 {
        match self.owners {
            None if !self.keep_owners => bits & 0o1777,
            _ => bits,
        }
    }

    /// Opens a directory that is there.
    fn open(&self, name: &Name) -> Result<OwnedFd, Error> {
        self.try_open(name).at("open the directory", name)
    }

    fn try_open(&self, name: &Name) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let (root, path, resolve) = match &self.scope {
            Scope::Beneath(directory) => {
                (directory, name.clone(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
            }
            Scope::InRoot { root, path } => {
                let path = name.parts().fold(path.clone(), |path, part| path.join(part));
                (root, path, ResolveFlags::IN_ROOT)
            }
        };
        let path = if path.is_root() { &b"."[..] } else { path.as_bytes() };
        let resolve = resolve | ResolveFlags::NO_MAGICLINKS;
        loop {
            // The kernel gives up with EAGAIN on `..` in a link while something is renamed anywhere.
            match openat2(root, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                opened => return opened,
            }
        }
    }

    /// The directory of an entry, made where the archive has no entry for it.
    fn parent(&self, name: &Name) -> Result<(OwnedFd, CString), Error> {
        let refused = || Error::Refused { name: name.clone(), why: "it has no name" };
        let (parent, last) = name.split().ok_or_else(refused)?;
        let last = c_string(last);
        match self.try_open(&parent) {
            Err(Errno::NOENT) if !parent.is_root() => {}
            opened => return Ok((opened.at("open the directory of", name)?, last)),
        }
        let (above, inner) = self.parent(&parent)?;
        match mkdirat(&above, &inner, Mode::from_raw_mode(0o755)) {
            Err(Errno::EXIST) => {}
            made => made.at("make the directory", &parent)?,
        }
        Ok((self.open(&parent)?, last))
    }

    fn make_directory(&self, entry: &Entry) -> Result<(), Error> {
        let name = &entry.name;
        let (parent, last) = self.parent(name)?;
        match mkdirat(&parent, &last, Mode::RWXU) {
            Err(Errno::EXIST) => {
                let stat = statat(&parent, &last, AtFlags::SYMLINK_NOFOLLOW).at("look at", name)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                    let why = "cannot overwrite non-directory with directory";
                    return Err(Error::Refused { name: name.clone(), why });
                }
            }
            made => made.at("make the directory", name)?,
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = openat(&parent, &last, flags, Mode::empty()).at("open", name)?;
        self.own(&directory, entry)
    }

    /// Puts anything but a directory in its place; gives the bytes in it.
    fn put<R: BufRead>(&self, entry: &Entry, body: &mut Body<'_, R>) -> Result<u64, Error> {
        let name = &entry.name;
        let (parent, last) = self.parent(name)?;
        let mut written = 0;
        match &entry.kind {
            Kind::Directory => {}
            Kind::File { size, extents } => {
                let file = Self::make_file(&parent, &last, name)?;
                written = match extents {
                    None => write_plain(&file, body, name)?,
                    Some(extents) => {
                        ftruncate(&file, *size).at("make", name)?;
                        for extent in extents {
                            write_run(&file, body, extent.offset, extent.length, name)?;
                        }
                        *size
                    }
                };
                self.dress(&file, entry)?;
            }
            Kind::Device { .. } if self.owners.is_none() => {
                let why = "device nodes are not made on the host";
                return Err(Error::Refused { name: name.clone(), why });
            }
            // An empty file with a record, as in a layer: usable nodes are nobody's to make.
            Kind::Device { .. } => {
                let file = Self::make_file(&parent, &last, name)?;
                self.dress(&file, entry)?;
            }
            Kind::HardLink(target) => {
                let (from, target) = self.parent(target)?;
                Self::make(&parent, &last, name, || {
                    linkat(&from, &target, &parent, &last, AtFlags::empty())
                })?;
            }
            Kind::Symlink(text) => {
                let text = c_string(text);
                Self::make(&parent, &last, name, || symlinkat(&text, &parent, &last))?;
                self.dress_link(&parent, &last, entry)?;
            }
            Kind::Fifo => {
                Self::make(&parent, &last, name, || {
                    mknodat(&parent, &last, FileType::Fifo, Mode::RWXU, 0)
                })?;
                let bits = mode(self.bits(entry.attributes.mode));
                // A link that took its place meanwhile leads nowhere but inside.
                chmodat(&parent, &last, bits, AtFlags::SYMLINK_NOFOLLOW)
                    .or_else(|errno| if errno == Errno::OPNOTSUPP { Ok(()) } else { Err(errno) })
                    .at("set the mode of", name)?;
                self.dress_link(&parent, &last, entry)?;
            }
        }
        Ok(written)
    }

    fn make_file(parent: &OwnedFd, last: &CString, name: &Name) -> Result<File, Error> {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let new = flags | OFlags::CREATE | OFlags::EXCL;
        let made =
            Self::make(parent, last, name, || openat(parent, last, new, Mode::RUSR | Mode::WUSR));
        match made {
            // Something is mounted there: it stays, with other bytes.
            Err(Error::Io { source, .. }) if source.raw_os_error() == Some(libc::EBUSY) => {
                let file = openat(parent, last, flags, Mode::empty()).at("open", name)?;
                let stat = rustix::fs::fstat(&file).at("look at", name)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                    let why = "something is mounted there that is no file";
                    return Err(Error::Refused { name: name.clone(), why });
                }
                ftruncate(&file, 0).at("empty", name)?;
                Ok(file.into())
            }
            made => made.map(File::from),
        }
    }

    /// Makes something in the place of what is there, unless that is a directory.
    fn make<T>(
        parent: &OwnedFd,
        last: &CString,
        name: &Name,
        make: impl Fn() -> rustix::io::Result<T>,
    ) -> Result<T, Error> {
        match make() {
            Err(Errno::EXIST) => {}
            made => return made.at("make", name),
        }
        match unlinkat(parent, last, AtFlags::empty()) {
            Err(Errno::ISDIR) => {
                let why = "cannot overwrite directory with non-directory";
                return Err(Error::Refused { name: name.clone(), why });
            }
            Err(Errno::NOENT) => {}
            removed => removed.at("replace", name)?,
        }
        make().at("make", name)
    }

    fn dress(&self, file: &File, entry: &Entry) -> Result<(), Error> {
        let Entry { name, attributes, .. } = entry;
        self.own(file, entry)?;
        // Last: a change of owner takes setuid away, and a mode may forbid attributes.
        fchmod(file, mode(self.bits(attributes.mode))).at("set the mode of", name)?;
        futimens(file, &times(attributes.mtime)).at("set the time of", name)
    }

    /// The owner of an entry, where it is not simply who makes it.
    fn owner(&self, attributes: &Attributes) -> Option<(u32, u32)> {
        match (self.keep_owners, self.owners) {
            (true, _) => Some((attributes.uid, attributes.gid)),
            // Not that of a set-group-ID directory.
            (false, Some(Owners::Range { .. })) => Some((0, 0)),
            (false, _) => None,
        }
    }

    fn own(&self, file: &impl AsFd, entry: &Entry) -> Result<(), Error> {
        let Entry { name, kind, attributes } = entry;
        let owner = self.owner(attributes);
        let (uid, gid) = owner.unwrap_or((0, 0));
        if owner.is_some() && self.owners != Some(Owners::Recorded) {
            let done = fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            owned(done, name, uid, gid)?;
        }
        let Some(owners) = self.owners else { return Ok(()) };
        let is_device = matches!(kind, Kind::Device { .. });
        let recorded = owners == Owners::Recorded && (uid, gid) != (0, 0);
        if is_device || recorded {
            let stat = record::stat(&Attributes { uid, gid, ..attributes.clone() }, kind);
            set(file, owners::OVERRIDE.as_bytes(), stat.as_bytes()).at("own", name)?;
        } else if owners == Owners::Recorded {
            // A directory that was there may have been someone else's.
            let _ = rustix::fs::fremovexattr(file, owners::OVERRIDE);
        }
        for (key, value) in &attributes.xattrs {
            // What a file system cannot carry is left out, as tar does it.
            let done = match xattr::fate(key) {
                Fate::Dropped => continue,
                Fate::Set => carried(set(file, key, value)),
                Fate::Privileged => set_privileged(owners, file, key, value),
            };
            done.at("set an attribute of", name)?;
        }
        Ok(())
    }

    /// A link or a pipe. With one id it carries no record.
    fn dress_link(&self, parent: &OwnedFd, last: &CString, entry: &Entry) -> Result<(), Error> {
        let Entry { name, attributes, .. } = entry;
        if let Some((uid, gid)) = self.owner(attributes)
            && self.owners != Some(Owners::Recorded)
        {
            let (user, group) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            let done = chownat(parent, last, user, group, AtFlags::SYMLINK_NOFOLLOW);
            owned(done, name, uid, gid)?;
        }
        utimensat(parent, last, &times(attributes.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .at("set the time of", name)
    }
}
