//! A path below the container's root, cut up before the fork so that the child need not allocate.

use std::ffi::{CStr, CString, NulError};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// A path relative to the container's root, with each of its prefixes.
#[derive(Clone, Debug, PartialEq, Eq)]
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
        let names = path.components().filter_map(|component| match component {
            Component::Normal(name) => Some(CString::new(name.as_bytes())),
            _ => None,
        });
        let names = names.collect::<Result<Vec<_>, _>>()?;
        let top = names.first().map(CString::as_bytes);
        let ours = matches!(top, Some(b"proc" | b"sys" | b"dev"));
        Self::of_names(names, ours)
    }

    fn of_names(names: Vec<CString>, ours: bool) -> Result<Self, NulError> {
        let ends = 1..=names.len();
        let prefix =
            |end| names[..end].iter().map(CString::as_bytes).collect::<Vec<_>>().join(&b'/');
        let prefixes = ends.map(|end| CString::new(prefix(end))).collect::<Result<_, _>>()?;
        Ok(Self { prefixes, names, ours })
    }

    /// Whether it lies below `above`, and not there.
    pub(super) fn is_below(&self, above: &Self) -> bool {
        self.depth() > above.depth() && self.names.starts_with(&above.names)
    }

    /// The same place as seen from `above`, where it lies below that.
    pub(super) fn below(&self, above: &Self) -> Option<Self> {
        let names = || self.names[above.depth()..].to_vec();
        self.is_below(above).then(|| Self::of_names(names(), self.ours))?.ok()
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
    fn what_lies_below_is_seen_from_there() {
        let target = |path: &str| Target::new(Path::new(path)).expect("a target");
        let inner = target("/dev/pts/ptmx").below(&target("/dev")).expect("below");
        assert_eq!((inner.whole(), inner.prefix(1), inner.ours), (c"pts/ptmx", c"pts", true));
        for (path, above) in [("/dev", "/dev"), ("/dev", "/dev/pts"), ("/device/x", "/dev")] {
            assert_eq!(target(path).below(&target(above)), None, "{path} {above}");
        }
    }

    #[test]
    fn mount_points_of_ours_are_known_by_their_first_name() {
        let ours = |path: &str| Target::new(Path::new(path)).expect("a target").ours;
        assert!(ours("/proc") && ours("/sys/fs/cgroup") && ours("/dev/pts"));
        assert!(!ours("/") && !ours("/device") && !ours("/srv/proc"));
    }
}
