//! `pause`, `resume`, `update`, `events`: what a container's control group does.

use super::error::Tried;
use super::{Error, Runtime, Status};
use crate::cgroup::{Group, Resources, Stats};
use crate::oci::Digest;

impl Runtime {
    /// Stops all processes of a running container.
    pub fn pause(&self, id: &str) -> Result<(), Error> {
        self.group("pause", id, &[Status::Created, Status::Running])?.freeze().map_err(Error::from)
    }

    /// Lets the processes of a paused container go on.
    pub fn resume(&self, id: &str) -> Result<(), Error> {
        self.group("resume", id, &[Status::Paused])?.thaw().map_err(Error::from)
    }

    /// Changes limits; what is absent stays as it is.
    pub fn update(&self, id: &str, resources: &Resources) -> Result<(), Error> {
        let states = [Status::Created, Status::Running, Status::Paused];
        self.group("update", id, &states)?.update(resources).map_err(Error::from)
    }

    /// What the container has used.
    pub fn stats(&self, id: &str) -> Result<Stats, Error> {
        let states = [Status::Created, Status::Running, Status::Paused];
        Ok(self.group("tell the use of", id, &states)?.stats())
    }

    /// Waits for `patience` or the container's end; whether it has ended.
    pub fn ends_within(&self, id: &str, patience: std::time::Duration) -> Result<bool, Error> {
        let (state, _) = self.state(id)?;
        let Some(held) = state.hold() else { return Ok(true) };
        let patience = rustix::event::Timespec::try_from(patience).ok();
        let mut polled = [rustix::event::PollFd::new(&held.pidfd, rustix::event::PollFlags::IN)];
        let ready = rustix::event::poll(&mut polled, patience.as_ref()).tried("wait for", id)?;
        Ok(ready > 0)
    }

    /// What tells the groups of equal IDs below two roots apart.
    pub(super) fn group_id(&self, id: &str) -> String {
        let root = Digest::of(self.root.as_os_str().as_encoded_bytes()).to_string();
        let (_, digits) = root.split_once(':').unwrap_or_default();
        format!("{id}-{}", &digits[..12])
    }

    fn group(&self, action: &'static str, id: &str, states: &[Status]) -> Result<Group, Error> {
        let entry = self.lock(id)?;
        let (state, status) = entry.state()?;
        if !states.contains(&status) {
            return Err(Error::Status { action, id: id.to_owned(), status });
        }
        state.in_force.group.ok_or(Error::NoGroup { action, id: id.to_owned() })
    }
}
