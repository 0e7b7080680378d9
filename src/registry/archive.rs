//! Tar archives of images, read where they lie: one pass notes where each member begins.
//!
//! Nothing is unpacked; members are found by name, links only lead to other members (docker's
//! archives share layers so), and a name is a key and never a path.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::{Compression, Error};

/// An archive and the places of its members.
pub(super) struct Archive {
    file: Arc<File>,
    name: String,
    members: HashMap<Vec<u8>, Member>,
}

#[derive(Clone)]
enum Member {
    File { start: u64, size: u64 },
    Link(Vec<u8>),
}

/// The most members that are noted.
const MOST: usize = 100_000;
/// Links that lead to links.
const DEEPEST: u32 = 8;

impl Archive {
    /// Opens an archive; one that is compressed is written out to `scratch` first.
    pub(super) fn open(path: &Path, scratch: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let io = |source| Error::Io { what: name.clone(), source };
        Self::read(File::open(path).map_err(io)?, name, scratch)
    }

    /// The same of an open file, or of a pipe, which is written out too.
    pub(super) fn read(mut file: File, name: String, scratch: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io { what: name.clone(), source };
        if !file.metadata().map_err(io)?.is_file() {
            file = spool(&mut file, scratch, u64::MAX).map_err(io)?;
        }
        let size = file.metadata().map_err(io)?.len();
        // As much as its layers may unpack to, at least.
        let limit = size.saturating_mul(256).max(4 << 30);
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        let spooled = match Compression::of(&beginning(&file)) {
            Compression::Gzip => {
                let inflated = flate2::read::MultiGzDecoder::new(&file);
                let inflated = BufReader::with_capacity(1 << 20, inflated);
                Some(spool(inflated, scratch, limit).map_err(io)?)
            }
            Compression::Zstd => {
                let inflated = zstd::Decoder::new(&file).map_err(io)?;
                Some(spool(inflated, scratch, limit).map_err(io)?)
            }
            Compression::None => None,
        };
        let file = spooled.unwrap_or(file);
        let members = index(&file).map_err(io)?;
        Ok(Self { file: file.into(), name, members })
    }

    /// Whether it has a member of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.size(name).is_some()
    }

    /// What it is called in messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// A member from byte `from` on.
    pub(super) fn member(&self, name: &str, from: u64) -> Result<impl Read + Send + use<>, Error> {
        let missing = || Error::Document {
            what: self.name.clone(),
            why: format!("it has no {}", super::answer::escape(name)),
        };
        let mut found = self.members.get(&key(name.as_bytes())).ok_or_else(missing)?;
        for _ in 0..DEEPEST {
            match found {
                Member::Link(target) => found = self.members.get(target).ok_or_else(missing)?,
                Member::File { start, size } => {
                    let from = from.min(*size);
                    let (place, end) = (start + from, start + size);
                    return Ok(Window { file: self.file.clone(), place, end });
                }
            }
        }
        Err(missing())
    }

    /// The size of a member.
    pub(super) fn size(&self, name: &str) -> Option<u64> {
        let mut found = self.members.get(&key(name.as_bytes()))?;
        for _ in 0..DEEPEST {
            match found {
                Member::Link(target) => found = self.members.get(target)?,
                Member::File { size, .. } => return Some(*size),
            }
        }
        None
    }
}

/// A part of a file, read without moving a shared position.
struct Window {
    file: Arc<File>,
    place: u64,
    end: u64,
}

impl Read for Window {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.place).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let read = self.file.read_at(&mut buffer[..length], self.place)?;
        self.place += read as u64;
        Ok(read)
    }
}

fn beginning(file: &File) -> [u8; 4] {
    let mut magic = [0; 4];
    match file.read_at(&mut magic, 0) {
        Ok(4) => magic,
        _ => [0; 4],
    }
}

fn spool(from: impl Read, scratch: &Path, limit: u64) -> io::Result<File> {
    let mut file = tempfile::tempfile_in(scratch)?;
    if io::copy(&mut from.take(limit.saturating_add(1)), &mut file)? > limit {
        return Err(io::Error::other(format!("it unpacks to more than {limit} bytes")));
    }
    file.flush()?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

fn index(file: &File) -> io::Result<HashMap<Vec<u8>, Member>> {
    let mut reader = file;
    reader.seek(SeekFrom::Start(0))?;
    let mut members = HashMap::new();
    let mut archive = tar::Archive::new(reader);
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let name = key(&entry.path_bytes());
        let member = match entry.header().entry_type() {
            kind if kind.is_file() => {
                Member::File { start: entry.raw_file_position(), size: entry.size() }
            }
            kind if kind.is_hard_link() || kind.is_symlink() => {
                let target = entry.link_name_bytes().unwrap_or_default();
                let target = if kind.is_symlink() { beside(&name, &target) } else { key(&target) };
                Member::Link(target)
            }
            _ => continue,
        };
        members.insert(name, member);
        if members.len() > MOST {
            return Err(io::Error::other("it has too many members"));
        }
    }
    Ok(members)
}

/// A member's name without `.`, `..` and doubled slashes, so that each has one spelling.
fn key(name: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join(&b'/')
}

/// Where a symbolic link in the archive leads.
fn beside(link: &[u8], target: &[u8]) -> Vec<u8> {
    let directory = link.iter().rposition(|byte| *byte == b'/').map_or(&b""[..], |at| &link[..at]);
    if target.starts_with(b"/") { key(target) } else { key(&[directory, b"/", target].concat()) }
}
