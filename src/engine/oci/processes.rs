//! The processes of a container.

use rustix::process::Pid;

use super::super::processes::processes_of;
use super::error::Tried;
use super::{Error, Runtime, Status};

impl Runtime {
    /// The pids of a container's processes in the caller's pid namespace.
    pub fn pids(&self, id: &str) -> Result<Vec<Pid>, Error> {
        let (state, status) = self.state(id)?;
        match (status, state.hold()) {
            (Status::Created | Status::Running, Some(held)) => {
                processes_of(held.pid).tried("list", "/proc")
            }
            _ => Err(Error::Status { action: "list the processes of", id: id.to_owned(), status }),
        }
    }
}
