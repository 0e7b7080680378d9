//! A container whose processes are stopped for a moment.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use rustix::pipe::PipeFlags;

use crate::cgroup::Group;
use crate::engine::Error;
use crate::sys::fork::{self, Child};

/// Processes that are stopped until this is dropped, or this process is gone, however it ends.
#[derive(Debug)]
pub(super) struct Pause {
    /// Its end wakes the guard.
    alive: Option<OwnedFd>,
    guard: Child,
}

impl Pause {
    /// Stops the processes of a group.
    pub(super) fn of(group: &Group) -> Result<Self, Error> {
        let failed = |why: String| Error::Child { what: "pause the container".to_owned(), why };
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
            .map_err(|errno| failed(errno.to_string()))?;
        let mut writer = Some(writer);
        let guard = fork::in_child(|| {
            drop(writer.take());
            // Ctrl-C is not meant for it.
            let _ = rustix::process::setsid();
            let _ = File::from(reader).read(&mut [0]);
            u8::from(group.thaw().is_err())
        });
        let guard = guard.map_err(|error| failed(error.to_string()))?;
        let pause = Self { alive: writer, guard };
        group.freeze()?;
        Ok(pause)
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        drop(self.alive.take());
        let _ = self.guard.wait();
    }
}
