//! Entries to a tar stream: ustar headers, and PAX records for what they cannot hold.
//!
//! The same entries give the same bytes: no names of users, no times of access, records sorted. GNU
//! tar, Go's archive/tar (docker, podman, umoci) and the reader here understand all of it.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use rustix::fs::SeekFrom;
use rustix::io::Errno;
use tar::{EntryType, Header};

use super::archive::BLOCK;
use super::entry::{Attributes, Entry, Kind, Time};
use super::name::Name;
use super::sparse::Extent;

/// The longest name in a header, and the largest numbers in its fields of 8 and of 12 bytes.
const LONGEST_NAME: usize = 100;
const LARGEST_SHORT: u64 = 0o7_777_777;
const LARGEST_LONG: u64 = 0o77_777_777_777;
/// Holes are left out of files of which they are this many bytes at least, and half.
const HOLES_COUNT: u64 = 1 << 20;

/// A tar stream being written.
pub(super) struct Encoder<W> {
    to: W,
    buffer: Vec<u8>,
}

/// PAX records, sorted by key.
#[derive(Default)]
struct Records(Vec<(Vec<u8>, Vec<u8>)>);

impl<W: Write> Encoder<W> {
    pub(super) fn new(to: W) -> Self {
        Self { to, buffer: vec![0; 128 << 10] }
    }

    /// Writes an entry; `data` are a file's bytes. Of a file that has shrunk since it was looked at,
    /// zeros take the place of what is gone, and of one that has grown the rest is not there.
    pub(super) fn put(&mut self, entry: &Entry, data: Option<&File>) -> io::Result<()> {
        let Entry { name, kind, attributes } = entry;
        let mut spelled = name.as_bytes().to_vec();
        match kind {
            Kind::Directory if name.is_root() => spelled.extend_from_slice(b"./"),
            Kind::Directory => spelled.push(b'/'),
            _ => {}
        }
        let mut records = Records::default();
        match kind {
            Kind::File { size, extents: Some(extents) } => {
                let map = map(extents);
                let data: u64 = extents.iter().map(|extent| extent.length).sum();
                records.add(b"GNU.sparse.major", b"1");
                records.add(b"GNU.sparse.minor", b"0");
                records.add(b"GNU.sparse.name", &spelled);
                records.add(b"GNU.sparse.realsize", size.to_string().as_bytes());
                // What a reader that knows no sparse files calls it (GNU tar manual, "PAX 1").
                let plain =
                    [&b"GNUSparseFile.0/"[..], name.split().map_or(&b""[..], |(_, last)| last)];
                self.header(&plain.concat(), kind, attributes, map.len() as u64 + data, records)?;
                self.to.write_all(&map)?;
            }
            Kind::File { size, .. } => self.header(&spelled, kind, attributes, *size, records)?,
            _ => self.header(&spelled, kind, attributes, 0, records)?,
        }
        match (kind, data) {
            (Kind::File { extents: Some(extents), .. }, Some(file)) => {
                extents
                    .iter()
                    .try_for_each(|extent| self.run(file, extent.offset, extent.length))?;
                self.fill(extents.iter().map(|extent| extent.length).sum())
            }
            (Kind::File { size, extents: None }, Some(file)) => {
                self.run(file, 0, *size)?;
                self.fill(*size)
            }
            _ => Ok(()),
        }
    }

    /// Says that the layers below have no `name`.
    pub(super) fn hide(&mut self, directory: &Name, last: &[u8]) -> io::Result<()> {
        self.mark(&directory.join(&[b".wh.", last].concat()))
    }

    /// Says that the layers below have nothing in `directory`.
    pub(super) fn hide_below(&mut self, directory: &Name) -> io::Result<()> {
        self.mark(&directory.join(b".wh..wh..opq"))
    }

    fn mark(&mut self, name: &Name) -> io::Result<()> {
        let attributes = Attributes { mode: 0, ..Attributes::default() };
        let kind = Kind::File { size: 0, extents: None };
        self.put(&Entry { name: name.clone(), kind, attributes }, None)
    }

