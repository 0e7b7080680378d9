//! Owners, modes, attributes and times of what was just made, through its own descriptor.

use std::ffi::CString;
use std::os::fd::AsFd;

use rustix::fs::{
    AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod, fchown,
    fgetxattr, flistxattr, fremovexattr, fsetxattr, fstat, futimens, utimensat,
};
use rustix::io::Errno;

use crate::owners::{self, Owners};

use super::entry::{Attributes, Entry, Kind, Time};
use super::error::{At, Error};
use super::name::Name;
use super::record;
use super::tree::{Parent, Tree};
use super::xattr::{self, Fate};

impl Tree {
    /// A regular file, or the placeholder of a device.
    pub(super) fn dress(
        &mut self,
        file: impl AsFd,
        parent: &Parent,
        last: &CString,
        entry: &Entry,
    ) -> Result<(), Error> {
        let Entry { name, attributes, .. } = entry;
        let place = || (parent.inode, last.to_bytes());
        self.own(&file, place, entry)?;
        // Last: a change of owner takes setuid away, and a mode may forbid attributes.
        fchmod(&file, mode(attributes.mode)).at("set the mode of", name)?;
        futimens(&file, &times(attributes.mtime)).at("set the time of", name)
    }

    /// A directory: its mode and time wait for its children.
    pub(super) fn dress_directory(
        &mut self,
        directory: impl AsFd,
        inode: u64,
        entry: &Entry,
    ) -> Result<(), Error> {
        let known = self.directories.get_mut(inode);
        let again = known.is_some_and(|known| {
            let pending = Some((entry.attributes.mode, entry.attributes.mtime));
            std::mem::replace(&mut known.entry, pending).is_some()
        });
        if again {
            strip(&directory).at("replace the attributes of", &entry.name)?;
            let canonical = self.directories.name(inode);
            if !self.records.is_empty() {
                self.records.of(&canonical).xattrs.clear();
            }
        }
        self.own(&directory, || (inode, b""), entry)
    }

    /// A symbolic link or a pipe: it must not be opened, and carries no user attributes.
    pub(super) fn dress_link(
        &mut self,
        parent: &Parent,
        last: &CString,
        entry: &Entry,
    ) -> Result<(), Error> {
        let Entry { name, kind, attributes } = entry;
        let Attributes { uid, gid, .. } = *attributes;
        let directory = &parent.directory;
        let canonical = || self.directories.name(parent.inode).join(last.to_bytes());
        match self.owners {
            Owners::Recorded if uid != 0 || gid != 0 => {
                let canonical = canonical();
                self.records.of(&canonical).stat = Some(record::stat(attributes, kind));
            }
            Owners::Range { .. } if uid != 0 || gid != 0 => {
                let (user, group) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
                let done = chownat(directory, last, user, group, AtFlags::SYMLINK_NOFOLLOW);
                owned(done, name, uid, gid)?;
            }
            Owners::Recorded | Owners::Range { .. } => {}
        }
        if attributes.xattrs.iter().any(|(key, _)| xattr::fate(key) != Fate::Dropped) {
            let canonical = self.directories.name(parent.inode).join(last.to_bytes());
            for (key, value) in &attributes.xattrs {
                if xattr::fate(key) != Fate::Dropped {
                    self.records.of(&canonical).add_xattr(key, value);
                }
            }
        }
        if *kind == Kind::Fifo {
            // By name: made a moment ago, in a directory no one else may enter.
            let done = chmodat(directory, last, mode(attributes.mode), AtFlags::empty());
            done.at("set the mode of", name)?;
        }
        utimensat(directory, last, &times(attributes.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .at("set the time of", name)
    }

    /// Owner and attributes, in the file or recorded with it.
    fn own<'a>(
        &mut self,
        file: &impl AsFd,
        place: impl Fn() -> (u64, &'a [u8]),
        entry: &Entry,
    ) -> Result<(), Error> {
        let Entry { name, kind, attributes } = entry;
        let Attributes { uid, gid, .. } = *attributes;
        let foreign = uid != 0 || gid != 0;
        let is_device = matches!(kind, Kind::Device { .. });
        if foreign && let Owners::Range { .. } = self.owners {
            let done = fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            owned(done, name, uid, gid)?;
        }
        if is_device || (foreign && self.owners == Owners::Recorded) {
            let stat = record::stat(attributes, kind);
            if !carried(set(file, owners::OVERRIDE.as_bytes(), stat.as_bytes())).at("own", name)? {
                self.record(&place).stat = Some(stat);
            }
        }
        for (key, value) in &attributes.xattrs {
            let carries = match xattr::fate(key) {
                Fate::Dropped => continue,
                Fate::Set => carried(set(file, key, value)),
                Fate::Privileged => set_privileged(self.owners, file, key, value),
            };
            if !carries.at("set an attribute of", name)? {
                self.record(&place).add_xattr(key, value);
            }
        }
        Ok(())
    }

    fn record<'a>(&mut self, place: &impl Fn() -> (u64, &'a [u8])) -> &mut owners::Line {
        let (inode, last) = place();
        let directory = self.directories.name(inode);
        let name = if last.is_empty() { directory } else { directory.join(last) };
        self.records.of(&name)
    }
}

