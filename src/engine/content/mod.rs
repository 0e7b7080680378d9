//! What is in a container, whether it runs or not: `diff`, `export`, `commit`, `cp`.
//!
//! ```text
//! diff, export   the layers' trees and what the container wrote, read in place ─► list, tar
//! commit         the same ─► layer ─ gzip ─► blobs/, with a configuration and a manifest of its
//!                own ─► unpacked as a pull unpacks it
//! cp             a child in the container's namespaces ─ tar through a pipe ─ this process, or its
//!                caller's stdin and stdout
//! volumes        a tar stream out of, or into, their directory
//! ```
//!
//! What is read in place is read as root of the user namespace that the files belong to.

mod commit;
mod config;
mod copy;
mod diff;
mod inside;
mod pause;
mod subject;
mod target;
mod volume;

pub use commit::{CommitRequest, Format, UnknownFormat};
pub use copy::{CopyOptions, InContainer, Outside};
