//! Records by a file's identity: a few in memory, more of them on disk.
//!
//! ```text
//! fresh (memory) ── full ──► young (a file) ── full ──► old (a file) ── the next is full ──► forgotten
//!    ▲                                          └─ whoever is asked for goes to the front again ─┐
//!    └───────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Nobody tells when a file is gone, so a container that makes ever new ones must fill neither memory nor
//! disk. What is forgotten is what nobody asked for while as many others as a file holds were made.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{AtFlags, MemfdFlags, Mode, OFlags, openat, unlinkat};

use crate::owners::{Kind, LENGTH, Record};

/// What no other file has or had.
pub(super) type Identity = [u64; 4];

/// Records in memory: about 2 MB.
const IN_MEMORY: usize = 1 << 14;
/// Records in a file, which then has 64 MiB at most.
const IN_FILE: usize = 1 << 18;
/// Bytes of a record in a file: its identity, the length of its text, its text.
const SLOT: usize = 128;
const KEY: usize = size_of::<Identity>();

/// The table.
#[derive(Debug)]
pub(super) struct Table {
    fresh: HashMap<Identity, Record>,
    young: Option<Slots>,
    old: Option<Slots>,
    /// Where files are made; `None`: in memory, as no other place is known.
    directory: Option<OwnedFd>,
    most: Most,
}

/// How much there may be.
#[derive(Clone, Copy, Debug)]
struct Most {
    in_memory: usize,
    in_file: usize,
}

impl Table {
    pub(super) fn new(directory: Option<OwnedFd>) -> Self {
        let most = Most { in_memory: IN_MEMORY, in_file: IN_FILE };
        Self { fresh: HashMap::new(), young: None, old: None, directory, most }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.young.is_none()
    }

    /// A file's record. A file that cannot be read has none to tell.
    pub(super) fn get(&mut self, identity: &Identity) -> Option<Record> {
        // Root's record stands for one that was taken away.
        self.find(identity).filter(|record| !record.is_roots())
    }

    fn find(&mut self, identity: &Identity) -> Option<Record> {
        if let Some(record) = self.fresh.get(identity) {
            return Some(*record);
        }
        if let Some(record) = self.young.as_ref().and_then(|slots| slots.get(identity)) {
            return Some(record);
        }
        let record = self.old.as_ref().and_then(|slots| slots.get(identity))?;
        let _ = self.insert(*identity, record);
        Some(record)
    }

    /// Sets a file's record. An error where there is no room for it, neither in memory nor on disk.
    pub(super) fn insert(&mut self, identity: Identity, record: Record) -> io::Result<()> {
        if self.fresh.len() >= self.most.in_memory && !self.fresh.contains_key(&identity) {
            self.write_out()?;
        }
        self.fresh.insert(identity, record);
        Ok(())
    }

    /// Takes a file's record away.
    pub(super) fn remove(&mut self, identity: &Identity) -> Option<Record> {
        let record = self.get(identity)?;
        if self.young.is_none() {
            return self.fresh.remove(identity);
        }
        // It may be in a file too, where nothing is taken away.
        let roots = Record { uid: 0, gid: 0, kind: Kind::File, ..record };
        self.insert(*identity, roots).ok()?;
        Some(record)
    }

    /// From memory to the young file.
    fn write_out(&mut self) -> io::Result<()> {
        for (identity, record) in &self.fresh {
            if self.young.as_ref().is_none_or(|slots| slots.taken >= self.most.in_file) {
                let next = Slots::new(self.directory.as_ref(), self.most.in_file)?;
                self.old = self.young.replace(next);
            }
            if let Some(young) = &mut self.young {
                young.set(identity, *record)?;
            }
        }
        self.fresh.clear();
        Ok(())
    }
}

/// A file of slots. A record is in the first free one at or behind the place that its hash names.
#[derive(Debug)]
struct Slots {
    file: File,
    count: u64,
    taken: usize,
    /// A container knows its files' identities, so what they hash to is chance.
    hash: RandomState,
}

impl Slots {
    /// A file that has no name; twice as many slots as are ever taken, so that most are where their hash
    /// says. They are holes until then.
    fn new(directory: Option<&OwnedFd>, most: usize) -> io::Result<Self> {
        let count = 2 * most as u64;
        let file = match directory {
            Some(directory) => nameless(directory)?,
            None => rustix::fs::memfd_create(c"links", MemfdFlags::CLOEXEC)?.into(),
        };
        file.set_len(count * SLOT as u64)?;
        Ok(Self { file, count, taken: 0, hash: RandomState::new() })
    }

