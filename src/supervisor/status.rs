//! What /proc, which is the working directory, tells of a process as lines of `name: value`.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

/// The longest of those files that come in one piece.
const ONE_PIECE: usize = 4096;

/// A file that can be read again and again, as it is then.
#[derive(Debug)]
pub(super) struct Told(OwnedFd);

impl Told {
    /// Opens a file below /proc.
    pub(super) fn open(path: &str) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, path, flags, Mode::empty()).map(Self)
    }

    /// Its first piece, which most of them are.
    pub(super) fn piece<'a>(&self, room: &'a mut Vec<u8>) -> Result<&'a [u8], Errno> {
        room.clear();
        room.reserve(ONE_PIECE);
        rustix::io::pread(&self.0, rustix::buffer::spare_capacity(room), 0)?;
        Ok(room)
    }

    /// All of it, where that is not more than is asked for in good faith.
    pub(super) fn all(&self) -> Result<Vec<u8>, Errno> {
        const MOST: usize = 1 << 20;
        let mut room = Vec::new();
        while room.len() <= MOST {
            room.reserve(ONE_PIECE);
            if rustix::io::read(&self.0, rustix::buffer::spare_capacity(&mut room))? == 0 {
                return Ok(room);
            }
        }
        Err(Errno::FBIG)
    }
}

/// A thread's own.
pub(super) fn status(thread: u32) -> Option<Vec<u8>> {
    let mut room = Vec::new();
    Told::open(&format!("{thread}/status")).ok()?.piece(&mut room).ok()?;
    Some(room)
}

/// The value of a line.
pub(super) fn field<'a>(text: &'a [u8], name: &str) -> Option<&'a str> {
    let lines = text.split(|byte| *byte == b'\n');
    let mut values =
        lines.filter_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":"));
    std::str::from_utf8(values.next()?).ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_by_its_whole_name() {
        let text = b"Name:\tx\nTgid:\t7\nNStgid:\t7\t1\nT\n";
        assert_eq!(field(text, "Tgid"), Some("7"));
        assert_eq!(field(text, "T"), None);
        assert_eq!(field(text, "NStgid"), Some("7\t1"));
    }
}
