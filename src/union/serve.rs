//! The protocol: what the kernel asks, in our terms, and the answers in its.

use std::cell::RefCell;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, FileAttr, FileHandle, FileType as Kind, Filesystem,
    Generation, INodeNo, InitFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags as Renaming,
    ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLseek,
    ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use rustix::fs::{
    FallocateFlags, FileType, RenameFlags, SeekFrom, Stat, Timespec, UTIME_NOW, XattrFlags,
};
use rustix::io::Errno;

use super::Result;
use super::attributes::Changes;
use super::change::{Maker, What};
use super::held::lock;
use super::list::{Entry, Names};
use super::node::Node;
use super::rename::End;
use super::tree::Union;

/// Nobody else writes here, so that what the kernel knows holds for ever.
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);
const GENERATION: Generation = Generation(0);
/// The longest read and write: what an unprivileged mount is granted (`fuse_max_pages_limit`).
const LONGEST: u32 = 1 << 20;

/// The union, answering.
#[derive(Debug)]
pub(super) struct Service(pub(super) Arc<Union>);

fn refusal(errno: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(errno.raw_os_error())
}

fn name_of(name: &OsStr) -> Result<CString> {
    CString::new(name.as_bytes()).map_err(|_| Errno::INVAL)
}

impl Service {
    fn node(&self, id: INodeNo) -> Result<Arc<Node>> {
        self.0.node(id.0)
    }

    fn lookup_in(&self, parent: INodeNo, name: &OsStr) -> Result<Option<(Arc<Node>, Stat)>> {
        let (parent, name) = (self.node(parent)?, name_of(name)?);
        let _stay = self.0.stay();
        self.0.lookup(&parent, &name)
    }

    fn make(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        what: What<'_>,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let maker = Maker { uid: request.uid(), gid: request.gid(), umask };
        let make = || self.0.make(&self.node(parent)?, &name_of(name)?, what, maker);
        answer(make(), reply);
    }

    fn stat(&self, id: INodeNo) -> Result<Stat> {
        let node = self.node(id)?;
        let _stay = self.0.stay();
        self.0.stat(&node)
    }

    /// The names in a directory behind `offset`, each given to `add` until that has no room.
    fn list(
        &self,
        id: INodeNo,
        offset: u64,
        mut add: impl FnMut(&Arc<Node>, u64, Kind, &OsStr, Option<&Entry>) -> bool,
    ) -> Result<()> {
        let node = self.node(id)?;
        let _stay = self.0.stay();
        for (cookie, name) in [(1, "."), (2, "..")] {
            if offset < cookie && add(&node, cookie, Kind::Directory, OsStr::new(name), None) {
                return Ok(());
            }
        }
        // Who goes on behind the dots has just begun.
        let behind = if offset <= Names::DOTS { 0 } else { offset };
        let listing = lock(&node.listing).get(&self.0.opened(&node)?, behind)?;
        for entry in listing.behind(offset) {
            let Some(kind) = kind_of(entry.kind) else { continue };
            let name = OsStr::from_bytes(entry.name.to_bytes());
            if add(&node, entry.cookie, kind, name, Some(entry)) {
                break;
            }
        }
        Ok(())
    }
}

fn answer(made: Result<(Arc<Node>, Stat)>, reply: ReplyEntry) {
    match made {
        Ok((node, stat)) => reply.entry(&FOR_EVER, &attributes(&node, &stat), GENERATION),
        Err(errno) => reply.error(refusal(errno)),
    }
}

fn done(result: Result<()>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(refusal(errno)),
    }
}

