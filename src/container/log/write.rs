//! Bytes to log: lines of JSON, in files that take turns.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::journal::Journal;
use super::{LogConfig, LogDriver, Stream, Subject, path_in};

/// The longest piece of a line (docker's copier has the same).
const LONGEST: usize = 16 << 10;

/// Where a container's output is written. A container does not fail or wait for want of a log:
/// what cannot be written is lost.
#[derive(Debug)]
pub struct Log {
    sink: Sink,
    /// Of each stream what has no end of line yet.
    begun: [Vec<u8>; 2],
}

#[derive(Debug)]
enum Sink {
    Nothing,
    Files(Files),
    Journal(Journal),
}

#[derive(Debug)]
struct Files {
    path: PathBuf,
    file: File,
    size: u64,
    max_size: Option<u64>,
    max_file: u32,
    attributes: BTreeMap<String, String>,
    /// Whether the last write ended amid a line.
    torn: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    log: &'a str,
    stream: Stream,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attrs: &'a BTreeMap<String, String>,
    time: &'a str,
}

impl Log {
    /// Opens the log of a container, to go on where it ends.
    pub fn open(config: &LogConfig, directory: &Path, of: &Subject<'_>) -> std::io::Result<Self> {
        let attributes = config.attributes(of);
        let sink = match config.driver {
            LogDriver::None => Sink::Nothing,
            LogDriver::JsonFile => {
                Sink::Files(Files::open(path_in(directory, of.id), config, attributes)?)
            }
            LogDriver::Journald => {
                Sink::Journal(Journal::open(of, config.tag.as_deref(), &attributes)?)
            }
        };
        Ok(Self { sink, begun: [Vec::new(), Vec::new()] })
    }

    /// Whether anything is kept at all.
    pub fn is_kept(&self) -> bool {
        !matches!(self.sink, Sink::Nothing)
    }

    /// Takes what a stream has said.
    pub fn take(&mut self, stream: Stream, bytes: &[u8]) {
        if !self.is_kept() {
            return;
        }
        let time = jiff::Timestamp::now().to_string();
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let begun = &mut self.begun[usize::from(stream == Stream::Stderr)];
            let mut piece = piece;
            while begun.len() + piece.len() > LONGEST {
                let (now, later) = piece.split_at(LONGEST - begun.len());
                begun.extend_from_slice(now);
                self.sink.line(stream, &time, begun, &mut lines);
                begun.clear();
                piece = later;
            }
            if piece.last() != Some(&b'\n') {
                begun.extend_from_slice(piece);
            } else if begun.is_empty() {
                self.sink.line(stream, &time, piece, &mut lines);
            } else {
                begun.extend_from_slice(piece);
                self.sink.line(stream, &time, begun, &mut lines);
                *begun = Vec::new(); // a monitor keeps no memory
            }
        }
        self.sink.write(&lines);
    }

    /// Writes what has no end of line: nothing more will come.
    pub fn finish(&mut self) {
        let time = jiff::Timestamp::now().to_string();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let begun = std::mem::take(&mut self.begun[usize::from(stream == Stream::Stderr)]);
            if !begun.is_empty() {
                let mut lines = Vec::new();
                self.sink.line(stream, &time, &begun, &mut lines);
                self.sink.write(&lines);
            }
        }
    }
}

impl Sink {
    fn line(&mut self, stream: Stream, time: &str, line: &[u8], lines: &mut Vec<u8>) {
        match self {
            Self::Nothing => {}
            Self::Files(Files { attributes: attrs, .. }) => {
                // JSON has text alone; docker too puts U+FFFD where there is none.
                let log = String::from_utf8_lossy(line);
                let line = Line { log: &log, stream, attrs, time };
                if serde_json::to_writer(&mut *lines, &line).is_ok() {
                    lines.push(b'\n');
                }
            }
            Self::Journal(journal) => journal.send(stream, line),
        }
    }

    fn write(&mut self, lines: &[u8]) {
        if let Self::Files(files) = self
            && !lines.is_empty()
        {
            files.write(lines);
        }
    }
}

