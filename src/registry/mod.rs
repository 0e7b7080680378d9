//! Reference to manifest and blob streams.
//!
//! ```text
//! Remote (a registry)         ┐
//! Layout (oci:, oci-archive:) ├─ ImageSource: manifest, config, blob
//! DockerArchive               │
//! PlainDirectory              ┘
//! saved: all images of an archive or a directory, whichever of these it is
//! ```
//!
//! Blocking on the outside; the async part lives in `transport` and `remote`, on a runtime that
//! starts at the first request.

mod answer;
mod archive;
mod challenge;
mod credentials;
mod docker_archive;
mod document;
mod error;
mod layout;
mod options;
mod plain_directory;
mod reach;
mod realm;
mod remote;
mod saved;
mod source;
mod tls;
mod transport;

pub use answer::masked;
pub use credentials::lookup;
pub use docker_archive::DockerArchive;
pub use error::{Cause, Error};
pub use layout::{FULL_NAME, Layout, REF_NAME};
pub use options::{Login, Options};
pub use plain_directory::PlainDirectory;
pub use reach::{Unreachable, reach};
pub use remote::Remote;
pub use saved::{Input, Saved, saved};
pub use source::{BlobStream, Compression, Descriptor, ImageSource, LayerDescriptor, Resolved};
pub use tls::{Authorities, authorities};
