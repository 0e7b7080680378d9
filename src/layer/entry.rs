//! One thing a layer puts somewhere.

use super::name::Name;
use super::sparse::Extent;

/// A point in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Time {
    /// Seconds since the epoch.
    pub(super) seconds: i64,
    /// Nanoseconds behind them, below 10⁹.
    pub(super) nanos: u32,
}

/// What an entry makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A regular file.
    File {
        /// Its length.
        size: u64,
        /// Where its data lies, in order; the rest are holes. `None` for a plain file.
        extents: Option<Vec<Extent>>,
    },
    /// Another name for a file.
    HardLink(Name),
    /// A symbolic link: its text, never followed while unpacking.
    Symlink(Vec<u8>),
    /// A directory.
    Directory,
    /// A device node: recorded, never made.
    Device {
        /// Block device, else character device.
        block: bool,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// Whose it is and what may be done with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    /// User id, as the image counts.
    pub(super) uid: u32,
    /// Group id, as the image counts.
    pub(super) gid: u32,
    /// Permission bits with setuid, setgid and sticky.
    pub(super) mode: u32,
    /// Time of the last change.
    pub(super) mtime: Time,
    /// Extended attributes, as the archive names them.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// One entry of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Where it goes.
    pub(super) name: Name,
    /// What it is.
    pub(super) kind: Kind,
    /// Its attributes.
    pub(super) attributes: Attributes,
}
