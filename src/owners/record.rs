//! Owner, mode and kind of a file that cannot have them: `uid:gid:mode:kind`.
//!
//! The form is containers-storage's (`FormatContainersOverrideXattrDevice`), so that its tools read
//! what is written here and the other way round.

use std::fmt;
use std::io::Write;

/// The attribute that holds a record.
pub const OVERRIDE: &str = "user.containers.override_stat";

/// What a file is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Pipe,
    /// A socket.
    Socket,
    /// A block device: major and minor number.
    Block(u32, u32),
    /// A character device: major and minor number.
    Char(u32, u32),
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Permission bits at the time; the file's own count where it has them.
    pub mode: u32,
    /// What it is.
    pub kind: Kind,
}

/// Room for any record.
pub const LENGTH: usize = 80;

impl Record {
    /// Reads a record; a kind that is missing or unknown is a file's.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut fields = text.splitn(4, ':');
        let mut field = || fields.next();
        let (uid, gid) = (field()?.parse().ok()?, field()?.parse().ok()?);
        let mode = u32::from_str_radix(field()?, 8).ok()? & 0o7777;
        Some(Self { uid, gid, mode, kind: field().and_then(Kind::parse).unwrap_or(Kind::File) })
    }

    /// Whether a file without record is the same.
    pub fn is_roots(&self) -> bool {
        (self.uid, self.gid) == (0, 0) && !self.kind.is_device()
    }

    /// The text, without memory of its own.
    pub fn format(self, buffer: &mut [u8; LENGTH]) -> &[u8] {
        let mut rest = &mut buffer[..];
        let written = write!(rest, "{self}");
        debug_assert!(written.is_ok(), "ids and numbers have ten digits at most");
        let left = rest.len();
        &buffer[..LENGTH - left]
    }
}

impl Kind {
    fn parse(text: &str) -> Option<Self> {
        let numbers = |text: &str| {
            let (major, minor) = text.split_once('-')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        };
        match text {
            "file" => Some(Self::File),
            "dir" => Some(Self::Directory),
            "symlink" => Some(Self::Symlink),
            "pipe" => Some(Self::Pipe),
            "socket" => Some(Self::Socket),
            _ => match text.split_once('-')? {
                ("block", rest) => numbers(rest).map(|(major, minor)| Self::Block(major, minor)),
                ("char", rest) => numbers(rest).map(|(major, minor)| Self::Char(major, minor)),
                _ => None,
            },
        }
    }

    /// The kind that a mode's type bits tell; devices have numbers, so they are not told.
    pub fn of_mode(mode: u32) -> Self {
        match mode & 0o170_000 {
            0o040_000 => Self::Directory,
            0o120_000 => Self::Symlink,
            0o010_000 => Self::Pipe,
            0o140_000 => Self::Socket,
            _ => Self::File,
        }
    }

    /// Whether an empty file stands for a device.
    pub fn is_device(self) -> bool {
        matches!(self, Self::Block(..) | Self::Char(..))
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{:04o}:", self.uid, self.gid, self.mode)?;
        match self.kind {
            Kind::File => f.write_str("file"),
            Kind::Directory => f.write_str("dir"),
            Kind::Symlink => f.write_str("symlink"),
            Kind::Pipe => f.write_str("pipe"),
            Kind::Socket => f.write_str("socket"),
            Kind::Block(major, minor) => write!(f, "block-{major}-{minor}"),
            Kind::Char(major, minor) => write!(f, "char-{major}-{minor}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_as_containers_storage_writes_them() {
        let file = Record { uid: 33, gid: 42, mode: 0o2755, kind: Kind::File };
        let disk = Record { uid: 0, gid: 0, mode: 0o600, kind: Kind::Block(8, 1) };
        for (record, text) in [(file, "33:42:2755:file"), (disk, "0:0:0600:block-8-1")] {
            assert_eq!(record.to_string(), text);
            assert_eq!(record.format(&mut [0; LENGTH]), text.as_bytes());
            assert_eq!(Record::parse(text.as_bytes()), Some(record));
        }
        assert!(!disk.is_roots() && !file.is_roots());
    }

    #[test]
    fn the_longest_record_fits() {
        let kind = Kind::Block(u32::MAX, u32::MAX);
        let longest = Record { uid: u32::MAX, gid: u32::MAX, mode: 0o7777, kind };
        let text = longest.to_string();
        assert_eq!(longest.format(&mut [0; LENGTH]), text.as_bytes());
    }

    #[test]
    fn what_others_wrote_is_read_and_rubbish_is_not() {
        let short = Record::parse(b"1:2:0644").expect("an older form");
        assert_eq!((short.uid, short.gid, short.kind), (1, 2, Kind::File));
        for bad in ["", "1", "1:2", "a:2:0644:file", "1:2:9:file", "1:2:-1:dir", "4294967296:0:0"] {
            assert_eq!(Record::parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Record::parse(b"1:2:0:char-x-1").map(|record| record.kind), Some(Kind::File));
    }
}
