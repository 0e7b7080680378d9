//! Where saved files go: members of a tar archive, or files of a directory.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tar::{EntryType, Header};

use super::Error;

/// The most bytes of a layout's index that are read.
const LARGEST_INDEX: u64 = 8 << 20;

/// Takes files one after the other.
pub trait Sink {
    /// A file of exactly `size` bytes; one that was written before is not written again, nor read.
    fn file(&mut self, name: &str, size: u64, content: &mut dyn Read) -> Result<(), Error>;

    /// Whether a file was written before.
    fn has(&self, name: &str) -> bool;

    /// All is written.
    fn finish(&mut self) -> Result<(), Error>;
}

/// A tar archive whose members have no time and no owner.
pub struct Tar<W> {
    output: W,
    written: HashSet<String>,
}

impl<W: Write> Tar<W> {
    /// An archive to `output`.
    pub fn new(output: W) -> Self {
        Self { output, written: HashSet::new() }
    }

    fn header(&mut self, name: &str, kind: EntryType, mode: u32, size: u64) -> io::Result<()> {
        let mut header = Header::new_ustar();
        header.set_path(name)?;
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_cksum();
        self.output.write_all(header.as_bytes())
    }

    fn member(&mut self, name: &str, size: u64, content: &mut dyn Read) -> io::Result<()> {
        for (at, _) in name.match_indices('/') {
            let directory = &name[..=at];
            if self.written.insert(directory.to_owned()) {
                self.header(directory, EntryType::Directory, 0o755, 0)?;
            }
        }
        self.header(name, EntryType::Regular, 0o644, size)?;
        copy(content, &mut self.output, size)?;
        let filler = usize::try_from(size.next_multiple_of(512) - size).unwrap_or_default();
        self.output.write_all(&[0; 512][..filler])
    }
}

impl<W: Write> Sink for Tar<W> {
    fn file(&mut self, name: &str, size: u64, content: &mut dyn Read) -> Result<(), Error> {
        if !self.written.insert(name.to_owned()) {
            return Ok(());
        }
        let done = self.member(name, size, content);
        done.map_err(|source| Error::Io { action: "write", what: name.to_owned(), source })
    }

    fn has(&self, name: &str) -> bool {
        self.written.contains(name)
    }

    fn finish(&mut self) -> Result<(), Error> {
        let done = self.output.write_all(&[0; 1024]).and_then(|()| self.output.flush());
        done.map_err(|source| Error::Io { action: "write", what: "the archive".into(), source })
    }
}

/// Files below a directory that was empty.
pub struct Directory {
    path: PathBuf,
    written: HashSet<String>,
    /// Files of other images lie there, and the same blobs perhaps.
    shared: bool,
}

impl Directory {
    /// A directory that does not exist, or is empty.
    pub fn new(path: &Path) -> Result<Self, Error> {
        let what = || path.display().to_string();
        let io = |action| move |source| Error::Io { action, what: what(), source };
        fs::create_dir_all(path).map_err(io("make"))?;
        if fs::read_dir(path).map_err(io("read"))?.next().is_some() {
            return Err(Error::NotEmpty { path: path.display().to_string() });
        }
        Ok(Self { path: path.to_owned(), written: HashSet::new(), shared: false })
    }

    /// An OCI layout that is there or not, and the entries that it has.
    pub fn layout(path: &Path) -> Result<(Self, Vec<Value>), Error> {
        if !path.join("oci-layout").is_file() {
            return Ok((Self::new(path)?, Vec::new()));
        }
        let index = path.join("index.json");
        let what = || index.display().to_string();
        let io = |source| Error::Io { action: "read", what: what(), source };
        let mut bytes = Vec::new();
        let file = File::open(&index).map_err(io)?;
        file.take(LARGEST_INDEX).read_to_end(&mut bytes).map_err(io)?;
        let mut index: Value =
            serde_json::from_slice(&bytes).map_err(|error| io(io::Error::from(error)))?;
        let entries = match index["manifests"].take() {
            Value::Array(entries) => entries,
            _ => Vec::new(),
        };
        let shared = Self { path: path.to_owned(), written: HashSet::new(), shared: true };
        Ok((shared, entries))
    }