    fn get(&self, identity: &Identity) -> Option<Record> {
        self.find(&key(identity)).ok()?.1
    }

    fn set(&mut self, identity: &Identity, record: Record) -> io::Result<()> {
        let key = key(identity);
        let (place, known) = self.find(&key)?;
        let mut buffer = [0; LENGTH];
        let text = record.format(&mut buffer);
        let length = u8::try_from(text.len()).map_err(io::Error::other)?;
        self.file.write_all_at(&[&key, &[length][..], text].concat(), place)?;
        self.taken += usize::from(known.is_none());
        Ok(())
    }

    /// Where a record is, or would be.
    fn find(&self, key: &[u8; KEY]) -> io::Result<(u64, Option<Record>)> {
        let mut slot = [0; SLOT];
        // Only half of them are ever taken.
        for turn in 0..self.count {
            let place = self.hash.hash_one(key).wrapping_add(turn) % self.count * SLOT as u64;
            self.file.read_exact_at(&mut slot, place)?;
            let (identity, rest) = slot.split_at(KEY);
            match rest.split_first() {
                Some((0, _)) | None => return Ok((place, None)),
                Some((length, text)) if identity == key => {
                    let text = text.get(..usize::from(*length)).unwrap_or_default();
                    return Ok((place, Record::parse(text)));
                }
                Some(_) => {}
            }
        }
        Err(io::ErrorKind::StorageFull.into())
    }
}

fn key(identity: &Identity) -> [u8; KEY] {
    let mut key = [0; KEY];
    for (bytes, number) in key.chunks_exact_mut(8).zip(identity) {
        bytes.copy_from_slice(&number.to_ne_bytes());
    }
    key
}

/// A file that goes with whoever has it open.
fn nameless(directory: &OwnedFd) -> io::Result<File> {
    let (flags, mode) = (OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR);
    if let Ok(file) = openat(directory, c".", flags | OFlags::TMPFILE, mode) {
        return Ok(file.into());
    }
    // NFS and some others know none from the beginning.
    let file = openat(directory, c"links", flags | OFlags::CREATE | OFlags::EXCL, mode)?;
    unlinkat(directory, c"links", AtFlags::empty())?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(directory: Option<OwnedFd>) -> Table {
        Table { most: Most { in_memory: 10, in_file: 100 }, ..Table::new(directory) }
    }

    fn file(number: u64) -> Identity {
        [number, number ^ 7, 0, 1]
    }

    fn record(uid: u32) -> Record {
        Record { uid, gid: 5, mode: 0o777, kind: Kind::Symlink }
    }

    #[test]
    fn what_was_set_last_holds_wherever_it_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let opened = std::fs::File::open(directory.path()).expect("opened");
        for place in [None, Some(OwnedFd::from(opened))] {
            let mut table = table(place);
            for round in 1..=3 {
                for number in 0..60 {
                    table.insert(file(number), record(round + 1)).expect("room");
                }
                for number in 0..60 {
                    assert_eq!(table.get(&file(number)), Some(record(round + 1)), "{number}");
                }
                assert_eq!(table.get(&file(60)), None);
            }
            assert!(table.young.is_some() && table.fresh.len() <= 10);
            for number in (0..60).step_by(2) {
                assert_eq!(table.remove(&file(number)), Some(record(4)));
                assert_eq!(table.remove(&file(number)), None);
            }
            for number in 0..60 {
                let left = (number % 2 == 1).then(|| record(4));
                assert_eq!(table.get(&file(number)), left, "{number}");
            }
        }
        assert_eq!(std::fs::read_dir(directory.path()).expect("read").count(), 0);
    }

    #[test]
    fn who_is_asked_for_stays_and_the_others_make_room() {
        let mut table = table(None);
        for number in 0..10_000 {
            table.insert(file(number), record(1)).expect("room");
            assert_eq!(table.get(&file(3.min(number))), Some(record(1)), "{number}");
        }
        let known = (0..10_000).filter(|number| table.get(&file(*number)).is_some()).count();
        assert!((100..=210).contains(&known), "{known}");
        assert!(table.fresh.len() <= 10);
    }

    #[test]
    fn where_there_is_no_room_the_last_records_hold() {
        let (read_only, _) = rustix::pipe::pipe().expect("no directory");
        let mut table = table(Some(read_only));
        (0..10).for_each(|number| table.insert(file(number), record(1)).expect("in memory"));
        assert!(table.insert(file(10), record(1)).is_err());
        table.insert(file(9), record(2)).expect("it has its place");
        assert_eq!(table.get(&file(9)), Some(record(2)));
        assert_eq!(table.get(&file(0)), Some(record(1)));
    }
}
