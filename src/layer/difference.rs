//! What a container's files differ in from those of its image.
//!
//! The comparison is of what is seen, not of how it is stored: a whole copy and an overlay's upper
//! directory with the same files give the same differences. A name that the image has and the
//! container has not is deleted; anything else differs if an attribute, the time of its last change
//! or its bytes do. Directories above a difference count as changed, as docker has it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{FileType, Stat};

use super::entry::{Entry, Kind};
use super::error::{At, Error};
use super::name::Name;
use super::source::{Source, Thing};
use super::stack::{Directory, Found};

/// What became of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// The image has nothing there.
    Added,
    /// The image has something else there.
    Changed,
    /// The container has nothing there any more.
    Deleted,
}

/// How the uppermost tree is to be compared.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Whether it is a whole copy: what it does not hold is deleted.
    pub whole: bool,
    /// When the copy was finished, as the file system counts (seconds, nanoseconds): what has not been
    /// touched since is as the image has it.
    pub copied: Option<(i64, i64)>,
    /// Where something was mounted. What was made there for that, and is empty, is no change.
    pub places: Vec<Name>,
    /// Lines that were added to files before the container began. With these and nothing more a file
    /// is as the image has it.
    pub added: Vec<(Name, Vec<u8>)>,
}

/// All differences, a directory before what is in it.
#[derive(Debug, Default)]
pub struct Differences {
    changes: BTreeMap<Vec<u8>, Change>,
    /// Directories of which nothing is left of what the image has there.
    emptied: BTreeSet<Vec<u8>>,
    /// Whether the root itself differs.
    pub(super) root: bool,
}

impl Differences {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && !self.root
    }

    /// Every name that differs and how, the root left out, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Name, Change)> {
        self.changes.iter().map(|(key, change)| (name_of(key), *change))
    }

    /// Whether nothing is left of what the image has in a directory, of two names at least.
    pub(super) fn is_emptied(&self, directory: &Name) -> bool {
        self.emptied.contains(&key_of(directory))
    }

    /// Notes a change, and that of the directories above.
    fn note(&mut self, name: &Name, change: Change) {
        let mut above = name.split().map(|(directory, _)| directory);
        while let Some(directory) = above.filter(|directory| !directory.is_root()) {
            self.changes.entry(key_of(&directory)).or_insert(Change::Changed);
            above = directory.split().map(|(directory, _)| directory);
        }
        self.changes.insert(key_of(name), change);
    }
}

/// Sorts a directory right before what is in it: no byte of a name is lower.
fn key_of(name: &Name) -> Vec<u8> {
    name.as_bytes().iter().map(|&byte| if byte == b'/' { 0 } else { byte }).collect()
}

fn name_of(key: &[u8]) -> Name {
    key.split(|&byte| byte == 0).fold(Name::default(), |name, part| name.join(part))
}

/// Compares `now` with `before`, the image alone.
pub fn compare(
    now: &Source,
    before: &Source,
    comparison: &Comparison,
) -> Result<Differences, Error> {
    let mut walk = Walk {
        now,
        before,
        comparison,
        differences: Differences::default(),
        linked: HashMap::new(),
    };
    let root = Name::default();
    walk.directory(&now.root, Some(&before.root), &root)?;
    let (one, other) = (now.describe_root(), before.describe_root());
    let (one, other) = (one.at("look at", &root)?, other.at("look at", &root)?);
    walk.differences.root = match (one, other) {
        // An image without layers has no say in what its root is.
        (Some(_), None) | (None, _) => false,
        // When it was changed last depends on the storage driver.
        (Some(one), Some(other)) => !alike(&one.entry, &other.entry, true),
    };
    walk.join_links();
    Ok(walk.differences)
}

struct Walk<'a> {
    now: &'a Source,
    before: &'a Source,
    comparison: &'a Comparison,
    differences: Differences,
    /// Files of several names: these, and whether one of them differs.
    linked: HashMap<(u64, u64), (Vec<Name>, bool)>,
}

/// What was found in a directory.
#[derive(Default)]
struct Inside {
    /// Something was made there to be mounted on.
    placeholder: bool,
    /// Something is there that is none.
    other: bool,
}

