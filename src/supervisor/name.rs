//! A path of another process, written so that it means the same here.
//!
//! The supervisor's root directory is the container's, and its working directory the host's /proc:
//!
//! ```text
//! /etc/passwd             as it is
//! passwd                  PID/cwd/passwd
//! passwd, from fd 3       PID/fd/3/passwd
//! "", from fd 3           PID/fd/3
//! /proc/self/fd/3         PID/fd/3
//! ```
//!
//! Only the first steps, which are written here, are taken in the host's /proc; from `cwd`, `fd` or
//! `/` on the walk is in the container, and the root stops it as it stops the container's own. Nothing
//! stops a `..` in the host's /proc, which leads to the host's root: a path that has one there is not
//! rewritten, is not found, and so is the kernel's.

use std::ffi::CStr;

use rustix::io::Errno;

use super::call::File;
use crate::sys::notify::{self, Notification};

/// Room for what is written before a path: `4294967295/fd/4294967295/`.
const HEAD: usize = 32;
/// `PATH_MAX`, the NUL included.
const MOST: usize = 4096;

/// A buffer for one path, used again for every call.
pub(super) struct Name {
    bytes: Box<[u8; HEAD + MOST]>,
    start: usize,
    end: usize,
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Name({:?})", self.path())
    }
}

impl Name {
    pub(super) fn new() -> Self {
        Self { bytes: Box::new([0; HEAD + MOST]), start: HEAD, end: HEAD }
    }