    /// Writes the end mark; gives back what was written to.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.to.write_all(&[0; 2 * BLOCK])?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn header(
        &mut self,
        name: &[u8],
        kind: &Kind,
        attributes: &Attributes,
        size: u64,
        mut records: Records,
    ) -> io::Result<()> {
        let mut header = Header::new_ustar();
        let (entry_type, target) = match kind {
            Kind::File { .. } => (EntryType::Regular, &b""[..]),
            Kind::HardLink(target) => (EntryType::Link, target.as_bytes()),
            Kind::Symlink(text) => (EntryType::Symlink, &text[..]),
            Kind::Directory => (EntryType::Directory, &b""[..]),
            Kind::Device { block: true, .. } => (EntryType::Block, &b""[..]),
            Kind::Device { block: false, .. } => (EntryType::Char, &b""[..]),
            Kind::Fifo => (EntryType::Fifo, &b""[..]),
        };
        header.set_entry_type(entry_type);
        if name.len() > LONGEST_NAME && !records.has(b"GNU.sparse.name") {
            records.add(b"path", name);
        }
        if target.len() > LONGEST_NAME {
            records.add(b"linkpath", target);
        }
        put_text(&mut header.as_old_mut().name, name);
        put_text(&mut header.as_old_mut().linkname, target);
        header.set_mode(attributes.mode & 0o7777);
        header.set_uid(records.number(b"uid", attributes.uid.into(), LARGEST_SHORT));
        header.set_gid(records.number(b"gid", attributes.gid.into(), LARGEST_SHORT));
        header.set_size(records.number(b"size", size, LARGEST_LONG));
        header.set_mtime(records.time(attributes.mtime));
        if let Kind::Device { major, minor, .. } = *kind {
            header.set_device_major(major)?;
            header.set_device_minor(minor)?;
        }
        if !matches!(kind, Kind::HardLink(_)) {
            for (key, value) in &attributes.xattrs {
                // A key ends at its first equal sign: such an attribute has no name in PAX.
                if !key.contains(&b'=') {
                    records.add(&[b"SCHILY.xattr.", &key[..]].concat(), value);
                }
            }
        }
        header.set_cksum();
        self.extended(name, records)?;
        self.to.write_all(header.as_bytes())
    }

    fn extended(&mut self, name: &[u8], records: Records) -> io::Result<()> {
        if records.0.is_empty() {
            return Ok(());
        }
        let body = records.into_bytes();
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        let last = name.split(|&byte| byte == b'/').rfind(|part| !part.is_empty());
        put_text(&mut header.as_old_mut().name, &[b"PaxHeaders.0/", last.unwrap_or(b".")].concat());
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(body.len() as u64);
        header.set_cksum();
        self.to.write_all(header.as_bytes())?;
        self.to.write_all(&body)?;
        self.fill(body.len() as u64)
    }

    fn run(&mut self, file: &File, mut at: u64, mut left: u64) -> io::Result<()> {
        while left > 0 {
            let most =
                usize::try_from(left).map_or(self.buffer.len(), |n| n.min(self.buffer.len()));
            let mut count = file.read_at(&mut self.buffer[..most], at)?;
            if count == 0 {
                self.buffer[..most].fill(0);
                count = most;
            }
            self.to.write_all(&self.buffer[..count])?;
            at += count as u64;
            left -= count as u64;
        }
        Ok(())
    }

    fn fill(&mut self, size: u64) -> io::Result<()> {
        let filler = size.next_multiple_of(BLOCK as u64) - size;
        self.to.write_all(&[0; BLOCK][..usize::try_from(filler).unwrap_or_default()])
    }
}

