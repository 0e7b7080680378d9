//! docker's rules of what `cp` makes where (docker cp, "Description"): pure.

use crate::layer::Name;

/// What is copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct What {
    /// Its name; none for what is in a directory, without itself.
    pub(super) base: Vec<u8>,
    /// Whether the path can only be that of a directory: `x/`, `x/.`
    pub(super) asserts_directory: bool,
    /// Whether it is one.
    pub(super) is_directory: bool,
}

/// Where it is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) exists: bool,
    pub(super) is_directory: bool,
    pub(super) asserts_directory: bool,
    /// As the user typed it.
    pub(super) path: String,
}

/// Where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goes {
    /// Into the target, under its own name.
    Into,
    /// Beside the target's neighbours, under the target's name.
    As,
}

/// What docker refuses, in its words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("cannot copy directory")]
    Directory,
    #[error("no such directory: {path}")]
    NoSuchDirectory { path: String },
    #[error("not a directory: {path}")]
    NotADirectory { path: String },
    #[error("destination \"{target}\" must be a directory")]
    MustBeDirectory { target: String },
    #[error("cannot copy to device")]
    Device,
}

impl What {
    /// What a path tells; the rest has to be looked at.
    pub(super) fn of(path: &[u8]) -> Self {
        let ends = |end: &[u8]| path.ends_with(end);
        let contents = ends(b"/.") || path == b".";
        let asserts_directory = contents || ends(b"/") || ends(b"/..") || path == b"..";
        let last = path.split(|&byte| byte == b'/').rfind(|part| !part.is_empty());
        let base = last.filter(|last| !contents && *last != b".." && *last != b".");
        Self { base: base.unwrap_or_default().to_vec(), asserts_directory, is_directory: false }
    }

    /// Its name in an archive.
    pub(super) fn name(&self) -> Name {
        match self.base.is_empty() {
            true => Name::default(),
            false => Name::default().join(&self.base),
        }
    }
}

/// Decides where it goes.
pub(super) fn plan(what: &What, target: &Target) -> Result<Goes, Refusal> {
    match (target.exists, target.is_directory) {
        (true, true) => Ok(Goes::Into),
        (true, false) if target.asserts_directory => {
            Err(Refusal::NotADirectory { path: target.path.clone() })
        }
        (true, false) if what.is_directory => Err(Refusal::Directory),
        (false, _) if target.asserts_directory && !what.is_directory => {
            Err(Refusal::NoSuchDirectory { path: target.path.clone() })
        }
        (true | false, _) => Ok(Goes::As),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str, exists: bool, is_directory: bool) -> Target {
        let asserts_directory = What::of(path.as_bytes()).asserts_directory;
        Target { exists, is_directory, asserts_directory, path: path.to_owned() }
    }

    #[test]
    fn a_path_tells_what_it_names() {
        let of = |path: &str| {
            let what = What::of(path.as_bytes());
            (String::from_utf8(what.base).expect("text"), what.asserts_directory)
        };
        assert_eq!(of("/a/b"), ("b".into(), false));
        assert_eq!(of("/a/b/"), ("b".into(), true));
        assert_eq!(of("/a/b/."), (String::new(), true));
        assert_eq!(of("/"), (String::new(), true));
        assert_eq!(of("."), (String::new(), true));
    }

    #[test]
    fn files_and_directories_go_as_in_docker() {
        let file = What { base: b"f".into(), ..What::default() };
        let directory = What { base: b"d".into(), is_directory: true, ..What::default() };
        assert_eq!(plan(&file, &target("/x", true, true)), Ok(Goes::Into));
        assert_eq!(plan(&file, &target("/x", true, false)), Ok(Goes::As));
        assert_eq!(plan(&file, &target("/x", false, false)), Ok(Goes::As));
        assert!(matches!(
            plan(&file, &target("/x/", false, false)),
            Err(Refusal::NoSuchDirectory { .. })
        ));
        assert!(matches!(
            plan(&file, &target("/x/", true, false)),
            Err(Refusal::NotADirectory { .. })
        ));
        assert_eq!(plan(&directory, &target("/x", true, true)), Ok(Goes::Into));
        assert_eq!(plan(&directory, &target("/x", true, false)), Err(Refusal::Directory));
        assert_eq!(plan(&directory, &target("/x/", false, false)), Ok(Goes::As));
    }
}
