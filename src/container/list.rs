//! All records at once: `ps` reads a thousand of them before anybody notices.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;
use serde::de::DeserializeOwned;

use super::directory::lock;
use super::error::Tried;
use super::link::id_at;
use super::{Containers, Error, Name, Record, Remains, Status, VERSION};
use crate::sys::scratch::is_at;

/// Fewer are read in the time that a thread takes to start.
const ENOUGH_FOR_THREADS: usize = 64;

/// What there is, readable or not.
#[derive(Debug)]
pub struct Survey<C> {
    /// The records that were asked for and what each is now, the newest first.
    pub records: Vec<(Record<C>, Status)>,
    /// The directories that a sweep would look at: no container, or one that should be gone.
    pub abandoned: Vec<String>,
    /// Containers whose records cannot be read, with the reason; they do not hide the others.
    pub unreadable: Vec<(String, Error)>,
}

impl Containers {
    /// All records, the newest first. A directory without a record is a container in the making or the
    /// rest of one, and no container. Who asks wants to know what is in use: where one cannot be read,
    /// nobody does.
    pub fn list(&self) -> Result<Vec<Record>, Error> {
        let mut records: Vec<Record> = Vec::new();
        let mut reader = Reader::open(self)?;
        for id in self.ids()? {
            records.extend(reader.read(&id)?);
        }
        records.sort_unstable_by(|one, other| when_made(other).cmp(&when_made(one)));
        Ok(records)
    }

    /// What there is, readable or not: for lists. Of a long one only what is `wanted` is kept; it is
    /// read by a thread for each processor.
    pub fn survey<C: DeserializeOwned + Send>(
        &self,
        wanted: &(dyn Fn(&Record<C>, Status) -> bool + Sync),
    ) -> Result<Survey<C>, Error> {
        let ids = self.ids()?;
        let threads = match ids.len() {
            0..ENOUGH_FOR_THREADS => 1,
            _ => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        };
        let (first, rest) = ids.split_at(ids.len().div_ceil(threads));
        let parts = std::thread::scope(|scope| {
            let others: Vec<_> = rest
                .chunks(first.len().max(1))
                .map(|ids| scope.spawn(|| self.survey_of(ids, wanted)))
                .collect();
            let mut parts = vec![self.survey_of(first, wanted)];
            parts.extend(others.into_iter().map(|other| {
                other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }));
            parts
        });
        let mut survey =
            Survey { records: Vec::new(), abandoned: Vec::new(), unreadable: Vec::new() };
        let mut records = Vec::with_capacity(ids.len());
        for part in parts {
            let part = part?;
            records.extend(part.records.into_iter().map(Some));
            survey.abandoned.extend(part.abandoned);
            survey.unreadable.extend(part.unreadable);
        }
        // Their places are sorted, as a record is large, and each is moved once.
        let mut places: Vec<usize> = (0..records.len()).collect();
        let at = |place: usize| records[place].as_ref().map(|(record, _)| when_made(record));
        places.sort_unstable_by(|one, other| at(*other).cmp(&at(*one)));
        survey.records = places.iter().filter_map(|place| records[*place].take()).collect();
        Ok(survey)
    }

    fn survey_of<C: DeserializeOwned>(
        &self,
        ids: &[String],
        wanted: &(dyn Fn(&Record<C>, Status) -> bool + Sync),
    ) -> Result<Survey<C>, Error> {
        // Room for all of them at once: none is moved for the others.
        let records = Vec::with_capacity(ids.len());
        let mut survey = Survey { records, abandoned: Vec::new(), unreadable: Vec::new() };
        let mut reader = Reader::open(self)?;
        for id in ids {
            match reader.read(id) {
                Ok(Some(record)) => match record.status() {
                    status if record.is_abandoned_by(status) => survey.abandoned.push(id.clone()),
                    status if wanted(&record, status) => survey.records.push((record, status)),
                    _ => {}
                },
                Ok(None) => survey.abandoned.push(id.clone()),
                Err(error) => survey.unreadable.push((id.clone(), error)),
            }
        }
        Ok(survey)
    }

