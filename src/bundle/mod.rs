//! Image configuration and flags to a `ContainerSpec`.
//!
//! `Request` (what the user said) + `ImageConfig` (what the image says) → `plan` → `ContainerSpec`.

mod request;

pub use request::{
    BindRequest, HostAddress, Network, Request, Resource, SeccompChoice, SecurityOptions,
    TmpfsRequest, Ulimit,
};
