//! `cp`: a child in the container at one end of a pipe, this process or a stream at the other.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::pipe::PipeFlags;

use super::inside::{Inside, unlimited};
use super::target::{Goes, Refusal, Target, What, plan};
use crate::bundle::{Hooks, Labels, Request, SeccompChoice, Sharing};
use crate::container::{Directory, Record};
use crate::engine::{Engine, Error};
use crate::layer::{Extraction, Name, Scope, write_tree};
use crate::owners::Owners;
use crate::runtime::{self, Attachment, HookState, Launch, Running};
use crate::sys::fork::Child;

/// Which container, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InContainer {
    /// The container, by name or ID.
    pub container: String,
    /// The path, from its root.
    pub path: String,
}

/// The other side of a copy.
#[derive(Debug)]
pub enum Outside<'a> {
    /// A file or directory of the host.
    Path(&'a Path),
    /// An archive.
    Stream,
}

/// How files are copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyOptions {
    /// `--archive`: with their owners.
    pub archive: bool,
    /// `--follow-link`: what a link leads to, in its place.
    pub follow: bool,
}

/// A child at work in a container.
#[derive(Debug)]
enum Errand {
    /// That runs.
    In(Child),
    /// That does not, and is held until then.
    Before(Box<Running>, Directory),
}

impl Errand {
    fn end(self) -> Result<u8, Error> {
        match self {
            Self::In(child) => Ok(child.wait().map_err(runtime::Error::Pipe)?),
            Self::Before(running, directory) => {
                let ended = running.end_of_errand();
                drop(directory);
                Ok(ended?)
            }
        }
    }
}

impl Engine {
    /// Copies out of a container; gives the bytes of what was copied.
    pub fn copy_out(
        &self,
        from: &InContainer,
        to: &Outside<'_>,
        options: CopyOptions,
    ) -> Result<u64, Error> {
        let (data, sends) = pipe()?;
        let (says, tells) = pipe()?;
        let mut ours = Some((data, says));
        let errand = self.errand(&from.container, |owners, container| {
            drop(ours.take()); // or nothing would tell it that nobody reads any more
            let inside = Inside { container, path: &from.path, owners };
            let tells = File::from(duplicate(&tells));
            let say = |what: &What| tell(&tells, if what.is_directory { "d" } else { "f" });
            match inside.send(options.follow, say, File::from(duplicate(&sends))) {
                Ok(()) => 0,
                // Who has gone knows why.
                Err(error) if error.is_broken_pipe() => 1,
                Err(error) => {
                    tell(&tells, &format!("!{error}"));
                    1
                }
            }
        })?;
        drop((sends, tells));
        let Some((data, says)) = ours else { return Err(lost(0)) };
        let mut says = File::from(says);
        let mut first = [0];
        let kind = match says.read(&mut first) {
            Ok(1) => first[0],
            _ => 0,
        };
        let moved = match kind {
            b'd' | b'f' => receive(File::from(data), from, to, options, kind == b'd'),
            _ => {
                drop(data);
                Ok(0)
            }
        };
        let mut why = String::new();
        let _ = says.read_to_string(&mut why);
        let code = errand.end()?;
        let why = if kind == b'!' { why } else { why.trim_start_matches('!').to_owned() };
        match (moved, code) {
            // An archive that the child has broken off.
            (Err(Error::Layer(_)), 1) if !why.is_empty() => Err(Error::InContainer { why }),
            (Err(error), _) => Err(error),
            (Ok(bytes), 0) => Ok(bytes),
            (Ok(_), _) if why.is_empty() => Err(lost(code)),
            (Ok(_), _) => Err(Error::InContainer { why }),
        }
    }

    /// Copies into a container; gives the bytes of what was copied.
    pub fn copy_in(
        &self,
        from: &Outside<'_>,
        to: &InContainer,
        options: CopyOptions,
    ) -> Result<u64, Error> {
        let local = match from {
            Outside::Path(path) => Some(Local::source(path, options.follow)?),
            Outside::Stream => None,
        };
        let (receives, data) = pipe()?;
        let (says, tells) = pipe()?;
        let mut ours = Some(data);
        let errand = self.errand(&to.container, |owners, container| {
            drop(ours.take()); // or the end would never be seen
            let inside = Inside { container, path: &to.path, owners };
            let what = local.as_ref().map(|local| &local.what);
            let from = File::from(duplicate(&receives));
            let tells = File::from(duplicate(&tells));
            match inside.receive(what, options.archive, from) {
                Ok(bytes) => {
                    tell(&tells, &bytes.to_string());
                    0
                }
                Err(error) => {
                    tell(&tells, &error.to_string());
                    1
                }
            }
        })?;
        drop((receives, tells));
        let sent = match ours.take() {
            Some(data) => send(File::from(data), local.as_ref()),
            None => Ok(()),
        };
        let mut word = String::new();
        let _ = File::from(says).read_to_string(&mut word);
        match (errand.end()?, sent) {
            (0, Ok(())) => Ok(word.parse().unwrap_or_default()),
            (1, _) if !word.is_empty() => Err(Error::InContainer { why: word }),
            (_, Err(error)) => Err(error),
            (code, Ok(())) => Err(lost(code)),
        }
    }

