//! Which credentials a process has: a tag that the kernel itself hands on at fork and exec.
//!
//! The tag is the soft value of `RLIMIT_LOCKS`, which no kernel has looked at since 2.4.25 and which
//! can be read and set from outside (prlimit(2)). So there is no table of processes, and no child
//! that was not seen. "Unlimited" is root in the container's own root directory.

use std::collections::HashMap;

use super::ids::Credentials;

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
#[derive(Debug)]
pub(super) struct People {
    all: Vec<Credentials>,
    places: HashMap<Credentials, usize>,
}

/// A container that makes up ever new groups must not fill the memory of its supervisor.
const MOST: usize = 1 << 16;

impl People {
    /// Root, and who the container starts as.
    pub(super) fn new(first: &Credentials) -> Self {
        let root = Credentials::root();
        let places = HashMap::from([(root.clone(), 0)]);
        let mut people = Self { all: vec![root], places };
        people.place(first);
        people
    }

    /// The tag of who the container starts as.
    pub(super) fn first(first: &Credentials) -> Tag {
        let credentials = usize::from(*first != Credentials::root());
        Tag { credentials, elsewhere: false }
    }

    /// Who a tag means; root for a tag that was never given out.
    pub(super) fn get(&self, tag: Tag) -> &Credentials {
        self.all.get(tag.credentials).unwrap_or(&self.all[0])
    }

    /// The place of credentials; `None` when there are too many.
    pub(super) fn place(&mut self, credentials: &Credentials) -> Option<usize> {
        if let Some(place) = self.places.get(credentials) {
            return Some(*place);
        }
        let place = self.all.len();
        if place == MOST {
            return None;
        }
        self.all.push(credentials.clone());
        self.places.insert(credentials.clone(), place);
        Some(place)
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

    #[test]
    fn credentials_are_kept_once() {
        let web = Credentials::of(33, 33, vec![4]);
        let mut people = People::new(&web);
        assert_eq!(people.place(&web), Some(1));
        assert_eq!(people.get(People::first(&web)), &web);
        assert_eq!(people.place(&Credentials::root()), Some(0));
        assert_eq!(people.place(&Credentials::of(33, 33, vec![])), Some(2));
        assert_eq!(People::first(&Credentials::root()), Tag::ROOT);
        assert_eq!(people.get(Tag { credentials: 99, elsewhere: false }), &Credentials::root());
    }
}
