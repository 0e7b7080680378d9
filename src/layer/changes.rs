//! A tar stream as changes to the layers below.

use std::io::BufRead;

use tar::{EntryType, Header};

use crate::oci::{Algorithm, DiffId};

use super::Limits;
use super::archive::{Archive, Body, number};
use super::entry::{Attributes, Entry, Kind, Time};
use super::error::Error;
use super::name::Name;
use super::pax::{self, Records};
use super::sparse;
use super::whiteout::{self, Meaning};

/// One step from the layers below to those with this one.
pub(super) enum Change<'a, R> {
    /// Something new, and its data.
    Put(Entry, Body<'a, R>),
    /// A name of the layers below is gone.
    Whiteout(Name),
    /// A directory shows nothing of the layers below.
    Opaque(Name),
}

/// Reads changes from a tar stream.
pub(super) struct Changes<R> {
    archive: Archive<R>,
    entries: u64,
    most_entries: u64,
}

/// What the headers before an entry said of it.
#[derive(Default)]
struct Before {
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    pax: Option<Records>,
}

impl<R: BufRead> Changes<R> {
    pub(super) fn new(tar: R, algorithm: Algorithm, limits: &Limits) -> Self {
        let archive = Archive::new(tar, algorithm, limits.bytes);
        Self { archive, entries: 0, most_entries: limits.entries }
    }

    /// How many changes came by.
    pub(super) fn count(&self) -> u64 {
        self.entries
    }

    /// The next change; `None` behind the last.
    pub(super) fn next(&mut self) -> Result<Option<Change<'_, R>>, Error> {
        while let Some(entry) = self.entry()? {
            self.entries += 1;
            if self.entries > self.most_entries {
                return Err(Error::TooMany { what: "entries", limit: self.most_entries });
            }
            let refused = |why| Error::Refused { name: entry.name.clone(), why };
            match whiteout::read(entry.name.clone()).map_err(refused)? {
                Meaning::Plain(_) => return Ok(Some(Change::Put(entry, Body(&mut self.archive)))),
                Meaning::Whiteout(name) => return Ok(Some(Change::Whiteout(name))),
                Meaning::Opaque(name) => return Ok(Some(Change::Opaque(name))),
                Meaning::Ignored => {}
            }
        }
        Ok(None)
    }

    /// The next entry of an archive that is no layer: its names mean themselves.
    pub(super) fn plain(&mut self) -> Result<Option<(Entry, Body<'_, R>)>, Error> {
        let Some(entry) = self.entry()? else { return Ok(None) };
        self.entries += 1;
        if self.entries > self.most_entries {
            return Err(Error::TooMany { what: "entries", limit: self.most_entries });
        }
        Ok(Some((entry, Body(&mut self.archive))))
    }

    /// Reads the tail too: a digest covers every byte.
    pub(super) fn finish(self) -> Result<(DiffId, u64), Error> {
        self.archive.finish().map(|(digest, bytes)| (DiffId(digest), bytes))
    }

    fn entry(&mut self) -> Result<Option<Entry>, Error> {
        let mut before = Before::default();
        loop {
            let Some(header) = self.archive.header()? else {
                if before.is_empty() {
                    return Ok(None);
                }
                return Err(self.archive.malformed("it ends behind a header record"));
            };
            let size = number(&header.as_old().size).and_then(|size| u64::try_from(size).ok());
            let Some(size) = size else {
                return Err(self.archive.malformed("an impossible size"));
            };
            // A PAX size is the file's: these records keep their own.
            let again = match header.entry_type() {
                EntryType::GNULongName => {
                    before.name.replace(text(self.archive.record(size)?)).is_some()
                }
                EntryType::GNULongLink => {
                    before.target.replace(text(self.archive.record(size)?)).is_some()
                }
                EntryType::XHeader => before.pax.replace(self.records(size)?).is_some(),
                EntryType::XGlobalHeader => {
                    self.global(size)?;
                    false
                }
                _ => return self.put(&header, size, &before).map(Some),
            };
            if again {
                return Err(self.archive.malformed("two header records of a kind for one entry"));
            }
        }
    }

    fn records(&mut self, size: u64) -> Result<Records, Error> {
        let body = self.archive.record(size)?;
        Records::parse(&body).map_err(|what| self.archive.malformed(what))
    }

    /// Go's reader, and with it most of the field, lets global records be; GNU's obeys them.
    /// So those that would change an entry are refused.
    fn global(&mut self, size: u64) -> Result<(), Error> {
        let records = self.records(size)?;
        let matters = |key: &[u8]| {
            matches!(key, b"path" | b"linkpath" | b"size" | b"uid" | b"gid")
                || key.starts_with(b"GNU.sparse.")
                || key.starts_with(b"SCHILY.xattr.")
        };
        if records.iter().any(|(key, _)| matters(key)) {
            return Err(self.archive.malformed("a global PAX record that readers disagree on"));
        }
        Ok(())
    }

    fn put(&mut self, header: &Header, size: u64, before: &Before) -> Result<Entry, Error> {
        let none = Records::default();
        let pax = before.pax.as_ref().unwrap_or(&none);
        let spelled = self.name(header, before, pax)?;
        let parse = |text: &[u8]| {
            Name::parse(text).map_err(|why| Error::Refused { name: shortened(text), why })
        };
        let name = parse(&spelled)?;
        let size = match pax.number("size").map_err(|what| self.archive.malformed(what))? {
            Some(size) => size,
            None => size,
        };
        let old = header.as_old();
        let refused = |why| Error::Refused { name: name.clone(), why };
        let kind = match header.entry_type() {
            EntryType::Regular if spelled.ends_with(b"/") => Kind::Directory,
            EntryType::Regular | EntryType::Continuous => {
                self.archive.set_body(size)?;
                match sparse::from_pax(pax, &mut self.archive)? {
                    Some(map) => Kind::File { size: map.size, extents: Some(map.extents) },
                    None => Kind::File { size, extents: None },
                }
            }
            EntryType::GNUSparse => {
                let map = sparse::from_gnu(header, size, &mut self.archive)?;
                Kind::File { size: map.size, extents: Some(map.extents) }
            }
            // A size on these consumes nothing, as Go and GNU read them.
            EntryType::Link => Kind::HardLink(parse(&target(header, before, pax))?),
            EntryType::Symlink => match target(header, before, pax) {
                text if text.is_empty() || text.len() > 4095 || text.contains(&0) => {
                    return Err(refused("a symbolic link to an impossible name"));
                }
                text => Kind::Symlink(text),
            },
            EntryType::Directory => Kind::Directory,
            kind @ (EntryType::Char | EntryType::Block) => device(header, kind == EntryType::Block)
                .ok_or_else(|| refused("impossible device numbers"))?,
            EntryType::Fifo => Kind::Fifo,
            _ => return Err(refused("an entry of a kind that layers do not have")),
        };
        let mode = number(&old.mode).ok_or_else(|| refused("an impossible mode"))?;
        let mtime = match pax.get("mtime") {
            Some(value) => pax::time(value),
            None => number(&old.mtime).map(|seconds| Time { seconds, nanos: 0 }),
        };
        let attributes = Attributes {
            uid: id(pax, "uid", &old.uid).ok_or_else(|| refused("an impossible user id"))?,
            gid: id(pax, "gid", &old.gid).ok_or_else(|| refused("an impossible group id"))?,
            mode: u32::try_from(mode & 0o7777).unwrap_or_default(),
            mtime: mtime.ok_or_else(|| refused("an impossible time"))?,
            xattrs: pax.xattrs(),
        };
        if name.is_root() && kind != Kind::Directory {
            return Err(refused("the root of a layer is a directory"));
        }
        Ok(Entry { name, kind, attributes })
    }

    fn name(&self, header: &Header, before: &Before, pax: &Records) -> Result<Vec<u8>, Error> {
        let by_pax = pax.get("GNU.sparse.name").or_else(|| pax.get("path"));
        let by_gnu = before.name.as_deref();
        if let (Some(pax), Some(gnu)) = (by_pax, by_gnu)
            && pax != gnu
        {
            return Err(self.archive.malformed("two names for one entry"));
        }
        let name = by_pax.or(by_gnu).map_or_else(|| in_header(header), <[u8]>::to_vec);
        if name.is_empty() {
            return Err(self.archive.malformed("an entry without a name"));
        }
        Ok(name)
    }
}

