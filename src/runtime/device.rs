//! Errands in the network of a container that runs already, by a process that joins it.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{Error, namespace_of};
use crate::bundle::NsKind;
use crate::network::{LinkPlan, Meeting, abort_connections};
use crate::sys::fork;

/// Makes the device of a link in the network of a container, one of whose processes `pid` is; gives
/// the tap. Call it while the process has one thread.
pub fn make_device(pid: Pid, plan: &LinkPlan) -> Result<OwnedFd, Error> {
    let (meeting, mut entrance) = Meeting::new([plan]).map_err(Error::Pipe)?;
    in_network_of(pid, || entrance.enter())?;
    meeting.device().map_err(Error::Pipe)
}

/// Ends the connections of a container whose network's server was killed: nothing carries them any
/// more, and nobody would be told. Where that cannot be done, nothing changes.
pub(super) fn end_connections(pid: Pid) {
    let _ = in_network_of(pid, abort_connections);
}

/// Does something in the network of a container, as root there.
fn in_network_of(pid: Pid, errand: impl FnOnce() -> Result<(), Errno>) -> Result<(), Error> {
    let (user, network) = (namespace_of(pid, NsKind::User)?, namespace_of(pid, NsKind::Network)?);
    let own = rustix::fs::stat("/proc/self/ns/user").map_err(Error::Join)?;
    let theirs = rustix::fs::fstat(&user).map_err(Error::Join)?;
    // Nobody may join the one that it is in (setns(2)): a container of root's may have no other.
    let user = (own.st_ino != theirs.st_ino).then_some(user);
    let child = fork::in_child(|| {
        let enter = || -> Result<(), Errno> {
            if let Some(user) = &user {
                move_into_link_name_space(user.as_fd(), Some(LinkNameSpaceType::User))?;
            }
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
            errand()
        };
        let entered = enter();
        entered.map_or_else(|errno| u8::try_from(errno.raw_os_error()).unwrap_or(u8::MAX), |()| 0)
    });
    let status = child.map_err(|error| Error::Pipe(error.errno))?.wait().map_err(Error::Pipe)?;
    match status {
        0 => Ok(()),
        errno => Err(Error::Device(Errno::from_raw_os_error(errno.into()))),
    }
}
