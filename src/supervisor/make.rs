//! Calls that make files. Another's than root's are made here, and recorded. Root's are made by the kernel, but
//! for those below a directory that gives them its group.

use std::ffi::CStr;
use std::os::fd::AsFd;

use rustix::fs::{CWD, FileType, Mode, OFlags, XattrFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};

use super::call::File;
use super::ids::Credentials;
use super::name::{Name, descriptor, word};
use super::serve::{CONTINUE, Done, Server, refuse, value};
use super::status::{field, status};
use crate::owners::{self, Kind, LENGTH, Record};
use crate::sys::notify::{self, Notification, Stat};

impl Server {
    pub(super) fn open(&mut self, call: &Notification, file: File, flags: usize) -> Done {
        let Ok(maker) = self.caller(call) else { return CONTINUE };
        let mode = word(call.arguments[flags + 1]);
        let flags = descriptor(call.arguments[flags]);
        self.with_path(call, file, |it, _| it.make_file(call, &maker, flags, mode))
    }

    pub(super) fn create(&mut self, call: &Notification) -> Done {
        let Ok(maker) = self.caller(call) else { return CONTINUE };
        let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
        let file = File::Path { path: 0, follow: true };
        let mode = word(call.arguments[1]);
        self.with_path(call, file, |it, _| it.make_file(call, &maker, flags, mode))
    }

    /// Makes the file if there is none, and hands it over open. One that is there the kernel opens.
    fn make_file(
        &mut self,
        call: &Notification,
        maker: &Credentials,
        flags: i32,
        mode: u32,
    ) -> Done {
        if flags & (libc::O_PATH | libc::O_DIRECTORY) != 0 {
            return CONTINUE;
        }
        let Some(place) = self.place_of_new(maker) else { return CONTINUE };
        let mode = mode & 0o7777 & !umask(call.thread);
        let exclusive = OFlags::from_bits_retain(flags.cast_unsigned())
            | OFlags::CREATE
            | OFlags::EXCL
            | OFlags::CLOEXEC;
        let path = self.name.path();
        let Ok(made) = rustix::fs::open(path, exclusive, Mode::from_raw_mode(mode)) else {
            return CONTINUE;
        };
        let record =
            Record { uid: maker.user.file_system, gid: place.group, mode, kind: Kind::File };
        let mut buffer = [0; LENGTH];
        let text = record.format(&mut buffer);
        if rustix::fs::fsetxattr(&made, owners::OVERRIDE, text, XattrFlags::empty()).is_err() {
            let _ = self.links.set(self.name.path(), false, record);
        }
        let close_on_exec = flags & libc::O_CLOEXEC != 0;
        match self.listener.answer_with(call.id, made.as_fd(), close_on_exec) {
            Ok(()) | Err(Errno::NOENT | Errno::INPROGRESS) => Done::Answered,
            Err(_) => {
                // No room for a descriptor, or Linux before 5.14: as if nothing had been done.
                let _ = rustix::fs::unlink(self.name.path());
                CONTINUE
            }
        }
    }

    pub(super) fn make_directory(&mut self, call: &Notification, file: File, mode: usize) -> Done {
        let Ok(maker) = self.caller(call) else { return CONTINUE };
        let mode = word(call.arguments[mode]) & 0o7777;
        self.with_path(call, file, |it, _| {
            it.made(&maker, Kind::Directory, |path| {
                let mode = mode & !umask(call.thread);
                rustix::fs::mkdir(path, Mode::from_raw_mode(mode)).map(|()| mode)
            })
        })
    }

    pub(super) fn make_link(&mut self, call: &Notification, file: File) -> Done {
        let Ok(maker) = self.caller(call) else { return CONTINUE };
        self.with_path(call, file, |it, _| {
            it.made(&maker, Kind::Symlink, |path| {
                let mut text = Name::new();
                text.read_text(call.thread, call.arguments[0])?;
                rustix::fs::symlink(text.path(), path).map(|()| 0o777)
            })
        })
    }

    /// mknod(2): a device is an empty file with a record.
    pub(super) fn make_node(&mut self, call: &Notification, mode: usize) -> Done {
        let number = call.arguments[mode + 1];
        let mode = word(call.arguments[mode]);
        let number = u64::from(word(number));
        let (major, minor) = (libc::major(number), libc::minor(number));
        let kind = match mode & libc::S_IFMT {
            // What overlayfs takes for "nothing here", and any user may make.
            libc::S_IFCHR if number == 0 => return CONTINUE,
            libc::S_IFCHR => Kind::Char(major, minor),
            libc::S_IFBLK => Kind::Block(major, minor),
            libc::S_IFIFO => Kind::Pipe,
            libc::S_IFSOCK => Kind::Socket,
            libc::S_IFREG | 0 => Kind::File,
            _ => return CONTINUE,
        };
        let Ok(caller) = self.caller(call) else { return CONTINUE };
        if kind.is_device() && !(caller.owns_all_files() && self.powers.make_nodes) {
            return refuse(Errno::PERM);
        }
        let node = match kind {
            Kind::Pipe => FileType::Fifo,
            Kind::Socket => FileType::Socket,
            _ => FileType::RegularFile,
        };
        let mut failed = None;
        let done = self.made(&caller, kind, |path| {
            let mode = mode & 0o7777 & !umask(call.thread);
            rustix::fs::mknodat(CWD, path, node, Mode::from_raw_mode(mode), 0)
                .inspect_err(|errno| failed = Some(*errno))
                .map(|()| mode)
        });
        match failed {
            // The kernel would only say that devices are not for users.
            Some(errno) if kind.is_device() => refuse(errno),
            _ => done,
        }
    }

