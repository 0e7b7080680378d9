//! Why a container did not start.

use rustix::io::Errno;

use super::seccomp;
use crate::cgroup;
use crate::diagnose::{Diagnose, Hint};
use crate::userns;

/// Why a container did not start, in the user's words.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The new namespaces were refused.
    #[error("cannot make a container: {0}")]
    Namespaces(#[source] userns::Error),
    /// Without a user namespace of its own a container takes the power to make the others.
    #[error("cannot make a container in this user namespace: {0}")]
    NoPower(#[source] Errno),
    /// A namespace could not be joined.
    #[error("cannot join the namespaces: {0}")]
    Join(#[source] Errno),
    /// A container that runs could not be given another device.
    #[error("cannot make a network device in the container: {0}")]
    Device(#[source] Errno),
    /// A hook failed.
    #[error("the hook {} failed: {why}", path.display())]
    Hook {
        /// Its program.
        path: std::path::PathBuf,
        /// How.
        why: String,
    },
    /// The id maps were refused.
    #[error(transparent)]
    Ids(#[from] userns::Error),
    /// The control group could not be opened.
    #[error(transparent)]
    Group(#[from] cgroup::Error),
    /// No such program.
    #[error("exec: {command:?}: executable file not found in $PATH")]
    CommandNotFound {
        /// The program.
        command: String,
        /// The PATH that was searched; `None` where the command was a path.
        path: Option<String>,
    },
    /// A program that is there and cannot be executed.
    #[error("exec: {command:?}: {reason}")]
    CommandNotExecutable {
        /// The program.
        command: String,
        /// Why.
        reason: ExecRefusal,
    },
    /// The program cannot begin in its directory.
    #[error("cannot enter the working directory {}: {errno}", path.display())]
    WorkingDirectory {
        /// The directory, in the container.
        path: std::path::PathBuf,
        /// Why not.
        errno: Errno,
    },
    /// A step of the launch failed.
    #[error("cannot {what}: {errno}")]
    Step {
        /// What was tried, on what.
        what: String,
        /// Why not.
        errno: Errno,
        /// What to do, where the cause is known.
        hint: Option<String>,
    },
    /// An id that the container has not.
    #[error("cannot become user {user}:{group}: {}", Errno::INVAL)]
    ForeignId {
        /// The user.
        user: u32,
        /// Its group.
        group: u32,
    },
    /// A directory and a file, one on the other.
    #[error(
        "cannot {what}: {}",
        if *is_directory {
            format!("it is a directory, and {} is a file in the image", target.display())
        } else {
            format!("it is a file, and {} is a directory in the image", target.display())
        }
    )]
    MountKind {
        /// What was tried.
        what: String,
        /// Where it would lie.
        target: std::path::PathBuf,
        /// Whether what is mounted is the directory.
        is_directory: bool,
    },
    /// The agent of the filter's profile was not reached.
    #[error("cannot reach the seccomp agent at {} (listenerPath): {errno}", path.display())]
    Agent {
        /// Where it should listen.
        path: std::path::PathBuf,
        /// Why not.
        errno: Errno,
    },
    /// A profile with an agent, in a container with a listener of coracle's own.
    #[error(
        "the seccomp profile's SCMP_ACT_NOTIFY takes a listener: emulated ids and --network fast have the one \
         that the kernel gives a process (EBUSY)"
    )]
    ListenerTaken,
    /// The filter of system calls cannot be made.
    #[error(transparent)]
    Seccomp(#[from] seccomp::Error),
    /// A text with a NUL byte.
    #[error("a path, argument or variable has a NUL byte in it")]
    Nul(#[from] std::ffi::NulError),
    /// A pipe, socket or stream of the launch.
    #[error("cannot make the pipes of the container: {0}")]
    Pipe(#[source] Errno),
    /// A directory in a stream's place.
    #[error(
        "the {name} is a directory, from which the container could reach all of the host's files"
    )]
    DirectoryAsStream {
        /// Which stream.
        name: &'static str,
    },
    /// The child's report was unreadable.
    #[error("cannot read the report of the container's first process: {0}")]
    Report(#[source] std::io::Error),
    /// Signals could not be held or waited for.
    #[error("cannot wait for the container: {0}")]
    Signals(#[source] Errno),
    /// The caller's terminal could not be made raw.
    #[error("cannot set up the terminal: {0}")]
    Terminal(#[source] Errno),
}

/// Why the kernel would not execute a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExecRefusal {
    /// `EACCES`
    #[error("permission denied")]
    Permission,
    /// `EACCES` on a directory.
    #[error("is a directory: permission denied")]
    Directory,
    /// `ENOEXEC`
    #[error("exec format error")]
    Format,
    /// `ENOENT` though the file is there.
    #[error("the file is there, the interpreter it names is not: no such file or directory")]
    Interpreter,
    /// Another errno.
    #[error("{0}")]
    Other(Errno),
}

impl Diagnose for Error {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Namespaces(error) | Self::Ids(error) => error.hint(),
            Self::Group(error) => error.hint(),
            Self::CommandNotFound { path: Some(path), .. } => {
                Some(Hint::new(format!("searched in {path}")))
            }
            Self::CommandNotExecutable { reason, .. } => match reason {
                ExecRefusal::Permission => {
                    Some(Hint::new("is it executable (chmod +x), and on a mount without noexec?"))
                }
                ExecRefusal::Format => Some(Hint::new(
                    "a script needs a first line such as #!/bin/sh; a program must be built for this machine",
                )),
                ExecRefusal::Interpreter => Some(Hint::new(
                    "a program for glibc in an image with musl, or a #! line that names what is not there",
                )),
                ExecRefusal::Directory | ExecRefusal::Other(_) => None,
            },
            Self::Step { hint, .. } => hint.clone().map(Hint::new),
            Self::ForeignId { .. } => Some(Hint::new(
                "the user or group is outside the ids of this container; see --userns and coracle info",
            )),
            Self::MountKind { is_directory, .. } => Some(Hint::new(match is_directory {
                true => "mount it at a path that is a directory or not there, or mount a file",
                false => "name the file in it that is meant, or mount a directory",
            })),
            Self::Seccomp(error) => error.hint(),
            Self::ListenerTaken => Some(Hint::new(
                "--userns nomap has one id and --userns range real ones, --network private no listener",
            )),
            Self::CommandNotFound { path: None, .. }
            | Self::WorkingDirectory { .. }
            | Self::Agent { .. }
            | Self::Nul(_)
            | Self::Pipe(_)
            | Self::DirectoryAsStream { .. }
            | Self::Report(_)
            | Self::Signals(_)
            | Self::Terminal(_)
            | Self::NoPower(_)
            | Self::Join(_)
            | Self::Device(_)
            | Self::Hook { .. } => None,
        }
    }
}
