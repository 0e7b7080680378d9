//! A union file system of our own, for hosts that keep overlayfs from users: served to the kernel
//! through /dev/fuse, which is mounted inside the container's user namespace without any helper.
//!
//! ```text
//! first process: open /dev/fuse, fsopen ─ the device and the namespace by SCM_RIGHTS ─► server
//!                the root: move_mount, …                                                joins the user namespace
//! any process:   open, stat, write ─ kernel: default_permissions, caches ─────────────► lookup, read, write
//!
//!   upper   what is written; whiteouts, opaque directories as overlayfs has them (`userxattr`)
//!   lowers  layers, never written
//!   work/union   what is being made, before it is renamed into `upper`
//! ```
//!
//! - `tree` knows where files are: nodes by number (`table`), names to layers (`look`), descriptors
//!   kept open (`held`).
//! - `copy_up`, `change`, `rename`, `attributes`, `data` do what the container asks for.
//! - `serve` is the protocol, on threads of its own; `start` the process, which ends with the mount.
//!
//! Nobody else writes to the upper layer meanwhile, so the kernel may remember names and attributes
//! for ever, keep what it has read, and write back late. Files are opened by the server on demand:
//! the kernel does not tell of open and close at all (`FUSE_NO_OPEN_SUPPORT`), which saves two of
//! three requests for most files.
//!
//! Not offered: `O_TMPFILE` and passthrough. Who may open a backing file (`CAP_SYS_ADMIN` on the host)
//! may mount an overlay.

mod attributes;
mod change;
mod copy_up;
mod data;
mod held;
mod list;
mod look;
mod mount;
mod node;
mod rename;
mod serve;
mod siblings;
mod start;
mod table;
mod tree;

pub use mount::{Entrance, mount, open_device};
pub use start::{Meeting, Options, Server};

/// What the kernel is answered.
type Result<T> = std::result::Result<T, rustix::io::Errno>;
