//! Calls about whose a file is.

use std::ffi::CStr;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid, XattrFlags};
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
    pub(super) fn record(&mut self, follow: bool) -> Option<Record> {
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

    pub(super) fn stat(&mut self, call: &Notification, follow: bool, to: u64) -> Done {
        let Some(record) = self.told(follow) else { return CONTINUE };
        let Ok(mut stat) = Stat::of(self.name.path(), follow) else { return CONTINUE };
        stat.set_owner(record.uid, record.gid);
        if let Some((kind, major, minor)) = device(record.kind, stat.mode()) {
            stat.set_device(kind, libc::makedev(major, minor));
        }
        self.write(call, to, stat.bytes())
    }

    pub(super) fn statx(&mut self, call: &Notification, follow: bool) -> Done {
        let look = |path: &CStr| {
            let mut flags = word(call.arguments[2]) & !libc::AT_EMPTY_PATH.cast_unsigned();
            if !follow {
                flags |= libc::AT_SYMLINK_NOFOLLOW.cast_unsigned();
            }
            Statx::of(path, flags, word(call.arguments[3]))
        };
        let to = call.arguments[4];
        let Some(record) = self.told(follow) else { return CONTINUE };
        let Ok(mut statx) = look(self.name.path()) else { return CONTINUE };
        statx.set_owner(record.uid, record.gid);
        if let Some((kind, major, minor)) = device(record.kind, statx.mode()) {
            statx.set_device(kind, (major, minor));
        }
        self.write(call, to, statx.bytes())
    }

    /// What a look at the file is told: of a process's directory in /proc whose the process is.
    fn told(&mut self, follow: bool) -> Option<Record> {
        let process = self.name.is_process().then(|| self.owner_of_process()).flatten();
        process.or_else(|| self.record(follow))
    }

    /// The effective ids of a process, for its directory in /proc; `None` for root and for none.
    fn owner_of_process(&mut self) -> Option<Record> {
        // Its pid is the container's, and only the container's /proc knows whose that is.
        let file = [self.name.path().to_bytes(), b"/limits"].concat();
        let text = read_proc(&file)?;
        let line = text.split(|b| *b == b'\n').find(|line| line.starts_with(b"Max file locks"))?;
        let soft = std::str::from_utf8(line).ok()?.split_ascii_whitespace().nth(3)?;
        let tag = Tag::read(soft.parse().ok()?);
        let credentials = self.people.get(tag);
        let (uid, gid) = (credentials.user.effective, credentials.group.effective);
        let kind = Kind::Directory;
        (tag.credentials != 0).then_some(Record { uid, gid, mode: 0o555, kind })
    }

    /// chown(2) and kin; the ids stand at an argument and the next.
    pub(super) fn chown(&mut self, call: &Notification, follow: bool, ids: usize) -> Done {
        let to = (given(word(call.arguments[ids])), given(word(call.arguments[ids + 1])));
        let Ok(caller) = self.caller(call) else { return CONTINUE };
        let found = self.record(follow);
        let path = self.name.path();
        let Ok(mut stat) = Stat::of(path, follow) else { return CONTINUE };
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

/// A small file of /proc: of a real one, as whose path it is may have something else there, in a root of its own
/// too: a pipe that nobody writes to, a file that fills all memory.
pub(super) fn read_proc(path: &[u8]) -> Option<Vec<u8>> {
    const MOST: usize = 16 << 10;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    if rustix::fs::fstatfs(&file).ok()?.f_type != rustix::fs::PROC_SUPER_MAGIC {
        return None;
    }
    let mut text = Vec::with_capacity(MOST);
    while text.len() < MOST {
        if rustix::io::read(&file, rustix::buffer::spare_capacity(&mut text)).ok()? == 0 {
            return Some(text);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_real_proc_is_read() {
        use std::os::unix::ffi::OsStrExt;
        let directory = tempfile::tempdir().expect("a directory");
        let pipe = directory.path().join("limits");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .expect("a pipe");
        assert_eq!(read_proc(pipe.as_os_str().as_bytes()), None);
        assert_eq!(read_proc(b"/etc/passwd"), None);
        let limits = read_proc(b"/proc/self/limits").expect("limits");
        assert!(limits.windows(14).any(|words| words == b"Max file locks"));
        assert_eq!(read_proc(b"/proc/kallsyms"), None, "more than any file that is asked for");
    }
}
