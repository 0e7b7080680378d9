//! The processes of a container.

use rustix::process::Pid;

use super::error::Tried;
use super::state::Held;
use super::{Error, Runtime, Status};

impl Runtime {
    /// The pids of a container's processes in the caller's pid namespace.
    pub fn pids(&self, id: &str) -> Result<Vec<Pid>, Error> {
        let (state, status) = self.state(id)?;
        match (status, state.hold()) {
            (Status::Created | Status::Running, Some(held)) => processes(&held),
            _ => Err(Error::Status { action: "list the processes of", id: id.to_owned(), status }),
        }
    }
}

/// All processes of a container.
pub(super) fn processes(held: &Held) -> Result<Vec<Pid>, Error> {
    super::super::processes::processes_of(held.pid).tried("list", "/proc")
}
