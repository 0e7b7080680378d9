//! Calls about whose a file is.

use std::ffi::CStr;

use rustix::fs::{AtFlags, Gid, Uid, XattrFlags};
use rustix::io::Errno;

use super::ids::given;
use super::name::word;
use super::people::Tag;
use super::serve::{CONTINUE, Done, Server, refuse, value};
use crate::owners::{self, Kind, LENGTH, Record};
use crate::sys::notify::{Notification, Stat, Statx};

const SET_BITS: u32 = libc::S_ISUID | libc::S_ISGID;

impl Server {
    /// What is recorded of the file that `name` names.
    pub(super) fn record(&self, follow: bool) -> Option<Record> {
        self.attribute(follow).or_else(|| self.links.get(self.name.path(), follow))
    }

    fn attribute(&self, follow: bool) -> Option<Record> {
        let mut buffer = [0; LENGTH];
        let path = self.name.path();
        let found = if follow {
            rustix::fs::getxattr(path, owners::OVERRIDE, &mut buffer[..])
        } else {
            rustix::fs::lgetxattr(path, owners::OVERRIDE, &mut buffer[..])
        };
        found.ok().and_then(|length| Record::parse(&buffer[..length]))
    }

    /// Records an owner, in the file where it can carry that; `known` is what it carries now.
    pub(super) fn set_record(
        &mut self,
        follow: bool,
        known: Option<Record>,
        record: Record,
    ) -> Result<(), Errno> {
        if known == Some(record) || (known.is_none() && record.is_roots()) {
            return Ok(());
        }
        let path = self.name.path();
        let name = owners::OVERRIDE;
        if record.is_roots() {
            let _ = if follow {
                rustix::fs::removexattr(path, name)
            } else {
                rustix::fs::lremovexattr(path, name)
            };
            self.links.remove(path, follow);
            return Ok(());
        }
        let mut buffer = [0; LENGTH];
        let text = record.format(&mut buffer);
        let set = match (record.kind, follow) {
            (Kind::Symlink | Kind::Pipe | Kind::Socket, _) => Err(Errno::NOTSUP),
            (_, true) => rustix::fs::setxattr(path, name, text, XattrFlags::empty()),
            (_, false) => rustix::fs::lsetxattr(path, name, text, XattrFlags::empty()),
        };
        if set.is_ok() {
            self.links.remove(path, follow);
            return Ok(());
        }
        self.links.set(path, follow, record)
    }

    pub(super) fn stat(&self, call: &Notification, follow: bool, to: u64) -> Done {
        let path = self.name.path();
        if self.name.is_process() {
            let Some((uid, gid)) = self.owner_of_process(path) else { return CONTINUE };
            let Ok(mut stat) = Stat::of(path, follow) else { return CONTINUE };
            stat.set_owner(uid, gid);
            return self.write(call, to, stat.bytes());
        }
        let Some(record) = self.record(follow) else { return CONTINUE };
        let Ok(mut stat) = Stat::of(path, follow) else { return CONTINUE };
        stat.set_owner(record.uid, record.gid);
        if let Some((kind, major, minor)) = device(record.kind, stat.mode()) {
            stat.set_device(kind, libc::makedev(major, minor));
        }
        self.write(call, to, stat.bytes())
    }

    pub(super) fn statx(&self, call: &Notification, follow: bool) -> Done {
        let path = self.name.path();
        let look = || {
            let mut flags = word(call.arguments[2]) & !libc::AT_EMPTY_PATH.cast_unsigned();
            if !follow {
                flags |= libc::AT_SYMLINK_NOFOLLOW.cast_unsigned();
            }
            Statx::of(path, flags, word(call.arguments[3]))
        };
        let to = call.arguments[4];
        if self.name.is_process() {
            let Some((uid, gid)) = self.owner_of_process(path) else { return CONTINUE };
            let Ok(mut statx) = look() else { return CONTINUE };
            statx.set_owner(uid, gid);
            return self.write(call, to, statx.bytes());
        }
        let Some(record) = self.record(follow) else { return CONTINUE };
        let Ok(mut statx) = look() else { return CONTINUE };
        statx.set_owner(record.uid, record.gid);
        if let Some((kind, major, minor)) = device(record.kind, statx.mode()) {
            statx.set_device(kind, (major, minor));
        }
        self.write(call, to, statx.bytes())
    }

    /// The effective ids of a process, for its directory in /proc; `None` for root and for none.
    fn owner_of_process(&self, path: &CStr) -> Option<(u32, u32)> {
        // Its pid is the container's, and only the container's /proc knows whose that is.
        let file = [path.to_bytes(), b"/limits"].concat();
        let text = read(&file)?;
        let line = text.split(|b| *b == b'\n').find(|line| line.starts_with(b"Max file locks"))?;
        let soft = std::str::from_utf8(line).ok()?.split_ascii_whitespace().nth(3)?;
        let tag = Tag::read(soft.parse().ok()?);
        let credentials = self.people.get(tag);
        (tag.credentials != 0).then_some((credentials.user.effective, credentials.group.effective))
    }

    /// chown(2) and kin; the ids stand at an argument and the next.
    pub(super) fn chown(&mut self, call: &Notification, follow: bool, ids: usize) -> Done {
        let to = (given(word(call.arguments[ids])), given(word(call.arguments[ids + 1])));
        let Ok(caller) = self.caller(call) else { return CONTINUE };
        let path = self.name.path();
        let Ok(mut stat) = Stat::of(path, follow) else { return CONTINUE };
        let found = self.record(follow);
        if found.is_none() && stat.uid() != 0 {
            return CONTINUE; // another's on the host: the kernel refuses
        }
        let known = found.unwrap_or(Record {
            uid: 0,
            gid: 0,
            mode: stat.mode() & 0o7777,
            kind: Kind::of_mode(stat.mode()),
        });
        if !caller.may_chown((known.uid, known.gid), to, self.powers) {
            return refuse(Errno::PERM);
        }
        if !self.listener.is_waiting(call.id) {
            return refuse(Errno::SRCH);
        }
        // The kernel's own part: read-only mounts, the time of change, set-id bits, capabilities.
        let flags = if follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
        let root = (Some(Uid::ROOT), Some(Gid::ROOT));
        if let Err(errno) = rustix::fs::chownat(rustix::fs::CWD, path, root.0, root.1, flags) {
            return refuse(errno);
        }
        if stat.mode() & SET_BITS != 0
            && let Ok(after) = Stat::of(path, follow)
        {
            stat = after;
        }
        let record = Record {
            uid: to.0.unwrap_or(known.uid),
            gid: to.1.unwrap_or(known.gid),
            mode: stat.mode() & 0o7777,
            ..known
        };
        match self.set_record(follow, found, record) {
            Ok(()) => value(0),
            Err(errno) => refuse(errno),
        }
    }
}

/// The type and number of a device that an empty file stands for.
fn device(kind: Kind, mode: u32) -> Option<(u32, u32, u32)> {
    if mode & libc::S_IFMT != libc::S_IFREG {
        return None;
    }
    match kind {
        Kind::Char(major, minor) => Some((libc::S_IFCHR, major, minor)),
        Kind::Block(major, minor) => Some((libc::S_IFBLK, major, minor)),
        _ => None,
    }
}

/// A small file of /proc.
pub(super) fn read(path: &[u8]) -> Option<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt;
    std::fs::read(std::ffi::OsStr::from_bytes(path)).ok()
}
