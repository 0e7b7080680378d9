//! A path below the container's root, cut up before the fork so that the child need not allocate.

use std::ffi::{CStr, CString, NulError};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// A path relative to the container's root, with each of its prefixes.
#[derive(Debug)]
pub(super) struct Target {
    /// `a`, `a/b`, `a/b/c`
    prefixes: Vec<CString>,
    /// `a`, `b`, `c`
    names: Vec<CString>,
    /// One of coracle's own mount points, `/proc`, `/sys`, `/dev` and what is in them: the image
    /// has no say in what kind of file it is.
    pub(super) ours: bool,
}

impl Target {
    /// Cuts up an absolute, clean path; the root itself has depth 0.
    pub(super) fn new(path: &Path) -> Result<Self, NulError> {
        let (mut prefixes, mut names) = (Vec::new(), Vec::new());
        let mut prefix = Vec::new();
        for component in path.components() {
            if let Component::Normal(name) = component {
                if !prefix.is_empty() {
                    prefix.push(b'/');
                }
                prefix.extend_from_slice(name.as_bytes());
                prefixes.push(CString::new(prefix.clone())?);
                names.push(CString::new(name.as_bytes())?);
            }
        }
        let top = names.first().map(CString::as_bytes);
        let ours = matches!(top, Some(b"proc" | b"sys" | b"dev"));
        Ok(Self { prefixes, names, ours })
    }

    /// The whole path, `.` for the root.
    pub(super) fn whole(&self) -> &CStr {
        self.prefixes.last().map_or(c".", CString::as_c_str)
    }

    /// How many names the path has.
    pub(super) fn depth(&self) -> usize {
        self.names.len()
    }

    /// The first `end` names of the path.
    pub(super) fn prefix(&self, end: usize) -> &CStr {
        &self.prefixes[end - 1]
    }

    /// The `end`th name.
    pub(super) fn name(&self, end: usize) -> &CStr {
        &self.names[end - 1]
    }

    /// The path above, `None` for the root, and the last name.
    pub(super) fn parent_and_name(&self) -> (Option<&CStr>, &CStr) {
        match self.depth() {
            0 => (None, c"."),
            1 => (None, self.name(1)),
            depth => (Some(self.prefix(depth - 1)), self.name(depth)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_grow_name_by_name() {
        let target = Target::new(Path::new("/a/b/c")).expect("a target");
        assert_eq!(target.whole(), c"a/b/c");
        assert_eq!((target.prefix(2), target.name(2)), (c"a/b", c"b"));
        assert_eq!(target.parent_and_name(), (Some(c"a/b"), c"c"));
        let root = Target::new(Path::new("/")).expect("a target");
        assert_eq!((root.depth(), root.whole()), (0, c"."));
    }

    #[test]
    fn mount_points_of_ours_are_known_by_their_first_name() {
        let ours = |path: &str| Target::new(Path::new(path)).expect("a target").ours;
        assert!(ours("/proc") && ours("/sys/fs/cgroup") && ours("/dev/pts"));
        assert!(!ours("/") && !ours("/device") && !ours("/srv/proc"));
    }
}