    /// The path for calls from the working directory.
    pub(super) fn path(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes[self.start..]).unwrap_or(c"")
    }

    /// Reads the path of a call; whether a link at its end is followed.
    pub(super) fn locate(&mut self, call: &Notification, file: File) -> Result<bool, Errno> {
        let argument = |at: usize| call.arguments[at];
        match file {
            File::Path { path, follow } => {
                self.read(call.thread, argument(path), libc::AT_FDCWD, follow, false)
            }
            File::New { directory, path } => self.read(
                call.thread,
                argument(path),
                descriptor(argument(directory)),
                false,
                false,
            ),
            File::At { directory, path, flags } => {
                let flags = flags.map_or(0, |at| descriptor(argument(at)));
                let follow = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
                let may_be_empty = flags & libc::AT_EMPTY_PATH != 0;
                let directory = descriptor(argument(directory));
                self.read(call.thread, argument(path), directory, follow, may_be_empty)
            }
            File::Open { descriptor: at } => {
                self.clear();
                self.at(call.thread, descriptor(argument(at)))
            }
        }
    }

    /// Reads a text as it is.
    pub(super) fn read_text(&mut self, thread: u32, address: u64) -> Result<(), Errno> {
        self.clear();
        let length = notify::read_string(thread, address, &mut self.bytes[HEAD..])?;
        self.end = HEAD + length;
        Ok(())
    }

    /// Takes an absolute path, up to its NUL or its end.
    pub(super) fn set(&mut self, path: &[u8]) -> Result<(), Errno> {
        self.clear();
        let length = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
        let room = self.bytes.get_mut(HEAD..=HEAD + length).ok_or(Errno::NAMETOOLONG)?;
        room[..length].copy_from_slice(&path[..length]);
        room[length] = 0;
        self.end = HEAD + length;
        Ok(())
    }

    fn clear(&mut self) {
        (self.start, self.end) = (HEAD, HEAD);
        self.bytes[HEAD] = 0;
    }

    fn read(
        &mut self,
        thread: u32,
        address: u64,
        directory: i32,
        follow: bool,
        may_be_empty: bool,
    ) -> Result<bool, Errno> {
        self.clear();
        // With AT_EMPTY_PATH a null pointer is an empty path (6.11).
        if !(may_be_empty && address == 0) {
            let length = notify::read_string(thread, address, &mut self.bytes[HEAD..])?;
            self.end = HEAD + length;
        }
        if self.end == HEAD {
            return if may_be_empty { self.at(thread, directory) } else { Err(Errno::NOENT) };
        }
        if self.bytes[HEAD] == b'/' {
            self.rewrite_own(thread, follow);
        } else {
            self.prefix(b"/");
            self.at(thread, directory)?;
        }
        Ok(follow)
    }

    /// Makes what stands here relative to a descriptor, or is it where nothing stands here.
    fn at(&mut self, thread: u32, directory: i32) -> Result<bool, Errno> {
        if directory == libc::AT_FDCWD {
            self.prefix(b"/cwd");
        } else {
            let number = u32::try_from(directory).map_err(|_| Errno::BADF)?;
            self.prefix_number(number);
            self.prefix(b"/fd/");
        }
        self.prefix_number(thread);
        Ok(true)
    }

    /// `/proc/self` would be the supervisor, which the container's /proc does not know.
    fn rewrite_own(&mut self, thread: u32, follow: bool) {
        let text = &self.bytes[HEAD..self.end];
        let below = |prefix: &[u8]| {
            text.strip_prefix(prefix).is_some_and(|rest| rest.first().is_none_or(|b| *b == b'/'))
        };
        let is_more = |prefix: &[u8]| text.len() > prefix.len() || follow;
        for prefix in [&b"/proc/self"[..], b"/proc/thread-self"] {
            if below(prefix) && is_more(prefix) && stays(&text[prefix.len()..]) {
                self.start = HEAD + prefix.len();
                return self.prefix_number(thread);
            }
        }
        if below(b"/dev/fd") && is_more(b"/dev/fd") && names_descriptor(&text[b"/dev/fd".len()..]) {
            self.start = HEAD + b"/dev/fd".len();
            self.prefix(b"/fd");
            return self.prefix_number(thread);
        }
        let stream = match text {
            b"/dev/stdin" => b"/fd/0",
            b"/dev/stdout" => b"/fd/1",
            b"/dev/stderr" => b"/fd/2",
            _ => return,
        };
        if follow {
            self.start = self.end;
            self.prefix(stream);
            self.prefix_number(thread);
        }
    }

    fn prefix(&mut self, text: &[u8]) {
        let start = self.start - text.len();
        self.bytes[start..self.start].copy_from_slice(text);
        self.start = start;
    }

    fn prefix_number(&mut self, mut number: u32) {
        loop {
            self.start -= 1;
            self.bytes[self.start] = b'0' + u8::try_from(number % 10).unwrap_or_default();
            number /= 10;
            if number == 0 {
                return;
            }
        }
    }

    /// The directory in which the path's last part stands, for as long as `work` takes.
    pub(super) fn in_parent<T>(&mut self, work: impl FnOnce(&CStr) -> T) -> T {
        let text = &self.bytes[self.start..self.end];
        // mkdir(2) takes slashes behind the name.
        let last = text.iter().rposition(|byte| *byte != b'/').unwrap_or_default();
        let slash = text[..=last].iter().rposition(|byte| *byte == b'/');
        // A relative path has a descriptor's name before it, so there is a slash.
        let cut = self.start + slash.unwrap_or_default().max(1);
        let kept = std::mem::replace(&mut self.bytes[cut], 0);
        let done = work(self.path());
        self.bytes[cut] = kept;
        done
    }

    /// Whether this is the directory of a process in the container's /proc.
    pub(super) fn is_process(&self) -> bool {
        let text = self.path().to_bytes();
        text.strip_prefix(b"/proc/").is_some_and(|rest| {
            let digits = rest.strip_suffix(b"/").unwrap_or(rest);
            !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
        })
    }
}

fn steps(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|step| !step.is_empty() && *step != b".")
}

/// Whether a walk from the host's directory of a process never goes up there: it does not go up at all, or only
/// behind a link into the container.
fn stays(path: &[u8]) -> bool {
    let mut walk = steps(path);
    match walk.next() {
        Some(b"cwd" | b"root") => true,
        Some(b"fd") if walk.next().is_some_and(is_number) => true,
        _ => steps(path).all(|step| step != b".."),
    }
}

/// Whether the first step from a directory of descriptors is one of these.
fn names_descriptor(path: &[u8]) -> bool {
    steps(path).next().is_none_or(is_number)
}

fn is_number(step: &[u8]) -> bool {
    step.iter().all(u8::is_ascii_digit)
}

/// An `int` as it stands in a register.
#[allow(clippy::cast_possible_truncation)] // the upper half is not looked at by the kernel either
pub(super) fn descriptor(argument: u64) -> i32 {
    argument as i32
}

