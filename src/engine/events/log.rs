//! The file of events: lines to it, and from it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Result, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::Event;

/// A log that has come to this many bytes is put aside.
const LIMIT: u64 = 2 << 20;
/// The longest line: who labels a container with books does not have them told with every event.
const LONGEST: usize = 16 << 10;
/// How every line begins. No line has it elsewhere, as quotes in text are escaped.
const BEGINNING: &[u8] = br#"{"time":"#;

/// Where the log of a store lies.
pub(super) fn directory(root: &Path) -> PathBuf {
    root.join("events")
}

/// The log that is written to, and the one before it.
pub(super) fn paths(directory: &Path) -> (PathBuf, PathBuf) {
    (directory.join("log"), directory.join("log.1"))
}

pub(super) fn make_directory(directory: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Appends events to the log of a store.
pub(super) fn append(root: &Path, events: &[Event]) -> Result<()> {
    let directory = directory(root);
    let (path, aside) = paths(&directory);
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600);
    let mut file = match options.open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make_directory(&directory)?;
            options.open(&path)?
        }
        opened => opened?,
    };
    // One write: what is appended by two could have another's line between.
    let written = file.write(&lines(events)?)?;
    if written > 0 && file.metadata()?.len() >= LIMIT {
        put_aside(&file, &path, &aside)?;
    }
    Ok(())
}

fn lines(events: &[Event]) -> Result<Vec<u8>> {
    let mut lines = Vec::with_capacity(512 * events.len());
    for event in events {
        let start = lines.len();
        serde_json::to_writer(&mut lines, event)?;
        if lines.len() - start > LONGEST {
            lines.truncate(start);
            let mut event = event.clone();
            event.attributes.retain(|name, value| name.len() + value.len() < 256);
            // However many short ones there are.
            while event.attributes.len() > 32 {
                event.attributes.pop_last();
            }
            serde_json::to_writer(&mut lines, &event)?;
        }
        lines.push(b'\n');
    }
    Ok(lines)
}

/// Of several that find the log full one puts it aside; of the others some may still append to it.
fn put_aside(file: &File, path: &Path, aside: &Path) -> Result<()> {
    if flock(file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(());
    }
    match is_at(file, path) {
        true => std::fs::rename(path, aside),
        false => Ok(()), // done by another one
    }
}

/// Whether a file is still the one of this name.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(named)) = (file.metadata(), path.metadata()) else { return false };
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}

/// The event of a line; `None` where there is none. A full disk may have left half a line before it.
pub(super) fn parse(line: &[u8]) -> Option<Event> {
    let last = line.windows(BEGINNING.len()).rposition(|window| window == BEGINNING)?;
    serde_json::from_slice(&line[last..]).ok()
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    fn event(action: &str) -> Event {
        Event::new(Kind::Container, action, "id").with("name", "web")
    }

    fn read(path: &Path) -> Vec<Event> {
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.split(|byte| *byte == b'\n').filter_map(parse).collect()
    }

    #[test]
    fn events_come_back() {
        let root = tempfile::tempdir().expect("a directory");
        let events = [event("create"), event("start")];
        append(root.path(), &events).expect("written");
        append(root.path(), &[event("die").with("{\"time\":", "\n")]).expect("written");
        let (path, _) = paths(&directory(root.path()));
        assert_eq!(read(&path)[..2], events);
        assert_eq!(read(&path)[2].attributes["{\"time\":"], "\n");
    }

    #[test]
    fn half_a_line_spoils_no_other() {
        let root = tempfile::tempdir().expect("a directory");
        append(root.path(), &[event("create")]).expect("written");
        let (path, _) = paths(&directory(root.path()));
        let mut file = OpenOptions::new().append(true).open(&path).expect("the log");
        file.write_all(br#"{"time":12,"type":"con"#).expect("written");
        append(root.path(), &[event("start")]).expect("written");
        let actions: Vec<String> = read(&path).into_iter().map(|event| event.action).collect();
        assert_eq!(actions, ["create", "start"]);
    }

    #[test]
    fn a_full_log_is_put_aside_once_and_no_line_is_lost() {
        let root = tempfile::tempdir().expect("a directory");
        let (path, aside) = paths(&directory(root.path()));
        let filler = event("fill").with("text", "x".repeat(8000));
        let each = LIMIT / 8000 / 4;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..each + each / 2 {
                        append(root.path(), std::slice::from_ref(&filler)).expect("written");
                    }
                });
            }
        });
        let all = u64::try_from(read(&path).len() + read(&aside).len()).expect("a number");
        assert_eq!(all, 4 * (each + each / 2));
        let size = std::fs::metadata(&aside).expect("the log before").len();
        assert!((LIMIT..LIMIT + 100_000).contains(&size), "{size}");
    }

    #[test]
    fn a_line_has_its_bounds() {
        let many = (0..5000).fold(event("create"), |event, number| {
            event.with(&format!("label-{number}"), "x".repeat(200))
        });
        let lines = lines(&[many, event("start")]).expect("lines");
        assert!(lines.len() < 2 * LONGEST, "{}", lines.len());
        let events: Vec<_> = lines.split(|byte| *byte == b'\n').filter_map(parse).collect();
        assert_eq!(events.len(), 2);
    }
}
