//! Which credentials a process has: a tag that the kernel itself hands on at fork and exec.
//!
//! The tag is the soft value of `RLIMIT_LOCKS`, which no kernel has looked at since 2.4.25 and which
//! can be read and set from outside (prlimit(2)). So there is no table of processes, and no child
//! that was not seen. "Unlimited" is root in the container's own root directory.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use rustix::fs::{FlockOperation, Mode, OFlags, openat};

use super::ids::{Credentials, Ids};

/// The limit that is the tag.
pub(super) const RESOURCE: u32 = libc::RLIMIT_LOCKS;

/// No tag.
pub(super) const UNTAGGED: u64 = u64::MAX;

/// What a tag tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    /// Which credentials: a place in `People`.
    pub(super) credentials: usize,
    /// Whether its root directory may be another than the container's.
    pub(super) elsewhere: bool,
}

impl Tag {
    pub(super) const ROOT: Self = Self { credentials: 0, elsewhere: false };

    pub(super) fn read(limit: u64) -> Self {
        if limit == UNTAGGED {
            return Self::ROOT;
        }
        let credentials = usize::try_from(limit >> 1).unwrap_or_default();
        Self { credentials, elsewhere: limit & 1 != 0 }
    }

    pub(super) fn limit(self) -> u64 {
        if self == Self::ROOT {
            return UNTAGGED;
        }
        (self.credentials as u64) << 1 | u64::from(self.elsewhere)
    }
}

/// All credentials that ever were, each once; none is ever changed or forgotten.
///
/// A tag means the same to every supervisor of a container: they keep one list, a line each, in
/// `people` in the container's directory. One that comes with a later `exec` finds there who is who.
#[derive(Debug)]
pub(super) struct People {
    all: Vec<Rc<Credentials>>,
    places: HashMap<Rc<Credentials>, usize>,
    /// The container's directory; `None` where the list is in memory only.
    directory: Option<OwnedFd>,
    file: Option<File>,
    /// How much of the file is known.
    read: u64,
    /// How many groups all of them have.
    groups: usize,
}

/// A container that makes up ever new groups must not fill the memory of its supervisor, nor the disk: as many
/// credentials, and groups of theirs.
const MOST: usize = 1 << 16;
const MOST_GROUPS: usize = 1 << 20;

impl People {
    pub(super) fn new(directory: Option<OwnedFd>) -> Self {
        let root = Rc::new(Credentials::root());
        let places = HashMap::from([(Rc::clone(&root), 0)]);
        Self { all: vec![root], places, directory, file: None, read: 0, groups: 0 }
    }

    /// Who a tag means; root for a tag that was never given out.
    pub(super) fn get(&mut self, tag: Tag) -> Rc<Credentials> {
        if tag.credentials >= self.all.len() && self.open(false).is_some() {
            self.catch_up();
        }
        Rc::clone(self.all.get(tag.credentials).unwrap_or(&self.all[0]))
    }

    /// The place of credentials; `None` when there are too many.
    pub(super) fn place(&mut self, credentials: &Credentials) -> Option<usize> {
        if let Some(place) = self.places.get(credentials) {
            return Some(*place);
        }
        if self.directory.is_none() {
            return self.add(credentials.clone());
        }
        let file = self.open(true).and_then(|file| file.try_clone().ok());
        let lock = |file: &File, operation| rustix::fs::flock(file, operation).ok();
        let Some(file) = file.filter(|file| lock(file, FlockOperation::LockExclusive).is_some())
        else {
            // A directory that cannot be written: this supervisor will be the only one that knows.
            self.directory = None;
            return self.add(credentials.clone());
        };
        self.catch_up();
        let place = match self.places.get(credentials) {
            Some(place) => Some(*place),
            None => self.append(&file, credentials),
        };
        lock(&file, FlockOperation::Unlock)?;
        place
    }

    fn append(&mut self, mut file: &File, credentials: &Credentials) -> Option<usize> {
        if !self.has_room_for(credentials) {
            return None;
        }
        let line = credentials.to_line();
        file.write_all(line.as_bytes()).ok()?;
        self.read += line.len() as u64;
        self.add(credentials.clone())
    }

    fn add(&mut self, credentials: Credentials) -> Option<usize> {
        if !self.has_room_for(&credentials) {
            return None;
        }
        let place = self.all.len();
        self.groups += credentials.groups.len();
        let credentials = Rc::new(credentials);
        self.places.insert(Rc::clone(&credentials), place);
        self.all.push(credentials);
        Some(place)
    }

    fn has_room_for(&self, credentials: &Credentials) -> bool {
        self.all.len() < MOST && self.groups + credentials.groups.len() <= MOST_GROUPS
    }