    /// The names of all directories.
    pub(super) fn ids(&self) -> Result<Vec<String>, Error> {
        let entries = match std::fs::read_dir(&self.records) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.tried("list", &self.records)?,
        };
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
        };
        entries.map(name).collect::<Result<_, _>>().tried("list", &self.records)
    }

    pub(super) fn read<C: DeserializeOwned>(&self, id: &str) -> Result<Option<Record<C>>, Error> {
        Reader::open(self)?.read(id)
    }

    /// Takes a container whose record cannot be read out of the list, as `detach` does: by its name,
    /// its ID, or the beginning of that. What runs of it, runs in the care of who holds it.
    pub fn detach_unreadable(&self, query: &str) -> Result<Remains, Error> {
        let missing = || Error::NoSuchContainer { query: query.to_owned() };
        let named = query.parse::<Name>().ok();
        let named = named.and_then(|name| id_at(&self.names.join(name.as_str())).ok());
        let id = if let Some(id) = named {
            id
        } else {
            let mut ids = self.ids()?.into_iter().filter(|id| id.starts_with(query));
            match (ids.next(), ids.next()) {
                (Some(id), None) => id,
                (Some(_), Some(_)) => return Err(Error::Ambiguous { query: query.to_owned() }),
                (None, _) => return Err(missing()),
            }
        };
        let path = self.records.join(&id);
        let busy = || Error::Busy { name: query.to_owned() };
        let lock = lock(&path)?.filter(|lock| is_at(lock, &path)).ok_or_else(busy)?;
        let path = self.detach_locked(&id, &id, &path)?;
        // Its record would say by which name it went.
        for entry in std::fs::read_dir(&self.names).into_iter().flatten().flatten() {
            let link = entry.path();
            if id_at(&link).is_ok_and(|owner| owner == id) {
                match unlinkat(CWD, &link, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(errno) => return Err(errno).tried("free the name", link),
                }
            }
        }
        Ok(Remains { path, unmade: None, _lock: lock })
    }
}

/// What lists are ordered by, the last first.
fn when_made<C>(record: &Record<C>) -> (&str, &str) {
    (&record.created, &record.id)
}

/// Reads record after record, with one directory and one buffer.
struct Reader<'a> {
    containers: &'a Containers,
    /// None where there is no container yet.
    directory: Option<OwnedFd>,
    buffer: Vec<u8>,
}

impl<'a> Reader<'a> {
    fn open(containers: &'a Containers) -> Result<Self, Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = match rustix::fs::open(&containers.records, flags, Mode::empty()) {
            Err(Errno::NOENT) => None,
            other => Some(other.tried("open", &containers.records)?),
        };
        Ok(Self { containers, directory, buffer: Vec::new() })
    }

    fn read<C: DeserializeOwned>(&mut self, id: &str) -> Result<Option<Record<C>>, Error> {
        let Some(directory) = &self.directory else { return Ok(None) };
        let path = || self.containers.records.join(id).join("record.json");
        let name = format!("{id}/record.json");
        let file = match openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(file) => file,
            // A stray file among the directories is none of ours.
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            failed => failed.tried("read", path())?,
        };
        if self.buffer.is_empty() {
            self.buffer = vec![0; 16 << 10]; // by calloc(3), and not byte by byte
        }
        let mut length = 0;
        // A read of a file that comes short has come to its end.
        loop {
            match rustix::io::read(&file, &mut self.buffer[length..]) {
                Ok(read) => length += read,
                Err(Errno::INTR) => continue,
                failed => length += failed.tried("read", path())?,
            }
            if length < self.buffer.len() {
                break;
            }
            self.buffer.resize(2 * length, 0);
        }
        parse(id, &self.buffer[..length], path)
    }
}

fn parse<C: DeserializeOwned>(
    id: &str,
    bytes: &[u8],
    path: impl FnOnce() -> std::path::PathBuf,
) -> Result<Option<Record<C>>, Error> {
    let newer = |version| Error::Newer { id: id.to_owned(), version };
    let version = |value: serde_json::Value| value.get("version")?.as_u64();
    match Record::parse(bytes) {
        Ok(record) if record.version == VERSION => Ok(Some(record)),
        Ok(record) => Err(newer(record.version)),
        Err(source) => match serde_json::from_slice(bytes).ok().and_then(version) {
            Some(found) if found > u64::from(VERSION) => {
                Err(newer(u32::try_from(found).unwrap_or(u32::MAX)))
            }
            _ => Err(Error::Damaged { path: path(), source }),
        },
    }
}
