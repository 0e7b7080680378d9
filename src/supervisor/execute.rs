//! Programs that give their starter another's ids, and who is at the other end of a socket.

use rustix::fs::{Mode, OFlags, StatVfsMountFlags};

use super::files::read_proc;
use super::name::{descriptor, word};
use super::people::Tag;
use super::serve::{CONTINUE, Done, Server, value};
use super::status::{field, status};
use super::{Credentials, people};
use crate::sys::notify::{self, Notification, Stat};

impl Server {
    /// execve(2): the kernel does it; here only the ids are changed, before.
    ///
    /// A set-id program that then cannot be executed (`ENOEXEC`) leaves its ids behind. AT_SECURE is
    /// the kernel's, for whom nothing changes.
    pub(super) fn execute(&mut self, call: &Notification, follow: bool) -> Done {
        let Ok((tag, hard)) = Self::tag(call) else { return CONTINUE };
        let Ok(stat) = Stat::of(self.name.path(), follow) else { return CONTINUE };
        let (user, group) = self.ids_of_program(call, follow, stat.mode());
        let old = self.people.get(tag);
        let new = Credentials {
            user: old.user.execute(user),
            group: old.group.execute(group),
            groups: old.groups.clone(),
            keeps_powers: false,
        };
        if new != *old {
            let _ = self.assume(call, tag, hard, &new);
        }
        CONTINUE
    }

    /// The ids that a program's bits give, if anything may give ids here.
    fn ids_of_program(
        &mut self,
        call: &Notification,
        follow: bool,
        mode: u32,
    ) -> (Option<u32>, Option<u32>) {
        let has = |bits: u32| mode & bits == bits;
        let sets_user = has(libc::S_ISUID);
        let sets_group = has(libc::S_ISGID | libc::S_IXGRP);
        let is_program = mode & libc::S_IFMT == libc::S_IFREG && mode & 0o111 != 0;
        if !is_program || !(sets_user || sets_group) || self.is_held_back(call) {
            return (None, None);
        }
        let (uid, gid) = self.record(follow).map_or((0, 0), |record| (record.uid, record.gid));
        (sets_user.then_some(uid), sets_group.then_some(gid))
    }

    /// no_new_privs, a mount without set-id programs, or a script.
    fn is_held_back(&self, call: &Notification) -> bool {
        let path = self.name.path();
        let no_new = status(call.thread).is_none_or(|text| field(&text, "NoNewPrivs") != Some("0"));
        let no_suid =
            rustix::fs::statvfs(path).is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::NOSUID));
        let is_script = || {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
            let mut start = [0; 2];
            rustix::fs::open(path, flags, Mode::empty())
                .and_then(|file| rustix::io::read(&file, &mut start))
                .is_ok_and(|count| count == 2 && &start == b"#!")
        };
        no_new || no_suid || is_script()
    }

    /// `SO_PEERCRED`: the kernel remembers root, and the pid. Whom that process is said to be is
    /// looked up now, and not at the time of its connect(2).
    pub(super) fn peer(&mut self, call: &Notification) -> Done {
        let Some(socket) = super::make::socket_of(call) else { return CONTINUE };
        let Ok(peer) = rustix::net::sockopt::socket_peercred(&socket) else { return CONTINUE };
        let process = peer.pid.as_raw_nonzero().get().cast_unsigned();
        let Ok((soft, _)) = notify::limit(process, people::RESOURCE) else { return CONTINUE };
        let tag = Tag::read(soft);
        if tag.credentials == 0 {
            return CONTINUE;
        }
        let known = self.people.get(tag);
        let Some(pid) = pid_inside(process) else { return CONTINUE };
        let mut length = [0; 4];
        let length_at = call.arguments[4];
        if notify::read_memory(call.thread, length_at, &mut length) != Ok(4) {
            return CONTINUE;
        }
        let room = usize::try_from(descriptor(u64::from(u32::from_ne_bytes(length))));
        let Ok(room) = room else { return CONTINUE };
        let fields = [pid, known.user.effective, known.group.effective];
        let bytes: Vec<u8> = fields.iter().flat_map(|field| field.to_ne_bytes()).collect();
        let bytes = &bytes[..room.min(bytes.len())];
        match self.write(call, call.arguments[3], bytes) {
            done if done == value(0) => {
                let length = word(bytes.len() as u64).to_ne_bytes();
                self.write(call, length_at, &length)
            }
            failed => failed,
        }
    }
}

/// A process's pid in its own pid namespace, which is the last that /proc lists.
pub(super) fn pid_inside(process: u32) -> Option<u32> {
    let text = read_proc(format!("{process}/status").as_bytes())?;
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_ascii_whitespace().next_back()?.parse().ok()
}
