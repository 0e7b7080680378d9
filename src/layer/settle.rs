//! The last step: what needs the layers below, then modes and times of directories.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, fchmod, fchown, fstat, linkat, openat,
    readlinkat, symlinkat,
};

use crate::owners::Owners;

use super::dress::{copy_xattrs, mode, times};
use super::entry::Time;
use super::error::{At, Error};
use super::hide::hide_each;
use super::name::Name;
use super::stack::{self, Directory, Found};
use super::tree::{Parent, Tree, c_string, open_directory};

/// Mode of a directory that no layer describes.
const DEFAULT_MODE: u32 = 0o755;

impl Tree {
    /// Ends the tree, on top of settled layers `below`, the lowest first.
    ///
    /// Hard links to files of lower layers copy these up, as a mounted overlay would. A directory
    /// without entry looks as it does below. Then directories get their modes and times, the
    /// deepest first.
    pub fn settle<P: AsRef<Path>>(mut self, below: &[P]) -> Result<(), Error> {
        let root = Name::default();
        let below = Directory::root(below).at("open the layers below", &root)?;
        for (name, target) in std::mem::take(&mut self.links) {
            self.settle_link(&below, &name, &target)?;
        }
        let children = self.directories.children();
        let directory = open_directory(&self.root, c".").at("open", &root)?;
        self.finish(&directory, self.directories.root(), &root, Some(&below), &children)?;
        if self.records.is_empty() {
            return Ok(());
        }
        let lines = self.records.to_lines().map_err(std::io::Error::from);
        let path = self.path.join("owners");
        lines.and_then(|lines| std::fs::write(path, lines)).at("write the owners of", &root)
    }

    fn settle_link(&mut self, below: &Directory, name: &Name, target: &Name) -> Result<(), Error> {
        let missing = || Error::NoLinkTarget { name: name.clone(), target: target.clone() };
        let (Some((parent, last)), Some((target_parent, target_last))) =
            (name.split(), target.split())
        else {
            return Err(missing());
        };
        let last = c_string(last);
        let parent = self.parent(&parent)?;
        if self.is_taken(&parent, &last, name)? {
            return Ok(()); // by a later entry
        }
        let mut found = self.link_target(name, target)?;
        if found.is_none() {
            let to = self.parent(&target_parent)?;
            let last = c_string(target_last);
            if !self.is_hidden(&to, &last, target)? && copy_up(below, target, &to, &last)? {
                found = Some((to, last));
            }
        }
        let found = found.ok_or_else(missing)?;
        let link = |parent: &Parent| {
            linkat(&found.0.directory, &found.1, &parent.directory, &last, AtFlags::empty())
        };
        self.make(&parent, &last, name, link)?;
        Ok(())
    }

    /// Modes and times of a directory and all in it, the deepest first.
    fn finish(
        &self,
        directory: &OwnedFd,
        inode: u64,
        name: &Name,
        below: Option<&Directory>,
        children: &HashMap<u64, Vec<u64>>,
    ) -> Result<(), Error> {
        let Some(known) = self.directories.get(inode) else { return Ok(()) };
        if let Some(below) = below.filter(|_| known.opaque && self.unmarked) {
            hide_each(directory, below).at("hide what is below", name)?;
        }
        let below = below.filter(|_| !known.opaque);
        for &child in children.get(&inode).into_iter().flatten() {
            let Some(Some(last)) =
                self.directories.get(child).map(|known| CString::new(&*known.name).ok())
            else {
                continue;
            };
            // Gone or replaced since: it was noted by the inode it had.
            let Ok(opened) = open_directory(directory, &last) else { continue };
            let name = name.join(last.to_bytes());
            if fstat(&opened).at("look at", &name)?.st_ino != child {
                continue;
            }
            let found = match below.map(|below| below.find(&last)) {
                Some(Ok(Some(Found::Directory(found)))) => Some(found),
                // Below a directory that is closed even to its owner: as if there were none.
                _ => None,
            };
            self.finish(&opened, child, &name, found.as_ref(), children)?;
        }
        let model = below.map_or(Ok(None), Directory::top).at("look below for", name)?;
        match (known.entry, model) {
            (Some((bits, mtime)), _) => seal(directory, bits, mtime),
            (None, Some((below, stat))) => self.resemble(directory, &below, &stat),
            (None, None) => seal(directory, DEFAULT_MODE, Time::default()),
        }
        .at("finish the directory", name)
    }

    /// Gives a directory the attributes of the one below.
    fn resemble(
        &self,
        directory: &OwnedFd,
        below: &impl AsFd,
        stat: &Stat,
    ) -> rustix::io::Result<()> {
        if let Owners::Range { .. } = self.owners {
            let (user, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
            fchown(directory, Some(user), Some(group))?;
        }
        copy_xattrs(below, directory)?;
        seal(directory, stat.st_mode, mtime(stat))
    }

    fn is_taken(&self, parent: &Parent, last: &CString, name: &Name) -> Result<bool, Error> {
        let stat = rustix::fs::statat(&parent.directory, last, AtFlags::SYMLINK_NOFOLLOW);
        Ok(stat.is_ok() && !self.is_hidden(parent, last, name)?)
    }
}

/// Copies a file of the layers below to its own place in this one; `false` if there is none.
fn copy_up(below: &Directory, target: &Name, to: &Parent, last: &CString) -> Result<bool, Error> {
    let mut directory = None;
    let mut parts = target.parts().peekable();
    while let Some(part) = parts.next() {
        let at = directory.as_ref().unwrap_or(below);
        match at.find(&c_string(part)).at("look below for", target)? {
            Some(Found::Directory(next)) => directory = Some(next),
            Some(Found::Other(other)) if parts.peek().is_none() => {
                let from = at.place(other.place);
                return copy(from, &other.stat, to, last).at("copy from the layer below", target);
            }
            _ => return Ok(false),
        }
    }
    Ok(false)
}

fn seal(directory: &OwnedFd, bits: u32, mtime: Time) -> rustix::io::Result<()> {
    fchmod(directory, mode(bits))?;
    rustix::fs::futimens(directory, &times(mtime))
}

fn mtime(stat: &Stat) -> Time {
    Time { seconds: stat.st_mtime, nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or_default() }
}

fn copy(from: impl AsFd, stat: &Stat, to: &Parent, last: &CString) -> std::io::Result<bool> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            let source = stack::open(from, last, OFlags::empty())?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let made = openat(&to.directory, last, flags, Mode::RUSR | Mode::WUSR)?;
            let (mut source, mut made) = (std::fs::File::from(source), std::fs::File::from(made));
            std::io::copy(&mut source, &mut made)?;
            // The owner first: its change takes setuid and capabilities away.
            let owner = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
            fchown(&made, Some(owner.0), Some(owner.1))?;
            copy_xattrs(&source, &made)?;
            fchmod(&made, mode(stat.st_mode))?;
            rustix::fs::futimens(&made, &times(mtime(stat)))?;
            Ok(true)
        }
        FileType::Symlink => {
            let text = readlinkat(from, last, Vec::new())?;
            symlinkat(&text, &to.directory, last)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}