impl Files {
    fn open(
        path: PathBuf,
        config: &LogConfig,
        attributes: BTreeMap<String, String>,
    ) -> std::io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        let mut file = options.open(&path)?;
        let size = file.metadata()?.len();
        // A monitor that was killed may have left half a line.
        let mut last = [b'\n'];
        if size > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        let (max_size, max_file) = (config.max_size, config.max_file);
        let torn = last != [b'\n'];
        Ok(Self { path, file, size, max_size, max_file, attributes, torn })
    }

    fn write(&mut self, lines: &[u8]) {
        if self.max_size.is_some_and(|most| self.size > 0 && self.size >= most) {
            self.rotate();
        }
        let all = if self.torn { [b"\n", lines].concat() } else { Vec::new() };
        let all = if self.torn { &all[..] } else { lines };
        let written = self.file.write(all).unwrap_or(0);
        self.size += written as u64;
        if written > 0 {
            self.torn = all[written - 1] != b'\n';
        }
    }

    fn rotate(&mut self) {
        let numbered = |number: u32| {
            let mut path = self.path.clone().into_os_string();
            path.push(format!(".{number}"));
            PathBuf::from(path)
        };
        if self.max_file > 1 {
            for number in (1..self.max_file - 1).rev() {
                let _ = std::fs::rename(numbered(number), numbered(number + 1));
            }
            let _ = std::fs::rename(&self.path, numbered(1));
        } else {
            let _ = std::fs::remove_file(&self.path);
        }
        let mut options = OpenOptions::new();
        if let Ok(file) = options.append(true).create(true).mode(0o600).open(&self.path) {
            (self.file, self.size, self.torn) = (file, 0, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Entry, Reader};
    use super::*;

    fn open(directory: &Path, config: &LogConfig) -> Log {
        Log::open(config, directory, &Subject::unknown()).expect("a log")
    }

    fn read(directory: &Path) -> Vec<Entry> {
        let mut reader = Reader::open(directory, "id", None).expect("a reader");
        let mut entries = Vec::new();
        while let Some(entry) = reader.entry().expect("an entry") {
            entries.push(entry);
        }
        entries
    }

    #[test]
    fn lines_come_back_in_order_and_apart() {
        let home = tempfile::tempdir().expect("a directory");
        let mut log = open(home.path(), &LogConfig::default());
        log.take(Stream::Stdout, b"one\ntw");
        log.take(Stream::Stderr, b"err \xff\"\n");
        log.take(Stream::Stdout, b"o\nlast");
        log.finish();
        let entries: Vec<(Stream, String)> =
            read(home.path()).into_iter().map(|entry| (entry.stream, entry.log)).collect();
        assert_eq!(
            entries,
            [
                (Stream::Stdout, "one\n".to_owned()),
                (Stream::Stderr, "err \u{fffd}\"\n".to_owned()),
                (Stream::Stdout, "two\n".to_owned()),
                (Stream::Stdout, "last".to_owned()),
            ]
        );
    }

    #[test]
    fn a_long_line_comes_in_pieces() {
        let home = tempfile::tempdir().expect("a directory");
        let mut log = open(home.path(), &LogConfig::default());
        let text = "x".repeat(3 * LONGEST + 5) + "\n";
        for piece in text.as_bytes().chunks(1000) {
            log.take(Stream::Stdout, piece);
        }
        let entries = read(home.path());
        assert_eq!(entries.len(), 4);
        assert_eq!(entries.into_iter().map(|entry| entry.log).collect::<String>(), text);
    }

    #[test]
    fn files_take_turns_and_no_more_than_asked_for() {
        let home = tempfile::tempdir().expect("a directory");
        let config = LogConfig { max_size: Some(1000), max_file: 3, ..LogConfig::default() };
        let mut log = open(home.path(), &config);
        for number in 0..200 {
            log.take(Stream::Stdout, format!("line {number}\n").as_bytes());
        }
        assert_eq!(std::fs::read_dir(home.path()).expect("a directory").count(), 3);
        let entries = read(home.path());
        assert_eq!(entries.last().expect("entries").log, "line 199\n");
        let first: usize = entries[0].log[5..].trim().parse().expect("a number");
        assert_eq!(entries.len(), 200 - first);
    }

    #[test]
    fn half_a_line_of_a_killed_writer_spoils_no_other() {
        let home = tempfile::tempdir().expect("a directory");
        open(home.path(), &LogConfig::default()).take(Stream::Stdout, b"whole\n");
        let path = path_in(home.path(), "id");
        let mut file = OpenOptions::new().append(true).open(&path).expect("the log");
        file.write_all(br#"{"log":"hal"#).expect("written");
        open(home.path(), &LogConfig::default()).take(Stream::Stdout, b"after\n");
        let logs: Vec<String> = read(home.path()).into_iter().map(|entry| entry.log).collect();
        assert_eq!(logs, ["whole\n", "after\n"]);
    }
}