impl Records {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.0.push((key.to_vec(), value.to_vec()));
    }

    fn has(&self, key: &[u8]) -> bool {
        self.0.iter().any(|(known, _)| known == key)
    }

    /// What the header's field gets: the number, or 0 where a record has it.
    fn number(&mut self, key: &[u8], number: u64, largest: u64) -> u64 {
        if number <= largest {
            return number;
        }
        self.add(key, number.to_string().as_bytes());
        0
    }

    fn time(&mut self, Time { seconds, nanos }: Time) -> u64 {
        let whole = u64::try_from(seconds).ok().filter(|seconds| *seconds <= LARGEST_LONG);
        if let (Some(whole), 0) = (whole, nanos) {
            return whole;
        }
        let text = match (seconds < 0, nanos) {
            (_, 0) => seconds.to_string(),
            (false, _) => decimal(&seconds.to_string(), nanos),
            // Nanoseconds count forward, and a text backward.
            (true, _) => {
                decimal(&format!("-{}", (seconds + 1).unsigned_abs()), 1_000_000_000 - nanos)
            }
        };
        self.add(b"mtime", text.as_bytes());
        whole.unwrap_or_default()
    }

    fn into_bytes(mut self) -> Vec<u8> {
        self.0.sort_unstable();
        let mut bytes = Vec::new();
        for (key, value) in &self.0 {
            // The length counts its own digits.
            let rest = key.len() + value.len() + 3;
            let digits = |length: usize| length.to_string().len();
            let mut length = rest + digits(rest);
            if rest + digits(length) != length {
                length = rest + digits(length);
            }
            bytes.extend_from_slice(format!("{length} ").as_bytes());
            bytes.extend_from_slice(key);
            bytes.push(b'=');
            bytes.extend_from_slice(value);
            bytes.push(b'\n');
        }
        bytes
    }
}

fn decimal(whole: &str, nanos: u32) -> String {
    let text = format!("{whole}.{nanos:09}");
    text.trim_end_matches('0').to_owned()
}

fn put_text(field: &mut [u8], text: &[u8]) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
}

/// The map of a sparse file in front of its data (GNU tar manual, "PAX 1").
fn map(extents: &[Extent]) -> Vec<u8> {
    let mut text = format!("{}\n", extents.len());
    for Extent { offset, length } in extents {
        let _ = writeln!(text, "{offset}\n{length}");
    }
    let mut bytes = text.into_bytes();
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

/// Where the data of a file lies, if it is worth telling.
pub(super) fn extents(file: &File, size: u64, blocks: u64) -> Option<Vec<Extent>> {
    let held = blocks.saturating_mul(512);
    if size < HOLES_COUNT || size.saturating_sub(held) < HOLES_COUNT.max(size / 2) {
        return None;
    }
    let mut extents = Vec::new();
    let mut at = 0;
    while at < size {
        let data = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Err(Errno::NXIO) => break,
            data => data.ok()?.min(size),
        };
        let end = rustix::fs::seek(file, SeekFrom::Hole(data)).ok()?.min(size);
        if end > data {
            extents.push(Extent { offset: data, length: end - data });
        }
        at = end.max(data + 1);
    }
    // The reader has a limit; so many pieces are no longer cheaper either.
    (extents.len() < 10_000).then(|| {
        // GNU tar wants the end of the file told.
        extents.push(Extent { offset: size, length: 0 });
        extents
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_their_own_length() {
        for length in [1, 5, 90, 91, 92, 93, 94, 95, 96, 989, 990, 991, 992, 993] {
            let mut records = Records::default();
            records.add(b"k", &vec![b'x'; length]);
            let bytes = records.into_bytes();
            let parsed = super::super::pax::Records::parse(&bytes).expect("records");
            assert_eq!(parsed.get("k").map(<[u8]>::len), Some(length));
        }
    }

    #[test]
    fn times_come_back() {
        for time in [
            Time { seconds: 1, nanos: 0 },
            Time { seconds: 1, nanos: 250_000_000 },
            Time { seconds: -2, nanos: 750_000_000 },
            Time { seconds: -7, nanos: 0 },
            Time { seconds: i64::from(u32::MAX) * 4, nanos: 1 },
        ] {
            let mut records = Records::default();
            let field = records.time(time);
            let parsed = super::super::pax::Records::parse(&records.into_bytes()).expect("records");
            let read = match parsed.get("mtime") {
                Some(text) => super::super::pax::time(text),
                None => Some(Time { seconds: field.cast_signed(), nanos: 0 }),
            };
            assert_eq!(read, Some(time));
        }
    }
}
