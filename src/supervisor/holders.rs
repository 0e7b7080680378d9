//! Who else has a socket, and what signals wait for its owner: as /proc tells it, which is the
//! working directory.

use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use rustix::fs::{CWD, Mode, OFlags, RawDir};
use rustix::io::Errno;

/// A process with more descriptors than this is not looked through: its connections stay on the tap.
const MOST: usize = 512;
/// The children that are looked at.
const MOST_CHILDREN: usize = 64;

/// The longest of those files that come in one piece.
const ONE_PIECE: usize = 4096;

/// Reads a file of /proc, all of it or its first piece.
fn read(path: &str, room: &mut Vec<u8>, all: bool) -> Result<(), Errno> {
    room.clear();
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    loop {
        room.reserve(ONE_PIECE);
        let count = rustix::io::read(&file, rustix::buffer::spare_capacity(room))?;
        if count == 0 || !all {
            return Ok(());
        }
    }
}

/// The value of a line `name: value`.
fn field<'a>(text: &'a [u8], name: &str) -> Option<&'a str> {
    let lines = text.split(|byte| *byte == b'\n');
    let mut values = lines.filter_map(|line| line.strip_prefix(name.as_bytes()));
    std::str::from_utf8(values.next()?.strip_prefix(b":")?).ok().map(str::trim)
}

/// Whether a thread's descriptor is closed by an exec.
pub(super) fn closes_on_exec(thread: u32, number: i32) -> Option<bool> {
    let mut room = Vec::new();
    read(&format!("{thread}/fdinfo/{number}"), &mut room, false).ok()?;
    let flags = i32::from_str_radix(field(&room, "flags")?, 8).ok()?;
    Some(flags & libc::O_CLOEXEC != 0)
}

/// Whether a descriptor is, as far as can be seen, all there is of a socket: nobody waits for it by
/// epoll(7), and neither this process, nor its parent, nor a child has another.
pub(super) fn is_alone(thread: u32, number: i32, inode: u64) -> Result<bool, Errno> {
    let wanted = format!("socket:[{inode}]");
    let directory = format!("{thread}/fd");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags, Mode::empty())?;
    let own = number.to_string();
    let (mut buffer, mut seen) = ([MaybeUninit::uninit(); 4096], 0);
    let mut entries = RawDir::new(&directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_bytes() == own.as_bytes() || name.to_bytes().starts_with(b".") {
            continue;
        }
        seen += 1;
        let mut room = [0; 64];
        let target = match rustix::fs::readlinkat_raw(directory.as_fd(), name, &mut room) {
            Ok(length) => &room[..length],
            Err(Errno::NOENT) => continue, // closed meanwhile
            Err(errno) => return Err(errno),
        };
        let watches = || {
            let name = name.to_str().unwrap_or_default();
            waits_for(&format!("{thread}/fdinfo/{name}"), inode)
        };
        if seen > MOST
            || target == wanted.as_bytes()
            || target == b"anon_inode:[eventpoll]" && watches()
        {
            return Ok(false);
        }
    }
    let mut status = Vec::new();
    read(&format!("{thread}/status"), &mut status, false)?;
    let [process, parent] = ["Tgid", "PPid"].map(|name| field(&status, name).unwrap_or("0"));
    let has = |process: &str| {
        let mut room = [0; 64];
        let path = format!("{process}/fd/{own}");
        rustix::fs::readlinkat_raw(CWD, path, &mut room)
            .is_ok_and(|length| room[..length] == *wanted.as_bytes())
    };
    if has(parent) {
        return Ok(false);
    }
    let (mut children, thread) = (Vec::new(), thread.to_string());
    for maker in [Some(&*thread), Some(process).filter(|it| *it != thread)].into_iter().flatten() {
        // A kernel without CONFIG_PROC_CHILDREN has none to see.
        if read(&format!("{thread}/task/{maker}/children"), &mut children, false).is_ok() {
            let text = String::from_utf8_lossy(&children);
            if text.split_whitespace().take(MOST_CHILDREN).any(has) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Whether an epoll's descriptor has a file in it, by its inode (proc_pid_fdinfo(5)).
fn waits_for(path: &str, inode: u64) -> bool {
    let mut room = Vec::new();
    // What cannot be read may.
    if read(path, &mut room, true).is_err() {
        return true;
    }
    let wanted = format!("ino:{inode:x}");
    String::from_utf8_lossy(&room).split_whitespace().any(|word| word == wanted)
}

/// A signal that a thread waits to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signalled {
    /// It alone can take it.
    Itself,
    /// Another thread may take it yet.
    Process,
}

/// Whether a signal waits for a thread.
pub(super) fn signalled(thread: u32) -> Option<Signalled> {
    let mut status = Vec::new();
    read(&format!("{thread}/status"), &mut status, false).ok()?;
    signal_in(&status)
}

fn signal_in(status: &[u8]) -> Option<Signalled> {
    let mask = |name| field(status, name).and_then(|text| u64::from_str_radix(text, 16).ok());
    let held = mask("SigBlk")? | mask("SigIgn")?;
    let alone = field(status, "Threads") == Some("1");
    match (mask("SigPnd")? & !held != 0, mask("ShdPnd")? & !held != 0) {
        (true, _) => Some(Signalled::Itself),
        (false, true) if alone => Some(Signalled::Itself),
        (false, true) => Some(Signalled::Process),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_seen_that_somebody_will_take() {
        let status = |threads: u32, own: &str, shared: &str, blocked: &str, ignored: &str| {
            let text = format!(
                "Name:\tx\nThreads:\t{threads}\nSigPnd:\t{own}\nShdPnd:\t{shared}\n\
                 SigBlk:\t{blocked}\nSigIgn:\t{ignored}\n"
            );
            signal_in(text.as_bytes())
        };
        assert_eq!(status(1, "0", "0", "0", "0"), None);
        assert_eq!(status(1, "0", "2000", "0", "0"), Some(Signalled::Itself));
        assert_eq!(status(4, "0", "2000", "0", "0"), Some(Signalled::Process));
        assert_eq!(status(4, "2000", "0", "0", "0"), Some(Signalled::Itself));
        assert_eq!(status(1, "0", "2000", "2000", "0"), None);
        assert_eq!(status(1, "2000", "0", "0", "2000"), None);
        assert_eq!(signal_in(b"Name:\tx\n"), None);
    }
}
