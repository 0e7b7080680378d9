//! Texts of the command line to values: pure functions, each with its refusals.

mod duration;
mod environment;
pub mod filter;
mod hosts;
mod instruction;
mod limits;
mod moment;
mod mounts;
mod security;
mod sharing;
mod sizes;
mod volumes;

pub use duration::duration;
pub use environment::{env_file, label_file, pair, variable};
pub use hosts::add_host;
pub use instruction::instruction;
pub use limits::{billionths, device_rate, device_size, device_weight, size_or_none, ulimit};
pub use moment::moment;
pub use mounts::{MountRequest, mount};
pub use security::{Label, SecurityOption, security_option};
pub use sharing::{
    Network, Stream, UserNamespace, device, device_cgroup_rule, expose, image_volumes, ipc, mtu,
    namespace, network, network_alias, personality, private_ip, private_ip6, publish, stream,
    sysctl, systemd, umask, user_namespace,
};
pub use sizes::{decimal_size, size};
pub use volumes::{tmpfs, volume, volumes_from};

/// Why a text was refused: what is wrong with it, then what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

impl Invalid {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// `true`, `1`, `false`… as Go's `strconv.ParseBool` reads them.
pub fn boolean(text: &str) -> Result<bool, Invalid> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(Invalid::new(format!("{text:?} is neither true nor false"))),
    }
}
