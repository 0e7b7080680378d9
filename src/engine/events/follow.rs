//! Events as they were, and as they come.

use std::fs::File;
use std::io::{BufRead, BufReader, Result, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::inotify;
use rustix::io::Errno;

use super::{Event, log};
use crate::engine::Error;

/// How often is looked where the kernel has no more watches to give.
const UNWATCHED: Duration = Duration::from_millis(100);
/// Between two looks where one is told.
const PATIENCE: Duration = Duration::from_secs(1);

/// From when to when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// From now on where nothing is said.
    pub since: Option<Timestamp>,
    /// For ever where nothing is said.
    pub until: Option<Timestamp>,
    /// What has happened is all: nothing is waited for.
    pub past_only: bool,
}

/// Events, one after the other.
#[derive(Debug)]
pub struct Events {
    directory: PathBuf,
    window: Window,
    /// The log that was put aside: who had it open may still have appended to it.
    before: Option<Tail>,
    current: Option<Tail>,
    watch: Option<OwnedFd>,
}

/// The rest of a file, line by line.
#[derive(Debug)]
struct Tail {
    file: BufReader<File>,
    /// A line that has no end yet.
    line: Vec<u8>,
}

impl Tail {
    /// A file from its beginning, or from its end; `None` where there is none.
    fn open(path: &Path, from: SeekFrom) -> Result<Option<Self>> {
        match File::open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            opened => {
                let mut file = opened?;
                file.seek(from)?;
                Ok(Some(Self { file: BufReader::new(file), line: Vec::new() }))
            }
        }
    }

    fn next(&mut self) -> Result<Option<Event>> {
        loop {
            self.file.read_until(b'\n', &mut self.line)?;
            if self.line.last() != Some(&b'\n') {
                return Ok(None);
            }
            let event = log::parse(&self.line);
            self.line.clear();
            if event.is_some() {
                return Ok(event);
            }
        }
    }
}

impl Events {
    pub(super) fn open(directory: &Path, window: Window) -> Result<Self> {
        log::make_directory(directory)?;
        // Watched before it is read: nothing is missed between the two.
        let watch = watch(directory).ok();
        let (path, aside) = log::paths(directory);
        let (mut before, current);
        if window.since.is_some() || window.past_only {
            // In this order: a log that is put aside meanwhile is met twice, and not missed.
            current = Tail::open(&path, SeekFrom::Start(0))?;
            before = Tail::open(&aside, SeekFrom::Start(0))?;
            if current.as_ref().is_some_and(|tail| log::is_at(tail.file.get_ref(), &aside)) {
                before = None;
            }
        } else {
            (before, current) = (None, Tail::open(&path, SeekFrom::End(0))?);
        }
        Ok(Self { directory: directory.to_owned(), window, before, current, watch })
    }

    /// The next one; `None` at the end of the window. `idle` is called before it waits.
    pub fn next<E: From<Error>>(
        &mut self,
        mut idle: impl FnMut() -> std::result::Result<(), E>,
    ) -> std::result::Result<Option<Event>, E> {
        let failed = |directory: &Path, source| Error::Io {
            action: "read the events in",
            path: directory.to_owned(),
            source,
        };
        loop {
            // Asked before it is read: what came until then is read.
            let over = self.is_over();
            let read = self.read().map_err(|source| failed(&self.directory, source))?;
            match read {
                Some(event) if self.is_within(&event) => return Ok(Some(event)),
                Some(_) => continue,
                None if over => return Ok(None),
                None => {}
            }
            idle()?;
            self.wait().map_err(|errno| failed(&self.directory, errno.into()))?;
        }
    }

    fn is_over(&self) -> bool {
        self.window.past_only || self.window.until.is_some_and(|until| Timestamp::now() >= until)
    }

    fn is_within(&self, event: &Event) -> bool {
        let Ok(time) = Timestamp::from_nanosecond(event.time.into()) else { return false };
        self.window.since.is_none_or(|since| time >= since)
            && self.window.until.is_none_or(|until| time <= until)
    }

