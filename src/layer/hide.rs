//! Whiteouts and opaque directories, as overlayfs reads them on disk.

use std::ffi::CString;
use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, XattrFlags, fgetxattr, fsetxattr, mknodat, openat, statat,
};
use rustix::io::Errno;

use super::error::{At, Error};
use super::name::Name;
use super::stack::{Directory, Found};
use super::tree::{Parent, Tree, c_string, open_directory};
use super::xattr;

/// What was at a place before.
pub(super) enum Was {
    Nothing,
    Whiteout,
    Directory,
    Other,
}

impl Tree {
    /// Hides what the layers below have at `name`; what this layer has there stays.
    pub(super) fn hide(&mut self, name: &Name) -> Result<(), Error> {
        let Some((parent, last)) = name.split() else { return Ok(()) };
        let last = c_string(last);
        let parent = self.parent(&parent)?;
        if !self.make_whiteout(&parent, &last).at("hide", name)? {
            let stat = statat(&parent.directory, &last, AtFlags::SYMLINK_NOFOLLOW);
            if FileType::from_raw_mode(stat.at("look at", name)?.st_mode) == FileType::Directory {
                self.hide_below(name)?;
            }
        }
        self.last = Some(parent);
        Ok(())
    }

    /// Hides all that the layers below have in the directory `name`.
    pub(super) fn hide_below(&mut self, name: &Name) -> Result<(), Error> {
        let parent = self.parent(name)?;
        let directory = open_directory(&parent.directory, c".").at("open", name)?;
        self.mark_opaque(&directory, name)?;
        if let Some(directory) = self.directories.get_mut(parent.inode) {
            directory.opaque = true;
        }
        self.last = Some(parent);
        Ok(())
    }

    /// Says of a directory that nothing from below is seen in it.
    pub(super) fn mark_opaque(&mut self, directory: &OwnedFd, name: &Name) -> Result<(), Error> {
        match set_opaque(directory, b"y") {
            // No such attributes here (NFS without them): in the end each name below is hidden.
            Err(Errno::OPNOTSUPP) => self.unmarked = true,
            set => set.at("mark as opaque", name)?,
        }
        Ok(())
    }

    /// Whether this layer itself hides the name.
    pub(super) fn is_hidden(
        &self,
        parent: &Parent,
        last: &CString,
        name: &Name,
    ) -> Result<bool, Error> {
        Ok(matches!(self.look(parent, last).at("look at", name)?, Was::Whiteout))
    }

    /// What is at a place.
    pub(super) fn look(&self, parent: &Parent, last: &CString) -> rustix::io::Result<Was> {
        let stat = match statat(&parent.directory, last, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(Was::Nothing),
            stat => stat?,
        };
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Was::Directory,
            FileType::CharacterDevice => Was::Whiteout, // no other node is ever made
            FileType::RegularFile if self.by_xattr && stat.st_size == 0 => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = openat(&parent.directory, last, flags, Mode::empty())?;
                match fgetxattr(&file, xattr::XWHITEOUT, &mut [0; 1][..]) {
                    Ok(_) => Was::Whiteout,
                    Err(_) => Was::Other,
                }
            }
            _ => Was::Other,
        })
    }

    /// `false` where something is.
    fn make_whiteout(&mut self, parent: &Parent, last: &CString) -> rustix::io::Result<bool> {
        if !self.by_xattr {
            match mknodat(&parent.directory, last, FileType::CharacterDevice, Mode::empty(), 0) {
                Ok(()) => return Ok(true),
                Err(Errno::EXIST) => return Ok(false),
                // Kernels before 5.8, and sandboxes that filter mknod.
                Err(Errno::PERM | Errno::ACCESS) => self.by_xattr = true,
                Err(errno) => return Err(errno),
            }
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = match openat(&parent.directory, last, flags, Mode::RUSR) {
            Err(Errno::EXIST) => return Ok(false),
            file => file?,
        };
        fsetxattr(&file, xattr::XWHITEOUT, b"y", XattrFlags::empty())?;
        let directory = open_directory(&parent.directory, c".")?;
        if !self.directories.get(parent.inode).is_some_and(|directory| directory.opaque) {
            set_opaque(&directory, b"x")?;
        }
        Ok(true)
    }
}

/// Hides what `below` has and an opaque directory has not: for file systems without attributes.
pub(super) fn hide_each(directory: &OwnedFd, below: &Directory) -> std::io::Result<()> {
    for name in below.names()? {
        match statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {
                let kind = FileType::CharacterDevice;
                mknodat(directory, &name, kind, Mode::empty(), 0)?;
            }
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                if let Some(Found::Directory(below)) = below.find(&name)? {
                    hide_each(&open_directory(directory, &name)?, &below)?;
                }
            }
            stat => drop(stat?),
        }
    }
    Ok(())
}

/// Sets overlayfs's attribute.
fn set_opaque(directory: &OwnedFd, value: &[u8]) -> rustix::io::Result<()> {
    fsetxattr(directory, xattr::OPAQUE, value, XattrFlags::empty())
}
