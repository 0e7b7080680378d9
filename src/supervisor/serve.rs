//! The loop: one call after another, from arrival to answer.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::io::Errno;

use super::call::{Call, Calls, File};
use super::connect::Connections;
use super::ids::{Credentials, Powers};
use super::links::Links;
use super::name::Name;
use super::people::{People, RESOURCE, Tag};
use crate::sys::notify::{self, Answer, Listener, Notification};

/// All that the supervisor knows.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) listener: Listener,
    calls: Calls,
    pub(super) people: People,
    pub(super) powers: Powers,
    pub(super) links: Links,
    /// Who makes connections, where that is done.
    connections: Option<Connections>,
    /// The path of the call in work.
    pub(super) name: Name,
    /// The container's root directory and the host's /proc.
    root: OwnedFd,
    proc: OwnedFd,
    /// Whether anyone ever changed its root; until then no tag is read for a path.
    anyone_elsewhere: bool,
}

/// Either an answer that is still to be given, or the word that it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    Answer(Answer),
    Answered,
}

impl From<Answer> for Done {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

/// The kernel carries the call out, and finds for itself what is wrong with it.
pub(super) const CONTINUE: Done = Done::Answer(Answer::Continue);

pub(super) fn value(value: impl Into<i64>) -> Done {
    Done::Answer(Answer::Value(value.into()))
}

pub(super) fn refuse(errno: Errno) -> Done {
    Done::Answer(Answer::Error(errno))
}

impl Server {
    pub(super) fn new(
        listener: Listener,
        root: OwnedFd,
        proc: OwnedFd,
        people: People,
        powers: Powers,
        links: Links,
        connections: Option<Connections>,
    ) -> Self {
        Self {
            listener,
            calls: Calls::new(),
            people,
            powers,
            links,
            connections,
            name: Name::new(),
            root,
            proc,
            anyone_elsewhere: false,
        }
    }