impl Walk<'_> {
    fn directory(
        &mut self,
        now: &Directory,
        before: Option<&Directory>,
        name: &Name,
    ) -> Result<Inside, Error> {
        let mut inside = Inside::default();
        let lower = match before {
            Some(before) => before.names().at("read", name)?,
            None => Vec::new(),
        };
        let mut gone = Vec::new();
        for last in self.candidates(now, &lower).at("read", name)? {
            let full = name.join(last.to_bytes());
            let found = now.find(&last).at("look at", &full)?;
            let below = match before {
                Some(before) => before.find(&last).at("look at", &full)?,
                None => None,
            };
            match (found, below) {
                (None, None) => {}
                (None, Some(_)) => gone.push(full),
                (Some(found), below) => {
                    self.name(now, before, &last, &found, below.as_ref(), &full, &mut inside)?;
                }
            }
        }
        // As one mark instead of one each. Every name of a plain file system is listed once.
        if gone.len() > 1 && gone.len() == lower.len() {
            self.differences.emptied.insert(key_of(name));
        }
        inside.other |= !gone.is_empty();
        for name in gone {
            self.differences.note(&name, Change::Deleted);
        }
        Ok(inside)
    }

    /// The names at which there may be a difference, sorted.
    fn candidates(&self, now: &Directory, lower: &[CString]) -> io::Result<Vec<CString>> {
        let mut names = now.names_in_top()?;
        // Where lower trees show through, all else is theirs.
        if self.comparison.whole || now.is_single() {
            names.extend_from_slice(lower);
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    #[allow(clippy::too_many_arguments)] // a place, twice
    fn name(
        &mut self,
        now: &Directory,
        before: Option<&Directory>,
        last: &CStr,
        found: &Found,
        below: Option<&Found>,
        name: &Name,
        inside: &mut Inside,
    ) -> Result<(), Error> {
        if !self.is_own(now, found) {
            return Ok(());
        }
        match (found, below) {
            (Found::Directory(directory), Some(below_found @ Found::Directory(below))) => {
                let inner = self.directory(directory, Some(below), name)?;
                let one = self.now.describe(now, last, found, name.clone());
                let one = one.at("look at", name)?;
                let other = self.lower(before, last, below_found, name)?;
                // A place that was made in it moved its time; so does a change, which is told.
                let timeless = inner.placeholder && !inner.other;
                let same = matches!((&one, &other), (Some(one), Some(other))
                    if alike(&one.entry, &other.entry, timeless));
                if !same {
                    self.differences.note(name, Change::Changed);
                }
                inside.other |= !same || inner.other;
                inside.placeholder |= inner.placeholder;
            }
            (Found::Directory(directory), below) => {
                let inner = self.directory(directory, None, name)?;
                if below.is_none() && !inner.other && self.is_place(name) {
                    inside.placeholder = true;
                    return Ok(());
                }
                inside.other = true;
                self.note_new(name, below.is_some());
            }
            (Found::Other(other), below) => {
                let stat = &other.stat;
                if let Some(added) = self.added_to(name) {
                    let one = self.now.describe(now, last, found, name.clone());
                    let one = one.at("look at", name)?;
                    let other = match below {
                        Some(below) => self.lower(before, last, below, name)?,
                        None => None,
                    };
                    let is_all = is_all_that_differs(added, one.as_ref(), other.as_ref());
                    if is_all.at("compare", name)? {
                        // It was written to: the directory's time may have moved.
                        inside.placeholder = true;
                        return Ok(());
                    }
                }
                if below.is_none() && is_empty_file(stat) && self.is_place(name) {
                    inside.placeholder = true;
                    return Ok(());
                }
                let same = match below {
                    Some(below @ Found::Other(_)) => {
                        self.is_untouched(stat)
                            || Self::is_same(
                                self.now.describe(now, last, found, name.clone()),
                                self.lower(before, last, below, name)?,
                                name,
                            )?
                    }
                    _ => false,
                };
                if !same {
                    inside.other = true;
                    self.note_new(name, below.is_some());
                }
                if stat.st_nlink > 1 {
                    let linked = self.linked.entry((stat.st_dev, stat.st_ino)).or_default();
                    linked.0.push(name.clone());
                    linked.1 |= !same;
                }
            }
        }
        Ok(())
    }

    fn note_new(&mut self, name: &Name, replaces: bool) {
        let change = if replaces { Change::Changed } else { Change::Added };
        self.differences.note(name, change);
    }

    /// Whether the uppermost tree holds it, or a part of it.
    fn is_own(&self, parent: &Directory, found: &Found) -> bool {
        let layer = match found {
            Found::Directory(directory) => directory.top_layer(),
            Found::Other(other) => Some(parent.layer(other.place)),
        };
        layer == Some(self.now.top())
    }

    /// Whether something is mounted there, or below.
    fn is_place(&self, name: &Name) -> bool {
        let leads = |place: &Name| place == name || place.is_below(name);
        self.comparison.places.iter().any(leads)
    }

    /// The lines that were added to a file.
    fn added_to(&self, name: &Name) -> Option<&[u8]> {
        let mut all = self.comparison.added.iter();
        all.find(|(to, _)| to == name).map(|(_, lines)| lines.as_slice())
    }

    /// What the image has at a place.
    fn lower(
        &self,
        parent: Option<&Directory>,
        last: &CStr,
        found: &Found,
        name: &Name,
    ) -> Result<Option<Thing>, Error> {
        let Some(parent) = parent else { return Ok(None) };
        self.before.describe(parent, last, found, name.clone()).at("look at", name)
    }

    /// Whether a copied file is as it was copied.
    fn is_untouched(&self, stat: &Stat) -> bool {
        let touched = (stat.st_ctime, stat.st_ctime_nsec.cast_signed());
        self.comparison.copied.is_some_and(|copied| touched < copied)
    }

    fn is_same(
        one: io::Result<Option<Thing>>,
        other: Option<Thing>,
        name: &Name,
    ) -> Result<bool, Error> {
        match (one.at("look at", name)?, other) {
            (Some(one), Some(other)) if alike(&one.entry, &other.entry, false) => {
                same_bytes(&one, &other).at("compare", name)
            }
            (None, None) => Ok(true),
            _ => Ok(false),
        }
    }

    /// A file of several names is shipped once and linked to: where one name differs, all do.
    fn join_links(&mut self) {
        let linked = std::mem::take(&mut self.linked);
        for (names, _) in
            linked.into_values().filter(|(names, differs)| *differs && names.len() > 1)
        {
            for name in names {
                if !self.differences.changes.contains_key(&key_of(&name)) {
                    self.differences.note(&name, Change::Changed);
                }
            }
        }
    }
}

/// Larger files have nothing added to them.
const LARGE: u64 = 4 << 20;

/// Whether one file is the other, or an empty one where there is none, with lines at its end that it had
/// not.
fn is_all_that_differs(
    lines: &[u8],
    one: Option<&Thing>,
    other: Option<&Thing>,
) -> io::Result<bool> {
    let Some(Thing { entry: one_entry, data: Some(one) }) = one else { return Ok(false) };
    let before = match other {
        None => Vec::new(),
        Some(Thing { entry, data: Some(file) }) => {
            let (mine, theirs) = (&one_entry.attributes, &entry.attributes);
            let same = (mine.uid, mine.gid, mine.mode) == (theirs.uid, theirs.gid, theirs.mode);
            if !same || mine.xattrs != theirs.xattrs {
                return Ok(false);
            }
            read_all(file)?
        }
        Some(_) => return Ok(false),
    };
    let mut wanted = before.clone();
    if before.last().is_some_and(|last| *last != b'\n') {
        wanted.push(b'\n');
    }
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        if !before.split(|byte| *byte == b'\n').any(|known| known == text) {
            wanted.extend_from_slice(line);
        }
    }
    Ok(read_all(one)? == wanted)
}