/// `false` where the file cannot carry it.
pub(super) fn set_privileged(
    owners: Owners,
    file: &impl AsFd,
    key: &[u8],
    value: &[u8],
) -> rustix::io::Result<bool> {
    if let Owners::Range { .. } = owners {
        match set(file, key, &xattr::without_root_id(key, value)) {
            Ok(()) => return Ok(true),
            Err(Errno::PERM | Errno::INVAL | Errno::NOTSUP) => {}
            Err(errno) => return Err(errno),
        }
    }
    carried(set(file, &[xattr::RECORDED.as_bytes(), key].concat(), value))
}

pub(super) fn set(file: &impl AsFd, key: &[u8], value: &[u8]) -> rustix::io::Result<()> {
    fsetxattr(file, key, value, XattrFlags::empty())
}

/// `false` where the file system has no room or no way for an attribute. On a full disk ENOSPC
/// comes here too; the next write then says so.
pub(super) fn carried(done: rustix::io::Result<()>) -> rustix::io::Result<bool> {
    match done {
        Ok(()) => Ok(true),
        Err(Errno::NOTSUP | Errno::NOSPC | Errno::TOOBIG | Errno::RANGE) => Ok(false),
        Err(errno) => Err(errno),
    }
}

pub(super) fn owned(
    done: rustix::io::Result<()>,
    name: &Name,
    uid: u32,
    gid: u32,
) -> Result<(), Error> {
    match done {
        // The kernel's answer to an id that the user namespace does not map.
        Err(Errno::INVAL | Errno::OVERFLOW) => {
            Err(Error::UnmappedOwner { name: name.clone(), uid, gid })
        }
        done => done.at("set the owner of", name),
    }
}

/// Takes back what an earlier entry set on the same directory.
fn strip(directory: &impl AsFd) -> rustix::io::Result<()> {
    for key in names(directory)? {
        if !key.starts_with(b"user.overlay.") {
            fremovexattr(directory, &key[..])?;
        }
    }
    Ok(())
}

/// The attributes of a file.
pub(super) fn names(file: &impl AsFd) -> rustix::io::Result<Vec<Vec<u8>>> {
    let cut = |list: &[u8]| {
        let names = list.split(|&byte| byte == 0).filter(|name| !name.is_empty());
        names.map(<[u8]>::to_vec).collect()
    };
    // Nearly all have none or few, and room for the longest list is sixteen pages.
    let mut few = [0; 512];
    match flistxattr(file, &mut few[..]) {
        Err(Errno::RANGE) => {}
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        length => return Ok(cut(&few[..length?])),
    }
    let mut many = vec![0; 64 << 10]; // XATTR_LIST_MAX
    let length = flistxattr(file, &mut many[..])?;
    Ok(cut(&many[..length]))
}

/// Copies the attributes of one file to another, but for overlayfs's own.
pub fn copy_xattrs(from: impl AsFd, to: impl AsFd) -> rustix::io::Result<()> {
    for key in names(&from)? {
        if key.starts_with(b"user.overlay.") {
            continue;
        }
        match set(&to, &key, &get(&from, &key)?) {
            // What the host put there itself (SELinux labels) is the host's business.
            Err(Errno::PERM | Errno::NOTSUP) if !key.starts_with(b"user.") => {}
            done => done?,
        }
    }
    Ok(())
}

pub(super) fn get(file: &impl AsFd, key: &[u8]) -> rustix::io::Result<Vec<u8>> {
    let mut value = vec![0; 64 << 10]; // XATTR_SIZE_MAX
    let length = match fgetxattr(file, key, &mut value[..]) {
        // A file that not even its owner may read; the owner takes the right for a moment.
        Err(Errno::ACCESS) => {
            let mode = mode(fstat(file)?.st_mode);
            fchmod(file, mode | Mode::RUSR)?;
            let length = fgetxattr(file, key, &mut value[..]);
            fchmod(file, mode)?;
            length?
        }
        length => length?,
    };
    value.truncate(length);
    Ok(value)
}

pub(super) fn mode(bits: u32) -> Mode {
    Mode::from_raw_mode(bits & 0o7777)
}

pub(super) fn times(mtime: Time) -> Timestamps {
    let time = Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_attributes_come_whole_whatever_their_length() {
        let file = tempfile::tempfile_in("/var/tmp").expect("a file");
        for count in [0, 1, 40] {
            for number in 0..count {
                let name = format!("user.an_attribute_with_a_name_{number}");
                fsetxattr(&file, name, b"", XattrFlags::empty()).expect("set");
            }
            assert_eq!(names(&file).expect("a list").len(), count);
        }
    }
}
