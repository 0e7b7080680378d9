//! The OCI image specification's values: data, no I/O.

mod change;
mod config;
mod digest;
mod hashed;
mod platform;

pub use change::{Change, Line, change};
pub(crate) use change::{list, object, set_env, set_list};
pub use config::{Healthcheck, History, ImageConfig, InvalidConfig};
pub use digest::{Algorithm, ChainId, DiffId, Digest, Hasher, InvalidDigest};
pub use hashed::Hashed;
pub use platform::{InvalidPlatform, Platform};

/// Media types, OCI's and docker's, as registries send them.
pub mod media_type {
    /// OCI image index (image-spec, image-index.md).
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// OCI image manifest (image-spec, manifest.md).
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI image configuration (image-spec, config.md).
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// OCI layer, uncompressed; `+gzip` and `+zstd` are appended for the compressed ones.
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// Docker manifest list (distribution, manifest v2 schema 2).
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker image manifest (distribution, manifest v2 schema 2).
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker image configuration.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// Docker layer, gzip.
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
}
