//! Where a launch stands, and the few bytes in which a child tells why it stopped there.

use std::fmt;
use std::io::{Read, Write};

use rustix::io::Errno;

/// The steps of a launch, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Going into the control group.
    Group,
    /// Writing or awaiting the id maps.
    IdMap,
    /// Making a time namespace.
    Clocks,
    /// Setting the score for the OOM killer.
    OomScore,
    /// Cutting the mounts off from the host's.
    Propagation,
    /// Opening the layers; the item is the layer, the topmost 0.
    Layers,
    /// Mounting the root file system.
    Root,
    /// Adding lines to a file of the root; the item is its place.
    Added,
    /// Making one of the mounts below the root; the item is its place in the plan.
    Mount,
    /// Finding or making that mount's target.
    MountTarget,
    /// Laying that mount over a file where it is a directory, or the other way round.
    MountKind,
    /// Making a link below the root.
    Link,
    /// Making the private network's device.
    Network,
    /// Setting a kernel parameter; the item is its place.
    Sysctl,
    /// Hiding a path.
    Mask,
    /// Making a path read-only.
    ReadOnly,
    /// Making a mount read-only that others were made on.
    Seal,
    /// Making the working directory.
    WorkingDirectory,
    /// Opening the terminal.
    Terminal,
    /// Meeting the parent, which runs its hooks.
    Meeting,
    /// A hook before the root is entered; the item is its place.
    CreateContainerHook,
    /// Changing the root.
    Pivot,
    /// Setting the host name.
    Hostname,
    /// Bringing the loopback device up.
    Loopback,
    /// Setting scheduling, processors or personality; the item is one of `Tuned`'s.
    Tuning,
    /// Setting a resource limit; the item is its place in the plan.
    Limit,
    /// Joining a new session keyring.
    Keyring,
    /// Setting a label of AppArmor or SELinux; the item is its place in the plan.
    Label,
    /// Leaving the abstract sockets of others.
    Landlock,
    /// Having connections made by a supervisor.
    Switch,
    /// Loading the filter of system calls.
    Seccomp,
    /// Taking on groups, group and user.
    Identity,
    /// Dropping capabilities.
    Capabilities,
    /// Entering the working directory.
    ChangeDirectory,
    /// Setting up stdin, stdout and stderr.
    Stdio,
    /// Waiting until the program may start.
    Gate,
    /// A hook in the container, before its program; the item is its place.
    StartContainerHook,
    /// Starting pid 1's child.
    Init,
    /// Executing the program; the item is one of `Exec`'s kinds.
    Exec,
    /// No failure: everything is done but the start.
    Ready,
}

impl Stage {
    const ALL: [Self; 40] = [
        Self::Group,
        Self::IdMap,
        Self::Clocks,
        Self::OomScore,
        Self::Propagation,
        Self::Layers,
        Self::Root,
        Self::Added,
        Self::Mount,
        Self::MountTarget,
        Self::MountKind,
        Self::Link,
        Self::Network,
        Self::Sysctl,
        Self::Mask,
        Self::ReadOnly,
        Self::Seal,
        Self::WorkingDirectory,
        Self::Terminal,
        Self::Meeting,
        Self::CreateContainerHook,
        Self::Pivot,
        Self::Hostname,
        Self::Loopback,
        Self::Tuning,
        Self::Limit,
        Self::Keyring,
        Self::Label,
        Self::Landlock,
        Self::Switch,
        Self::Seccomp,
        Self::Identity,
        Self::Capabilities,
        Self::ChangeDirectory,
        Self::Stdio,
        Self::Gate,
        Self::StartContainerHook,
        Self::Init,
        Self::Exec,
        Self::Ready,
    ];
}

/// A failed step: plain bytes, so that a child need not allocate to tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The step.
    pub stage: Stage,
    /// Which of the step's things.
    pub item: u16,
    /// Why.
    pub errno: Errno,
}

const SIZE: usize = 7;

impl Failure {
    /// What a child says that waits for its start.
    pub(super) const READY: Self = Self { stage: Stage::Ready, item: 0, errno: Errno::AGAIN };

    /// Sends the failure; when even that fails there is nobody left to tell.
    pub(super) fn send(self, mut pipe: impl Write) {
        let mut bytes = [0; SIZE];
        bytes[0] = self.stage as u8;
        bytes[1..3].copy_from_slice(&self.item.to_ne_bytes());
        bytes[3..].copy_from_slice(&self.errno.raw_os_error().to_ne_bytes());
        let _ = pipe.write_all(&bytes);
    }

    /// Reads a failure; `None` when the other side closed the pipe without one.
    pub(super) fn receive(mut pipe: impl Read) -> std::io::Result<Option<Self>> {
        let mut bytes = [0; SIZE];
        match pipe.read_exact(&mut bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let [stage, low, high, errno @ ..] = bytes;
        let invalid = || std::io::Error::from(std::io::ErrorKind::InvalidData);
        Ok(Some(Self {
            stage: *Stage::ALL.get(usize::from(stage)).ok_or_else(invalid)?,
            item: u16::from_ne_bytes([low, high]),
            errno: Errno::from_raw_os_error(i32::from_ne_bytes(errno)),
        }))
    }
}

/// Names the step in which a call failed.
pub(super) trait At<T> {
    /// The call belongs to `stage`.
    fn at(self, stage: Stage) -> Result<T, Failure>;
    /// The call belongs to the `item`th thing of `stage`.
    fn at_item(self, stage: Stage, item: usize) -> Result<T, Failure>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, stage: Stage) -> Result<T, Failure> {
        self.at_item(stage, 0)
    }

    fn at_item(self, stage: Stage, item: usize) -> Result<T, Failure> {
        let item = u16::try_from(item).unwrap_or(u16::MAX);
        self.map_err(|errno| Failure { stage, item, errno })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}: {}", self.stage, self.item, self.errno)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_survives_the_pipe() {
        for (number, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, number);
            let failure = Failure { stage, item: 513, errno: Errno::PERM };
            let mut bytes = Vec::new();
            failure.send(&mut bytes);
            assert_eq!(Failure::receive(&bytes[..]).expect("a failure"), Some(failure));
        }
        assert_eq!(Failure::receive(&b""[..]).expect("an end"), None);
    }
}
