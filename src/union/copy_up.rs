//! Copy-up: a lower file comes into the upper layer before it is changed.
//!
//! It is made whole in `work` and renamed into place, so that a kill leaves the old file or the new.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags,
    chmodat, chownat, copy_file_range, fgetxattr, flistxattr, fsetxattr, fstat, fsync, ftruncate,
    futimens, ioctl_ficlone, linkat, mkdirat, mknodat, openat, readlinkat, renameat, seek, statat,
    symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::Result;
use super::attributes::OURS;
use super::held::Slot;
use super::held::lock;
use super::look::open_directory;
use super::node::{Key, Link, Node, Place, UPPER, key_of};
use super::tree::Union;

impl Union {
    /// Brings a file or directory into the upper layer, where it is not there yet; no more than the
    /// first `size` bytes of its data.
    pub(super) fn copy_up(&self, node: &Arc<Node>, size: u64) -> Result<()> {
        if node.is_upper() {
            return Ok(());
        }
        let _once = lock(&node.copying);
        if node.is_upper() {
            return Ok(());
        }
        if node.kind == FileType::Directory {
            let _alone = self.alone();
            return self.copy_up_directory(node);
        }
        // The data may be long, so that it is copied while others go on.
        let (made, from, to) = {
            let _stay = self.stay();
            let spot = self.spot(node)?;
            let stat = spot.stat()?;
            if stat.st_nlink > 1 {
                self.siblings()?;
            }
            let source = match node.kind {
                FileType::RegularFile => Some(spot.open(OFlags::RDONLY)?),
                _ => None,
            };
            let made = self.unused_name();
            let copied = match &source {
                Some(source) => self.copy_file(source, &stat, size, &made),
                None => self.copy_special(&spot.directory, &spot.name, &stat, &made),
            };
            match copied {
                Ok(to) => (made, stat, to),
                Err(errno) => {
                    let _ = unlinkat(&self.work, &made, AtFlags::empty());
                    return Err(errno);
                }
            }
        };
        let _alone = self.alone();
        let brought = self.bring(node, &made, key_of(&from), from.st_nlink > 1, to);
        if brought.is_err() {
            let _ = unlinkat(&self.work, &made, AtFlags::empty());
        }
        brought
    }

    /// Puts a copy in the place of what it was made from.
    fn bring(
        &self,
        node: &Arc<Node>,
        made: &CStr,
        from: Key,
        has_siblings: bool,
        to: Key,
    ) -> Result<()> {
        let mut links = node.state().links.clone();
        let Some(first) = links.first().cloned() else {
            // Removed meanwhile, or before: it goes on without a name.
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let pinned = openat(&self.work, made, flags, Mode::empty())?;
            unlinkat(&self.work, made, AtFlags::empty())?;
            let mut state = node.state();
            (state.pinned, state.upper) = (Some(Arc::new(pinned)), true);
            node.data.clear();
            return Ok(());
        };
        if has_siblings {
            for (parent, name) in self.names_of(from)? {
                if node.state().find(&parent, &name).is_none() {
                    links.push(Link { parent, name, layer: UPPER });
                }
            }
        }
        self.copy_up_directory(&first.parent)?;
        let directory = self.directory(&first.parent, UPPER)?;
        keeping_times(&directory, || renameat(&self.work, made, &directory, &first.name))?;
        for link in &links[1..] {
            self.copy_up_directory(&link.parent)?;
            let other = self.directory(&link.parent, UPPER)?;
            let more = || linkat(&directory, &first.name, &other, &link.name, AtFlags::empty());
            keeping_times(&other, more)?;
        }
        for link in &mut links {
            link.layer = UPPER;
        }
        let mut state = node.state();
        (state.links, state.upper, state.hidden) = (links, true, 0);
        drop(state);
        node.data.clear();
        self.table.moved(node, to);
        Ok(())
    }

    /// Makes a lower directory in the upper layer too, and those above it; alone.
    pub(super) fn copy_up_directory(&self, node: &Arc<Node>) -> Result<()> {
        if node.is_upper() {
            return Ok(());
        }
        let link = node.state().links.first().cloned().ok_or(Errno::NOENT)?;
        self.copy_up_directory(&link.parent)?;
        let spot = self.spot(node)?;
        let (from, stat) = (open_directory(&spot.directory, c".")?, spot.stat()?);
        let made = self.unused_name();
        mkdirat(&self.work, &made, Mode::RWXU)?;
        let place = || {
            let to = open_directory(&self.work, &made)?;
            resemble(&from, &to, &stat)?;
            let parent = self.directory(&link.parent, UPPER)?;
            keeping_times(&parent, || renameat(&self.work, &made, &parent, &link.name))?;
            Ok(to)
        };
        let to = match place() {
            Ok(to) => to,
            Err(errno) => {
                let _ = unlinkat(&self.work, &made, AtFlags::REMOVEDIR);
                return Err(errno);
            }
        };
        let key = key_of(&fstat(&to)?);
        let slot = Arc::new(Slot::default());
        self.pool.hold(&slot, to);
        let mut state = node.state();
        state.places.insert(0, Place { layer: UPPER, by_xattr: false, slot });
        for link in &mut state.links {
            link.layer = UPPER;
        }
        drop(state);
        self.table.moved(node, key);
        Ok(())
    }

