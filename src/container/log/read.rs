//! Log to lines, from any place to the end, and on as it grows.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Stream, path_in};

/// A line, or a piece of a long one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Entry {
    /// The text, with its end of line if it has one.
    pub log: String,
    /// Where it was written to.
    pub stream: Stream,
    /// What goes with it, by name.
    #[serde(default)]
    pub attrs: BTreeMap<String, String>,
    /// When it came, in RFC 3339.
    pub time: String,
}

/// Reads a container's log, the oldest file first.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: Option<BufReader<File>>,
    /// Files to read next, the last of them first.
    later: Vec<File>,
    line: Vec<u8>,
    /// How far the file was read.
    offset: u64,
}

impl Reader {
    /// Begins `tail` lines before the end, or at the beginning.
    pub fn open(directory: &Path, id: &str, tail: Option<u64>) -> std::io::Result<Self> {
        let path = path_in(directory, id);
        let mut files = Vec::new(); // the newest first
        let mut wanted = tail;
        for number in 0.. {
            let name = match number {
                0 => path.clone(),
                _ => path.with_extension(format!("log.{number}")),
            };
            let mut file = match File::open(&name) {
                // A first file that is about to be made is none yet.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && number > 0 => break,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                other => other?,
            };
            let more = match wanted {
                None => true,
                Some(lines) => {
                    let missing = skip_to_last(&mut file, lines)?;
                    wanted = Some(missing);
                    missing > 0
                }
            };
            files.push(file);
            if !more {
                break;
            }
        }
        let file = files.pop().map(BufReader::new);
        Ok(Self { path, file, later: files, line: Vec::new(), offset: 0 })
    }

    /// The next line; `None` where nothing is left for now. What cannot be read is passed over: a
    /// full disk or a kill may have cut it.
    pub fn entry(&mut self) -> std::io::Result<Option<Entry>> {
        loop {
            let Some(file) = &mut self.file else {
                match self.newest()? {
                    Some(file) => self.file = Some(BufReader::new(file)),
                    None => return Ok(None),
                }
                continue;
            };
            file.read_until(b'\n', &mut self.line)?;
            self.offset = file.stream_position()?;
            if self.line.last() == Some(&b'\n') {
                let entry = serde_json::from_slice(&self.line).ok();
                self.line.clear();
                match entry {
                    Some(entry) => return Ok(Some(entry)),
                    None => continue,
                }
            }
            // The end: of a file that was put aside, or of the one that still grows.
            if let Some(next) = self.later.pop() {
                self.line.clear();
                self.file = Some(BufReader::new(next));
            } else if let Some(next) = self.after_rotation()? {
                self.line.clear();
                self.file = Some(BufReader::new(next));
            } else {
                return Ok(None);
            }
        }
    }

    /// Whether there is something that was not read: more of the file, or another in its place.
    pub fn may_have_more(&self) -> bool {
        let Ok(now) = std::fs::metadata(&self.path) else { return false };
        let Some(file) = &self.file else { return true };
        file.get_ref().metadata().is_ok_and(|read| {
            let same = (read.dev(), read.ino()) == (now.dev(), now.ino());
            !same || read.len() > self.offset
        })
    }

    fn newest(&self) -> std::io::Result<Option<File>> {
        match File::open(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    /// The file that took the place of the one that was read, once that one was read to its end.
    fn after_rotation(&mut self) -> std::io::Result<Option<File>> {
        let Some(newest) = self.newest()? else { return Ok(None) };
        let Some(file) = &mut self.file else { return Ok(None) };
        let (read, now) = (file.get_ref().metadata()?, newest.metadata()?);
        let same = (read.dev(), read.ino()) == (now.dev(), now.ino());
        // Something may have been written to it just before it was put aside.
        let behind = file.stream_position()? < read.len();
        Ok((!same && !behind).then_some(newest))
    }
}

/// Moves to `lines` lines before the end; says how many of them are not in this file.
fn skip_to_last(file: &mut File, lines: u64) -> std::io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    if lines == 0 {
        return Ok(0);
    }
    // The end of the last line is not the end of the line before the first wanted one.
    let mut left = lines + 1;
    let mut block = vec![0; 64 << 10];
    while end > 0 {
        let length = end.min(block.len() as u64);
        let start = end - length;
        file.seek(SeekFrom::Start(start))?;
        let part = &mut block[..usize::try_from(length).unwrap_or(0)];
        file.read_exact(part)?;
        for (at, _) in part.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            left -= 1;
            if left == 0 {
                file.seek(SeekFrom::Start(start + at as u64 + 1))?;
                return Ok(0);
            }
        }
        end = start;
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(left.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::super::{Log, LogConfig, Subject};
    use super::*;

    fn logs(directory: &Path, tail: Option<u64>) -> Vec<String> {
        let mut reader = Reader::open(directory, "id", tail).expect("a reader");
        let mut logs = Vec::new();
        while let Some(entry) = reader.entry().expect("an entry") {
            logs.push(entry.log.trim().to_owned());
        }
        logs
    }

    #[test]
    fn a_tail_is_the_end_over_several_files() {
        let home = tempfile::tempdir().expect("a directory");
        assert!(logs(home.path(), None).is_empty());
        let config = LogConfig { max_size: Some(300), max_file: 9, ..LogConfig::default() };
        let mut log = Log::open(&config, home.path(), &Subject::unknown()).expect("a log");
        for number in 0..20 {
            log.take(Stream::Stdout, format!("{number}\n").as_bytes());
        }
        let all: Vec<String> = (0..20).map(|number| number.to_string()).collect();
        assert_eq!(logs(home.path(), None), all);
        for tail in [0, 1, 2, 7, 19, 20, 21, 1000] {
            let from = all.len().saturating_sub(tail);
            assert_eq!(logs(home.path(), Some(tail as u64)), all[from..], "{tail}");
        }
    }

    #[test]
    fn a_log_is_followed_over_a_rotation() {
        let home = tempfile::tempdir().expect("a directory");
        let config = LogConfig { max_size: Some(100), max_file: 2, ..LogConfig::default() };
        let mut log = Log::open(&config, home.path(), &Subject::unknown()).expect("a log");
        let mut reader = Reader::open(home.path(), "id", None).expect("a reader");
        for number in 0..10 {
            log.take(Stream::Stdout, format!("{number}\n").as_bytes());
            let entry = reader.entry().expect("read").expect("an entry");
            assert_eq!(entry.log, format!("{number}\n"));
            assert!(reader.entry().expect("read").is_none());
        }
    }
}