    /// A directory for one image (`dir:`); the image that is there goes.
    pub fn plain(path: &Path) -> Result<Self, Error> {
        if path.join("version").is_file() && path.join("manifest.json").is_file() {
            let io =
                |source| Error::Io { action: "replace", what: path.display().to_string(), source };
            for entry in fs::read_dir(path).map_err(io)? {
                let entry = entry.map_err(io)?;
                // The image's own, and nothing else that lies there.
                if is_of_plain_image(&entry.file_name().to_string_lossy()) {
                    fs::remove_file(entry.path()).map_err(io)?;
                }
            }
        }
        Self::new(path)
    }

    fn write(&self, path: &Path, size: u64, content: &mut dyn Read) -> io::Result<()> {
        let parent = path.parent().unwrap_or(&self.path);
        fs::create_dir_all(parent)?;
        if !self.shared {
            return copy(content, &mut File::create_new(path)?, size);
        }
        let mut draft = tempfile::Builder::new()
            .prefix(".coracle-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)) // less the umask
            .tempfile_in(parent)?;
        copy(content, &mut draft, size)?;
        draft.persist(path)?;
        Ok(())
    }
}

impl Sink for Directory {
    fn file(&mut self, name: &str, size: u64, content: &mut dyn Read) -> Result<(), Error> {
        if !self.written.insert(name.to_owned()) {
            return Ok(());
        }
        let path = self.path.join(name);
        let done = self.write(&path, size, content);
        let what = || path.display().to_string();
        done.map_err(|source| Error::Io { action: "write", what: what(), source })
    }

    fn has(&self, name: &str) -> bool {
        self.written.contains(name)
    }

    fn finish(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// Whether a file of a `dir:` directory is one that a writer of such makes.
fn is_of_plain_image(name: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    matches!(name, "version" | "manifest.json")
        || name.strip_prefix("signature-").is_some_and(digits)
        || (matches!(name.len(), 64 | 128) && digits(name))
}

/// Copies exactly `size` bytes, and reads on to the end of `content`: it may check itself there.
fn copy(content: &mut dyn Read, output: &mut dyn Write, size: u64) -> io::Result<()> {
    let mut buffer = vec![0; 128 << 10];
    let mut left = size;
    loop {
        let count = match content.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            count => count?,
        };
        if count as u64 > left || (count == 0 && left > 0) {
            return Err(io::Error::other("the store has another number of bytes than it says"));
        }
        if count == 0 {
            return Ok(());
        }
        output.write_all(&buffer[..count])?;
        left -= count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_the_same_each_time_and_have_each_file_once() {
        let write = || {
            let mut bytes = Vec::new();
            let mut sink = Tar::new(&mut bytes);
            for name in ["blobs/sha256/a", "blobs/sha256/a", "index.json"] {
                sink.file(name, 3, &mut &b"abc"[..]).expect("memory");
            }
            sink.finish().expect("memory");
            bytes
        };
        let bytes = write();
        assert_eq!(bytes, write());
        let mut archive = tar::Archive::new(&bytes[..]);
        let names = archive
            .entries()
            .expect("an archive")
            .map(|entry| entry.expect("an entry").path().expect("a name").display().to_string());
        let names: Vec<String> = names.collect();
        assert_eq!(names, ["blobs/", "blobs/sha256/", "blobs/sha256/a", "index.json"]);
    }

    #[test]
    fn a_wrong_size_is_an_error() {
        let mut sink = Tar::new(Vec::new());
        assert!(sink.file("a", 2, &mut &b"abc"[..]).is_err());
        assert!(sink.file("b", 4, &mut &b"abc"[..]).is_err());
    }
}