    /// Takes over the whole lines that another supervisor wrote.
    fn catch_up(&mut self) {
        let Some(file) = &self.file else { return };
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        let Ok(fresh) = usize::try_from(length.saturating_sub(self.read)) else { return };
        let mut text = vec![0; fresh];
        if fresh == 0 || file.read_exact_at(&mut text, self.read).is_err() {
            return;
        }
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.read += whole as u64;
        for line in String::from_utf8_lossy(&text[..whole]).lines() {
            // A line counts whatever it says, or all places behind it would be others.
            let credentials = Credentials::from_line(line).unwrap_or_else(Credentials::root);
            let (place, credentials) = (self.all.len(), Rc::new(credentials));
            self.groups += credentials.groups.len();
            self.places.entry(Rc::clone(&credentials)).or_insert(place);
            self.all.push(credentials);
        }
    }

    fn open(&mut self, make: bool) -> Option<&File> {
        if self.file.is_none() {
            let mut flags = OFlags::RDWR | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            flags.set(OFlags::CREATE, make);
            let mode = Mode::RUSR | Mode::WUSR;
            let file = openat(self.directory.as_ref()?, c"people", flags, mode).ok()?;
            self.file = Some(file.into());
        }
        self.file.as_ref()
    }
}

impl Credentials {
    /// Whether powers are kept, eight ids, then the groups.
    fn to_line(&self) -> String {
        let four = |ids: Ids| [ids.real, ids.effective, ids.saved, ids.file_system];
        let eight = four(self.user).into_iter().chain(four(self.group));
        let ids =
            [u32::from(self.keeps_powers)].into_iter().chain(eight).chain(self.groups.clone());
        let words: Vec<String> = ids.map(|id| id.to_string()).collect();
        words.join(" ") + "\n"
    }

    fn from_line(line: &str) -> Option<Self> {
        let ids: Option<Vec<u32>> =
            line.split_ascii_whitespace().map(|word| word.parse().ok()).collect();
        let ids = ids?;
        let four = |at: usize| {
            let [real, effective, saved, file_system] = ids.get(at..at + 4)?.try_into().ok()?;
            Some(Ids { real, effective, saved, file_system })
        };
        let keeps_powers = *ids.first()? != 0;
        Some(Self { user: four(1)?, group: four(5)?, groups: ids.get(9..)?.to_vec(), keeps_powers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_survive_the_limit() {
        assert_eq!(Tag::ROOT.limit(), UNTAGGED);
        for tag in [
            Tag::ROOT,
            Tag { credentials: 0, elsewhere: true },
            Tag { credentials: 7, elsewhere: false },
        ] {
            assert_eq!(Tag::read(tag.limit()), tag);
        }
    }

    fn tag(credentials: usize) -> Tag {
        Tag { credentials, elsewhere: false }
    }

    #[test]
    fn credentials_are_kept_once() {
        let web = Credentials::of(33, 33, vec![4]);
        let mut people = People::new(None);
        assert_eq!(people.place(&web), Some(1));
        assert_eq!(people.place(&web), Some(1));
        assert_eq!(*people.get(tag(1)), web);
        assert_eq!(people.place(&Credentials::root()), Some(0));
        assert_eq!(people.place(&Credentials::of(33, 33, vec![])), Some(2));
        assert_eq!(*people.get(tag(99)), Credentials::root());
    }

    #[test]
    fn ever_new_groups_come_to_an_end() {
        let directory = tempfile::tempdir().expect("a directory");
        let kept = rustix::fs::open(directory.path(), OFlags::PATH, Mode::empty()).expect("it");
        for mut people in [People::new(None), People::new(Some(kept))] {
            let most = u32::try_from(MOST_GROUPS / 65536).expect("a number");
            let many = |first: u32| Credentials::of(1, 1, (first..first + 65536).collect());
            let places = (1..=most).map(|first| people.place(&many(first)));
            assert_eq!(places.flatten().count(), MOST_GROUPS / 65536);
            assert_eq!(people.place(&many(0)), None);
            assert_eq!(people.place(&many(1)), Some(1), "it is known already");
            assert!(people.place(&Credentials::of(2, 2, vec![])).is_some());
        }
    }

    #[test]
    fn two_supervisors_mean_the_same() {
        let directory = tempfile::tempdir().expect("a directory");
        let open = || {
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let directory = rustix::fs::open(directory.path(), flags, Mode::empty());
            People::new(Some(directory.expect("it")))
        };
        let (mut one, mut other) = (open(), open());
        let (web, mail) = (Credentials::of(33, 33, vec![4]), Credentials::of(8, 8, vec![]));
        assert_eq!(one.place(&web), Some(1));
        assert_eq!(*other.get(tag(1)), web);
        assert_eq!(other.place(&mail), Some(2));
        assert_eq!(one.place(&web), Some(1));
        assert_eq!(one.place(&mail), Some(2));
        assert_eq!(*one.get(tag(3)), Credentials::root());
        assert_eq!(open().place(&Credentials::of(1, 1, vec![])), Some(3));
        assert_eq!(one.get(tag(3)).user, Ids::all(1));
    }
}