    /// Does `work` in a container: where it runs, or where it would. It is told how the container's
    /// files carry their owners, and the container's name.
    fn errand(&self, query: &str, work: impl FnOnce(Owners, &str) -> u8) -> Result<Errand, Error> {
        let record = self.container_named(query)?;
        let engine = match self.containers.creation(&record) {
            Ok(creation) => self.as_made(&record, &creation)?,
            Err(_) => self.as_it_runs(&record)?,
        };
        let owners = engine.owners()?;
        match self.take_stopped(&record.id)? {
            None => {
                let held = self.hold(&record.id)?;
                let child = runtime::errand_in(held.pid, &held.pidfd, || work(owners, query))?;
                Ok(Errand::In(child))
            }
            Some((record, directory)) => {
                let running = engine.errand_before(&record, &directory, || work(owners, query))?;
                Ok(Errand::Before(Box::new(running), directory))
            }
        }
    }

    fn errand_before(
        &self,
        record: &Record,
        directory: &Directory,
        work: impl FnOnce() -> u8,
    ) -> Result<Running, Error> {
        let creation = self.containers.creation(record)?;
        let mut request = crate::engine::life::request(record, &creation);
        request.container = alone(request.container);
        let mut prepared = self.prepare_again(&request, record, directory)?;
        // A container that was never started has none.
        crate::engine::run::write_files(&directory.path, &prepared.etc)?;
        let spec = &mut prepared.spec;
        (spec.hooks, spec.seccomp) = (Hooks::default(), SeccompChoice::Unconfined);
        spec.process.cwd = PathBuf::from("/");
        spec.process.labels = Labels::default();
        prepared.ids.emulated = false;
        let launch = Launch {
            spec: &prepared.spec,
            ids: &prepared.ids,
            profile: None,
            volatile: false,
            attachment: Attachment { silent: true, ..Attachment::default() },
            gate: None,
            no_pivot: false,
            group: None,
            network: None,
            state: &HookState::default(),
        };
        Ok(runtime::errand_before(&launch, work)?)
    }
}

/// The container's files and mounts, and nothing else of it: what it shares may not be there.
fn alone(request: Request) -> Request {
    let none = Request::default();
    Request {
        network: Some(Sharing::None),
        pid: Sharing::Private,
        ipc: Sharing::Private,
        uts: Sharing::Private,
        cgroup: Sharing::Private,
        user_of: None,
        user: Some("0".to_owned()),
        tty: false,
        interactive: false,
        init: false,
        privileged: false,
        group_add: Vec::new(),
        oom_score_adj: None,
        ulimits: none.ulimits,
        resources: none.resources,
        cgroups: none.cgroups,
        sysctls: none.sysctls,
        security: none.security,
        ..request
    }
}

/// A file or directory of the host that is copied.
struct Local {
    parent: OwnedFd,
    last: std::ffi::CString,
    what: What,
}

