//! The lowest directory of every overlay: what containers are mounted on.
//!
//! Most images have no `/etc/hosts`, some no `/dev`. Where overlayfs finds them in this tree, nothing
//! needs to be made in a container's own directory, nor copied up, nor removed at its end. An image
//! that has something else in a place hides what is here.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{At, Error};
use crate::sys::scratch::Scratch;

/// Its name in the store; another content would take another name.
const NAME: &str = "skeleton";
const DIRECTORIES: [&str; 5] = ["", "dev", "etc", "proc", "sys"];
const FILES: [&str; 3] = ["etc/hostname", "etc/hosts", "etc/resolv.conf"];

/// The tree in the store at `root`, made where it is not there yet.
pub fn skeleton(root: &Path) -> Result<PathBuf, Error> {
    let path = root.join(NAME);
    if path.exists() {
        return Ok(path);
    }
    // Removed when it is dropped, unless it was renamed; rubbish of `tmp` if this is killed.
    let draft = Scratch::new(&root.join("tmp")).at("make a directory in", root)?;
    let tree = draft.path().join(NAME);
    for name in DIRECTORIES {
        let directory = tree.join(name);
        fs::create_dir(&directory).at("make", &directory)?;
        set_mode(&directory, 0o755)?;
    }
    for name in FILES {
        let file = tree.join(name);
        fs::write(&file, b"").at("make", &file)?;
        set_mode(&file, 0o644)?;
    }
    match fs::rename(&tree, &path) {
        // Another coracle was faster.
        Err(_) if path.exists() => Ok(path),
        other => other.at("make", &path).map(|()| path),
    }
}

fn set_mode(path: &Path, mode: u32) -> Result<(), Error> {
    fs::set_permissions(path, Permissions::from_mode(mode)).at("set the mode of", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir(root.path().join("tmp")).expect("tmp");
        let path = skeleton(root.path()).expect("made");
        assert_eq!(path.join("etc/hosts").metadata().expect("a file").len(), 0);
        assert_eq!(skeleton(root.path()).expect("there"), path);
        assert_eq!(fs::read_dir(root.path().join("tmp")).expect("it").count(), 0);
    }
}