impl Filesystem for Service {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        // What an older kernel lacks it goes without.
        for wanted in [
            InitFlags::FUSE_WRITEBACK_CACHE,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_ASYNC_DIO,
            InitFlags::FUSE_POSIX_ACL,
            InitFlags::FUSE_DONT_MASK,
            InitFlags::FUSE_HANDLE_KILLPRIV_V2,
            InitFlags::FUSE_EXPLICIT_INVAL_DATA,
        ] {
            let _ = config.add_capabilities(wanted);
        }
        let _ = config.set_max_write(LONGEST);
        let _ = config.set_max_background(64);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.lookup_in(parent, name) {
            Ok(Some(found)) => answer(Ok(found), reply),
            Ok(None) => reply.entry(&FOR_EVER, &nothing(), GENERATION),
            Err(errno) => reply.error(refusal(errno)),
        }
    }

    fn forget(&self, _: &Request, id: INodeNo, count: u64) {
        self.0.table.forget(id.0, count);
    }

    fn getattr(&self, _: &Request, id: INodeNo, file: Option<FileHandle>, reply: ReplyAttr) {
        let look = || {
            let node = self.node(id)?;
            // With a file it is write(2) that asks (and lseek(2) for the end), and stat(2) without.
            if file.is_some() {
                node.tell_failure()?;
            }
            Ok((self.stat(id)?, node))
        };
        match look() {
            Ok((stat, node)) => reply.attr(&FOR_EVER, &attributes(&node, &stat)),
            Err(errno) => reply.error(refusal(errno)),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        id: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        accessed: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let (accessed, modified) = (accessed.map(time_of), modified.map(time_of));
        // chown(2) to nobody else says nothing but that the set-id bits go, which fuser 0.18 does not
        // pass on; nothing else says nothing.
        let says = (mode, uid, gid, size, accessed, modified);
        let keeps_owner = says == (None, None, None, None, None, None);
        let changes = Changes { mode, uid, gid, keeps_owner, size, accessed, modified };
        let change = || {
            let node = self.node(id)?;
            let stat = self.0.change(&node, &changes)?;
            Ok((node, stat))
        };
        match change() {
            Ok((node, stat)) => reply.attr(&FOR_EVER, &attributes(&node, &stat)),
            Err(errno) => reply.error(refusal(errno)),
        }
    }

    fn readlink(&self, _: &Request, id: INodeNo, reply: ReplyData) {
        let read = || {
            let node = self.node(id)?;
            let _stay = self.0.stay();
            let spot = self.0.spot(&node)?;
            // A removed link is a descriptor of it, read by the empty name.
            match spot.flags.is_empty() {
                true => rustix::fs::readlinkat(spot.handle()?, c"", Vec::new()),
                false => rustix::fs::readlinkat(&spot.directory, &spot.name, Vec::new()),
            }
        };
        match read() {
            Ok(target) => reply.data(target.to_bytes()),
            Err(errno) => reply.error(refusal(errno)),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let what = match FileType::from_raw_mode(mode) {
            FileType::RegularFile => What::File { mode },
            // It would be a whiteout (overlayfs refuses it too).
            FileType::CharacterDevice if rdev == 0 => return reply.error(refusal(Errno::PERM)),
            kind => What::Node { kind, mode, device: device_of(rdev) },
        };
        self.make(request, parent, name, what, umask, reply);
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        self.make(request, parent, name, What::Directory { mode }, umask, reply);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let remove = || self.0.unlink(&self.node(parent)?, &name_of(name)?);
        done(remove(), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let remove = || self.0.remove_directory(&self.node(parent)?, &name_of(name)?);
        done(remove(), reply);
    }

    fn symlink(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        match name_of(target.as_os_str()) {
            Ok(target) => {
                self.make(request, parent, name, What::Symlink { target: &target }, 0, reply);
            }
            Err(errno) => reply.error(refusal(errno)),
        }
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: Renaming,
        reply: ReplyEmpty,
    ) {
        let rename = || {
            let (from, to) = (self.node(parent)?, self.node(new_parent)?);
            let (name, new_name) = (name_of(name)?, name_of(new_name)?);
            let from = End { parent: &from, name: &name };
            let to = End { parent: &to, name: &new_name };
            self.0.rename(from, to, RenameFlags::from_bits_retain(flags.bits()))
        };
        done(rename(), reply);
    }

    fn link(&self, _: &Request, id: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let link = || {
            let node = self.node(id)?;
            let stat = self.0.link(&node, &self.node(parent)?, &name_of(name)?)?;
            Ok((node, stat))
        };
        answer(link(), reply);
    }

    /// Not asked again: the kernel opens files by itself from now on.
    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.error(fuser::Errno::ENOSYS);
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.error(fuser::Errno::ENOSYS);
    }

    fn read(
        &self,
        _: &Request,
        id: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        thread_local!(static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });
        BUFFER.with_borrow_mut(|buffer| {
            let size = size.min(LONGEST) as usize;
            if buffer.len() < size {
                buffer.resize(size, 0);
            }
            match self.node(id).and_then(|node| self.0.read(&node, &mut buffer[..size], offset)) {
                Ok(count) => reply.data(&buffer[..count]),
                Err(errno) => reply.error(refusal(errno)),
            }
        });
    }

    fn write(
        &self,
        _: &Request,
        id: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let write = || {
            let node = self.node(id)?;
            // What is written back late was written before the bits were set.
            let is_late = !flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
            let _late = is_late.then(|| self.0.late());
            let done = self.0.minding_set_id(&node, is_late, || {
                let count = self.0.write(&node, data, offset)?;
                if !is_late || count == data.len() {
                    return Ok(count);
                }
                // A part of it would be EIO to the kernel: what stops the rest is told.
                let rest = self.0.write(&node, &data[count..], offset + count as u64)?;
                Ok(count + rest)
            });
            // The kernel tells nobody before the file is closed: who fills a disk would never end. So
            // it is made to ask for the attributes before the next write(2).
            if node.note_failure(done.err()) {
                self.0.tell_changed(node.id);
            }
            done
        };
        written(write(), reply);
    }

    fn fsync(&self, _: &Request, id: INodeNo, _: FileHandle, data_only: bool, reply: ReplyEmpty) {
        done(self.node(id).and_then(|node| self.0.sync(&node, data_only)), reply);
    }

    fn fsyncdir(
        &self,
        _: &Request,
        id: INodeNo,
        _: FileHandle,
        data_only: bool,
        reply: ReplyEmpty,
    ) {
        done(self.node(id).and_then(|node| self.0.sync(&node, data_only)), reply);
    }

    fn readdir(
        &self,
        _: &Request,
        id: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listed = self.list(id, offset, |node, cookie, kind, name, entry| {
            let number = match entry {
                None => node.id,
                Some(entry) if entry.merged => match self.0.find(node, &entry.name) {
                    Ok(Some(found)) => self.0.table.number(found.key()),
                    _ => return false, // removed meanwhile
                },
                Some(entry) => self.0.number(entry.layer, entry.inode),
            };
            reply.add(INodeNo(number), cookie, kind, name)
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(refusal(errno)),
        }
    }

    fn readdirplus(
        &self,
        _: &Request,
        id: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let listed = self.list(id, offset, |node, cookie, kind, name, entry| {
            let Some(entry) = entry else {
                let dots = FileAttr { ino: INodeNo(node.id), kind, ..nothing() };
                return reply.add(INodeNo(node.id), cookie, name, &FOR_EVER, &dots, GENERATION);
            };
            let Ok(Some((child, stat))) = self.0.lookup(node, &entry.name) else {
                return false; // removed meanwhile
            };
            let known = attributes(&child, &stat);
            let full = reply.add(known.ino, cookie, name, &FOR_EVER, &known, GENERATION);
            if full {
                self.0.table.forget(child.id, 1); // the kernel was not told after all
            }
            full
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(refusal(errno)),
        }
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        match self.0.space() {
            Ok(space) => reply.statfs(
                space.f_blocks,
                space.f_bfree,
                space.f_bavail,
                space.f_files,
                space.f_ffree,
                small(space.f_bsize),
                small(space.f_namemax),
                small(space.f_frsize),
            ),
            Err(errno) => reply.error(refusal(errno)),
        }
    }

    fn setxattr(
        &self,
        _: &Request,
        id: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        let flags = XattrFlags::from_bits_truncate(flags.cast_unsigned());
        let set = || self.0.set_attribute(&self.node(id)?, name, value, flags);
        done(set(), reply);
    }

    fn getxattr(&self, _: &Request, id: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        value(self.node(id).and_then(|node| self.0.attribute(&node, name)), size, reply);
    }

    fn listxattr(&self, _: &Request, id: INodeNo, size: u32, reply: ReplyXattr) {
        value(self.node(id).and_then(|node| self.0.attributes(&node)), size, reply);
    }

    fn removexattr(&self, _: &Request, id: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.node(id).and_then(|node| self.0.remove_attribute(&node, name)), reply);
    }

    fn fallocate(
        &self,
        _: &Request,
        id: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let mode = FallocateFlags::from_bits_retain(mode.cast_unsigned());
        let allocate = || {
            let node = self.node(id)?;
            self.0.minding_set_id(&node, false, || self.0.allocate(&node, mode, offset, length))
        };
        done(allocate(), reply);
    }

    fn lseek(
        &self,
        _: &Request,
        id: INodeNo,
        _: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let to = match (u64::try_from(offset), whence) {
            (Ok(offset), libc::SEEK_DATA) => Ok(SeekFrom::Data(offset)),
            (Ok(offset), libc::SEEK_HOLE) => Ok(SeekFrom::Hole(offset)),
            (Err(_), libc::SEEK_DATA | libc::SEEK_HOLE) => Err(Errno::NXIO),
            _ => Err(Errno::INVAL),
        };
        match to.and_then(|to| self.0.seek(&self.node(id)?, to)) {
            Ok(offset) => reply.offset(offset.cast_signed()),
            Err(errno) => reply.error(refusal(errno)),
        }
    }

    fn copy_file_range(
        &self,
        _: &Request,
        from: INodeNo,
        _: FileHandle,
        from_at: u64,
        to: INodeNo,
        _: FileHandle,
        to_at: u64,
        length: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        // The answer has room for 32 bits.
        let length = usize::try_from(length.min(1 << 30)).unwrap_or(1 << 30);
        let copy = || {
            let (from, to) = (self.node(from)?, self.node(to)?);
            let copy = || self.0.copy_range((&from, from_at), (&to, to_at), length);
            self.0.minding_set_id(&to, false, copy)
        };
        written(copy(), reply);
    }
}

fn written(result: Result<usize>, reply: ReplyWrite) {
    match result {
        Ok(count) => reply.written(u32::try_from(count).unwrap_or(u32::MAX)),
        Err(errno) => reply.error(refusal(errno)),
    }
}

/// An attribute, or its length for who asks with no room.
fn value(result: Result<Vec<u8>>, size: u32, reply: ReplyXattr) {
    match result {
        Ok(value) if size == 0 => reply.size(u32::try_from(value.len()).unwrap_or(u32::MAX)),
        Ok(value) if value.len() > size as usize => reply.error(fuser::Errno::ERANGE),
        Ok(value) => reply.data(&value),
        Err(errno) => reply.error(refusal(errno)),
    }
}

fn kind_of(kind: FileType) -> Option<Kind> {
    Some(match kind {
        FileType::RegularFile => Kind::RegularFile,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::NamedPipe,
        FileType::Socket => Kind::Socket,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::Unknown => return None,
    })
}

fn attributes(node: &Node, stat: &Stat) -> FileAttr {
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    node.set_id.store(stat.st_mode & 0o6000 != 0, Ordering::Relaxed);
    FileAttr {
        ino: INodeNo(node.id),
        size: stat.st_size.cast_unsigned(),
        blocks: stat.st_blocks.cast_unsigned(),
        atime: system_time(stat.st_atime, stat.st_atime_nsec),
        mtime: system_time(stat.st_mtime, stat.st_mtime_nsec),
        ctime: system_time(stat.st_ctime, stat.st_ctime_nsec),
        crtime: UNIX_EPOCH,
        kind: kind_of(FileType::from_raw_mode(stat.st_mode)).unwrap_or(Kind::RegularFile),
        perm: (stat.st_mode & 0o7777) as u16,
        nlink: small(stat.st_nlink),
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: small(stat.st_rdev),
        blksize: small(stat.st_blksize.cast_unsigned()),
        flags: 0,
    }
}

/// The answer that there is no such name, which the kernel remembers too.
fn nothing() -> FileAttr {
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: Kind::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 0,
        flags: 0,
    }
}

