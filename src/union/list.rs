//! The names of a merged directory, each with a cookie that stays its own.
//!
//! Who reads a directory while others change it sees every name that stays exactly once: a name
//! keeps its cookie when the names are read anew, and a new one gets a higher one.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, RawDir, statat};

use super::Result;
use super::look::{Opened, is_whiteout, open_directory};

/// One name.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Where reading goes on behind it.
    pub(super) cookie: u64,
    pub(super) name: CString,
    pub(super) kind: FileType,
    /// The inode number that the topmost layer's file has on disk.
    pub(super) inode: u64,
    /// Which layer that is.
    pub(super) layer: usize,
    /// Whether a directory may be merged with others of its name.
    pub(super) merged: bool,
}

/// The names as they were at one moment, by cookie.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) entries: Vec<Entry>,
}

/// What a directory knows of its names.
#[derive(Debug, Default)]
pub(super) struct Names {
    listing: Option<Arc<Listing>>,
    stale: bool,
    /// The highest cookie given out.
    last: u64,
}

impl Listing {
    /// What comes behind a cookie.
    pub(super) fn behind(&self, cookie: u64) -> &[Entry] {
        let start = self.entries.partition_point(|entry| entry.cookie <= cookie);
        &self.entries[start..]
    }
}

impl Names {
    /// Cookies up to here are `.` and `..`.
    pub(super) const DOTS: u64 = 2;

    pub(super) fn changed(&mut self) {
        self.stale = true;
    }

    /// The names for who reads behind `cookie`: who starts gets them as they are now.
    pub(super) fn get(&mut self, places: &[Opened], cookie: u64) -> Result<Arc<Listing>> {
        if let Some(listing) = self.listing.as_ref().filter(|_| !self.stale || cookie > 0) {
            return Ok(Arc::clone(listing));
        }
        let old = self.listing.take();
        let mut entries = read(places)?;
        let mut known: HashMap<&CStr, u64> = HashMap::new();
        if let Some(old) = &old {
            known.extend(old.entries.iter().map(|entry| (entry.name.as_c_str(), entry.cookie)));
        }
        self.last = self.last.max(Self::DOTS);
        for entry in &mut entries {
            entry.cookie = known.get(entry.name.as_c_str()).copied().unwrap_or_else(|| {
                self.last += 1;
                self.last
            });
        }
        entries.sort_unstable_by_key(|entry| entry.cookie);
        let listing = Arc::new(Listing { entries });
        self.listing = Some(Arc::clone(&listing));
        self.stale = false;
        Ok(listing)
    }
}

/// All names in merged directories, without those that are hidden.
pub(super) fn read(places: &[Opened]) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    // Names of all layers so far, and which entry they are: none for what is hidden.
    let mut seen: HashMap<CString, Option<usize>> = HashMap::new();
    for (number, place) in places.iter().enumerate() {
        let is_last = number + 1 == places.len();
        let reader = open_directory(&place.directory, c".")?;
        let mut buffer = vec![MaybeUninit::uninit(); 32 << 10];
        let mut raw = RawDir::new(reader, &mut buffer);
        while let Some(found) = raw.next() {
            let found = found?;
            let name = found.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let mut kind = found.file_type();
            if number > 0
                && let Some(above) = seen.get(name)
            {
                if let Some(above) = above.and_then(|index| entries.get_mut(index)) {
                    above.merged |= above.kind == FileType::Directory;
                }
                continue;
            }
            let may_hide = match kind {
                FileType::CharacterDevice | FileType::Unknown => true,
                FileType::RegularFile => place.by_xattr,
                _ => false,
            };
            let mut hidden = false;
            if may_hide && let Ok(stat) = statat(&place.directory, name, AtFlags::SYMLINK_NOFOLLOW)
            {
                kind = FileType::from_raw_mode(stat.st_mode);
                hidden = is_whiteout(place, name, &stat);
            }
            if !is_last {
                seen.insert(name.to_owned(), (!hidden).then_some(entries.len()));
            }
            if !hidden {
                entries.push(Entry {
                    cookie: 0,
                    name: name.to_owned(),
                    kind,
                    inode: found.ino(),
                    layer: place.layer,
                    merged: false,
                });
            }
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::super::look::open_root;
    use super::*;

    fn names(listing: &Listing, behind: u64) -> Vec<&str> {
        listing.behind(behind).iter().map(|entry| entry.name.to_str().unwrap_or("?")).collect()
    }

    #[test]
    fn who_reads_on_misses_nothing_and_sees_nothing_twice() {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["a", "b", "c"] {
            std::fs::write(directory.path().join(name), "").expect("a file");
        }
        let opened = std::fs::File::open(directory.path()).expect("the directory");
        let places = [open_root(1, &opened).expect("the directory").0];
        let mut known = Names::default();
        let before = known.get(&places, 0).expect("names");
        let (first, cookie) = (before.entries[0].name.clone(), before.entries[0].cookie);
        std::fs::remove_file(directory.path().join(first.to_str().unwrap_or(""))).expect("gone");
        std::fs::write(directory.path().join("new"), "").expect("a file");
        known.changed();
        assert_eq!(names(&known.get(&places, cookie).expect("names"), cookie).len(), 2);
        let now = known.get(&places, 0).expect("names");
        assert_eq!(now.entries.len(), 3);
        assert_eq!(names(&now, cookie).last(), Some(&"new"), "behind all that was there");
    }
}
