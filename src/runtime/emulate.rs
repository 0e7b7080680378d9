//! Emulated ids and connections that are made for a container: when a launch has a supervisor, and
//! what it tells it.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::thread::CapabilitiesSecureBits;

use super::Error;
use super::program::Identity;
use super::seccomp::Program;
use crate::bundle::Process;
use crate::bundle::capabilities::CapabilitySet;
use crate::mount::RootMount;
use crate::network::Switch;
use crate::supervisor::{
    Credentials, Emulation, Entrance, Left, Meeting, Options, Powers, Seen, Supervisor, Watch,
};
use crate::userns::IdMaps;

/// A meeting with a supervisor and the way in, where there is to be one.
pub(super) fn prepare(
    ids: &IdMaps,
    process: &Process,
    root: Option<&RootMount>,
    switch: Option<&Switch>,
) -> Result<(Option<Meeting>, Option<Entrance>), Error> {
    if !ids.emulated && switch.is_none() {
        return Ok((None, None));
    }
    let directory = root.filter(|_| ids.emulated).and_then(|root| records(root).1);
    let user = ids.emulated.then(|| credentials(process));
    let (meeting, entrance) =
        Meeting::new(user.as_ref(), directory.as_deref(), switch.is_some()).map_err(Error::Pipe)?;
    Ok((Some(meeting), Some(entrance)))
}

/// What a supervisor is told that `prepare` has made a meeting for.
pub(super) fn options(
    ids: &IdMaps,
    process: &Process,
    root: Option<&RootMount>,
    switch: Option<Switch>,
    outlives: bool,
) -> Options {
    let ids = ids.emulated.then(|| Emulation {
        powers: powers(process.capabilities.bounding),
        known: root.map_or_else(Vec::new, |root| records(root).0),
    });
    Options { ids, switch, outlives }
}

/// Whom a program is to be.
fn credentials(process: &Process) -> Credentials {
    let user = &process.user;
    let mut groups = user.groups.clone();
    groups.sort_unstable();
    Credentials::of(user.uid, user.gid, groups)
}

/// The supervisor of a program, or who will call one.
#[derive(Debug)]
pub(super) enum Supervision {
    /// Somebody stays, and watches for the first call.
    Watched(Box<Watch>),
    /// It runs, until this is dropped.
    Runs(#[allow(dead_code)] Supervisor),
    /// There is none, or it is no longer needed.
    None,
}

impl Supervision {
    /// For a program that `outlives` its launcher the supervisor is forked now.
    pub(super) fn of(meeting: Meeting, options: Options) -> Result<Self, Error> {
        match options.outlives {
            true => meeting.fork(&options).map(Self::Runs).map_err(Error::Pipe),
            false => Ok(Self::Watched(Box::new(meeting.watch(options)))),
        }
    }

    /// What to poll, while nobody else does.
    pub(super) fn watched(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Watched(watch) => Some(watch.descriptor()),
            Self::Runs(_) | Self::None => None,
        }
    }

    /// Looks at a descriptor that is ready, by `events`. Where all processes have ended that were watched,
    /// what is left of them.
    pub(super) fn look(&mut self, events: PollFlags) -> Result<Option<Left>, Errno> {
        let mut left = None;
        *self = match std::mem::replace(self, Self::None) {
            Self::Watched(watch) => match watch.look(events.contains(PollFlags::IN))? {
                Seen::Quiet(watch) => Self::Watched(Box::new(watch)),
                Seen::Called(supervisor) => Self::Runs(supervisor),
                Seen::Nobody => Self::None,
                Seen::Ended(ended) => {
                    left = Some(ended);
                    Self::None
                }
            },
            other => other,
        };
        Ok(left)
    }

    /// Looks until `other` is ready; `idle` is called when something has come, and more will not for a while.
    pub(super) fn watch_until(
        &mut self,
        other: impl AsFd,
        idle: &mut dyn FnMut(),
    ) -> Result<(), Errno> {
        while let Some(watched) = self.watched() {
            let mut polled = [
                PollFd::new(&other, PollFlags::IN),
                PollFd::from_borrowed_fd(watched, PollFlags::IN),
            ];
            match rustix::event::poll(&mut polled, None) {
                Err(Errno::INTR) => continue,
                result => result?,
            };
            let [other, watched] = polled.map(|polled| polled.revents());
            if !watched.is_empty() {
                self.look(watched)?;
                idle();
            } else if !other.is_empty() {
                break;
            }
        }
        Ok(())
    }
}

fn powers(held: CapabilitySet) -> Powers {
    let holds = |name| CapabilitySet::named(name).is_some_and(|one| held.contains(one));
    Powers {
        set_user: holds("CAP_SETUID"),
        set_group: holds("CAP_SETGID"),
        chown: holds("CAP_CHOWN"),
        make_nodes: holds("CAP_MKNOD"),
    }
}

/// `owners` beside each layer's files, and the container's own, which lies beside its `upper`.
fn records(root: &RootMount) -> (Vec<PathBuf>, Option<PathBuf>) {
    let beside = |path: &Path| path.parent().map(Path::to_owned);
    let (layers, own): (Vec<_>, _) = match root {
        RootMount::Overlay { lowers, upper, .. } | RootMount::Union { lowers, upper, .. } => {
            (lowers.iter().rev().filter_map(|lower| beside(lower)).collect(), beside(upper))
        }
        RootMount::Directory(path) => (Vec::new(), beside(path)),
    };
    let known = layers.iter().chain(&own).map(|directory| directory.join("owners")).collect();
    (known, own)
}

/// Puts the container's first process under supervision, and by the same filter under `profile`, if these two
/// can be one: `true`, where that is so. Where there can be none, root goes on
/// without it: said once, on the container's own stderr, as who launches has no word of it.
pub(super) fn enter(
    entrance: Option<Entrance>,
    identity: &Identity,
    programs: &[CString],
    profile: Option<&Program>,
) -> Result<bool, Errno> {
    const WITHOUT: &[u8] =
        b"coracle: ids are not emulated here (no seccomp notification): chown and setuid will fail\n";
    let Some(mut entrance) = entrance else { return Ok(false) };
    match entrance.enter(programs, profile.map(Program::instructions)) {
        other if entrance.is_for_connections() => other,
        // A supervisor outside, most likely this one's own kind, answers for this container too.
        Err(Errno::BUSY) if identity.uid == 0 => Ok(false),
        Err(Errno::NOSYS | Errno::INVAL) if identity.uid == 0 => {
            let _ = rustix::io::write(rustix::stdio::stderr(), WITHOUT);
            Ok(false)
        }
        other => other,
    }
}

/// To the kernel every process is root, which an exec would give all of root's capabilities; a
/// container that starts as someone else gets none (capabilities(7), "securebits").
pub(super) fn keep_from_root(identity: &Identity) -> Result<(), Errno> {
    if identity.uid == 0 {
        return Ok(());
    }
    rustix::thread::set_capabilities_secure_bits(CapabilitiesSecureBits::NO_ROOT)
}