    /// The next event of the files as they are now.
    fn read(&mut self) -> Result<Option<Event>> {
        loop {
            for tail in [&mut self.before, &mut self.current].into_iter().flatten() {
                if let Some(event) = tail.next()? {
                    return Ok(Some(event));
                }
            }
            let (path, _) = log::paths(&self.directory);
            let here = |tail: &Tail| log::is_at(tail.file.get_ref(), &path);
            if self.current.as_ref().is_some_and(here) {
                return Ok(None);
            }
            let Some(next) = Tail::open(&path, SeekFrom::Start(0))? else { return Ok(None) };
            self.before = self.current.replace(next).or_else(|| self.before.take());
        }
    }

    /// Waits until there may be more, a second at most: who asked may want to look elsewhere.
    fn wait(&self) -> std::result::Result<(), Errno> {
        let left = self.window.until.map(|until| {
            Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default()
        });
        let Some(watch) = &self.watch else {
            std::thread::sleep(left.unwrap_or(UNWATCHED).min(UNWATCHED));
            return Ok(());
        };
        let timeout = Timespec::try_from(left.unwrap_or(PATIENCE).min(PATIENCE)).ok();
        let mut polled = [PollFd::new(watch, PollFlags::IN)];
        match rustix::event::poll(&mut polled, timeout.as_ref()) {
            Ok(0) | Err(Errno::INTR) => return Ok(()),
            other => drop(other?),
        }
        // What exactly happened does not matter.
        let mut told = [0; 4096];
        match rustix::io::read(watch, &mut told) {
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            read => read.map(drop),
        }
    }
}

fn watch(directory: &Path) -> std::result::Result<OwnedFd, Errno> {
    let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
    let watch = inotify::init(flags)?;
    let kinds = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE;
    inotify::add_watch(&watch, directory, kinds)?;
    Ok(watch)
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    fn all(events: &mut Events) -> Vec<String> {
        let mut actions = Vec::new();
        while let Some(event) = events.read().expect("read") {
            actions.push(event.action);
        }
        actions
    }

    fn tell(root: &Path, action: &str) {
        log::append(root, &[Event::new(Kind::Image, action, "id")]).expect("written");
    }

    #[test]
    fn the_past_and_what_comes() {
        let root = tempfile::tempdir().expect("a directory");
        let directory = log::directory(root.path());
        let mut early = Events::open(&directory, Window::default()).expect("events");
        tell(root.path(), "one");
        let mut late = Events::open(&directory, Window::default()).expect("events");
        let past = Window { past_only: true, ..Window::default() };
        let mut past = Events::open(&directory, past).expect("events");
        tell(root.path(), "two");
        assert_eq!(all(&mut early), ["one", "two"]);
        assert_eq!(all(&mut late), ["two"]);
        assert_eq!(all(&mut past), ["one", "two"], "nothing has been read until now");
        tell(root.path(), "three");
        assert_eq!(all(&mut early), ["three"]);
    }

    #[test]
    fn a_log_that_is_put_aside_is_read_to_its_end() {
        let root = tempfile::tempdir().expect("a directory");
        let directory = log::directory(root.path());
        let (path, aside) = log::paths(&directory);
        tell(root.path(), "one");
        let since = Window { since: Some(Timestamp::UNIX_EPOCH), ..Window::default() };
        let mut events = Events::open(&directory, since).expect("events");
        assert_eq!(all(&mut events), ["one"]);
        let mut late = std::fs::OpenOptions::new().append(true).open(&path).expect("the log");
        tell(root.path(), "two");
        std::fs::rename(&path, &aside).expect("put aside");
        tell(root.path(), "four");
        assert_eq!(all(&mut events), ["two", "four"]);
        // Who had it open before.
        let line = serde_json::to_string(&Event::new(Kind::Image, "three", "id")).expect("a line");
        std::io::Write::write_all(&mut late, format!("{line}\n").as_bytes()).expect("written");
        assert_eq!(all(&mut events), ["three"]);
        let mut again = Events::open(&directory, since).expect("events");
        assert_eq!(all(&mut again), ["one", "two", "three", "four"]);
    }
}
