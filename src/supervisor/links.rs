//! Owners of what carries no attribute of a user's: links, pipes, sockets, terminals.
//!
//! Kept by identity while the container runs (`table`), and written to the container's `owners` by name,
//! for whoever reads the container's files later. A link that is moved afterwards has lost its owner there.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::table::Table;
use crate::owners::{Kind, Line, Record};
use crate::sys::notify::Statx;

/// `STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID`
const WANTED: u32 = 0x0fff | 0x1000;

/// The table and its file.
#[derive(Debug)]
pub(super) struct Links {
    owners: Table,
    /// The container's directory on the host; `None` where nothing is kept.
    directory: Option<OwnedFd>,
    file: Option<File>,
    /// The mount of the container's root: what lies elsewhere is not the container's to keep.
    root: u64,
}

fn look(path: &CStr, follow: bool) -> Result<Statx, Errno> {
    let flags = if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW.cast_unsigned() };
    Statx::of(path, flags, WANTED)
}

impl Links {
    pub(super) fn new(directory: Option<OwnedFd>) -> Self {
        let root = look(c"/", true).map_or(0, |statx| statx.mount_id());
        let place = directory.as_ref().and_then(|directory| directory.try_clone().ok());
        Self { owners: Table::new(place), directory, file: None, root }
    }

    /// Takes over what an image or an earlier run says, where the file is still what it was.
    pub(super) fn load(&mut self, text: &[u8]) {
        for line in Line::read(text) {
            let Some(record) = line.record() else { continue };
            let path = [b"/", line.name().as_slice()].concat();
            let Ok(path) = CString::new(path) else { continue };
            let Ok(statx) = look(&path, false) else { continue };
            if record.is_roots() {
                self.owners.remove(&statx.identity());
            } else if Kind::of_mode(statx.mode()) == record.kind {
                let _ = self.owners.insert(statx.identity(), record);
            }
        }
    }

    pub(super) fn get(&mut self, path: &CStr, follow: bool) -> Option<Record> {
        if self.owners.is_empty() {
            return None;
        }
        look(path, follow).ok().and_then(|statx| self.owners.get(&statx.identity()))
    }

    pub(super) fn set(&mut self, path: &CStr, follow: bool, record: Record) -> Result<(), Errno> {
        let statx = look(path, follow)?;
        self.owners.insert(statx.identity(), record).map_err(|_| Errno::NOSPC)?;
        self.keep(path, follow, &statx, record);
        Ok(())
    }

    /// Forgets a file: it is root's, or carries its record itself.
    pub(super) fn remove(&mut self, path: &CStr, follow: bool) {
        if self.owners.is_empty() {
            return;
        }
        let Ok(statx) = look(path, follow) else { return };
        if let Some(record) = self.owners.remove(&statx.identity()) {
            self.keep(path, follow, &statx, Record { uid: 0, gid: 0, ..record });
        }
    }

    /// Appends a line. What cannot be kept is still known while the container runs.
    fn keep(&mut self, path: &CStr, follow: bool, statx: &Statx, record: Record) {
        if statx.mount_id() != self.root {
            return;
        }
        let Some(name) = canonical(path, follow) else { return };
        let mut line = Line::of(&name);
        line.stat = Some(record.to_string());
        let mut text = Vec::new();
        if line.write(&mut text).is_ok()
            && let Some(file) = self.file()
        {
            let _ = file.write_all(&text);
        }
    }

    fn file(&mut self) -> Option<&mut File> {
        if self.file.is_none() {
            let flags = OFlags::CREATE | OFlags::APPEND | OFlags::WRONLY | OFlags::CLOEXEC;
            let flags = flags | OFlags::NOFOLLOW;
            let mode = Mode::RUSR | Mode::WUSR;
            let directory = self.directory.as_ref()?;
            let file = rustix::fs::openat(directory, c"owners", flags, mode).ok()?;
            self.file = Some(file.into());
        }
        self.file.as_mut()
    }
}

/// The file's name below the root, every link on the way resolved.
fn canonical(path: &CStr, follow: bool) -> Option<Vec<u8>> {
    use std::os::fd::AsRawFd;
    let mut flags = OFlags::PATH | OFlags::CLOEXEC;
    flags.set(OFlags::NOFOLLOW, !follow);
    let file = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    // The working directory is the host's /proc, where the supervisor is.
    let link = format!("self/fd/{}", file.as_raw_fd());
    let name = rustix::fs::readlink(link, Vec::new()).ok()?.into_bytes();
    name.strip_prefix(b"/").map(<[u8]>::to_vec).filter(|name| !name.is_empty())
}