fn system_time(seconds: i64, nanoseconds: u64) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let part = Duration::from_nanos(nanoseconds);
    let base = if seconds < 0 { UNIX_EPOCH - whole } else { UNIX_EPOCH + whole };
    base + part
}

/// The time that the kernel sent. fuser 0.18 turns seconds before 1970 round and adds the rest on
/// the wrong side; nothing is lost, so that it can be turned back.
fn time_of(time: TimeOrNow) -> Timespec {
    let time = match time {
        TimeOrNow::Now => return Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        TimeOrNow::SpecificTime(time) => time,
    };
    let (negative, length) = match time.duration_since(UNIX_EPOCH) {
        Ok(length) => (false, length),
        Err(before) => (true, before.duration()),
    };
    let seconds = i64::try_from(length.as_secs()).unwrap_or(i64::MAX);
    Timespec {
        tv_sec: if negative { -seconds } else { seconds },
        tv_nsec: length.subsec_nanos().into(),
    }
}

/// A device number as the protocol has it, `new_encode_dev` of Linux: the one that mknod(2) takes.
fn device_of(rdev: u32) -> u64 {
    let (major, minor) = ((rdev & 0xf_ff00) >> 8, (rdev & 0xff) | ((rdev >> 12) & 0xf_ff00));
    rustix::fs::makedev(major, minor)
}