fn read_all(file: &File) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len().min(LARGE);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Whether two are the same but for their bytes, and with `timeless` for their times.
fn alike(one: &Entry, other: &Entry, timeless: bool) -> bool {
    let kinds = match (&one.kind, &other.kind) {
        (Kind::File { size, .. }, Kind::File { size: other, .. }) => size == other,
        (one, other) => one == other,
    };
    let (one, other) = (&one.attributes, &other.attributes);
    kinds
        && (one.uid, one.gid, one.mode) == (other.uid, other.gid, other.mode)
        && one.xattrs == other.xattrs
        && (timeless || one.mtime == other.mtime)
}

fn same_bytes(one: &Thing, other: &Thing) -> io::Result<bool> {
    let (Some(one), Some(other)) = (&one.data, &other.data) else { return Ok(true) };
    let mut buffers = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut at = 0;
    loop {
        let (first, second) = (fill(one, &mut buffers.0, at)?, fill(other, &mut buffers.1, at)?);
        if buffers.0[..first] != buffers.1[..second] {
            return Ok(false);
        }
        if first == 0 {
            return Ok(true);
        }
        at += first as u64;
    }
}

fn fill(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

fn is_empty_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_size == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_comes_right_before_what_is_in_it() {
        let name = |text: &str| Name::parse(text.as_bytes()).expect("a name");
        let mut differences = Differences::default();
        for text in ["a-b", "a/c/d", "a.b", "a/b"] {
            differences.note(&name(text), Change::Added);
        }
        let order: Vec<String> = differences.iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(order, ["a", "a/b", "a/c", "a/c/d", "a-b", "a.b"]);
        assert_eq!(differences.iter().next().map(|(_, change)| change), Some(Change::Changed));
    }
}
