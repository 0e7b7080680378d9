//! The agent that answers for a profile's `SCMP_ACT_NOTIFY`: it is handed the filter's listener, with the
//! state of the process (runtime-spec, config-linux.md, "The Container Process State").
//!
//! ```text
//! launching coracle ── connects to listenerPath ── clone ──► process: filter ─ listener by SCM_RIGHTS ─┐
//!                      agent ◄── state, listener ◄──────────────────────────────────────────────────────┘
//! ```

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::Pid;
use serde_json::json;

use super::hooks::HookState;
use super::seccomp::{self, Profile};
use super::{Error, socket};
use crate::sys;

/// A connection to the agent, and where the listener comes from.
#[derive(Debug)]
pub(super) struct Agent {
    path: PathBuf,
    metadata: Option<String>,
    agents: OwnedFd,
    listeners: OwnedFd,
}

impl Agent {
    /// Connects to a profile's agent, where it has one; the other socket is for the process that will load the
    /// filter. `supervised`: it has a listener of coracle's own.
    pub(super) fn meet(
        profile: Option<&Profile>,
        supervised: bool,
    ) -> Result<Option<(Self, OwnedFd)>, Error> {
        let Some(seccomp::Agent { path, metadata }) = profile.and_then(Profile::agent) else {
            return Ok(None);
        };
        if supervised {
            return Err(Error::ListenerTaken);
        }
        let failed = |errno| Error::Agent { path: path.clone(), errno };
        let (listeners, childs) = socket::pair().map_err(Error::Pipe)?;
        let agents = connect(path).map_err(failed)?;
        let agent = Self { path: path.clone(), metadata: metadata.clone(), agents, listeners };
        Ok(Some((agent, childs)))
    }

    /// Waits for the listener of the process `pid` and hands it on. `container` is the first process of the
    /// container that it has joined, if it is not that itself. A process that failed before sends none.
    pub(super) fn hand_on(
        &self,
        state: &HookState,
        pid: Pid,
        container: Option<Pid>,
    ) -> Result<(), Error> {
        let listener = socket::receive_descriptor(&self.listeners).map_err(Error::Pipe)?;
        let Some(listener) = listener else { return Ok(()) };
        let number = |pid: Pid| pid.as_raw_nonzero().get();
        let status = if container.is_some() { "running" } else { "creating" };
        let told = json!({
            "ociVersion": "1.2.0",
            "fds": ["seccompFd"],
            "pid": number(pid),
            "metadata": self.metadata.as_deref().unwrap_or_default(),
            "state": state.value(status, Some(number(container.unwrap_or(pid)))),
        });
        socket::send_with(&self.agents, told.to_string().as_bytes(), &listener)
            .map_err(|errno| Error::Agent { path: self.path.clone(), errno })
    }
}

fn connect(path: &Path) -> Result<OwnedFd, Errno> {
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(directory.unwrap_or(Path::new(".")), flags, Mode::empty())?;
    let name = path.file_name().ok_or(Errno::ISDIR)?;
    let address = sys::socket::address_in(&opened, name)?;
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket)
}
