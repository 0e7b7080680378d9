//! The parent's side of a launch: one clone, the maps, the child's report.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;
use rustix::thread::UnshareFlags;

use super::init::{self, Ends};
use super::plan::Plan;
use super::relay::{End, Flow};
use super::seccomp::Profile;
use super::stage::Failure;
use super::{Error, describe, socket};
use crate::bundle::{ContainerSpec, Network};
use crate::cgroup::Group;
use crate::sys::fork::{Child, Side, clone_into};
use crate::userns::{self, IdMaps};

/// What a launch needs besides the specification.
#[derive(Debug)]
pub struct Launch<'a> {
    /// What to start.
    pub spec: &'a ContainerSpec,
    /// The ids of its user namespace.
    pub ids: &'a IdMaps,
    /// The profile that the specification's filter is made from; `None` for unconfined.
    pub profile: Option<&'a Profile>,
    /// Whether the root's changes may be lost by a crash of the machine (overlayfs `volatile`):
    /// for a container that is removed when it ends.
    pub volatile: bool,
    /// The control group that it goes into before anything else.
    pub group: Option<&'a Group>,
}

/// A container's first process, which has executed its program.
#[derive(Debug)]
pub struct Running {
    pub(super) child: Child,
    pub(super) flows: Vec<Flow<'static>>,
    pub(super) terminal: Option<OwnedFd>,
}

impl Running {
    /// The first process's pid in the caller's pid namespace.
    pub fn pid(&self) -> rustix::process::Pid {
        self.child.pid
    }
}

/// A launched child whose program has yet to be executed.
#[derive(Debug)]
pub struct Starting<'a> {
    child: Child,
    report: File,
    terminal: Option<OwnedFd>,
    flows: Vec<Flow<'static>>,
    spec: &'a ContainerSpec,
}

/// Starts a container's first process. It works its way to the program while the caller goes on,
/// until `Starting::finish`.
pub fn start<'a>(launch: &Launch<'a>) -> Result<Starting<'a>, Error> {
    let spec = launch.spec;
    let plan = Plan::new(spec, launch.ids, launch.profile, launch.volatile)?;
    let (report, childs_report) = pipe()?;
    let (terminal, childs_terminal) = if spec.process.terminal {
        let (ours, childs) = socket::pair().map_err(Error::Pipe)?;
        (Some(ours), Some(childs))
    } else {
        (None, None)
    };
    let (stdio, flows) = if spec.process.terminal {
        ([None, None, None], Vec::new())
    } else {
        stdio(spec.process.interactive)?
    };
    let (maps, parent_maps) = userns::prepare(launch.ids)?;
    let group = launch.group.map(Group::entrances).transpose()?.unwrap_or_default();
    match clone_into(namespaces(spec, launch.group)) {
        Err(error) => Err(Error::Namespaces(userns::explain_refusal(error.errno))),
        Ok(Side::Child) => {
            drop((report, terminal, flows, parent_maps));
            let report = Some(File::from(childs_report));
            let size = rustix::termios::tcgetwinsize(rustix::stdio::stdin()).ok();
            let terminal = childs_terminal;
            init::become_program(&plan, Ends { maps, report, stdio, terminal, group, size })
        }
        Ok(Side::Parent(child)) => {
            drop((childs_report, childs_terminal, stdio, maps, group));
            let starting = Starting { child, report: report.into(), terminal, flows, spec };
            match parent_maps.write(starting.child.pid) {
                Ok(()) => Ok(starting),
                Err(error) => {
                    starting.abandon();
                    Err(error.into())
                }
            }
        }
    }
}

impl Starting<'_> {
    /// The first process's pid in the caller's pid namespace.
    pub fn pid(&self) -> rustix::process::Pid {
        self.child.pid
    }

    /// Waits until the program is executed, or says why it was not.
    pub fn finish(mut self) -> Result<Running, Error> {
        let terminal = match &self.terminal {
            Some(socket) => socket::receive_descriptor(socket).map_err(Error::Pipe)?,
            None => None,
        };
        match Failure::receive(&mut self.report) {
            // Closed by exec, or by a death on the way to it, which the exit status will tell.
            Ok(None) => {}
            Ok(Some(failure)) => {
                let error = describe::failure(failure, self.spec);
                self.abandon();
                return Err(error);
            }
            Err(error) => {
                self.abandon();
                return Err(Error::Report(error));
            }
        }
        let mut flows = self.flows;
        if let Some(master) = &terminal {
            flows = terminal_flows(master, self.spec.process.interactive)?;
        }
        Ok(Running { child: self.child, flows, terminal })
    }

    /// Ends a child that cannot go on.
    fn abandon(&self) {
        let _ =
            rustix::process::pidfd_send_signal(&self.child.pidfd, rustix::process::Signal::KILL);
        let id = rustix::process::WaitId::PidFd(self.child.pidfd.as_fd());
        let _ = rustix::process::waitid(id, rustix::process::WaitIdOptions::EXITED);
    }
}

fn namespaces(spec: &ContainerSpec, group: Option<&Group>) -> UnshareFlags {
    let mut all = UnshareFlags::NEWUSER
        | UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS;
    // Its root is the group that its maker is in: with one of its own the child makes it there.
    all.set(UnshareFlags::NEWCGROUP, group.is_none());
    all.set(UnshareFlags::NEWNET, spec.network == Network::None);
    all
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Error> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(Error::Pipe)
}

/// stdin, stdout and stderr of a container without a terminal.
///
/// Files and pipes are handed on as they are. A terminal is not: whoever holds it could type into
/// the caller's shell (CVE-2017-5226), so that its bytes go through pipes.
fn stdio(interactive: bool) -> Result<([Option<OwnedFd>; 3], Vec<Flow<'static>>), Error> {
    let mut flows = Vec::new();
    let stdin = if !interactive {
        let null = rustix::fs::open(c"/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        Some(null.map_err(Error::Pipe)?)
    } else if rustix::termios::isatty(rustix::stdio::stdin()) {
        let (reader, writer) = pipe()?;
        flows.push(Flow::new(End::Borrowed(rustix::stdio::stdin()), End::Owned(writer)));
        Some(reader)
    } else {
        None
    };
    let mut output = |caller: std::os::fd::BorrowedFd<'static>| -> Result<_, Error> {
        if !rustix::termios::isatty(caller) {
            return Ok(None);
        }
        let (reader, writer) = pipe()?;
        flows.push(Flow::new(End::Owned(reader), End::Borrowed(caller)));
        Ok(Some(writer))
    };
    let (stdout, stderr) = (output(rustix::stdio::stdout())?, output(rustix::stdio::stderr())?);
    Ok(([stdin, stdout, stderr], flows))
}

fn terminal_flows(master: &OwnedFd, interactive: bool) -> Result<Vec<Flow<'static>>, Error> {
    let end = || -> Result<_, Error> {
        rustix::io::fcntl_dupfd_cloexec(master, 3).map(End::Owned).map_err(Error::Pipe)
    };
    let mut flows = vec![Flow::new(end()?, End::Borrowed(rustix::stdio::stdout()))];
    if interactive {
        flows.push(Flow::new(End::Borrowed(rustix::stdio::stdin()), end()?));
    }
    Ok(flows)
}
