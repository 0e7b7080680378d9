//! Reference to manifest and blob streams.
//!
//! ```text
//! Remote (a registry)      ┐
//! Layout (oci:)            ├─ ImageSource: manifest, config, blob
//! Archive (oci-archive:, docker-archive:) ┘
//! ```
//!
//! Blocking on the outside; the async part lives in `transport` and `remote`, on a runtime that
//! starts at the first request.

mod challenge;
mod credentials;
mod document;
mod error;
mod options;
mod remote;
mod source;
mod tls;
mod transport;

pub use credentials::lookup;
pub use error::{Cause, Error};
pub use options::{Login, Options};
pub use remote::Remote;
pub use source::{BlobStream, Compression, Descriptor, ImageSource, LayerDescriptor, Resolved};