    /// Answers `first`, and all that come, until every process of the container is gone.
    pub(super) fn serve(&mut self, first: Option<Notification>) {
        let mut next = first.map_or_else(|| self.next(), Ok);
        loop {
            match next {
                Ok(call) => {
                    if let Done::Answer(answer) = self.handle(&call) {
                        // Who died meanwhile needs no answer.
                        let _ = self.listener.answer(call.id, answer);
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::NOENT) if !self.listener.has_hung_up() => {}
                Err(_) => return,
            }
            next = self.next();
        }
    }

    /// Waits for a call; meanwhile those are attended to that wait for a connection.
    fn next(&mut self) -> Result<Notification, Errno> {
        if let Some(connections) = &mut self.connections {
            connections.attend(&self.listener);
        }
        self.listener.receive()
    }

    fn handle(&mut self, call: &Notification) -> Done {
        let Some(meaning) = self.calls.get(call.number) else { return CONTINUE };
        match meaning {
            Call::Stat { file, to } => {
                self.with_path(call, file, |it, follow| it.stat(call, follow, call.arguments[to]))
            }
            Call::Statx => {
                let file = File::At { directory: 0, path: 1, flags: Some(2) };
                self.with_path(call, file, |it, follow| it.statx(call, follow))
            }
            Call::Chown { file, ids } => {
                self.with_path(call, file, |it, follow| it.chown(call, follow, ids))
            }
            Call::Id { whose, effective } => self.id(call, whose, effective),
            Call::Ids(whose) => self.three_ids(call, whose),
            Call::Groups => self.groups(call),
            Call::Set(_) | Call::SetTwo(_) | Call::SetThree(_) | Call::SetFileSystem(_) => {
                self.become_other(call, meaning)
            }
            Call::SetGroups => self.set_groups(call),
            Call::Node { file, mode } => {
                self.with_path(call, file, |it, _| it.make_node(call, mode))
            }
            Call::Open { file, flags } => self.open(call, file, flags),
            Call::Create => self.create(call),
            Call::Directory { file, mode } => self.make_directory(call, file, mode),
            Call::Symlink { file } => self.make_link(call, file),
            Call::Bind => self.bind(call),
            Call::Connect => match &mut self.connections {
                Some(connections) => connections.connect(&self.listener, call),
                None => CONTINUE,
            },
            Call::SetOption => match &mut self.connections {
                Some(connections) => connections.set_option(call),
                None => CONTINUE,
            },
            Call::Execute { file } => {
                self.with_path(call, file, |it, follow| it.execute(call, follow))
            }
            Call::Peer => self.peer(call),
            Call::KeepPowers => self.keep_powers(call),
            Call::Powers => self.get_powers(call),
            Call::SetPowers => self.set_powers(call),
            Call::Leave { roots } => self.leave(call, roots),
            Call::Limit { old } => limit(call, old),
        }
    }

    /// Finds the path of a call and does `work` with it, in the caller's root directory.
    pub(super) fn with_path(
        &mut self,
        call: &Notification,
        file: File,
        work: impl FnOnce(&mut Self, bool) -> Done,
    ) -> Done {
        let Ok(follow) = self.name.locate(call, file) else { return CONTINUE };
        if !self.anyone_elsewhere || !Self::tag(call).is_ok_and(|(tag, _)| tag.elsewhere) {
            return work(self, follow);
        }
        if rustix::process::chroot(format!("{}/root", call.thread)).is_err() {
            return CONTINUE;
        }
        let done = work(self, follow);
        if self.return_home().is_err() {
            // Nothing here may happen in a root that is not known.
            crate::sys::fork::exit(1);
        }
        done
    }

    /// Back to the container's root, with the host's /proc as working directory.
    fn return_home(&self) -> Result<(), Errno> {
        rustix::process::fchdir(&self.root)?;
        rustix::process::chroot(c".")?;
        rustix::process::fchdir(&self.proc)
    }

    /// The caller's tag, and the hard limit that stays as it is.
    pub(super) fn tag(call: &Notification) -> Result<(Tag, u64), Errno> {
        let (soft, hard) = notify::limit(call.thread, RESOURCE)?;
        Ok((Tag::read(soft), hard))
    }

    /// Who the caller is.
    pub(super) fn caller(&mut self, call: &Notification) -> Result<Rc<Credentials>, Errno> {
        Ok(self.people.get(Self::tag(call)?.0))
    }

    /// Tags the caller, if it still waits: a dead one's pid may be another's.
    pub(super) fn set_tag(&self, call: &Notification, tag: Tag, hard: u64) -> Result<(), Errno> {
        if !self.listener.is_waiting(call.id) {
            return Err(Errno::SRCH);
        }
        notify::set_limit(call.thread, RESOURCE, tag.limit(), hard)
    }

    /// From now on the caller's paths may not be the supervisor's. `roots`: only root may do it; who
    /// made a user namespace of its own may unshare(2) the rest as well.
    fn leave(&mut self, call: &Notification, roots: bool) -> Done {
        let Ok((tag, hard)) = Self::tag(call) else { return CONTINUE };
        if roots && !tag.elsewhere && !self.people.get(tag).is_root() {
            return refuse(Errno::PERM);
        }
        self.anyone_elsewhere = true;
        if !tag.elsewhere {
            let _ = self.set_tag(call, Tag { elsewhere: true, ..tag }, hard);
        }
        CONTINUE
    }

    /// Writes an answer into the caller's memory, if it still waits.
    pub(super) fn write(&self, call: &Notification, address: u64, bytes: &[u8]) -> Done {
        if !self.listener.is_waiting(call.id) {
            return refuse(Errno::SRCH);
        }
        match notify::write_memory(call.thread, address, bytes) {
            Ok(()) => value(0),
            Err(_) => refuse(Errno::FAULT),
        }
    }
}

/// The limit that is the tag looks as it does anywhere else, and what is set is forgotten.
fn limit(call: &Notification, old: Option<usize>) -> Done {
    let address = old.map_or(0, |at| call.arguments[at]);
    if address == 0 {
        return value(0);
    }
    match notify::write_memory(call.thread, address, &[u8::MAX; 16]) {
        Ok(()) => value(0),
        Err(_) => refuse(Errno::FAULT),
    }
}
