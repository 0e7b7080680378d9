//! Files and directories of an image, found and read without mounting anything.

use std::collections::VecDeque;
use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, OFlags, readlinkat};

use crate::layer::stack::{Directory, Found, open};

use super::{At, Error};

/// Links on the way to a file, as the kernel counts them.
const MOST_LINKS: usize = 40;

/// The content of a regular file at `path` in the stack of `layers`, the lowest first. `None`
/// where there is none.
///
/// The path is resolved in the stack as it would be in the container: links, `..` and whiteouts
/// count, and nothing leads out.
pub fn read_file(layers: &[PathBuf], path: &Path, limit: u64) -> Result<Option<Vec<u8>>, Error> {
    match find(layers, path)? {
        Some(Place::File(file)) => read(file, path, limit).map(Some),
        Some(Place::Directory(_)) | None => Ok(None),
    }
}

/// The directory at `path`, resolved in the same way; `None` where there is none.
pub(super) fn find_directory(layers: &[PathBuf], path: &Path) -> Result<Option<Directory>, Error> {
    match find(layers, path)? {
        Some(Place::Directory(directory)) => Ok(Some(directory)),
        Some(Place::File(_)) | None => Ok(None),
    }
}

enum Place {
    File(File),
    Directory(Directory),
}

fn find(layers: &[PathBuf], path: &Path) -> Result<Option<Place>, Error> {
    let root = Directory::root(layers).at("open the layers for", path)?;
    // The way from the root: `..` goes back on it.
    let mut way: Vec<Directory> = Vec::new();
    let mut left: VecDeque<Vec<u8>> = parts(path.as_os_str().as_bytes()).collect();
    let mut links = 0;
    while let Some(part) = left.pop_front() {
        if part == b".." {
            way.pop();
            continue;
        }
        let here = way.last().unwrap_or(&root);
        let Ok(name) = CString::new(part) else { return Ok(None) };
        match here.find(&name).at("read from the layers", path)? {
            None => return Ok(None),
            Some(Found::Directory(directory)) => way.push(directory),
            Some(Found::Other(other)) => {
                let place = here.place(other.place);
                match FileType::from_raw_mode(other.stat.st_mode) {
                    FileType::Symlink if links < MOST_LINKS => {
                        links += 1;
                        let text = readlinkat(place, &name, Vec::new()).at("follow", path)?;
                        if text.as_bytes().starts_with(b"/") {
                            way.clear();
                        }
                        for part in parts(text.as_bytes()).collect::<Vec<_>>().into_iter().rev() {
                            left.push_front(part);
                        }
                    }
                    FileType::RegularFile if left.is_empty() => {
                        let file = open(place, &name, OFlags::empty()).at("open", path)?;
                        return Ok(Some(Place::File(file.into())));
                    }
                    _ => return Ok(None),
                }
            }
        }
    }
    Ok(Some(Place::Directory(way.pop().unwrap_or(root))))
}

fn parts(path: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let parts = path.split(|&byte| byte == b'/');
    parts.filter(|part| !matches!(*part, b"" | b".")).map(<[u8]>::to_vec)
}

fn read(file: File, path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).at("read", path)?;
    if bytes.len() as u64 > limit {
        return Err(Error::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}