    fn copy_file(&self, from: &OwnedFd, stat: &Stat, size: u64, made: &CStr) -> Result<Key> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let to = openat(&self.work, made, flags, Mode::RUSR | Mode::WUSR)?;
        let whole = stat.st_size.cast_unsigned();
        if size < whole || ioctl_ficlone(&to, from).is_err() {
            copy_data(from, &to, whole.min(size))?;
        }
        resemble(from, &to, stat)?;
        if !self.volatile {
            fsync(&to)?; // before the rename: a crash must not leave an empty file in its place
        }
        Ok(key_of(&fstat(&to)?))
    }

    fn copy_special(&self, from: &OwnedFd, name: &CStr, stat: &Stat, made: &CStr) -> Result<Key> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Symlink {
            let target = readlinkat(from, name, Vec::new())?;
            symlinkat(&target, &self.work, made)?;
        } else {
            mknodat(&self.work, made, kind, Mode::RUSR | Mode::WUSR, stat.st_rdev)?;
        }
        chownat(&self.work, made, Some(uid(stat)), Some(gid(stat)), AtFlags::SYMLINK_NOFOLLOW)?;
        if kind != FileType::Symlink {
            chmodat(&self.work, made, mode(stat), AtFlags::empty())?;
        }
        utimensat(&self.work, made, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(key_of(&statat(&self.work, made, AtFlags::SYMLINK_NOFOLLOW)?))
    }
}

/// Does something to a directory that is no change of it to the container.
fn keeping_times<T>(directory: &OwnedFd, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = fstat(directory)?;
    let done = work()?;
    futimens(directory, &times(&before))?;
    Ok(done)
}

/// Owner, attributes, mode and times of another file.
fn resemble(from: &OwnedFd, to: &OwnedFd, stat: &Stat) -> Result<()> {
    // The owner first: its change takes setuid and capabilities away.
    rustix::fs::fchown(to, Some(uid(stat)), Some(gid(stat)))?;
    copy_xattrs(from, to)?;
    rustix::fs::fchmod(to, mode(stat))?;
    futimens(to, &times(stat))
}

fn copy_xattrs(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    let names = match whole(|buffer| flistxattr(from, buffer)) {
        Err(Errno::NOTSUP) => return Ok(()),
        names => names?,
    };
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if name.starts_with(OURS) {
            continue; // overlayfs's own are about the place, not the file
        }
        let name = CString::new(name).map_err(|_| Errno::INVAL)?;
        let value = whole(|buffer| fgetxattr(from, &name, buffer))?;
        match fsetxattr(to, &name, &value, XattrFlags::empty()) {
            // A label that the security module alone may set.
            Err(Errno::NOTSUP | Errno::PERM) if name.to_bytes().starts_with(b"security.") => {}
            other => other?,
        }
    }
    Ok(())
}

/// Reads something whose length the kernel tells for an empty buffer.
pub(super) fn whole(read: impl Fn(&mut [u8]) -> Result<usize>) -> Result<Vec<u8>> {
    let mut buffer = vec![0; 256];
    loop {
        match read(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 4, 0),
            Err(errno) => return Err(errno),
        }
    }
}

/// Copies the data of a file and leaves its holes out.
fn copy_data(from: &OwnedFd, to: &OwnedFd, size: u64) -> Result<()> {
    ftruncate(to, size)?;
    let mut at = 0;
    while at < size {
        let data = match seek(from, SeekFrom::Data(at)) {
            Err(Errno::NXIO) => return Ok(()), // nothing but a hole is left
            Err(Errno::INVAL) => at,           // a file system that knows no holes
            data => data?,
        };
        let end = seek(from, SeekFrom::Hole(data)).unwrap_or(size).min(size);
        copy_run(from, to, data, end)?;
        at = end.max(data + 1);
    }
    Ok(())
}

fn copy_run(from: &OwnedFd, to: &OwnedFd, mut at: u64, end: u64) -> Result<()> {
    const UNABLE: [Errno; 4] = [Errno::XDEV, Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP];
    let mut by_kernel = true;
    while at < end {
        let length = usize::try_from(end - at).unwrap_or(usize::MAX).min(64 << 20);
        if by_kernel {
            let (mut off_in, mut off_out) = (at, at);
            match copy_file_range(from, Some(&mut off_in), to, Some(&mut off_out), length) {
                Ok(0) => return Ok(()),
                Ok(count) => at += count as u64,
                Err(errno) if UNABLE.contains(&errno) => by_kernel = false,
                Err(errno) => return Err(errno),
            }
            continue;
        }
        let mut buffer = vec![0; length.min(128 << 10)];
        let count = rustix::io::pread(from, &mut buffer, at)?;
        if count == 0 {
            return Ok(());
        }
        let file = std::fs::File::from(rustix::io::fcntl_dupfd_cloexec(to, 3)?);
        let written = file.write_all_at(&buffer[..count], at);
        written.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        at += count as u64;
    }
    Ok(())
}

fn uid(stat: &Stat) -> Uid {
    Uid::from_raw(stat.st_uid)
}

fn gid(stat: &Stat) -> Gid {
    Gid::from_raw(stat.st_gid)
}

fn mode(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode & 0o7777)
}

/// The times of a file, to be set.
fn times(stat: &Stat) -> Timestamps {
    let time = |tv_sec, nanoseconds: u64| Timespec { tv_sec, tv_nsec: nanoseconds.cast_signed() };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}
