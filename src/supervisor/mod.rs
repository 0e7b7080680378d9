//! Every id in a container that has one; and connections that are made for it (`connect`).
//!
//! ```text
//! launching coracle ── clone ► first process: filter, listener by SCM_RIGHTS ─ exec
//!   │                                             │
//!   watches the listener ◄────────────────────────┘
//!   └─ at the first call: fork ──► supervisor       (at once, where it leaves the container alone)
//!
//! supervisor: joins the user and mount namespaces, root: the container's, directory: host's /proc
//!   receive ─ who (tag) ─ which file (path) ─ answer │ let the kernel do it
//! ```
//!
//! With one id mapped the kernel refuses chown(2) and setuid(2) to any other, so coracle answers them,
//! and all calls that would tell the truth about it:
//!
//! - **Who** a process is stands in a tag that the kernel hands on itself (`people`), what it may
//!   become is a pure rule (`ids`). Untagged is root: a container that never changes ids is let go
//!   on after one look.
//! - **Whose** a file is stands in its record: an attribute of the file (`crate::owners`), or the side
//!   table where none can be (`links`). Image layers carry the same records. A file without is root's.
//!   Where there is a record, stat(2) is answered from it; chown(2) writes it.
//! - **Where** a path leads is found by the same kernel in the same root (`name`). Whatever cannot be
//!   found here, the kernel carries out itself and so gives its own error.
//!
//! It is no boundary inside the container: to the kernel all of its processes are one user. A
//! container does not gain from it what it could not do on its own, since every file it touches is
//! reached by the caller's path in the container's mounts, as the container's root.
//!
//! What does not work:
//! - A signal that is pending at the moment of a call ends it with EINTR (seccomp_unotify(2)); the
//!   flag of 5.19 shortens that moment and nothing closes it.
//! - `SCM_CREDENTIALS` carries the kernel's ids, `SO_PEERCRED` is answered.
//! - Programs of another architecture (32-bit, x32) see the kernel's ids.
//! - `/proc/PID/status` tells the kernel's ids and capabilities, capget(2) those of who it is said to be, but for
//!   who can become root again or keeps root's powers, who is told the kernel's. The owner of `/proc/PID` is the
//!   emulated user.
//! - Threads share the ids of their process, as they do under every C library.
//! - A device node is an empty file that looks like a device.
//! - openat2(2) makes root's files.
//! - A program that only clone(2) put into another mount namespace is known there after its
//!   chroot(2) or pivot_root(2).

mod become_other;
mod call;
mod callers;
mod confine;
mod connect;
mod execute;
mod files;
mod filter;
mod ids;
mod links;
mod make;
mod name;
mod options;
mod people;
mod powers;
mod serve;
mod signalled;
mod start;
mod status;
mod table;
mod watch;

pub use ids::{Credentials, Ids, Powers};
pub use start::{Emulation, Entrance, Left, Meeting, Options, Seen, Supervisor, Watch};

/// Whether this kernel lets a process answer another's calls.
pub fn is_available() -> bool {
    crate::sys::notify::is_available()
}