    /// bind(2) of a socket that becomes a file.
    pub(super) fn bind(&mut self, call: &Notification) -> Done {
        /// `struct sockaddr_un` begins with its family.
        const PATH: usize = 2;
        let Ok(maker) = self.caller(call) else { return CONTINUE };
        let mut address = [0; 110];
        let length = usize::try_from(word(call.arguments[2])).unwrap_or(usize::MAX);
        let Some(address) = address.get_mut(..length).filter(|address| address.len() > PATH) else {
            return CONTINUE;
        };
        if notify::read_memory(call.thread, call.arguments[1], address) != Ok(length) {
            return CONTINUE;
        }
        let family = u16::from_ne_bytes([address[0], address[1]]);
        // A relative path would be the supervisor's; an abstract name is no file.
        if i32::from(family) != libc::AF_UNIX || address[PATH] != b'/' {
            return CONTINUE;
        }
        let address: &[u8] = address;
        let file = File::Open { descriptor: 0 };
        self.with_path(call, file, |it, _| {
            if it.name.set(&address[PATH..]).is_err() {
                return CONTINUE;
            }
            it.made(&maker, Kind::Socket, |_| {
                let socket = socket_of(call).ok_or(Errno::BADF)?;
                let mask = umask(call.thread);
                let before = rustix::process::umask(Mode::from_raw_mode(mask));
                let bound = notify::bind(socket.as_fd(), address);
                rustix::process::umask(before);
                bound.map(|()| 0o777 & !mask)
            })
        })
    }

    /// Makes what `name` names, which tells its mode, and records whose it is. What cannot be made here, the
    /// kernel tries.
    fn made(
        &mut self,
        maker: &Credentials,
        kind: Kind,
        make: impl FnOnce(&CStr) -> rustix::io::Result<u32>,
    ) -> Done {
        let place = match self.place_of_new(maker) {
            Some(place) => place,
            None if kind.is_device() => Place { group: 0, mode: 0 },
            None => return CONTINUE,
        };
        let Ok(mode) = make(self.name.path()) else { return CONTINUE };
        let handed_on = if kind == Kind::Directory { place.mode } else { 0 };
        let (uid, gid, mode) = (maker.user.file_system, place.group, mode | handed_on);
        let _ = self.set_record(false, None, Record { uid, gid, mode, kind });
        value(0)
    }

    /// What the directory of `name` means for a file that is made in it; `None` where that is root's and its
    /// group's, which takes no record.
    ///
    /// The attribute is looked for first: of the directories that root makes files in nearly none has one. A shell
    /// opens /dev/null all the time as if it could be made.
    fn place_of_new(&mut self, maker: &Credentials) -> Option<Place> {
        let (attribute, links) = (owners::OVERRIDE, &mut self.links);
        let is_roots = maker.user.file_system == 0 && maker.group.file_system == 0;
        if is_roots && self.name.path() == c"/dev/null" {
            return None;
        }
        let place = self.name.in_parent(|parent| {
            let mut buffer = [0; LENGTH];
            let found = rustix::fs::getxattr(parent, attribute, &mut buffer[..]);
            let record = found.ok().and_then(|length| Record::parse(&buffer[..length]));
            let record = record.or_else(|| links.get(parent, true));
            let group = record.map_or(0, |record| record.gid);
            if is_roots && group == 0 {
                return None;
            }
            let mode = Stat::of(parent, true).ok()?.mode() & libc::S_ISGID;
            (mode != 0).then_some(Place { group, mode })
        });
        place.or((!is_roots).then_some(Place { group: maker.group.file_system, mode: 0 }))
    }
}

/// What a directory hands on to what is made in it.
#[derive(Clone, Copy, Debug)]
struct Place {
    group: u32,
    /// The set-group-ID bit, for directories.
    mode: u32,
}

/// The caller's socket, as a descriptor of ours.
pub(super) fn socket_of(call: &Notification) -> Option<std::os::fd::OwnedFd> {
    let process = thread_group(call.thread)?;
    let pidfd = rustix::process::pidfd_open(process, PidfdFlags::empty()).ok()?;
    let number = descriptor(call.arguments[0]);
    rustix::process::pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty()).ok()
}

/// A pidfd is a process's, and who calls is a thread.
fn thread_group(thread: u32) -> Option<Pid> {
    Pid::from_raw(field(&status(thread)?, "Tgid")?.parse().ok()?)
}

/// The file mode mask of a process; the usual one where it cannot be read.
fn umask(thread: u32) -> u32 {
    let mask = |text: &[u8]| u32::from_str_radix(field(text, "Umask")?, 8).ok();
    status(thread).and_then(|text| mask(&text)).unwrap_or(0o022)
}