/// An `unsigned int` as it stands in a register.
#[allow(clippy::cast_possible_truncation)] // as above
pub(super) fn word(argument: u64) -> u32 {
    argument as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located(path: Option<&CStr>, directory: i32, flags: i32) -> Result<(String, bool), Errno> {
        let mut name = Name::new();
        let call = Notification {
            thread: std::process::id(),
            arguments: [
                u64::from(directory.cast_unsigned()),
                path.map_or(0, |path| path.as_ptr() as u64),
                u64::from(flags.cast_unsigned()),
                0,
                0,
                0,
            ],
            ..Notification::default()
        };
        let file = File::At { directory: 0, path: 1, flags: Some(2) };
        let follow = name.locate(&call, file)?;
        let own = std::process::id().to_string();
        let text = name.path().to_str().expect("text");
        let text = text.strip_prefix(&own).map_or(text.to_owned(), |rest| format!("PID{rest}"));
        Ok((text, follow))
    }

    #[test]
    fn paths_mean_the_same_to_the_supervisor() {
        const NOFOLLOW: i32 = libc::AT_SYMLINK_NOFOLLOW;
        for (path, directory, flags, expected) in [
            (c"/etc/passwd", libc::AT_FDCWD, 0, "/etc/passwd"),
            (c"passwd", libc::AT_FDCWD, 0, "PID/cwd/passwd"),
            (c"../a/b", 3, NOFOLLOW, "PID/fd/3/../a/b"),
            (c"/proc/self/fd/3", 5, 0, "PID/fd/3"),
            (c"/proc/self", 5, 0, "PID"),
            (c"/proc/self", 5, NOFOLLOW, "/proc/self"),
            (c"/proc/selfish", 5, 0, "/proc/selfish"),
            (c"/proc/thread-self/cwd", 5, 0, "PID/cwd"),
            (c"/dev/fd/7", 5, 0, "PID/fd/7"),
            (c"/dev/stdout", 5, 0, "PID/fd/1"),
            (c"/dev/stdout", 5, NOFOLLOW, "/dev/stdout"),
            (c"", 3, libc::AT_EMPTY_PATH, "PID/fd/3"),
            (c"", libc::AT_FDCWD, libc::AT_EMPTY_PATH, "PID/cwd"),
        ] {
            let (text, follow) = located(Some(path), directory, flags).expect("a path");
            assert_eq!(text, expected, "{path:?}");
            assert_eq!(follow, flags & NOFOLLOW == 0, "{path:?}");
        }
        assert_eq!(located(None, 3, libc::AT_EMPTY_PATH), Ok(("PID/fd/3".into(), true)));
        assert_eq!(located(Some(c""), 3, 0), Err(Errno::NOENT));
        assert_eq!(located(Some(c"x"), -1, 0), Err(Errno::BADF));
    }

    /// Up from the host's /proc is the host.
    #[test]
    fn no_path_goes_up_in_the_hosts_proc() {
        for path in [
            c"/proc/self/../../etc/passwd",
            c"/proc/self/..",
            c"/proc/self//./../x",
            c"/proc/thread-self/../../../../x",
            c"/proc/self/task/../../../x",
            c"/proc/self/fd/../../../x",
            c"/proc/self/fd/./../../../x",
            c"/proc/self/fdinfo/3/../../../../x",
            c"/proc/self/exe/../../x",
            c"/dev/fd/../../../x",
            c"/dev/fd/./../../x",
        ] {
            let (text, _) = located(Some(path), 5, 0).expect("a path");
            assert_eq!(Some(text.as_str()), path.to_str().ok());
        }
        for (path, expected) in [
            (c"/proc/self/cwd/../f", "PID/cwd/../f"),
            (c"/proc/self/./root/../f", "PID/./root/../f"),
            (c"/proc/self/fd//4/../f", "PID/fd//4/../f"),
            (c"/dev/fd/4/../f", "PID/fd/4/../f"),
        ] {
            assert_eq!(located(Some(path), 5, 0).expect("a path").0, expected);
        }
    }

    #[test]
    fn a_path_has_a_parent() {
        let mut name = Name::new();
        for (path, parent) in
            [("/a/b", "/a"), ("/a", "/"), ("7/cwd/x", "7/cwd"), ("/a/b//", "/a"), ("/", "/")]
        {
            name.set(path.as_bytes()).expect("room");
            name.in_parent(|found| assert_eq!(found.to_str(), Ok(parent)));
            assert_eq!(name.path().to_str(), Ok(path));
        }
    }

    #[test]
    fn processes_are_known_by_their_directory() {
        let is = |path: &str| {
            let mut name = Name::new();
            name.bytes[HEAD..HEAD + path.len()].copy_from_slice(path.as_bytes());
            name.is_process()
        };
        assert!(is("/proc/1") && is("/proc/42/"));
        assert!(!is("/proc/") && !is("/proc/1/stat") && !is("/proc/x") && !is("1/cwd"));
    }
}
