//! Reference to manifest and blob streams.
//!
//! ```text
//! Remote (a registry)         ┐
//! Layout (oci:, oci-archive:) ├─ ImageSource: manifest, config, blob
//! DockerArchive               │
//! PlainDirectory              ┘
//! Guarded: any of these, whose images must show a signature (trust/)
//! saved: all images of an archive or a directory, whichever of these it is
//!
//! reference ─ route: mirrors, the registry ─ credentials: as whom ─► Way
//! Way ─ Remote: pull │ Repository: push │ Lists: tags, search, whether a login is right
//!       └──────────────── Transport: tokens, redirects, tries ─────────────────────────┘
//! ```
//!
//! Blocking on the outside; the async part lives in `transport` and `remote`, on a runtime that
//! starts at the first request.

mod answer;
mod archive;
mod attached;
mod challenge;
mod credentials;
mod docker_archive;
mod document;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod guarded;
mod helper;
mod layout;
mod lists;
mod login;
mod options;
mod pace;
mod parts;
mod plain_directory;
mod reach;
mod realm;
mod registries;
mod remote;
mod repository;
mod route;
mod saved;
mod short_name;
mod source;
mod tls;
mod tokens;
mod transport;
mod url;
mod verdict;

pub use answer::masked;
pub use attached::{Attached, Kind};
pub use credentials::{Way, lookup, way_to_push, way_to_registry, ways};
pub use docker_archive::DockerArchive;
pub use document::offered;
pub use error::{Cause, Error};
pub use guarded::Guarded;
pub use layout::{FULL_NAME, Layout, REF_NAME};
pub use lists::{INDEX, Lists, SearchResult};
pub use login::{Kept, forget_login, forget_logins, keep_login, known_login};
pub use options::{Login, Options};
pub use parts::{Parts, parts};
pub use plain_directory::PlainDirectory;
pub use reach::{Unreachable, reach};
pub use registries::{Files, Mirror, Registries, ShortNames, Table};
pub use remote::{Remote, Sent};
pub use repository::{Placed, Repository};
pub use route::Endpoint;
pub use saved::{Input, Saved, saved};
pub use source::{
    Beside, BlobStream, Compression, Contents, Descriptor, ImageSource, LayerDescriptor, Resolved,
};
pub use tls::{Authorities, authorities};
pub use url::download;