impl Local {
    fn source(path: &Path, follow: bool) -> Result<Self, Error> {
        let failed = |source: io::Error| {
            let why = match source.kind() {
                io::ErrorKind::NotFound => "no such file or directory".to_owned(),
                io::ErrorKind::NotADirectory => "not a directory".to_owned(),
                _ => source.to_string(),
            };
            Error::InContainer { why: format!("lstat {}: {why}", path.display()) }
        };
        let mut what = What::of(path.as_os_str().as_bytes());
        let follows = follow || what.asserts_directory;
        let found = if follows { path.metadata() } else { path.symlink_metadata() };
        what.is_directory = found.map_err(failed)?.is_dir();
        if what.asserts_directory && !what.is_directory {
            let path = path.display().to_string();
            return Err(Error::InContainer { why: Refusal::NotADirectory { path }.to_string() });
        }
        // A link to a directory is opened as what it leads to: `.` in it is no link.
        let (parent, last) = match follows {
            true if what.is_directory => (path.to_owned(), OsStr::new(".").to_owned()),
            true => split(&path.canonicalize().map_err(failed)?),
            false => split(&std::path::absolute(path).map_err(failed)?),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = rustix::fs::openat(CWD, &parent, flags, Mode::empty());
        let parent = parent.map_err(|errno| failed(errno.into()))?;
        let last = std::ffi::CString::new(last.as_bytes()).map_err(|error| failed(error.into()))?;
        if what.base.is_empty() && path.as_os_str().as_bytes().ends_with(b"..") {
            let name = path.canonicalize().map_err(failed)?;
            what.base = name.file_name().unwrap_or_default().as_bytes().to_vec();
        }
        Ok(Self { parent, last, what })
    }
}

fn split(path: &Path) -> (PathBuf, std::ffi::OsString) {
    let parent = path.parent().unwrap_or(Path::new("/")).to_owned();
    (parent, path.file_name().unwrap_or(OsStr::new(".")).to_owned())
}

/// Sends what is copied into the container.
fn send(mut to: File, local: Option<&Local>) -> Result<(), Error> {
    let Some(Local { parent, last, what }) = local else {
        let done = io::copy(&mut io::stdin().lock(), &mut to);
        return done.map(drop).map_err(|source| stream("read the archive from", source));
    };
    // On the host files are whose they are.
    let owners = Owners::Range { first: 0 };
    let to = BufWriter::with_capacity(256 << 10, to);
    write_tree(parent, last, &what.name(), owners, to)?;
    Ok(())
}

/// Takes what comes out of the container.
fn receive(
    mut data: File,
    from: &InContainer,
    to: &Outside<'_>,
    options: CopyOptions,
    is_directory: bool,
) -> Result<u64, Error> {
    let path = match to {
        Outside::Stream => {
            let done = io::copy(&mut data, &mut io::stdout().lock());
            return done.map_err(|source| stream("write the archive to", source));
        }
        Outside::Path(path) => *path,
    };
    let what = What { is_directory, ..What::of(from.path.as_bytes()) };
    let refused = |refusal: Refusal| Error::InContainer { why: refusal.to_string() };
    let found = path.metadata();
    let target = Target {
        exists: found.is_ok(),
        is_directory: found.as_ref().is_ok_and(std::fs::Metadata::is_dir),
        asserts_directory: What::of(path.as_os_str().as_bytes()).asserts_directory,
        path: path.display().to_string(),
    };
    if found.is_ok_and(|it| !it.is_dir() && !it.is_file()) {
        return Err(refused(Refusal::Device));
    }
    let (directory, rename) = match plan(&what, &target).map_err(refused)? {
        Goes::Into => (path.to_owned(), Default::default()),
        Goes::As => {
            let path = match target.exists {
                // The file that a link leads to is replaced, not the link.
                true => path.canonicalize(),
                false => std::path::absolute(path),
            };
            let path = path.map_err(|source| stream("find the place for", source))?;
            let (parent, last) = split(&path);
            (parent, (what.name(), Name::default().join(last.as_bytes())))
        }
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(CWD, &directory, flags, Mode::empty());
    let opened = opened.map_err(|_| Error::InContainer {
        why: format!("invalid output path: directory \"{}\" does not exist", directory.display()),
    })?;
    let extraction = Extraction {
        scope: Scope::Beneath(opened),
        rename,
        owners: None,
        keep_owners: options.archive,
        limits: unlimited(),
    };
    let mut data = BufReader::with_capacity(256 << 10, data);
    Ok(extraction.extract(&mut data)?)
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Error> {
    let pipe = rustix::pipe::pipe_with(PipeFlags::CLOEXEC);
    pipe.map_err(|errno| Error::Runtime(runtime::Error::Pipe(errno)))
}

/// In a child of its own: it has nothing to do without.
fn duplicate(descriptor: &OwnedFd) -> OwnedFd {
    match descriptor.try_clone() {
        Ok(copy) => copy,
        Err(_) => crate::sys::fork::exit(2),
    }
}

/// Says a word to who waits for the errand; who has gone does not miss it.
fn tell(mut to: &File, word: &str) {
    let _ = to.write_all(word.as_bytes());
}

fn stream(action: &'static str, source: io::Error) -> Error {
    Error::Io { action, path: PathBuf::from("-"), source }
}

fn lost(code: u8) -> Error {
    let why = match code {
        2..=124 => rustix::io::Errno::from_raw_os_error(code.into()).to_string(),
        _ => format!("it ended with {code}"),
    };
    Error::Child { what: "copy in the container".to_owned(), why }
}
