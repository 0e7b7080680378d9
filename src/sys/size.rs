//! How much is in a tree.

use std::collections::HashSet;
use std::fs;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The bytes that the files below `path` hold, a file of several names once. What vanishes
/// meanwhile, or may not be looked into, counts nothing; links are not followed.
pub fn tree_size(path: &Path) -> Result<u64, Error> {
    let mut seen = HashSet::new();
    let mut left = vec![path.to_owned()];
    let mut size = 0_u64;
    while let Some(directory) = left.pop() {
        let entries = match fs::read_dir(&directory) {
            Err(error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::PermissionDenied => continue,
                _ => return Err(error),
            },
            Ok(entries) => entries,
        };
        for entry in entries {
            let entry = entry?;
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                left.push(entry.path());
            } else if metadata.nlink() == 1 || seen.insert((metadata.dev(), metadata.ino())) {
                size = size.saturating_add(metadata.len());
            }
        }
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_counts_once() {
        let home = tempfile::tempdir().expect("a directory");
        let deep = home.path().join("a/b");
        fs::create_dir_all(&deep).expect("directories");
        fs::write(deep.join("file"), [0; 1000]).expect("a file");
        fs::hard_link(deep.join("file"), home.path().join("again")).expect("a link");
        std::os::unix::fs::symlink("/etc/passwd", home.path().join("link")).expect("a link");
        assert_eq!(tree_size(home.path()).expect("a size"), 1000 + 11);
        assert_eq!(tree_size(&home.path().join("none")).expect("a size"), 0);
    }
}