impl Before {
    fn is_empty(&self) -> bool {
        self.name.is_none() && self.target.is_none() && self.pax.is_none()
    }
}

/// The text before the first zero byte.
fn text(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len()));
    bytes
}

/// Enough of an impossible name for an error.
fn shortened(text: &[u8]) -> Name {
    let printable: Vec<u8> = text.iter().copied().filter(|&byte| byte != 0).take(200).collect();
    let parts = printable.split(|&byte| byte == b'/').filter(|part| !part.is_empty());
    parts.fold(Name::default(), |name, part| name.join(part))
}

/// The name in the header itself: ustar and star keep its front in a field of its own.
fn in_header(header: &Header) -> Vec<u8> {
    let block = header.as_bytes();
    let name = text(header.as_old().name.to_vec());
    if &block[257..263] != b"ustar\0" {
        return name;
    }
    let is_star = &block[508..512] == b"tar\0";
    let front = text(block[345..if is_star { 476 } else { 500 }].to_vec());
    if front.is_empty() { name } else { [&front[..], b"/", &name].concat() }
}

fn target(header: &Header, before: &Before, pax: &Records) -> Vec<u8> {
    let long = pax.get("linkpath").or(before.target.as_deref());
    long.map_or_else(|| text(header.as_old().linkname.to_vec()), <[u8]>::to_vec)
}

/// An id: no wrap to root (CVE-2024-40635), and not -1, which means "leave it".
fn id(pax: &Records, key: &str, field: &[u8]) -> Option<u32> {
    let value = match pax.get(key) {
        Some(text) => pax::decimal(text)?,
        None => u64::try_from(number(field)?).ok()?,
    };
    u32::try_from(value).ok().filter(|&id| id != u32::MAX)
}

fn device(header: &Header, block: bool) -> Option<Kind> {
    let bytes = header.as_bytes();
    let field = |range| number(&bytes[range]).and_then(|number| u32::try_from(number).ok());
    Some(Kind::Device { block, major: field(329..337)?, minor: field(337..345)? })
}
