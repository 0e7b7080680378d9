//! Image configuration and flags to a `ContainerSpec`.
//!
//! `Request` (what the user said) + `ImageConfig` (what the image says)
//! + `Circumstances` (id, files, root) → `specify` → `ContainerSpec`, `EtcFiles`.

pub mod capabilities;
mod defaults;
mod error;
mod files;
mod labels;
mod request;
pub mod signal;
mod spec;
mod specify;
mod user;

pub use error::Error;
pub use files::{EtcFiles, HostFiles};
pub use labels::{LabelRequest, Labels, SecurityModules};
pub use request::{
    BindRequest, HostAddress, Network, Request, Resource, SeccompChoice, SecurityOptions,
    TmpfsRequest, Ulimit,
};
pub use spec::{ContainerSpec, Process};
pub use specify::{Circumstances, specify};
pub use user::User;
