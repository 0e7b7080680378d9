//! Image configuration and flags to a `ContainerSpec`.
//!
//! `Request` (what the user said) + `ImageConfig` (what the image says)
//! + `Circumstances` (id, files, root) → `specify` → `ContainerSpec`, `EtcFiles`.

mod accounts;
pub mod capabilities;
mod config;
mod defaults;
mod error;
mod files;
mod labels;
mod mount_options;
mod namespace;
mod request;
pub mod signal;
mod spec;
mod specify;
mod systemd;
mod text;
mod tuning;
mod user;
mod variables;

pub use accounts::{Accounts, Added};
pub use config::{Config, ConfigError, IdMapped, check_variables, read_config, read_process_json};
pub use defaults::LIKELY;
pub use error::Error;
pub use files::{EtcFiles, HostFiles};
pub use labels::{LabelRequest, Labels, SecurityModules};
pub use mount_options::WORDS as MOUNT_OPTIONS;
pub use namespace::{Joined, Namespace, Namespaces, NsKind};
pub use request::{
    BindRequest, DeviceRequest, FileSystemRequest, HostAddress, ImageRequest, ImageVolumes,
    Request, Resource, SeccompChoice, SecurityOptions, Sharing, Strict, Systemd, TmpfsRequest,
    Ulimit, VolumeRequest, VolumesFrom,
};
pub use spec::{Builder, Clocks, ContainerSpec, Hook, Hooks, Process, Time};
pub use specify::{Circumstances, Interior, absolute, dotted, hidden_paths, interior, specify};
pub use text::{deserialize as texts, is_nothing};
pub use tuning::{Scheduler, Tuning, personality};
pub use user::{HostAccount, User};
